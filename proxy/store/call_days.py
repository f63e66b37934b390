"""Where the calls of one key, user or workflow are: on which days, and of which team.

Calls are found by time, or by team and time. Somebody who calls now and then is looked for among
everybody's calls, of a long time, unless the rollup by principal says on which days there is any.
"""

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Select, select

from proxy.core.call import Outcome
from proxy.store.call_filter import CallFilter
from proxy.store.schema import rollups_by_principal

DAY_S = 86_400
US = 1_000_000
MOST = 50  # stretches that are looked through one by one
_NAMES = ("key", "user", "workflow")


def is_somebodys(wanted: CallFilter) -> bool:
    """Whether the rollup can tell where they are. Rare outcomes have an index of their own."""
    named = any(getattr(wanted, name) is not None for name in _NAMES)
    return named and wanted.outcome in {None, Outcome.COMPLETED}


def days_of(wanted: CallFilter) -> Select[tuple[int, str]]:
    """The days and teams of such calls, the newest first."""
    table = rollups_by_principal
    query = select(table.c.day, table.c.team).distinct().order_by(table.c.day.desc())
    for name in (*_NAMES, "team"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(table.c[name] == value)
    if wanted.from_us is not None:
        query = query.where(table.c.day > wanted.from_us // US - DAY_S)
    if wanted.to_us is not None:
        query = query.where(table.c.day < -(-wanted.to_us // US))
    return query


def stretches(wanted: CallFilter, days: Iterable[tuple[int, str]]) -> list[CallFilter]:
    """The same calls, a stretch of days at a time, the newest first; of one team where there is but one."""
    found: list[tuple[int, int, set[str]]] = []  # from, until, teams
    for day, team in days:
        if found and found[-1][0] <= day + DAY_S:
            _, until, teams = found.pop()
            found.append((day, until, {*teams, team}))
        else:
            found.append((day, day + DAY_S, {team}))
    if len(found) > MOST:
        found = [(found[-1][0], found[0][1], set().union(*(teams for _, _, teams in found)))]
    return [_within(wanted, *stretch) for stretch in found]


def _within(wanted: CallFilter, from_s: int, until_s: int, teams: set[str]) -> CallFilter:
    return replace(
        wanted,
        team=next(iter(teams)) if len(teams) == 1 else wanted.team,
        from_us=max(from_s * US, wanted.from_us or 0),
        to_us=until_s * US if wanted.to_us is None else min(until_s * US, wanted.to_us),
    )
