"""Teams and budgets: how much of each limit is spent, held and left; and how a limit is changed.

A change is shown before it is made: the form, then what it means, then the budget as it is now. It is
written by the ledger, with its line in the audit.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from proxy.admin.budgets import changed_budget
from proxy.admin.problems import Problem as AdminProblem
from proxy.admin.shapes import BudgetBody
from proxy.core.budgets import Budget, OnExceed, Scope, Window
from proxy.core.money import usd
from proxy.core.present import iso_second
from proxy.ledger.base import BudgetView, WindowView
from proxy.store.audits import AuditRow
from proxy.store.clock import now_us
from proxy.store.reports import GroupBy
from proxy.ui import charts, words
from proxy.ui.access import read_form
from proxy.ui.deps import UiDeps
from proxy.ui.problems import Problem
from proxy.ui.rendering import address, render
from proxy.ui.sight import Sight, Spent
from proxy.ui.spans import named

ACTOR = "ui"


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One window of a budget, as it is shown."""

    budget: Budget
    subject: str
    spent: int
    held: int
    overdraft: int
    resets_at: str
    bar: Markup

    @property
    def left(self) -> int:
        """What may still be spent; negative where the limit is passed."""
        return self.budget.limit_nano - self.spent - self.held

    @property
    def share(self) -> float:
        """How much of the limit is spent and held; 1 is all."""
        return (self.spent + self.held) / max(1, self.budget.limit_nano)

    @property
    def state(self) -> str:
        """over, near or ok."""
        return "over" if self.share > 1 else "near" if self.share >= 0.8 else "ok"  # noqa: PLR2004 - where alerts begin

    @property
    def used(self) -> str:
        """The share in words."""
        return words.percent(self.spent + self.held, self.budget.limit_nano, 0)


def rows_of(views: Iterable[BudgetView]) -> list[BudgetLine]:
    """Every window of now; a budget that nobody used yet shows its limit."""
    return [_line(view.budget, window) for view in views for window in view.shown(now_us())]


def _line(budget: Budget, window: WindowView) -> BudgetLine:
    return BudgetLine(
        budget,
        window.subject,
        window.spent_nano,
        window.held_nano,
        window.overdraft_nano,
        "never" if window.resets_at is None else iso_second(window.resets_at)[:16],
        charts.budget_bar(window.spent_nano, window.held_nano, budget.limit_nano),
    )


@dataclass(frozen=True, slots=True)
class TeamLine:
    """A team's month, and its budgets."""

    name: str
    spent: int
    calls: int
    errors: int
    budgets: list[BudgetLine]
    share: Markup


async def show(request: Request, sight: Sight) -> Response:
    """The page."""
    await sight.settled()
    month = named("month", sight.now_s())
    views, spent, changes = await asyncio.gather(
        sight.budgets(), sight.spend((GroupBy.TEAM,), month), sight.changes("budget")
    )
    lines = rows_of(views)
    teams = _teams(sight, spent, lines)
    named_in_teams = {id(line) for team in teams for line in team.budgets}
    return render(
        request,
        "budgets.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        teams=teams,
        others=[line for line in lines if id(line) not in named_in_teams],
        changes=[_told(row) for row in changes],
        changed=request.query_params.get("changed", ""),
    )


def _teams(sight: Sight, spent: list[Spent], lines: list[BudgetLine]) -> list[TeamLine]:
    by_team = {row.group["team"]: row for row in spent}
    names = sorted({*sight.teams(), *by_team} - {""})
    most = max((row.nano for row in spent), default=0)
    found = []
    for name in names:
        row = by_team.get(name)
        own = [line for line in lines if _is_of(line, name)]
        nano = row.nano if row else 0
        found.append(
            TeamLine(
                name,
                nano,
                row.calls if row else 0,
                row.errors if row else 0,
                own,
                charts.share_bar(nano, most),
            )
        )
    return sorted(found, key=lambda team: (-team.spent, team.name))


def _is_of(line: BudgetLine, team: str) -> bool:
    budget = line.budget
    if budget.team:
        return budget.team == team
    return budget.scope is Scope.TEAM and line.subject == team


def _told(row: AuditRow) -> dict[str, str]:
    before, after = row.before.get("limit_nano"), row.after.get("limit_nano")
    if not row.after:
        what = "removed"
    elif before is None:
        what = f"made, {words.dollars(int(after or 0))}"
    elif before != after:
        what = f"{words.dollars(int(before))} → {words.dollars(int(after or 0))}"
    else:
        what = "changed"
    return {"at": row.at, "actor": row.actor, "subject": row.subject, "what": what}


# Changing one


class Editing:
    """The form for a new limit, what it means, and its doing."""

    def __init__(self, deps: UiDeps) -> None:
        self._deps = deps

    async def edit(self, request: Request, sight: Sight) -> Response:
        """The form; then the review of it; then the change."""
        given = dict(request.query_params)
        if request.method == "POST":
            given = await read_form(request)
        views = await sight.budgets()
        there = _find(views, given.get("id", ""))
        form = _filled(given, there)
        if request.method == "GET":
            return _form(request, sight, form, there, "")
        try:
            budget = self._budget(form, views)
        except AdminProblem as problem:
            return _form(request, sight, form, there, problem.message, 422)
        if given.get("step") != "confirm":
            return _review(request, sight, form, there, budget, views)
        await self._deps.ledger.set_budget(budget, ACTOR)
        return RedirectResponse(address("/budgets", changed=budget.id), 303)

    def _budget(self, form: dict[str, str], views: list[BudgetView]) -> Budget:
        settings = self._deps.settings()
        limit = form["limit_usd"].replace("$", "").replace(",", "").strip()
        if not limit:
            raise AdminProblem(422, "invalid_budget", "Write a limit in US dollars, such as 500.")
        said: dict[str, Any] = {"limit_usd": limit, "on_exceed": form["on_exceed"]}
        if form["id"]:
            said["id"] = form["id"]
        else:
            said |= {"scope": form["scope"], "subject": form["subject"], "window": form["window"]}
            said |= {"team": form["team"]} if form["team"] else {}
        try:
            body = BudgetBody.model_validate(said)
        except ValueError as error:
            raise AdminProblem(422, "invalid_budget", str(error)) from None
        return changed_budget(body, views, tuple(settings.core_teams()), settings.defaults)


def _find(views: Iterable[BudgetView], budget_id: str) -> BudgetView | None:
    for view in views:
        if view.budget.id == budget_id:
            return view
    if budget_id:
        raise Problem(
            404, f"There is no budget {budget_id!r} any more. Look at the list of budgets."
        )
    return None


def _filled(given: dict[str, str], there: BudgetView | None) -> dict[str, str]:
    budget = there.budget if there else None
    defaults = {
        "id": "",
        "scope": "team",
        "subject": given.get("team", ""),
        "team": "",
        "window": "month",
        "limit_usd": usd(budget.limit_nano) if budget else "",
        "on_exceed": str(budget.on_exceed) if budget else "block",
    }
    return {name: given.get(name, default).strip() for name, default in defaults.items()}


def _form(
    request: Request,
    sight: Sight,
    form: dict[str, str],
    there: BudgetView | None,
    problem: str,
    status: int = 200,
) -> Response:
    return render(
        request,
        "budget_edit.html",
        status=status,
        viewer=sight.viewer,
        form_token=request.state.form_token,
        form=form,
        lines=rows_of([there]) if there else [],
        teams=sight.teams(),
        scopes=[str(scope) for scope in Scope],
        windows=[str(window) for window in Window],
        actions=[str(action) for action in OnExceed],
        problem=problem,
    )


def _review(
    request: Request,
    sight: Sight,
    form: dict[str, str],
    there: BudgetView | None,
    budget: Budget,
    views: Iterable[BudgetView],
) -> Response:
    same = there or next((view for view in views if view.budget.id == budget.id), None)
    lines = rows_of([same]) if same else []
    over = [line for line in lines if line.spent + line.held > budget.limit_nano]
    return render(
        request,
        "budget_confirm.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        form=form,
        budget=budget,
        before=same.budget if same else None,
        lines=lines,
        over=over,
    )
