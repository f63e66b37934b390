"""Rows that somebody has to see to at a time, ``next_at_us``: of all processes, one takes each.

Who takes a row puts it off for as long as seeing to it may last. Another takes it then, if it is still
there: the first one has died.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, select, update


def take_due(
    connection: Connection,
    table: Table,
    waiting: Sequence[ColumnElement[bool]],
    *,
    most: int,
    until_us: int,
) -> list[RowMapping]:
    """The first rows that wait, as they were, put off until then: none that another took meanwhile."""
    due = select(table).where(*waiting).order_by(table.c.next_at_us).limit(most)
    taken = []
    for row in connection.execute(due).mappings().all():
        same = [column == row[column.name] for column in table.primary_key]
        mine = connection.execute(
            update(table)
            .where(*same, *waiting)
            .values(next_at_us=until_us, tries=table.c.tries + 1)
        )
        if mine.rowcount:
            taken.append(row)
    return taken
