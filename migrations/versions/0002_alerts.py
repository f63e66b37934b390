"""Alerts: what is to be told, and what was."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_at_us", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("problem", sa.String(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", "channel", name="pk_alerts"),
    )
    op.create_index("ix_alerts_created_at_us", "alerts", ["created_at_us"])


def downgrade() -> None:
    op.drop_table("alerts")
