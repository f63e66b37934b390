"""Calls that did not end as they should are few, and are looked for among very many."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEX = "ix_calls_outcome_started_at_us"


def upgrade() -> None:
    rare = sa.text("outcome <> 'completed'")  # so that most calls cost nothing more
    op.create_index(
        INDEX, "calls", ["outcome", "started_at_us"], sqlite_where=rare, postgresql_where=rare
    )


def downgrade() -> None:
    op.drop_index(INDEX, "calls")
