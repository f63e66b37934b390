"""What providers keep for clients, noted so that every process finds it, and one at a time asks for it."""

import asyncio
import contextlib
from collections import OrderedDict
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select, update

from proxy.core.errors import LedgerError
from proxy.core.objects import Kind, Known
from proxy.store.conflict import insert_into
from proxy.store.due import take_due
from proxy.store.engine import Database
from proxy.store.schema import objects

_ASKING_US = 600_000_000  # who asks has so long; then another may, because it has died
_KEPT_US = 60 * 86_400 * 1_000_000  # no provider keeps anything longer that it was not told to
_FOUND_HERE = 10_000  # remembered in memory
_GATHERED_S = 0.1
_READS_WITHIN_S = 2.0  # a client waits for it


class ObjectStore:
    """Satisfies ``gateway.ports.Objects``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._here: OrderedDict[str, Known] = OrderedDict()
        self._gathered: dict[tuple[str, str], Known] = {}
        self._flush: asyncio.Task[None] | None = None

    async def put(self, *known: Known) -> None:
        """Note them, in the place of what was known before. Durable when it returns."""
        statement = insert_into(self._database, objects)
        changed = {c.name: statement.excluded[c.name] for c in objects.c if not c.primary_key}
        statement = statement.on_conflict_do_update(
            index_elements=objects.primary_key, set_=changed
        )
        rows = [_row(one) for one in sorted(known, key=lambda one: (one.id, one.upstream))]

        def write(connection: Connection) -> None:
            connection.execute(statement, rows)

        await self._database.run(write)
        self._remember(*known)

    def put_soon(self, known: Known) -> None:
        """Note it with others, in a moment; found here at once. Nothing depends on it but a route."""
        self._remember(known)
        self._gathered[known.id, known.upstream] = known
        if self._flush is None or self._flush.done():
            self._flush = asyncio.get_running_loop().create_task(self._write_gathered())

    async def find(self, id_: str) -> Known | None:
        """The newest with this id."""
        found = self._here.get(id_)
        if found is not None and found.kind in {Kind.OTHER, Kind.RESULTS}:  # which never change
            return found
        newest = select(objects).where(objects.c.id == id_).order_by(objects.c.created_at_us.desc())
        rows = await self._database.fetch(newest.limit(1), within_s=_READS_WITHIN_S)
        return _known(rows[0]) if rows else found

    async def due(self, now_us: int, most: int, *kinds: Kind) -> list[Known]:
        """Those of these kinds whose providers are to be asked, each put off so that nobody else asks meanwhile."""
        waiting = (objects.c.next_at_us <= now_us, objects.c.kind.in_(list(kinds)))
        if not await self._database.fetch(select(objects.c.id).where(*waiting).limit(1)):
            return []

        def claim(connection: Connection) -> list[Known]:
            rows = take_due(connection, objects, waiting, most=most, until_us=now_us + _ASKING_US)
            return [_known(row) for row in rows]

        return await self._database.run(claim)

    async def put_off(self, known: Known, next_at_us: int | None) -> None:
        """When it is asked for again; None: never."""
        change = update(objects).where(_is(known.id, known.upstream)).values(next_at_us=next_at_us)

        def write(connection: Connection) -> None:
            connection.execute(change)

        await self._database.run(write)

    async def forget_old(self, now_us: int) -> None:
        """Delete what no provider has any more."""
        old = delete(objects).where(objects.c.created_at_us < now_us - _KEPT_US)

        def write(connection: Connection) -> None:
            connection.execute(old)

        await self._database.run(write)

    async def close(self) -> None:
        """Write what was gathered, if the database takes it."""
        if self._flush is not None:
            await asyncio.wait((self._flush,))

    async def _write_gathered(self) -> None:
        await asyncio.sleep(_GATHERED_S)
        while self._gathered:
            gathered, self._gathered = list(self._gathered.values()), {}
            # Open: where the database does not take it, only this process knows the way to it.
            with contextlib.suppress(LedgerError):
                await self.put(*gathered)

    def _remember(self, *known: Known) -> None:
        for one in known:
            self._here[one.id] = one
            self._here.move_to_end(one.id)
        while len(self._here) > _FOUND_HERE:
            self._here.popitem(last=False)


def _is(id_: str, upstream: str) -> Any:
    return (objects.c.id == id_) & (objects.c.upstream == upstream)


def _row(known: Known) -> dict[str, Any]:
    return {
        "id": known.id,
        "upstream": known.upstream,
        "kind": str(known.kind),
        "created_at_us": known.created_at_us,
        "data": known.data,
        "next_at_us": known.next_at_us,
        "tries": known.tries,
    }


def _known(row: RowMapping) -> Known:
    return Known(
        row["id"],
        row["upstream"],
        Kind(row["kind"]),
        row["created_at_us"],
        row["data"],
        row["next_at_us"],
        row["tries"],
    )
