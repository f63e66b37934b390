"""The ledger on PostgreSQL: any number of processes on any number of machines."""

import asyncio

from proxy.core.budgets import WindowKey
from proxy.core.call import Principal
from proxy.core.errors import LedgerError
from proxy.ledger import partitions
from proxy.ledger.base import Operation, Written
from proxy.ledger.cover import Cover
from proxy.ledger.database_ledger import DatabaseLedger
from proxy.ledger.postgres_writer import PostgresWriter


class PostgresLedger(DatabaseLedger):
    """Exact with any number of processes: what a batch decides on is locked until it is committed."""

    _writer: PostgresWriter
    _writing: asyncio.Task[None] | None = None

    async def _open(self) -> None:
        self._writer = PostgresWriter(self.database, self.options)
        await self._writer.open()
        try:
            await self._prepare()
        except BaseException:  # cancelled, too: what is half open is closed
            await self._writer.close()
            raise

    async def _close(self) -> None:
        await self._writer.close()

    async def _prepare(self) -> None:
        """Have the partitions of the next months ready before a call needs them."""
        now_us = self.options.clock_us()
        await self.database.run(lambda connection: partitions.ensure(connection, now_us))

    def cover(self, principal: Principal, model: str, at_us: int) -> Cover:
        """The windows of a call, by the budgets as this process last saw them."""
        return self._writer.covers.of(principal, model, at_us)

    def known(self, key: WindowKey) -> tuple[int, int]:
        """Spent and held of a window when this process last saw it, in nano-dollars."""
        return self._writer.known(key)

    def _dispatch(self, batch: list[Operation]) -> None:
        self._writing = asyncio.get_running_loop().create_task(self._write(batch))

    async def _write(self, batch: list[Operation]) -> None:
        written: Written | LedgerError
        try:
            written = await self._writer.write(batch)
        except LedgerError as error:
            written = error
        self.stats.retries = self._writer.retries
        self._done(batch, written)
