"""What DMARC reports are made of, and which were sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _key() -> tuple[sa.Column[int], sa.Column[str]]:
    return (
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("domain", sa.String(255), primary_key=True),
    )


def upgrade() -> None:
    op.create_table("dmarc_policy", *_key(), _text("published"), sa.Column("at", sa.Float, nullable=False))
    op.create_table(
        "dmarc_row",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("source_ip", sa.String(64), nullable=False),
        *map(_text, ("header_from", "envelope_from", "envelope_to")),
        sa.Column("disposition", sa.String(16), nullable=False),
        sa.Column("is_dkim_aligned", sa.Boolean, nullable=False),
        sa.Column("is_spf_aligned", sa.Boolean, nullable=False),
        *map(_text, ("overrides", "dkim", "spf_domain")),
        sa.Column("spf_result", sa.String(16), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_index("dmarc_row_day_domain", "dmarc_row", ["day", "domain"])
    op.create_table(
        "dmarc_sent",
        *_key(),
        sa.Column("address", sa.String(320), primary_key=True),
        _text("report_id"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        _text("note"),
    )
