"""Senders that people allow and block."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sender",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("act", sa.String(8), nullable=False),
        sa.Column("pattern", sa.String(320), nullable=False),
        sa.Column("recipient", sa.String(320), nullable=False),
        sa.Column("recipient_domain", sa.String(255), nullable=False),
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.Float, nullable=True),
        sa.Column("by", sa.String(320), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("held_id", sa.String(32), nullable=False),
        sa.Column("hits", sa.Integer, nullable=False),
        sa.Column("last_hit_at", sa.Float, nullable=True),
        sa.Column("removed_at", sa.Float, nullable=True),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_index("sender_key", "sender", ["pattern", "recipient", "act", "network"], unique=True)
    op.create_index("sender_changed", "sender", ["revision"])
    op.create_index("sender_recipient", "sender", ["recipient"])
    op.create_index("sender_domain", "sender", ["recipient_domain"])
    state = op.create_table(
        "sender_revision",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.bulk_insert(state, [{"number": 1, "revision": 0}])
