"""The ledger's tables.

On PostgreSQL, calls and attempts are partitioned by month; partitions are made ahead by the ledger's
sweep, and the default partition takes what no other does, so that no row is ever refused.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "keys",
    "budgets",
    "budget_windows",
    "carried",
    "generations",
    "holds",
    "owners",
    "calls",
    "attempts",
    "rollups",
    "rollups_by_principal",
    "adjustments",
    "audit",
)


def upgrade() -> None:
    _keys_and_budgets()
    _windows()
    _under_way()
    _calls()
    _attempts()
    _rollups()
    _corrections()
    if op.get_bind().dialect.name == "postgresql":
        for table in ("calls", "attempts"):
            op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False, server_default="")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def _keys_and_budgets() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False, server_default='["*"]'),
        sa.Column("max_output_tokens", sa.BigInteger()),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger()),
        sa.Column("revoked_at_us", sa.BigInteger()),
        sa.Column("previous_sha256", sa.String()),
        sa.Column("previous_until_us", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.UniqueConstraint("name", name="uq_keys_name"),
        sa.UniqueConstraint("sha256", name="uq_keys_sha256"),
        sa.UniqueConstraint("previous_sha256", name="uq_keys_previous_sha256"),
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        _text("team"),
        sa.Column("window", sa.String(), nullable=False),
        sa.Column("limit_nano", sa.BigInteger(), nullable=False),
        sa.Column("on_exceed", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False, server_default="UTC"),
        sa.Column("shrink", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("unpriced", sa.String(), nullable=False, server_default="reject"),
        sa.Column("unbounded", sa.String(), nullable=False, server_default="reject"),
        _count("unbounded_nano"),
        sa.Column("origin", sa.String(), nullable=False),
        _text("configured"),
        _count("since"),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )


def _windows() -> None:
    op.create_table(
        "budget_windows",
        sa.Column("budget_id", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        _count("spent_nano"),
        _count("held_nano"),
        _count("overdraft_nano"),
        sa.PrimaryKeyConstraint("budget_id", "subject", "starts_at", name="pk_budget_windows"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "carried",
        sa.Column("budget_id", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        _count("nano"),
        sa.PrimaryKeyConstraint("budget_id", "subject", "starts_at", name="pk_carried"),
    )
    op.create_table(
        "generations",
        sa.Column("name", sa.String(), nullable=False),
        _count("value"),
        sa.PrimaryKeyConstraint("name", name="pk_generations"),
    )


def _under_way() -> None:
    op.create_table(
        "holds",
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        _count("amount_nano"),
        _count("estimate_nano"),
        sa.Column("windows", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("call_id", name="pk_holds"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "owners",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("seen_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_owners"),
    )


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        _text("organisation"),
        _text("key_id"),
        _text("key"),
        _text("user"),
        _text("workflow"),
        _text("run"),
        _text("tags"),
        _text("endpoint"),
        _text("model"),
        _text("model_requested"),
        _text("model_served"),
        _text("upstream"),
        _text("upstream_call_id"),
        sa.Column("stream", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        _text("refusal"),
        _text("usage_source"),
        _count("input_tokens"),
        _count("cached_tokens"),
        _count("cache_write_tokens"),
        _count("output_tokens"),
        _count("reasoning_tokens"),
        sa.Column("output_cap", sa.BigInteger()),
        _text("output_cap_source"),
        _count("cost_nano"),
        _count("held_nano"),
        _text("price_source"),
        _text("price_version"),
        _count("duration_us"),
        sa.Column("first_byte_us", sa.BigInteger()),
        _count("overhead_us"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", "started_at_us", name="pk_calls"),
        postgresql_partition_by="RANGE (started_at_us)",
    )
    op.create_index("ix_calls_started_at_us", "calls", ["started_at_us"])
    op.create_index("ix_calls_team_started_at_us", "calls", ["team", "started_at_us"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("upstream", sa.String(), nullable=False),
        _text("model"),
        _text("model_served"),
        _text("upstream_call_id"),
        sa.Column("status", sa.SmallInteger()),
        _count("duration_us"),
        sa.Column("first_byte_us", sa.BigInteger()),
        _text("usage"),
        _text("usage_source"),
        _text("usage_raw"),
        _count("cost_nano"),
        _text("charge"),
        _text("price_source"),
        _text("price_version"),
        _text("error"),
        _text("flags"),
        sa.PrimaryKeyConstraint("call_id", "number", "started_at_us", name="pk_attempts"),
        postgresql_partition_by="RANGE (started_at_us)",
    )


def _rollups() -> None:
    op.create_table(
        "rollups",
        sa.Column("hour", sa.BigInteger(), nullable=False),
        _text("team"),
        _text("organisation"),
        _text("model"),
        _text("upstream"),
        _text("endpoint"),
        _text("outcome"),
        _count("calls"),
        _count("errors"),
        _count("unpriced"),
        _count("input_tokens"),
        _count("cached_tokens"),
        _count("cache_write_tokens"),
        _count("output_tokens"),
        _count("reasoning_tokens"),
        _count("cost_nano"),
        _count("duration_us"),
        sa.PrimaryKeyConstraint(
            "hour",
            "team",
            "organisation",
            "model",
            "upstream",
            "endpoint",
            "outcome",
            name="pk_rollups",
        ),
    )
    op.create_table(
        "rollups_by_principal",
        sa.Column("day", sa.BigInteger(), nullable=False),
        _text("team"),
        _text("key"),
        _text("user"),
        _text("workflow"),
        _count("calls"),
        _count("input_tokens"),
        _count("output_tokens"),
        _count("cost_nano"),
        sa.PrimaryKeyConstraint(
            "day", "team", "key", "user", "workflow", name="pk_rollups_by_principal"
        ),
        sqlite_with_rowid=False,
    )


def _corrections() -> None:
    op.create_table(
        "adjustments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        _text("price_source"),
        _text("price_version"),
        _text("charge"),
        sa.PrimaryKeyConstraint("id", name="pk_adjustments"),
    )
    op.create_index("ix_adjustments_call_id", "adjustments", ["call_id"])
    op.create_table(
        "audit",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        _text("before"),
        _text("after"),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
