"""The first schema: quarantine, message log, accounts, tokens, audit, counters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    op.create_table(
        "held_message",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("queue_id", sa.String(32), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        *map(_text, ("reverse_path", "recipient", "domain")),
        sa.Column("client_ip", sa.String(64), nullable=False),
        _text("helo"),
        sa.Column("received_at", sa.Float, nullable=False),
        *map(_text, ("message_id", "subject", "author")),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        *map(_text, ("reason", "verdict_json")),
        sa.Column("is_8bitmime", sa.Boolean, nullable=False),
        sa.Column("is_smtputf8", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_at", sa.Float, nullable=False),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
    )
    for column in ("queue_id", "content_hash", "domain"):
        op.create_index(f"ix_held_message_{column}", "held_message", [column])
    op.create_index("held_message_state_received", "held_message", ["state", "received_at"])
    op.create_table(
        "message_log",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("queue_id", sa.String(32), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("client_ip", sa.String(64), nullable=False),
        *map(_text, ("helo", "reverse_path", "recipient", "message_id", "subject", "author")),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        _text("reply"),
        sa.Column("score", sa.Float, nullable=False),
        *map(_text, ("hits", "reason", "next_hop_reply")),
    )
    for column in ("queue_id", "at", "message_id"):
        op.create_index(f"ix_message_log_{column}", "message_log", [column])
    op.create_table(
        "account",
        sa.Column("name", sa.String(128), primary_key=True),
        _text("password_hash"),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "token",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("account", sa.String(128), sa.ForeignKey("account.name", ondelete="CASCADE"), nullable=True),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_table(
        "sign_in_failure",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", sa.Float, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("account", sa.String(128), nullable=False),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("held_id", sa.String(32), nullable=False),
        _text("detail"),
    )
    op.create_table(
        "counter",
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("ix_counter_expires_at", "counter", ["expires_at"])
