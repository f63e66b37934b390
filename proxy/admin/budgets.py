"""``/admin/v1/budgets``: limits, and what is spent and held of them now."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ValidationError

from proxy.admin.deps import AdminDeps
from proxy.admin.problems import Problem
from proxy.admin.queries import Paged
from proxy.admin.shapes import BudgetBody, BudgetRow, Page, budget_rows
from proxy.admin.wording import explained
from proxy.core.budgets import Budget, Scope
from proxy.core.errors import InvalidRequest
from proxy.core.money import usd
from proxy.ledger.base import BudgetView
from proxy.settings import Defaults, ScopedBudgetSettings
from proxy.settings.budgets import Covers, core_budget
from proxy.store.reports import NO_CURSOR, BadCursor

ACTOR = "admin-api"


def routes(deps: AdminDeps) -> APIRouter:
    """The routes over the deps."""
    router = APIRouter(tags=["budgets"])

    @router.get("/budgets")
    async def list_budgets(query: Annotated[Paged, Query()]) -> Page[BudgetRow]:
        """Every budget with its windows of now, by id and subject."""
        await deps.settled()
        rows = sorted(_rows(await deps.ledger.budgets()), key=_place)
        if query.cursor is not None and "\n" not in query.cursor:
            raise BadCursor(NO_CURSOR)
        if query.cursor is not None:
            rows = [row for row in rows if _cursor(row) > query.cursor]
        more = len(rows) > query.limit
        page = rows[: query.limit]
        return Page(items=page, next_cursor=_cursor(page[-1]) if more else None)

    @router.put("/budgets")
    async def set_budget(body: BudgetBody) -> Page[BudgetRow]:
        """Make a budget, or change what is given of one. The next call goes by it, in every process.

        A budget that the configuration has keeps the change until its lines there change.
        """
        settings = deps.settings()
        views = await deps.ledger.budgets()
        budget = changed_budget(body, views, tuple(settings.core_teams()), settings.defaults)
        await deps.ledger.set_budget(budget, ACTOR)
        rows = [r for r in _rows(await deps.ledger.budgets()) if r.id == budget.id]
        return Page(items=rows)

    @router.delete("/budgets/{budget_id:path}")
    async def remove_budget(budget_id: str) -> Page[BudgetRow]:
        """Remove a budget that was made here, and answer with what it was. The next call goes by it."""
        views = await deps.ledger.budgets()
        there = _named(budget_id, views)
        try:
            await deps.ledger.remove_budget(there.id, ACTOR)
        except InvalidRequest as error:
            raise Problem(409, "budget_not_changed", error.message, "id") from None
        return Page(items=[row for row in _rows(views) if row.id == there.id])

    return router


def changed_budget(
    body: BudgetBody, views: Sequence[BudgetView], teams: Sequence[str], defaults: Defaults
) -> Budget:
    """The budget that a request makes of what there is. Raises Problem."""
    there = None if body.id is None else _named(body.id, views)
    given = body.model_dump(exclude_none=True, exclude={"id"})
    of_a_team = body.scope is Scope.TEAM or (body.scope is None and there is None)
    if of_a_team and body.subject is None and body.team:
        given |= {"scope": Scope.TEAM, "subject": body.team, "team": ""}
    merged = {**_as_settings(there), **given} if there else given
    settings = _validated(merged)
    covers = Covers(settings.scope, settings.subject, settings.team)
    _check_teams(covers, teams)
    budget = core_budget(settings, covers, defaults.unpriced, defaults.unbounded)
    if there is not None and budget.id != there.id:
        raise Problem(
            422,
            "budget_is_another",
            f"A budget's id follows from what it covers: this would be {budget.id!r}, not {there.id!r}. "
            "Leave the id out to make that one.",
            "id",
        )
    return budget


def _named(budget_id: str, views: Sequence[BudgetView]) -> Budget:
    for view in views:
        if view.budget.id == budget_id:
            return view.budget
    known = ", ".join(sorted(view.budget.id for view in views)) or "none"
    raise Problem(
        404,
        "budget_not_found",
        f"There is no budget {budget_id!r} (known: {known}). To make one, leave the id out and give scope, "
        "subject or team, window and limit_usd.",
        "id",
    )


def _as_settings(budget: Budget) -> dict[str, Any]:
    reserve = {"reserve_usd": usd(budget.unbounded_nano)}
    return {
        "scope": budget.scope,
        "subject": budget.subject,
        "team": budget.team,
        "window": budget.window,
        "limit_usd": usd(budget.limit_nano),
        "on_exceed": budget.on_exceed,
        "timezone": budget.timezone,
        "shrink": budget.shrink,
        "unpriced": budget.unpriced,
        "unbounded": reserve if budget.unbounded == "reserve" else budget.unbounded,
    }


def _validated(values: dict[str, Any]) -> ScopedBudgetSettings:
    try:
        return ScopedBudgetSettings.model_validate(values)
    except ValidationError as error:
        message, param = explained(error.errors())
        raise Problem(422, "invalid_budget", message, param) from None


def _check_teams(covers: Covers, teams: Sequence[str]) -> None:
    named = [covers.team] if covers.team else []
    if covers.scope == Scope.TEAM and covers.subject != "*":
        named.append(covers.subject)
    for name in named:
        if name not in teams:
            known = ", ".join(sorted(teams)) or "none"
            raise Problem(
                422,
                "unknown_team",
                f"There is no team {name!r} in the configuration (known: {known}).",
                "team",
            )


def _rows(views: Sequence[BudgetView]) -> list[BudgetRow]:
    return [row for view in views for row in budget_rows(view)]


def _place(row: BudgetRow) -> str:
    return _cursor(row)


def _cursor(row: BudgetRow) -> str:
    return f"{row.id}\n{row.subject}"
