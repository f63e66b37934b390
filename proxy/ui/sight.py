"""What a viewer may see. Pages read through it and nothing else.

Whoever logged in with a key sees its team and nothing of another one: the team is put into every query
here, whatever the address says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from proxy.core.budgets import Scope
from proxy.ledger.base import BudgetView
from proxy.store.audits import AuditRow
from proxy.store.call_filter import CallFilter
from proxy.store.key_rows import StoredKey
from proxy.store.latency import Latency
from proxy.store.records import CallPage
from proxy.store.reports import GroupBy, SpendPage, SpendQuery
from proxy.store.rows import CallDetail
from proxy.ui.deps import UiDeps
from proxy.ui.spans import Span

_AT_ONCE = 50_000  # groups


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: the administrator, or somebody with a key of a team."""

    team: str | None = None  # None: every team
    key: str = ""  # the name of the key that was shown

    @property
    def is_admin(self) -> bool:
        """Whether everything may be seen and changed."""
        return self.team is None


@dataclass(frozen=True, slots=True)
class Spent:
    """What a group spent. A count that the rollup of the group does not keep is None."""

    group: dict[str, str]
    calls: int
    errors: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    nano: int


class Sight:
    """The ledger as one viewer sees it. Every method raises LedgerError where the database is away."""

    def __init__(self, deps: UiDeps, viewer: Viewer) -> None:
        self._deps = deps
        self.viewer = viewer

    async def spend(
        self,
        group_by: tuple[GroupBy, ...],
        span: Span,
        limit: int | None = None,
        *,
        team: str | None = None,
        model: str | None = None,
    ) -> list[Spent]:
        """What was spent in a span, from the rollups, by the query of the reports: all groups, or the first."""
        query = SpendQuery(
            group_by, span.from_s, span.until_s, self._team(team), model, parts=False
        )
        page = await self._deps.records.spend(query, limit or _AT_ONCE)
        found = _spent(page)
        while page.next_cursor and limit is None:
            page = await self._deps.records.spend(query, _AT_ONCE, page.next_cursor)
            found += _spent(page)
        return found

    async def calls(self, wanted: CallFilter, limit: int, cursor: str | None) -> CallPage:
        """A page of calls, the newest first."""
        own = replace(wanted, team=self._team(wanted.team))
        return await self._deps.records.calls(own, limit, cursor)

    async def call(self, call_id: str) -> CallDetail | None:
        """One call; None for one of another team, as if it were not there."""
        found = await self._deps.records.call(call_id)
        return found if found is not None and self._may_see(found.team) else None

    async def latencies(self, span: Span, team: str | None = None) -> dict[str, Latency]:
        """How long the models took, from a sample."""
        return await self._deps.latencies.by_model(span.from_s, span.until_s, self._team(team))

    async def budgets(self) -> list[BudgetView]:
        """The budgets with their windows of now. A team sees those on nothing but its own calls."""
        views = await self._deps.ledger.budgets()
        if self.viewer.team is None:
            return list(views)
        names = {key.name for key in await self.keys()}
        mine = (self._own(view, names) for view in views)
        return [view for view in mine if view is not None]

    def _own(self, view: BudgetView, keys: set[str]) -> BudgetView | None:
        budget, team = view.budget, self.viewer.team
        if budget.team:
            return view if budget.team == team else None
        if budget.scope is Scope.TEAM:
            subjects = {team}
        elif budget.scope is Scope.KEY:
            subjects = {*keys}
        else:
            return None  # it counts the calls of several teams
        windows = tuple(window for window in view.windows if window.subject in subjects)
        return replace(view, windows=windows) if windows else None

    async def keys(self) -> list[StoredKey]:
        """The keys, without their secrets."""
        return [key for key in await self._deps.keys.list() if self._may_see(key.team)]

    async def changes(self, kind: str, limit: int = 8) -> list[AuditRow]:
        """Who changed budgets or keys. For the administrator only."""
        return await self._deps.audits.newest(kind, limit) if self.viewer.is_admin else []

    def teams(self) -> Sequence[str]:
        """The teams of the configuration that there are to choose from."""
        return [t for t in sorted(self._deps.settings().core_teams()) if self._may_see(t)]

    def now_s(self) -> float:
        """The time."""
        return self._deps.clock_s()

    async def settled(self) -> None:
        """Wait until the calls that were answered are in the ledger."""
        await self._deps.settled()

    def _team(self, asked: str | None) -> str | None:
        return asked if self.viewer.team is None else self.viewer.team

    def _may_see(self, team: str) -> bool:
        return self.viewer.team is None or team == self.viewer.team


def _spent(page: SpendPage) -> list[Spent]:
    return [
        Spent(
            row.group,
            row.calls,
            row.errors or 0,
            row.unpriced or 0,
            row.input_tokens,
            row.output_tokens,
            nano,
        )
        for row, nano in zip(page.items, page.costs_nano, strict=True)
    ]
