"""``/admin/v1/teams``: the teams of the configuration, and what they spent."""

from typing import Annotated

from fastapi import APIRouter, Query

from proxy.admin.deps import AdminDeps
from proxy.admin.queries import MOST, Paged
from proxy.admin.shapes import Page, TeamRow
from proxy.core.budgets import Scope, Window, window_bounds
from proxy.ledger.base import BudgetView
from proxy.store.clock import now_us
from proxy.store.reports import GroupBy, SpendQuery, SpendRow


def routes(deps: AdminDeps) -> APIRouter:
    """The routes over the deps."""
    router = APIRouter(tags=["teams"])

    @router.get("/teams")
    async def list_teams(query: Annotated[Paged, Query()]) -> Page[TeamRow]:
        """Every team by name, with what it spent in the current month (UTC)."""
        await deps.settled()
        budgets = await deps.ledger.budgets()
        spent = await _spent_this_month(deps)
        teams = sorted(deps.settings().teams, key=lambda team: team.name)
        if query.cursor is not None:
            teams = [team for team in teams if team.name > query.cursor]
        page = [
            TeamRow(
                name=team.name,
                organisation=team.organisation,
                models=team.models,
                max_output_tokens=team.max_output_tokens,
                max_input_tokens=team.max_input_tokens,
                on_over_cap=team.on_over_cap,
                requests_per_minute=team.requests_per_minute,
                tokens_per_minute=team.tokens_per_minute,
                budgets=[view.budget.id for view in budgets if _is_of(view, team.name)],
                calls=spent[team.name].calls if team.name in spent else 0,
                spent_usd=spent[team.name].cost_usd if team.name in spent else "0.00",
            )
            for team in teams[: query.limit]
        ]
        return Page(items=page, next_cursor=page[-1].name if len(teams) > query.limit else None)

    return router


async def _spent_this_month(deps: AdminDeps) -> dict[str, SpendRow]:
    month, _ = window_bounds(Window.MONTH, "UTC", now_us())
    page = await deps.records.spend(SpendQuery((GroupBy.TEAM,), month), MOST)
    return {row.group["team"]: row for row in page.items}


def _is_of(view: BudgetView, team: str) -> bool:
    budget = view.budget
    if budget.scope is Scope.TEAM and budget.subject in (team, "*"):
        return budget.team in ("", team)
    return budget.team == team
