"""An index that the sizes of the quarantine are read from, without the rows."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("held_message_sizes", "held_message", ["domain", "blob", "state", "size_bytes"])
