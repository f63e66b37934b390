"""How much room old calls take, and what became free of it."""

from sqlalchemy import Connection, func, select, text

from proxy.store.schema import calls

_ROW_BYTES = """
SELECT coalesce((
    SELECT sum(pg_column_size(c.*)) FROM calls c
    WHERE c.started_at_us >= :since AND c.started_at_us < :until
), 0) + coalesce((
    SELECT sum(pg_column_size(a.*)) FROM calls c JOIN attempts a ON a.call_id = c.id
    WHERE c.started_at_us >= :since AND c.started_at_us < :until
), 0)
"""


def row_bytes(connection: Connection, since_us: int, until_us: int) -> int:
    """PostgreSQL: what the rows of a time take, without their indexes."""
    found = connection.scalar(text(_ROW_BYTES), {"since": since_us, "until": until_us})
    return int(found or 0)


def free_bytes(connection: Connection) -> int:
    """SQLite: what is free inside of the file, to be filled by what comes next."""
    return _pragma(connection, "freelist_count") * _pragma(connection, "page_size")


def share_of_file(connection: Connection, until_us: int) -> int:
    """SQLite: the part of the file that older calls take, if all calls take the same."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    total = connection.scalar(select(func.count()).select_from(calls)) or 0
    older = select(func.count()).select_from(calls).where(calls.c.started_at_us < until_us)
    if not total:
        return 0
    return pages * _pragma(connection, "page_size") * (connection.scalar(older) or 0) // total


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
