"""Where accounts come from, the second step of signing in, and what is shown of sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("origin", sa.String(8), nullable=False, server_default="local"),
        sa.Column("is_disabled", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("code_secret", sa.Text, nullable=False, server_default=""),
        sa.Column("code_step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("signed_in_at", sa.Float, nullable=True),
    ):
        op.add_column("account", column)
    for column in (
        sa.Column("subject", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.Float, nullable=False, server_default="0"),
        sa.Column("used_at", sa.Float, nullable=False, server_default="0"),
        sa.Column("client_ip", sa.String(64), nullable=False, server_default=""),
        sa.Column("agent", sa.Text, nullable=False, server_default=""),
    ):
        op.add_column("token", column)
    op.execute("DELETE FROM token WHERE kind = 'session'")  # nobody knows when they began
    op.execute("DELETE FROM sign_in_failure")  # they are counted by another key now
    op.create_index("token_account", "token", ["account", "kind"])
    op.create_table(
        "recovery_code",
        sa.Column("account", sa.String(128), sa.ForeignKey("account.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("hash", sa.String(64), primary_key=True),
    )
