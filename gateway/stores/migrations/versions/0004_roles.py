"""Roles, and whose mail an account is about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account", sa.Column("domains", sa.Text, nullable=False, server_default=""))
    op.add_column("account", sa.Column("addresses", sa.Text, nullable=False, server_default=""))
    op.execute("UPDATE account SET role = 'owner' WHERE role = 'admin'")
