"""The review list: what it sorts, filters, folds and searches by; notes, saved filters, acts on many messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import SQLAlchemyError

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NEWEST = ("state", "received_at", "id", "domain", "kind", "score", "campaign")
_HIGHEST = ("state", "score", "id", "domain", "kind", "received_at", "campaign")
_DOMAIN = ("domain", "state", "received_at", "id", "kind", "score", "campaign")
_CAMPAIGN = ("campaign", "state", "received_at", "id", "domain", "kind", "score")
_TEXTS = ("sender", "recipient", "words", "hits")
_OF_ROW = (
    "lower(author || ' ' || reverse_path)",
    "lower(recipient)",
    "lower(subject || ' ' || queue_id || ' ' || message_id)",
    "' '",
)
_COLUMNS = ", ".join(_TEXTS)
_NEW, _OLD = (", ".join(f"{row}.{name}" for name in _TEXTS) for row in ("new", "old"))
_ADD = f"INSERT INTO held_search(rowid, {_COLUMNS}) VALUES (new.number, {_NEW});"  # noqa: S608  names of ours
_TAKE = f"INSERT INTO held_search(held_search, rowid, {_COLUMNS}) VALUES ('delete', old.number, {_OLD});"  # noqa: S608
_SEARCH = (
    f"CREATE VIRTUAL TABLE held_search USING fts5({_COLUMNS}, content='held_text', content_rowid='number', "
    "tokenize='trigram')",
    f"CREATE TRIGGER held_text_added AFTER INSERT ON held_text BEGIN {_ADD} END",
    f"CREATE TRIGGER held_text_gone AFTER DELETE ON held_text BEGIN {_TAKE} END",
    f"CREATE TRIGGER held_text_changed AFTER UPDATE ON held_text BEGIN {_TAKE} {_ADD} END",
)


def upgrade() -> None:
    op.add_column("held_message", sa.Column("state_by", sa.String(128), nullable=False, server_default=""))
    op.add_column("held_message", sa.Column("hits", sa.Text, nullable=False, server_default=""))
    op.add_column("held_message", sa.Column("campaign", sa.String(16), nullable=False, server_default=""))
    op.add_column("held_message", sa.Column("attachments", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("held_message_state_received", "held_message")
    op.drop_index("ix_held_message_domain", "held_message")
    op.create_index("held_message_newest", "held_message", list(_NEWEST))
    op.create_index("held_message_highest", "held_message", list(_HIGHEST))
    op.create_index("held_message_domain", "held_message", list(_DOMAIN))
    op.create_index("held_message_campaign", "held_message", list(_CAMPAIGN))
    op.create_index("held_message_changed", "held_message", ["state_at"])
    op.create_index("held_message_recipient", "held_message", [sa.text("lower(recipient)"), "received_at"])
    op.create_table(
        "held_text",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("held_id", sa.String(32), sa.ForeignKey("held_message.id", ondelete="CASCADE"), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _TEXTS),
        sa.UniqueConstraint("held_id"),
    )
    _make_searchable(op.get_bind())
    op.create_table(
        "held_note",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("held_id", sa.String(32), sa.ForeignKey("held_message.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("account", sa.String(128), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("ix_held_note_held_id", "held_note", ["held_id"])
    op.create_table(
        "saved_filter",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(128), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("is_shared", sa.Boolean, nullable=False),
    )
    op.create_index("ix_saved_filter_account", "saved_filter", ["account"])
    _create_bulk()


def _make_searchable(connection: sa.Connection) -> None:
    """What is held already goes in as far as SQL can fold it."""
    if connection.dialect.name == "sqlite":
        for statement in _SEARCH:
            op.execute(statement)
    kept = ", ".join(_OF_ROW)
    op.execute(f"INSERT INTO held_text (held_id, {_COLUMNS}) SELECT id, {kept} FROM held_message")  # noqa: S608
    if connection.dialect.name == "postgresql":
        try:
            with connection.begin_nested():
                connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
                columns = ", ".join(f"{name} gin_trgm_ops" for name in _TEXTS)
                connection.execute(sa.text(f"CREATE INDEX held_text_trigrams ON held_text USING gin ({columns})"))
        except SQLAlchemyError:
            pass  # not installed, or not ours to install: searches read every row then (docs/web.md)


def _create_bulk() -> None:
    op.create_table(
        "bulk_job",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(128), nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("learns", sa.Boolean, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stopped_for", sa.String(16), nullable=False, server_default=""),
    )
    op.create_index("ix_bulk_job_account", "bulk_job", ["account"])
    op.create_index("ix_bulk_job_state", "bulk_job", ["state"])
    op.create_table(
        "bulk_item",
        sa.Column("job", sa.String(32), sa.ForeignKey("bulk_job.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("held_id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("said", sa.Text, nullable=False, server_default=""),
        sa.Column("runner", sa.String(255), nullable=False, server_default=""),
    )
    op.create_index("bulk_item_state", "bulk_item", ["job", "state", "number"])
