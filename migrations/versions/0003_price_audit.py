"""What stands beside a charge: what the provider stated, the list price, and the parts of the usage."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("calls", "attempts"):
        op.add_column(table, sa.Column("stated_nano", sa.BigInteger()))
        op.add_column(table, sa.Column("list_nano", sa.BigInteger()))
    op.add_column("attempts", sa.Column("parts", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("attempts", "parts")
    for table in ("attempts", "calls"):
        op.drop_column(table, "list_nano")
        op.drop_column(table, "stated_nano")
