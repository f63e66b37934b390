"""The checker: whether spent + held ever goes over the limit of a blocking budget.

Two ways at once. A trigger in the database sees every write of a window, and notes those that took
a window further over its limit. And an independent reader samples consistent snapshots, in which it
also adds up the holds: a trigger sees what is written, not what was forgotten to be.

A budget that is lowered below what is already spent and held of it is over its limit by the will of
an administrator; then nothing may be added until there is room again, and that is what is checked.

A call that was settled as lost while its replica was frozen may turn out dearer than that, where others
hold the room by now. What does not fit is then to be shown as overdraft, in the same write.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping, text

from proxy.core.errors import LedgerError
from proxy.store.engine import Database

_EVERY_S = 0.05
Key = tuple[str, str, int]
Rows = Sequence[RowMapping]

_TABLE = """
CREATE TABLE soak_writes (
    budget_id text, subject text, starts_at bigint, limit_nano bigint,
    spent_before bigint, held_before bigint, spent bigint, held bigint, overdraft_added bigint
)
"""
_OVER = """
SELECT NEW.budget_id, NEW.subject, NEW.starts_at, b.limit_nano, {before},
    NEW.spent_nano, NEW.held_nano, NEW.overdraft_nano - {overdraft}
FROM budgets b WHERE b.id = NEW.budget_id AND b.on_exceed = 'block'
    AND NEW.spent_nano + NEW.held_nano > b.limit_nano
    AND NEW.spent_nano + NEW.held_nano > {total}
"""
_NEW = _OVER.format(before="0, 0", overdraft="0", total="0")
_CHANGED = _OVER.format(
    before="OLD.spent_nano, OLD.held_nano",
    overdraft="OLD.overdraft_nano",
    total="OLD.spent_nano + OLD.held_nano",
)
_SQLITE = (
    _TABLE,
    f"CREATE TRIGGER soak_new AFTER INSERT ON budget_windows BEGIN INSERT INTO soak_writes {_NEW}; END",
    f"CREATE TRIGGER soak_changed AFTER UPDATE ON budget_windows BEGIN INSERT INTO soak_writes {_CHANGED}; END",
)
_POSTGRES = (
    _TABLE,
    *(
        f"""CREATE FUNCTION soak_{name}() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO soak_writes {query}; RETURN NULL; END $$"""
        for name, query in (("new", _NEW), ("changed", _CHANGED))
    ),
    "CREATE TRIGGER soak_new AFTER INSERT ON budget_windows FOR EACH ROW EXECUTE FUNCTION soak_new()",
    "CREATE TRIGGER soak_changed AFTER UPDATE ON budget_windows FOR EACH ROW EXECUTE FUNCTION soak_changed()",
)
_SNAPSHOT = text(
    "SELECT w.*, b.limit_nano, b.on_exceed FROM budget_windows w JOIN budgets b ON b.id = w.budget_id"
)
_HOLDS = text("SELECT amount_nano, windows FROM holds")
_WRITES = text("SELECT * FROM soak_writes")


async def install(database: Database) -> None:
    """Have the database watch its own writes. It is migrated already."""

    def work(connection: Connection) -> None:
        for statement in _SQLITE if database.is_sqlite else _POSTGRES:
            connection.exec_driver_sql(statement)

    await database.run(work)


@dataclass(slots=True)
class Watch:
    """What was seen."""

    database: Database
    snapshots: int = 0
    overruns: list[str] = field(default_factory=list)
    sums_wrong: list[str] = field(default_factory=list)
    _before: dict[Key, tuple[int, int, int]] = field(
        default_factory=dict
    )  # total, limit, overdraft

    async def forever(self) -> None:
        """Sample until cancelled. While the database is away there is nothing to see."""
        while True:
            with contextlib.suppress(LedgerError):
                await self.sample()
            await asyncio.sleep(_EVERY_S)

    async def sample(self) -> None:
        """One snapshot."""

        def read(connection: Connection) -> tuple[Rows, Rows]:
            if not self.database.is_sqlite:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            windows = connection.execute(_SNAPSHOT).mappings().all()
            return windows, connection.execute(_HOLDS).mappings().all()

        windows, holds = await self.database.run(read, writes=False)
        self.snapshots += 1
        self._check_limits(windows)
        self._check_sums(windows, holds)

    def _check_limits(self, windows: Rows) -> None:
        seen: dict[Key, tuple[int, int, int]] = {}
        for row in windows:
            key = (row["budget_id"], row["subject"], row["starts_at"])
            total, limit = row["spent_nano"] + row["held_nano"], row["limit_nano"]
            overdraft = row["overdraft_nano"]
            total_before, limit_before, overdraft_before = self._before.get(key, (0, limit, 0))
            seen[key] = total, limit, overdraft
            over = total - max(limit, limit_before, total_before)
            if row["on_exceed"] == "block" and over > max(overdraft - overdraft_before, 0):
                self.overruns.append(f"{key}: {total} of {limit}, before {total_before}")
        self._before = seen

    def _check_sums(self, windows: Rows, holds: Rows) -> None:
        held: Counter[Key] = Counter()
        for hold in holds:
            for budget, subject, starts_at in json.loads(hold["windows"]):
                held[budget, subject, starts_at] += hold["amount_nano"]
        for row in windows:
            key = (row["budget_id"], row["subject"], row["starts_at"])
            if row["held_nano"] != held[key]:
                self.sums_wrong.append(f"{key}: held {row['held_nano']}, holds {held[key]}")

    async def writes_over(self) -> tuple[Rows, Rows]:
        """The writes that took a window further over its limit: unseen, and shown as overdraft."""
        found = await self.database.fetch(_WRITES)
        unseen = [row for row in found if _further(row) > row["overdraft_added"]]
        return unseen, [row for row in found if row not in unseen]


def _further(write: RowMapping) -> int:
    before = write["spent_before"] + write["held_before"]
    return int(write["spent"] + write["held"] - max(write["limit_nano"], before))
