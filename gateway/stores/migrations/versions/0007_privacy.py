"""The audit log as a chain; how long a message is kept, where its content is, and the keys of encrypted contents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.stores.audit_chain import GENESIS, TEXTS, link

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BATCH = 1000


def upgrade() -> None:
    _audit()
    with op.batch_alter_table("held_message") as table:
        table.add_column(sa.Column("kind", sa.String(16), nullable=False, server_default="spam"))
        table.add_column(sa.Column("blob", sa.String(64), nullable=False, server_default=""))
        table.add_column(sa.Column("storage_key", sa.String(32), nullable=False, server_default=""))
    op.execute("UPDATE held_message SET blob = content_hash")
    op.create_index("held_message_blob", "held_message", ["blob"])
    op.create_table("condemned_blob", sa.Column("blob", sa.String(64), primary_key=True))
    op.create_table(
        "storage_key",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("period", sa.String(7), nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("destroyed_at", sa.Float, nullable=True),
    )
    op.create_index("storage_key_place", "storage_key", ["domain", "period"])


def _audit() -> None:
    """Old rows become the chain's first entries, in their order; what they said before today nobody can prove."""
    op.rename_table("audit", "audit_before")
    table = op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("account", sa.String(128), nullable=False),
        sa.Column("act", sa.String(32), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("proofs", sa.Text, nullable=False),
        sa.Column("former", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_domain_number", "audit", ["domain", "number"])
    op.create_index("audit_subject", "audit", ["subject"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "audit_signature",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
    )
    number, former = _chain(table)
    op.bulk_insert(head, [{"id": 1, "number": number, "hash": former}])
    op.drop_table("audit_before")


def _chain(table: sa.Table) -> tuple[int, str]:
    """The last entry's number and hash."""
    before = sa.text(
        "SELECT a.number, a.at, a.account, a.act, a.held_id, a.detail, COALESCE(h.domain, '') FROM audit_before a "
        "LEFT JOIN held_message h ON h.id = a.held_id WHERE a.number > :after ORDER BY a.number LIMIT :many"
    )
    number, former, after, connection = 0, GENESIS, -1, op.get_bind()
    while rows := connection.execute(before, {"after": after, "many": _BATCH}).all():
        values = []
        for after, at, account, act, held_id, detail, domain in rows:  # noqa: B007
            number += 1
            texts = {"account": account, "subject": held_id, "domain": domain, "detail": detail, "client": ""}
            entry = link(number, at, former, act, **texts)
            former = entry.hash
            plain = {"number": number, "at": entry.at, "act": act, "former": entry.former, "hash": entry.hash}
            values.append(plain | {name: texts[name] for name in TEXTS} | {"proofs": " ".join(entry.proofs)})
        connection.execute(sa.insert(table), values)
    return number, former
