"""What goes on at providers: the holds of batches, and where what clients have made there is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "holds", sa.Column("until_us", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.create_table(
        "objects",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.String(), nullable=False, server_default=""),
        sa.Column("next_at_us", sa.BigInteger()),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", "upstream", name="pk_objects"),
        sqlite_with_rowid=False,
    )
    for column in ("created_at_us", "next_at_us"):
        op.create_index(f"ix_objects_{column}", "objects", [column])


def downgrade() -> None:
    op.drop_table("objects")
    op.drop_column("holds", "until_us")
