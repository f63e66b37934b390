"""The queue of alerts: in the database, so that any process can make one and any can send it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, RowMapping, delete, select, update

from proxy.core.alerts import Alert
from proxy.store.conflict import insert_into
from proxy.store.due import take_due
from proxy.store.engine import Database
from proxy.store.schema import alerts

PENDING, SENT, FAILED, PASSED = "pending", "sent", "failed", "passed"

_TRYING_US = 120_000_000  # who tries has so long; then another may, because it has died
_BACK_OFF_S = (10, 30, 120, 600, 1_800, 3_600)
_MOST_TRIES = 30  # with the last pause in between: about a day
_KEPT_US = 400 * 86_400 * 1_000_000  # longer than any window but a total


@dataclass(frozen=True, slots=True)
class QueuedAlert:
    """An alert for one channel."""

    alert: Alert
    channel: str
    state: str
    tries: int
    problem: str
    created_at_us: int
    next_at_us: int = 0


class AlertQueue:
    """Makes each alert once for each channel, and hands it to one sender at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, wanted: Iterable[tuple[Alert, str, str]]) -> int:
        """Add alerts (alert, channel, state) that are not there yet; how many were new."""
        rows = [
            {
                "id": alert.id,
                "channel": channel,
                "created_at_us": alert.at_us,
                "state": state,
                "body": msgspec.json.encode(alert).decode(),
                "next_at_us": alert.at_us,
            }
            for alert, channel, state in wanted
        ]
        if not rows:
            return 0
        known = await self._database.fetch(
            select(alerts.c.id, alerts.c.channel).where(alerts.c.id.in_({r["id"] for r in rows}))
        )
        there = {(row["id"], row["channel"]) for row in known}
        new = [row for row in rows if (row["id"], row["channel"]) not in there]
        if not new:
            return 0
        # Another process may add the same at this moment.
        statement = insert_into(self._database, alerts).on_conflict_do_nothing()

        def write(connection: Connection) -> None:
            connection.execute(statement, new)

        await self._database.run(write)
        return len(new)

    async def take(self, now_us: int, most: int = 50) -> list[QueuedAlert]:
        """Alerts that are due, each put off so that no other process sends it meanwhile."""
        waiting = alerts.c.state == PENDING, alerts.c.next_at_us <= now_us

        def claim(connection: Connection) -> list[QueuedAlert]:
            rows = take_due(connection, alerts, waiting, most=most, until_us=now_us + _TRYING_US)
            return [_queued(row, tries=row["tries"] + 1) for row in rows]

        return await self._database.run(claim)

    async def sent(self, queued: QueuedAlert) -> None:
        """Note that the channel took it."""
        await self._set(queued, state=SENT, problem="")

    async def failed(self, queued: QueuedAlert, problem: str, now_us: int) -> bool:
        """Note that it did not; whether it will be tried again."""
        again = queued.tries < _MOST_TRIES
        pause = _BACK_OFF_S[min(queued.tries, len(_BACK_OFF_S)) - 1]
        await self._set(
            queued,
            state=PENDING if again else FAILED,
            problem=problem[:500],
            next_at_us=now_us + pause * 1_000_000,
        )
        return again

    async def recent(self, most: int = 100) -> Sequence[QueuedAlert]:
        """The newest ones, the newest first."""
        newest = select(alerts).order_by(alerts.c.created_at_us.desc(), alerts.c.id).limit(most)
        return [_queued(row) for row in await self._database.fetch(newest)]

    async def forget_old(self, now_us: int) -> None:
        """Delete what no window needs any more to know that it was told."""
        old = delete(alerts).where(
            alerts.c.created_at_us < now_us - _KEPT_US, alerts.c.id.not_like("%|0|%")
        )

        def write(connection: Connection) -> None:
            connection.execute(old)

        await self._database.run(write)

    async def _set(self, queued: QueuedAlert, **values: object) -> None:
        change = (
            update(alerts)
            .where(alerts.c.id == queued.alert.id, alerts.c.channel == queued.channel)
            .values(**values)
        )

        def write(connection: Connection) -> None:
            connection.execute(change)

        await self._database.run(write)


def _queued(found: RowMapping, tries: int | None = None) -> QueuedAlert:
    return QueuedAlert(
        alert=msgspec.json.decode(found["body"], type=Alert),
        channel=found["channel"],
        state=found["state"],
        tries=found["tries"] if tries is None else tries,
        problem=found["problem"],
        created_at_us=found["created_at_us"],
        next_at_us=found["next_at_us"],
    )
