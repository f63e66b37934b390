"""The tables of the ledger.

Times are BIGINT microseconds since the epoch (UTC), money BIGINT nano-dollars: exact, and the same
on SQLite and PostgreSQL. ``calls`` and ``attempts`` start with the time-ordered call id, so that
they can be paged by key; their time belongs to the key because PostgreSQL partitions them by month
and wants the partition's column in it. A call's time never changes, so the pair is as unique as the id.

How a database keeps a table (in months, without row ids) is said in the migrations only, which make
them: said here, it would load both databases' dialects for every command.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


PARTITIONED = ("calls", "attempts")  # by month, on PostgreSQL


def is_ours(_object: object, name: str | None, kind: str, reflected: bool, _pair: object) -> bool:
    """Whether alembic compares a table: a partition is not one of ``metadata``'s, nor missing from it."""
    partition = kind == "table" and reflected and name not in metadata.tables
    return not (partition and (name or "").startswith(tuple(f"{table}_" for table in PARTITIONED)))


def _text(name: str, *, primary_key: bool = False) -> Column[str]:
    return Column(name, String, nullable=False, server_default="", primary_key=primary_key)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


# Who may call, and how much

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("team", String, nullable=False),
    Column("sha256", String, nullable=False, unique=True),  # hex; the secret itself is never stored
    Column("prefix", String, nullable=False),  # the visible part: fb-sk-ab12…
    Column("origin", String, nullable=False),  # configuration | api | demo
    Column("models", Text, nullable=False, server_default='["*"]'),  # JSON list of globs
    Column("max_output_tokens", BigInteger),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    # The secret before the last rotation, which works until then.
    Column("previous_sha256", String, unique=True),
    Column("previous_until_us", BigInteger),
)

budgets = Table(
    "budgets",
    metadata,
    Column("id", String, primary_key=True),
    Column("scope", String, nullable=False),
    Column("subject", String, nullable=False),
    _text("team"),
    Column("window", String, nullable=False),
    Column("limit_nano", BigInteger, nullable=False),
    Column("on_exceed", String, nullable=False),
    Column("timezone", String, nullable=False, server_default="UTC"),
    Column("shrink", Boolean, nullable=False, server_default="0"),
    Column("unpriced", String, nullable=False, server_default="reject"),
    Column("unbounded", String, nullable=False, server_default="reject"),
    _count("unbounded_nano"),
    Column("origin", String, nullable=False),  # configuration | api
    # What the configuration said when it was last read: a change there wins over the API, no change does not.
    _text("configured"),
    # Epoch seconds: the first window whose calls are all counted. An older one is counted from the
    # rows when a call first touches it.
    _count("since"),
    Column("created_at_us", BigInteger, nullable=False),
    Column("updated_at_us", BigInteger, nullable=False),
)

budget_windows = Table(
    "budget_windows",
    metadata,
    Column("budget_id", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("starts_at", BigInteger, primary_key=True),  # epoch seconds
    _count("spent_nano"),
    _count("held_nano"),
    _count("overdraft_nano"),  # the part of spent that did not fit (core.budgets.charge)
)

carried = Table(
    # What pruned calls had been charged, by the windows that still count it: spent = rows + carried.
    "carried",
    metadata,
    Column("budget_id", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("starts_at", BigInteger, primary_key=True),  # epoch seconds
    _count("nano"),
)

generations = Table(
    # Raised in the same transaction as a change of budgets or keys: other processes reload by it.
    "generations",
    metadata,
    Column("name", String, primary_key=True),  # budgets | keys
    _count("value"),
)

# What is under way

holds = Table(
    "holds",
    metadata,
    Column("call_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    _count("amount_nano"),
    _count("estimate_nano"),
    Column("windows", Text, nullable=False),  # JSON: [[budget_id, subject, starts_at], …]
    Column("created_at_us", BigInteger, nullable=False),
    Column("model", String, nullable=False),  # the public name, for budgets on models
    # Of a hold that outlives its process, for a batch: when it is lost. 0: with its owner.
    _count("until_us"),
    Column("record", Text, nullable=False),  # JSON of the CallRecord, for the row of a lost call
)

owners = Table(
    "owners",
    metadata,
    Column("owner", String, primary_key=True),  # one a process
    Column("seen_at_us", BigInteger, nullable=False),
)

objects = Table(
    # What providers keep for clients, by the provider's own ids: where it is, and what it may cost.
    "objects",
    metadata,
    Column("id", String, primary_key=True),
    Column("upstream", String, primary_key=True),
    Column("kind", String, nullable=False),  # file | batch | results | answer | other
    Column("created_at_us", BigInteger, nullable=False, index=True),
    _text("data"),  # JSON, by kind
    # Of a batch, or an answer, that was not seen to its end: when its provider is asked. Who asks puts it off first.
    Column("next_at_us", BigInteger, index=True),
    Column("tries", Integer, nullable=False, server_default="0"),
)

# What happened

calls = Table(
    "calls",
    metadata,
    Column("id", String, primary_key=True),
    Column("started_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("team", String, nullable=False),
    _text("organisation"),
    _text("key_id"),
    _text("key"),
    _text("user"),
    _text("workflow"),
    _text("run"),
    _text("tags"),  # JSON object, "" where there are none
    _text("endpoint"),
    _text("model"),  # the public name, for budgets on models
    _text("model_requested"),
    _text("model_served"),
    _text("upstream"),
    _text("upstream_call_id"),
    Column("stream", Boolean, nullable=False, server_default="0"),
    Column("status", SmallInteger, nullable=False),
    Column("outcome", String, nullable=False),
    _text("refusal"),
    _text("usage_source"),
    _count("input_tokens"),
    _count("cached_tokens"),
    _count("cache_write_tokens"),
    _count("output_tokens"),
    _count("reasoning_tokens"),
    Column("output_cap", BigInteger),
    _text("output_cap_source"),
    _count("cost_nano"),
    _count("held_nano"),
    _text("price_source"),
    _text("price_version"),
    _count("duration_us"),
    Column("first_byte_us", BigInteger),
    _count("overhead_us"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # For audit, beside what was charged: sums over the attempts that have one.
    Column("stated_nano", BigInteger),
    Column("list_nano", BigInteger),
    Index(None, "team", "started_at_us"),
    Index(None, "started_at_us"),
    Index(None, "outcome", "started_at_us"),  # WHERE outcome <> 'completed', by its migration
)

attempts = Table(
    "attempts",
    metadata,
    Column("call_id", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("team", String, nullable=False),
    Column("upstream", String, nullable=False),
    _text("model"),
    _text("model_served"),
    _text("upstream_call_id"),
    Column("status", SmallInteger),
    _count("duration_us"),
    Column("first_byte_us", BigInteger),
    _text("usage"),  # JSON: the buckets that hold anything
    _text("usage_source"),
    _text("usage_raw"),  # the provider's own usage object
    _count("cost_nano"),
    _text("charge"),  # JSON: [[what, count, price in nano-dollars], …]
    _text("price_source"),
    _text("price_version"),
    _text("error"),
    _text("flags"),  # comma-separated
    Column("stated_nano", BigInteger),  # what the provider stated
    Column("list_nano", BigInteger),  # what it costs at the list price
    _text("parts"),  # JSON, where the usage is billed at several models' prices
)

rollups = Table(
    # By hour, so that reports never scan calls. Written in the same transaction as the calls.
    "rollups",
    metadata,
    Column("hour", BigInteger, primary_key=True),  # epoch seconds
    _text("team", primary_key=True),
    _text("organisation", primary_key=True),
    _text("model", primary_key=True),  # served, else requested
    _text("upstream", primary_key=True),
    _text("endpoint", primary_key=True),
    _text("outcome", primary_key=True),
    _count("calls"),
    _count("errors"),  # status ≥ 400
    _count("unpriced"),
    _count("input_tokens"),
    _count("cached_tokens"),
    _count("cache_write_tokens"),
    _count("output_tokens"),
    _count("reasoning_tokens"),
    _count("cost_nano"),
    _count("duration_us"),
)

rollups_by_principal = Table(
    # By day for what has many values, so that it stays small.
    "rollups_by_principal",
    metadata,
    Column("day", BigInteger, primary_key=True),  # epoch seconds, UTC
    _text("team", primary_key=True),
    _text("key", primary_key=True),
    _text("user", primary_key=True),
    _text("workflow", primary_key=True),
    _count("calls"),
    _count("input_tokens"),
    _count("output_tokens"),
    _count("cost_nano"),
)

adjustments = Table(
    # Corrections of what was charged, never edits of it.
    "adjustments",
    metadata,
    Column("id", String, primary_key=True),
    Column("call_id", String, nullable=False, index=True),  # "": the sum of those of pruned calls
    Column("attempt", Integer, nullable=False, server_default="0"),  # 0: the call as a whole
    Column("created_at_us", BigInteger, nullable=False),
    Column("amount_nano", BigInteger, nullable=False),  # may be negative
    Column("reason", String, nullable=False),  # reprice
    _text("price_source"),
    _text("price_version"),
    _text("charge"),  # JSON: the lines of the charge as it is now
)

alerts = Table(
    # What is to be told, and what was: one row for each cause and channel, whoever saw it first.
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("channel", String, primary_key=True),
    Column("created_at_us", BigInteger, nullable=False, index=True),
    Column("state", String, nullable=False),  # pending | sent | failed | passed
    Column("body", Text, nullable=False),  # JSON of the core's Alert
    Column("tries", Integer, nullable=False, server_default="0"),
    _count("next_at_us"),  # when it is due, or tried again; a process that tries puts it off first
    _text("problem"),  # why the last try failed
)

audit = Table(
    "audit",
    metadata,
    Column("id", String, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),  # budget.set, key.create, key.revoke …
    Column("subject", String, nullable=False),
    _text("before"),
    _text("after"),
)
