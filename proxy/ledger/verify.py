"""Whether the totals are what their rows add up to: I1, for budgets and for the rollups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proxy.core.budgets import WindowKey
from proxy.ledger.cover import Covers
from proxy.ledger.recount import Fact, HeldFact, count, count_held
from proxy.ledger.rows import Row


@dataclass(frozen=True, slots=True)
class Books:
    """Totals as they are written, and what they should be the sums of."""

    covers: Covers
    windows: Mapping[WindowKey, tuple[int, int]]  # spent, held
    charges: Iterable[Fact]  # of calls and adjustments
    holds: tuple[HeldFact, ...]
    rollups: Mapping[Row, Row]  # as written; and as the calls add up
    rollups_due: Mapping[Row, Row]
    by_principal: Mapping[Row, Row]
    by_principal_due: Mapping[Row, Row]
    attempts: Mapping[str, tuple[int, int]]  # of each call: attempts in its row, and rows of them
    carried: Mapping[WindowKey, int]  # what calls had been charged that were pruned since


def differences(books: Books) -> list[str]:
    """Every total that is not what its rows add up to."""
    return [
        *_windows(books),
        *_holds(books),
        *_rollups("rollups", books.rollups, books.rollups_due),
        *_rollups("rollups_by_principal", books.by_principal, books.by_principal_due),
        *(
            f"call {call_id}: says {said} attempts, has {there}"
            for call_id, (said, there) in books.attempts.items()
        ),
    ]


def _windows(books: Books) -> Iterable[str]:
    budgets = books.covers.budgets
    due = {
        key: nano
        for key, nano in count(books.charges, books.covers).items()
        if key.starts_at >= budgets[key.budget_id].since
    }
    for key, nano in books.carried.items():
        due[key] = due.get(key, 0) + nano
    held_due = count_held(books.holds)
    for key in {*due, *books.windows, *held_due}:
        if key.budget_id not in budgets:
            if key in books.windows:
                yield f"{_shown(key)}: has a row, but no budget"
            continue
        spent, held = books.windows.get(key, (0, 0))
        if spent != due.get(key, 0):
            yield f"{_shown(key)}: spent is {spent}, its calls add up to {due.get(key, 0)}"
        if held != held_due.get(key, 0):
            yield f"{_shown(key)}: held is {held}, its holds add up to {held_due.get(key, 0)}"


def _holds(books: Books) -> Iterable[str]:
    budgets = books.covers.budgets
    for hold in books.holds:
        if not hold.fact.nano:
            continue
        cover = books.covers.of(hold.fact.principal, hold.fact.model, hold.fact.at_us)
        said = {key for key in hold.windows if key.budget_id in budgets}
        if said != set(cover.keys):
            yield f"hold {hold.call_id}: is on {sorted(map(_shown, said))}, not {sorted(map(_shown, cover.keys))}"


def _rollups(table: str, written: Mapping[Row, Row], due: Mapping[Row, Row]) -> Iterable[str]:
    for key in {*written, *due}:
        there, wanted = written.get(key, ()), due.get(key, ())
        if tuple(there) != tuple(wanted) and any((*there, *wanted)):
            yield f"{table} {key}: is {tuple(there)}, its calls add up to {tuple(wanted)}"


def _shown(key: WindowKey) -> str:
    return f"budget {key.budget_id} {key.subject!r} from {key.starts_at}"
