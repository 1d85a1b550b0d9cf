"""Digests of held messages: which were sent, what they listed, the keys of their links, and who wants none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "digest",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("mailbox", sa.Text, nullable=False),
        sa.Column("reader", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("language", sa.String(8), nullable=False),
        sa.Column("calendar", sa.String(16), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_at", sa.Float, nullable=False),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("digest_state", "digest", ["state", "state_at"])
    op.create_table(
        "digest_item",
        sa.Column("digest_id", sa.String(32), sa.ForeignKey("digest.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("held_id", sa.String(32), primary_key=True),
    )
    op.create_index("digest_item_held", "digest_item", ["held_id"])
    op.create_table(
        "digest_key",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
    )
    op.create_table(
        "digest_stop",
        sa.Column("mailbox", sa.String(320), primary_key=True),
        sa.Column("reader", sa.String(320), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_index("held_message_mailbox", "held_message", [sa.text("lower(recipient)")])
