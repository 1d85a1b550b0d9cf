"""The training ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lesson",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("trainer", sa.String(320), nullable=False),
        sa.Column("is_spam", sa.Boolean, nullable=False),
        sa.Column("via", sa.String(16), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("features_version", sa.Integer, nullable=False),
        sa.Column("indices", sa.LargeBinary, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("revoked_at", sa.Float, nullable=True),
        sa.Column("revoked_by", sa.String(320), nullable=False, server_default=""),
    )
    op.create_index("lesson_order", "lesson", ["at", "id"])
    op.create_index("lesson_trainer_day", "lesson", ["trainer", "day"])
    op.create_index("lesson_content", "lesson", ["content_hash", "trainer"])
    state = op.create_table(
        "lesson_revision",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.bulk_insert(state, [{"number": 1, "revision": 0}])
