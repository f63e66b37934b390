"""Budgets in SQL: read, changed, and counted from the rows. The same code for both databases.

Every function works on a connection with an open transaction. Charges and holds are written by the
writers (``sqlite_writer``, ``postgres_writer``); what changes budgets here locks them out, so that
a budget and its windows change between two of their transactions.
"""

import os
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, text, update

from proxy.core.budgets import Budget, OnExceed, Scope, Window, WindowKey
from proxy.ledger import changes, codec
from proxy.ledger.changes import Changes
from proxy.ledger.cover import Covers, StoredBudget
from proxy.ledger.money_rows import charges, open_holds
from proxy.ledger.recount import first_window, rebuild
from proxy.store.schema import audit, budget_windows, carried, generations, holds
from proxy.store.schema import budgets as budgets_table

BUDGET_LOCK = (
    0x6661_7265_0001  # PostgreSQL: shared by every batch, exclusive for a change of budgets
)
GENERATION = "budgets"
_BUDGET_FIELDS = tuple(c.name for c in budgets_table.columns)


def lock_budgets(connection: Connection) -> None:
    """Wait until no batch is under way, and keep the next ones waiting. SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({BUDGET_LOCK})"))


# Budgets


def load_covers(connection: Connection) -> Covers:
    """The budgets as they are now."""
    generation = connection.scalar(
        select(generations.c.value).where(generations.c.name == GENERATION)
    )
    found = connection.execute(select(budgets_table)).mappings()
    return Covers((stored_budget(row) for row in found), generation or 0)


def stored_budget(row: RowMapping | dict[str, Any]) -> StoredBudget:
    """A row of ``budgets``."""
    budget = Budget(
        id=row["id"],
        scope=Scope(row["scope"]),
        subject=row["subject"],
        limit_nano=row["limit_nano"],
        window=Window(row["window"]),
        team=row["team"],
        on_exceed=OnExceed(row["on_exceed"]),
        timezone=row["timezone"],
        shrink=bool(row["shrink"]),
        unpriced=row["unpriced"],
        unbounded=row["unbounded"],
        unbounded_nano=row["unbounded_nano"],
    )
    return StoredBudget(budget, row["since"], row["origin"], row["configured"])


def apply_changes(connection: Connection, change: Changes, now_us: int) -> None:
    """Write a change of budgets, and count those anew that cover other calls than before."""
    gone = [*change.removed, *change.recount]
    for table in (budget_windows, carried):
        connection.execute(delete(table).where(table.c.budget_id.in_(gone)))
    connection.execute(delete(budgets_table).where(budgets_table.c.id.in_(change.removed)))
    held = open_holds(connection) if change.recount else ()
    fresh = []
    for stored in change.put:
        if stored.budget.id in change.recount:
            since = first_window(stored.budget, now_us, held)
            stored = StoredBudget(stored.budget, since, stored.origin, stored.configured)  # noqa: PLW2901
            fresh.append(stored)
        _put(connection, stored, now_us)
    if fresh:
        facts = charges(connection, fresh, since_us=min(b.since for b in fresh) * 1_000_000)
        built = rebuild(fresh, facts, held)
        _add_windows(connection, built.spent, built.held)
        _move_holds(connection, built.hold_windows)
    raise_generation(connection)


def _put(connection: Connection, stored: StoredBudget, now_us: int) -> None:
    budget = stored.budget
    values = {name: getattr(budget, name) for name in _BUDGET_FIELDS if hasattr(budget, name)}
    values |= {"scope": str(budget.scope), "window": str(budget.window)}
    values |= {"on_exceed": str(budget.on_exceed), "origin": stored.origin}
    values |= {"configured": stored.configured, "since": stored.since, "updated_at_us": now_us}
    found = connection.execute(
        update(budgets_table).where(budgets_table.c.id == budget.id).values(values)
    )
    if not found.rowcount:
        connection.execute(insert(budgets_table).values(values | {"created_at_us": now_us}))


def _add_windows(
    connection: Connection, spent: dict[WindowKey, int], held: dict[WindowKey, int]
) -> None:
    new = [
        {
            "budget_id": key.budget_id,
            "subject": key.subject,
            "starts_at": key.starts_at,
            "spent_nano": spent.get(key, 0),
            "held_nano": held.get(key, 0),
        }
        for key in {*spent, *held}
    ]
    if new:
        connection.execute(insert(budget_windows), new)


def _move_holds(connection: Connection, windows: dict[str, tuple[WindowKey, ...]]) -> None:
    if windows:
        connection.execute(
            update(holds).where(holds.c.call_id == bindparam("id")).values(windows=bindparam("to")),
            [{"id": c, "to": codec.encode_windows(keys)} for c, keys in windows.items()],
        )


def raise_generation(connection: Connection) -> None:
    """Have every process read the budgets anew."""
    found = connection.execute(
        update(generations)
        .where(generations.c.name == GENERATION)
        .values(value=generations.c.value + 1)
    )
    if not found.rowcount:
        connection.execute(insert(generations).values(name=GENERATION, value=1))


def count_older(connection: Connection, keys: Iterable[WindowKey]) -> None:
    """Let budgets begin with an earlier window: a call that started in it is settled only now."""
    lock_budgets(connection)
    stored = load_covers(connection).budgets
    changed = False
    for key in keys:
        old = stored.get(key.budget_id)
        if old is None or key.starts_at >= old.since:
            continue
        earlier = StoredBudget(old.budget, key.starts_at, old.origin, old.configured)
        bounds = {"since_us": key.starts_at * 1_000_000, "until_us": old.since * 1_000_000}
        built = rebuild([earlier], charges(connection, [earlier], **bounds), ())
        _add_windows(connection, built.spent, {})
        connection.execute(
            update(budgets_table)
            .where(budgets_table.c.id == key.budget_id)
            .values(since=key.starts_at)
        )
        stored[key.budget_id] = earlier
        changed = True
    if changed:
        raise_generation(connection)


def write_audit(
    connection: Connection,
    actor: str,
    before: Budget | None,
    after: Budget | None,
    now_us: int,
) -> None:
    """Keep who changed a budget."""
    named = after or before
    if named is not None:
        connection.execute(
            insert(audit).values(
                id=f"au-{now_us // 1000:012x}{os.urandom(10).hex()}",
                at_us=now_us,
                actor=actor,
                action="budget.set" if after else "budget.remove",
                subject=named.id,
                before=changes.fingerprint(before) if before else "",
                after=changes.fingerprint(after) if after else "",
            )
        )
