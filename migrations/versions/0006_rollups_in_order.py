"""SQLite keeps the hours' sums in the order of their key: a page of months reads them in one go."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _keep(in_order=True)


def downgrade() -> None:
    _keep(in_order=False)


def _keep(*, in_order: bool) -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    options = {"sqlite_with_rowid": not in_order}
    with op.batch_alter_table("rollups", recreate="always", table_kwargs=options):
        pass
