"""``farebox demo-data``: a ledger with months of a made-up company's calls in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from proxy.core.budgets import Budget, OnExceed, Scope, Window, window_bounds
from proxy.core.errors import FareboxError
from proxy.ledger import budget_rows, changes
from proxy.ledger.cover import StoredBudget
from proxy.ledger.demo import hands
from proxy.ledger.demo.bulk import finish, prepare
from proxy.ledger.demo.calls import key_names
from proxy.ledger.demo.company import ORGANISATION, TEAMS, DemoTeam
from proxy.ledger.demo.making import DemoPlan, Making
from proxy.settings.budgets import Covers, budget_id
from proxy.store import key_rows
from proxy.store.engine import Database
from proxy.store.key_rows import Change, KeyRequest
from proxy.store.schema import calls, keys, rollups

ACTOR = "demo-data"


class LedgerInUse(FareboxError):
    """The ledger has calls that nobody made up."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made: the secret of each new key, by its name, is known now and never again."""

    calls: int
    secrets: dict[str, str]


async def seed(
    database: Database, plan: DemoPlan, prices: Sequence[Any], advance: Callable[[int], object]
) -> Seeded:
    """Write it, priced by a configuration's ``prices`` and the price data.

    ``advance`` is told of the calls as they are written. Raises LedgerInUse, LedgerError.
    """
    if not plan.append:
        await database.run(_check_unused, writes=False)
    made = await database.run(lambda connection: _make_keys(connection, plan))
    covers = await database.run(budget_rows.load_covers, writes=False)
    ids = await database.run(_key_ids, writes=False)
    await prepare(database, plan.start_us, plan.now_us)
    written = 0
    making = Making(plan, tuple(prices), ids, tuple(covers.budgets.values()))
    async for count in hands.write(database, making):
        advance(count)
        written += count
    await database.run(lambda connection: _make_budgets(connection, plan.now_us))
    await finish(database)
    return Seeded(written, made)


# Keys


def _check_unused(connection: Connection) -> None:
    found = connection.execute(select(calls.c.id, calls.c.team).limit(1)).first()
    if found is not None:
        raise LedgerInUse(
            f"this ledger has calls already (of team {found.team!r}, and perhaps others): made-up ones "
            "would be counted with them for good. Name an empty database with --database, or say --append."
        )


def _make_keys(connection: Connection, plan: DemoPlan) -> dict[str, str]:
    there = set(connection.scalars(select(keys.c.name)))
    made = {}
    for team in TEAMS:
        for name in key_names(team):
            if name not in there:
                request = KeyRequest(name, team.name, origin="demo")
                change = Change(ACTOR, plan.start_us)
                made[name] = key_rows.create(connection, request, change).secret
    return made


def _key_ids(connection: Connection) -> dict[str, str]:
    return {row.name: row.id for row in connection.execute(select(keys.c.name, keys.c.id))}


# Budgets


def _make_budgets(connection: Connection, now_us: int) -> None:
    """The budgets that are not there yet, their windows counted from the rows."""
    budget_rows.lock_budgets(connection)
    there = budget_rows.load_covers(connection).budgets
    put = [b for b in _budgets(connection, now_us) if b.id not in there]
    change = changes.Changes(
        tuple(StoredBudget(b, 0, changes.API) for b in put), (), frozenset(b.id for b in put)
    )
    if change:
        budget_rows.apply_changes(connection, change, now_us)
        for budget in put:
            budget_rows.write_audit(connection, ACTOR, None, budget, now_us)


def _budgets(connection: Connection, now_us: int) -> Iterator[Budget]:
    month, _ = window_bounds(Window.MONTH, "UTC", now_us)
    spent = _spent_since(connection, month)
    for team in TEAMS:
        yield _team_budget(team, spent.get(team.name, 0))
    everything = _round_up(sum(spent.values()) * 10 // 8)
    yield _month(Scope.ORGANISATION, ORGANISATION, everything, OnExceed.BLOCK)


def _team_budget(team: DemoTeam, spent_nano: int) -> Budget:
    limit = round(spent_nano / team.used)
    # A blocking budget is never overrun, not even in a made-up ledger; one that warns may be.
    limit = _round_up(limit) if team.used < 1 else _round_up(limit) - _step(limit)
    return _month(Scope.TEAM, team.name, limit, OnExceed(team.on_exceed))


def _month(scope: Scope, subject: str, limit_nano: int, on_exceed: OnExceed) -> Budget:
    id_ = budget_id(Covers(scope, subject, ""), Window.MONTH, on_exceed)
    return Budget(id_, scope, subject, max(limit_nano, 1), Window.MONTH, on_exceed=on_exceed)


def _round_up(nano: int) -> int:
    return -(-nano // _step(nano)) * _step(nano)


def _step(nano: int) -> int:
    """Limits have two digits: $1,200, not $1,187.23."""
    digits = len(str(nano)) - 2
    return max(int(10**digits), 10_000_000)


def _spent_since(connection: Connection, second: int) -> dict[str, int]:
    query = select(rollups.c.team, func.sum(rollups.c.cost_nano)).where(rollups.c.hour >= second)
    return {team: int(nano) for team, nano in connection.execute(query.group_by(rollups.c.team))}
