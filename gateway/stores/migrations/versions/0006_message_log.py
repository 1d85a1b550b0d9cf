"""The message log in the order of time, with an index for each thing that people look for."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from gateway.mail.address import domain_of, parse_mailboxes
from gateway.mail.queued import queue_id_of

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BATCH = 2000
_BY_BEGINNING = ("queue_id", "recipient", "reverse_path", "author_address", "client_ip")
_ANY_CASE = ("recipient", "reverse_path")
_INDEXES = {  # name -> (what is looked for, whether it may be missing)
    "queue_id": ("queue_id", False),
    "message_id": ("message_id", False),
    "recipient": ("recipient", False),
    "recipient_domain": ("recipient_domain", False),
    "reverse_path": ("reverse_path", False),
    "reverse_path_domain": ("reverse_path_domain", False),
    "author_address": ("author_address", True),
    "author_domain": ("author_domain", True),
    "client_ip": ("client_ip", False),
    "action": ("action", False),
    "next_hop_id": ("next_hop_id", True),
}
# the text stays in message_log. detail=none: no positions, which is half the size; what is found is compared
_SQLITE = (
    "CREATE VIRTUAL TABLE message_log_subject USING fts5("
    "subject, content='message_log', content_rowid='number', tokenize='trigram', detail='none', columnsize=0)",
    "CREATE VIRTUAL TABLE message_log_finding USING fts5("
    "hits, content='message_log', content_rowid='number', tokenize=\"unicode61 tokenchars '_-.'\", "
    "detail='none', columnsize=0)",
    "CREATE TRIGGER message_log_added AFTER INSERT ON message_log BEGIN "
    "INSERT INTO message_log_subject(rowid, subject) VALUES (new.number, new.subject); "
    "INSERT INTO message_log_finding(rowid, hits) VALUES (new.number, new.hits); END",
    "CREATE TRIGGER message_log_removed AFTER DELETE ON message_log BEGIN "
    "INSERT INTO message_log_subject(message_log_subject, rowid, subject) "
    "VALUES ('delete', old.number, old.subject); "
    "INSERT INTO message_log_finding(message_log_finding, rowid, hits) VALUES ('delete', old.number, old.hits); END",
    "CREATE TRIGGER message_log_changed AFTER UPDATE OF subject ON message_log BEGIN "
    "INSERT INTO message_log_subject(message_log_subject, rowid, subject) "
    "VALUES ('delete', old.number, old.subject); "
    "INSERT INTO message_log_subject(rowid, subject) VALUES (new.number, new.subject); END",
)


def upgrade() -> None:
    connection = op.get_bind()
    for name in ("queue_id", "at", "message_id"):
        op.drop_index(f"ix_message_log_{name}", "message_log")
    op.rename_table("message_log", "message_log_old")
    if connection.dialect.name == "postgresql":  # the name belongs to the new table
        op.execute("ALTER INDEX message_log_pkey RENAME TO message_log_old_pkey")
    op.create_table(
        "message_log",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("queue_id", sa.String(32), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("client_ip", sa.String(64), nullable=False),
        *map(_text, ("helo", "reverse_path", "recipient", "message_id", "subject", "author")),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        _text("reply"),
        sa.Column("score", sa.Float, nullable=False),
        *map(_text, ("hits", "reason", "next_hop_reply", "recipient_domain", "reverse_path_domain")),
        *(sa.Column(name, sa.Text) for name in ("author_address", "author_domain", "next_hop_id")),
    )
    _copy(connection)
    op.drop_table("message_log_old")
    _index(connection)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _copy(connection: sa.Connection) -> None:
    old = sa.Table("message_log_old", sa.MetaData(), autoload_with=connection)
    new = sa.Table("message_log", sa.MetaData(), autoload_with=connection)
    last = -1
    while rows := _after(connection, old, last):
        connection.execute(sa.insert(new), [_found(dict(row)) for row in rows])
        last = rows[-1]["number"]


def _after(connection: sa.Connection, old: sa.Table, last: int) -> Sequence[Any]:
    query = sa.select(old).where(old.c.number > last).order_by(old.c.number).limit(_BATCH)
    return connection.execute(query).mappings().all()


def _found(row: dict[str, Any]) -> dict[str, Any]:
    author = parse_mailboxes(row["author"])[:1]
    address, domain = (author[0].address.lower(), author[0].domain) if author else ("", "")
    row["number"] = (int(row["at"] * 1000) << 18) + row["number"] % (1 << 18)
    row["recipient_domain"] = domain_of(row["recipient"])
    row["reverse_path_domain"] = domain_of(row["reverse_path"])
    row["author_address"] = address if address and address != row["reverse_path"].lower() else None
    row["author_domain"] = domain if domain and domain != row["reverse_path_domain"] else None
    row["next_hop_id"] = queue_id_of(row["next_hop_reply"]).lower() or None
    return row


def _index(connection: sa.Connection) -> None:
    """With each the number, so that what it finds comes in the order of the log; SQLite has it in every index."""
    is_sqlite = connection.dialect.name == "sqlite"
    for name, (column, may_miss) in _INDEXES.items():
        if is_sqlite:
            columns = f"{column} COLLATE NOCASE" if name in _ANY_CASE else column
        else:
            kind = " text_pattern_ops" if name in _BY_BEGINNING else ""  # LIKE 'text%' in any collation
            columns = f"lower({column}){kind}, number" if name in _ANY_CASE else f"{column}{kind}, number"
        where = f" WHERE {column} IS NOT NULL" if may_miss else ""
        op.execute(f"CREATE INDEX message_log_{name} ON message_log ({columns}){where}")
    if is_sqlite:
        for statement in _SQLITE:
            op.execute(statement)
        for index in ("subject", "finding"):
            op.execute(f"INSERT INTO message_log_{index}(message_log_{index}) VALUES ('rebuild')")  # noqa: S608  our own names
        return
    op.execute("CREATE INDEX message_log_finding ON message_log USING gin (string_to_array(hits, ' '))")
    try:
        with connection.begin_nested():
            op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except sa.exc.DBAPIError:  # not there, or not allowed: words are found, parts of them are not
        op.execute("CREATE INDEX message_log_subject_words ON message_log USING gin (to_tsvector('simple', subject))")
    else:
        op.execute("CREATE INDEX message_log_subject_trigrams ON message_log USING gin (subject gin_trgm_ops)")
