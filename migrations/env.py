"""Run by alembic; ``proxy.store.migrate`` passes the open connection in ``config.attributes``."""

from alembic import context

from proxy.store.schema import is_ours, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_object=is_ours,
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
