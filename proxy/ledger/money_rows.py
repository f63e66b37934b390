"""What calls were charged and what holds set aside, read from the rows. The same for both databases."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Select, func, select

from proxy.core.budgets import Scope, WindowKey
from proxy.core.call import CallRecord, Key, Principal, Team
from proxy.ledger import codec, rows
from proxy.ledger.batch import OpenHold
from proxy.ledger.cover import StoredBudget
from proxy.ledger.recount import Fact, HeldFact, held_fact
from proxy.store.schema import adjustments, attempts, budget_windows, calls, holds

_QUARTER_US = 900_000_000  # every window starts and ends at a quarter of an hour

# The columns that decide whether a budget of a scope covers a call. The team narrows any of them.
_COLUMNS = {
    Scope.TEAM: "team",
    Scope.ORGANISATION: "organisation",
    Scope.KEY: "key",
    Scope.USER: "user",
    Scope.WORKFLOW: "workflow",
    Scope.RUN: "run",
    Scope.TAG: "tags",
    Scope.MODEL: "model",
}


def read_call(connection: Connection, call_id: str) -> CallRecord | None:
    """One settled call."""
    call = connection.execute(select(calls).where(calls.c.id == call_id)).mappings().first()
    if call is None:
        return None
    tries = connection.execute(select(attempts).where(attempts.c.call_id == call_id))
    corrected = connection.scalar(
        select(func.sum(adjustments.c.amount_nano)).where(adjustments.c.call_id == call_id)
    )
    record = rows.record_from(call, tries.mappings().all())
    return replace(record, adjusted_nano=int(corrected)) if corrected else record


# Charges


def charges(
    connection: Connection,
    budgets: Iterable[StoredBudget],
    *,
    since_us: int | None = None,
    until_us: int | None = None,
) -> Iterator[Fact]:
    """What the calls of a time were charged, summed as finely as these budgets ask. Adjustments too."""
    scopes = {Scope.TEAM, *(b.budget.scope for b in budgets)}
    named = [calls.c[_COLUMNS[scope]] for scope in Scope if scope in scopes]
    quarter = (calls.c.started_at_us // _QUARTER_US).label("quarter")
    for amount, source in (
        (calls.c.cost_nano, calls),
        (adjustments.c.amount_nano, adjustments.join(calls, adjustments.c.call_id == calls.c.id)),
    ):
        query = select(*named, quarter, func.sum(amount).label("nano")).select_from(source)
        query = _within(query, since_us, until_us).group_by(*named, quarter)
        for row in connection.execute(query).mappings():
            yield _fact(dict(row))


def _within(query: Select[Any], since_us: int | None, until_us: int | None) -> Select[Any]:
    if since_us is not None:
        query = query.where(calls.c.started_at_us >= since_us)
    if until_us is not None:
        query = query.where(calls.c.started_at_us < until_us)
    return query


def _fact(row: Mapping[str, Any]) -> Fact:
    key = Key("", row.get("key", ""), Team(row["team"], row.get("organisation", "")))
    principal = Principal(
        key,
        row.get("user", ""),
        row.get("workflow", ""),
        row.get("run", ""),
        rows.tags_from(row.get("tags", "")),
    )
    return Fact(principal, row.get("model", ""), row["quarter"] * _QUARTER_US, int(row["nano"]))


def open_holds(connection: Connection) -> tuple[HeldFact, ...]:
    """The holds of the calls under way."""
    found = connection.execute(select(holds)).mappings()
    return tuple(held_fact(row["call_id"], open_hold(row)) for row in found)


def open_hold(row: Mapping[Any, Any]) -> OpenHold:
    """A row of ``holds``."""
    return OpenHold(
        row["amount_nano"],
        codec.decode_windows(row["windows"]),
        row["estimate_nano"],
        row["model"],
        row["record"],
    )


# Windows


def window_totals(
    connection: Connection, starts: Mapping[str, int]
) -> dict[WindowKey, tuple[int, int, int]]:
    """Spent, held and overdraft of the windows that start then, of each budget."""
    w = budget_windows.c
    found = connection.execute(
        select(budget_windows).where(w.starts_at.in_(sorted(set(starts.values()))))
    )
    return {
        WindowKey(row.budget_id, row.subject, row.starts_at): (
            row.spent_nano,
            row.held_nano,
            row.overdraft_nano,
        )
        for row in found
        if starts.get(row.budget_id) == row.starts_at
    }
