"""PostgreSQL's partitions of calls and attempts, one a month.

Made ahead, so that the default one stays empty and old months can be detached in one stroke.
"""

from datetime import UTC, datetime
from itertools import pairwise

from sqlalchemy import Connection, text

from proxy.store.schema import PARTITIONED

MONTHS_AHEAD = 2


def ensure(connection: Connection, now_us: int) -> list[str]:
    """Make the partitions of this month and the next ones; says which were missing.

    Rows of such a month that are in the default partition move into it.
    """
    if connection.dialect.name != "postgresql":
        return []
    there = set(connection.scalars(text(_PARTITIONS)))
    months = _months(now_us)
    missing = [
        (table, start, end)
        for table in PARTITIONED
        for start, end in months
        if partition_name(table, start) not in there
    ]
    made = []
    for table, start, end in missing:
        _lock(connection)
        name = partition_name(table, start)
        if connection.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is None:
            _make(connection, table, name, _micros(start), _micros(end))
            made.append(name)
    return made


def partition_name(table: str, month: datetime) -> str:
    """``calls_p2026_11``."""
    return f"{table}_p{month.year}_{month.month:02}"


_PARTITIONS = """
SELECT child.relname FROM pg_inherits
JOIN pg_class child ON child.oid = pg_inherits.inhrelid
JOIN pg_class parent ON parent.oid = pg_inherits.inhparent
WHERE parent.relname IN ('calls', 'attempts')
"""
_MOVE = """
WITH moved AS (
    DELETE FROM {table}_default WHERE started_at_us >= :start AND started_at_us < :end RETURNING *
) INSERT INTO {name} SELECT * FROM moved
"""
_MAKING = 0x6661_7265_0002  # one process makes partitions at a time


def _lock(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_MAKING})"))


def _make(connection: Connection, table: str, name: str, start_us: int, end_us: int) -> None:
    connection.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
    move = _MOVE.format(table=table, name=name)
    connection.execute(text(move), {"start": start_us, "end": end_us})
    bounds = f"FROM ({start_us}) TO ({end_us})"
    connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))


def _months(now_us: int) -> list[tuple[datetime, datetime]]:
    now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    firsts = [
        datetime(now.year + (now.month - 1 + n) // 12, (now.month - 1 + n) % 12 + 1, 1, tzinfo=UTC)
        for n in range(MONTHS_AHEAD + 2)
    ]
    return list(pairwise(firsts))


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
