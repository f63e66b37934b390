"""``farebox budgets``: limits, and what is spent and held of them now."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import Column, Format, FormatOption, show, write
from proxy.cli.refused import refused, wrong
from proxy.cli.session import (
    ACTOR,
    ConfigOption,
    load,
    opened_ledger,
    opened_to_read,
    run_async,
    teams_known,
    use_config,
)
from proxy.core.errors import FareboxError

if TYPE_CHECKING:
    from proxy.admin.shapes import BudgetBody
    from proxy.ledger.base import BudgetView

app = typer.Typer(help="Limits, and what is spent and held of them now.", no_args_is_help=True)
COLUMNS = [
    Column("id"),
    Column("subject"),
    Column("window"),
    Column("limit_usd", "limit $", number=True),
    Column("spent_usd", "spent $", number=True),
    Column("held_usd", "held $", number=True),
    Column("available_usd", "left $", number=True),
    Column("on_exceed"),
    Column("resets_at"),
]


@app.command("list")
def list_budgets(*, output: FormatOption = Format.TABLE, config: ConfigOption = None) -> None:
    """Show every budget with its windows of now."""
    use_config(config)
    show_views(run_async(_list()), output)


async def _list() -> "list[BudgetView]":
    from proxy.ledger.reading import budgets_now  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.clock import now_us  # noqa: PLC0415 - see above

    settings, _ = load()
    async with opened_to_read(settings) as database:
        return await database.run(lambda c: budgets_now(c, now_us()), writes=False)


@app.command("set")
def set_budget(
    *,
    limit_usd: Annotated[str, typer.Option(help="The limit: 500 or 0.05.")],
    team: Annotated[str, typer.Option(help="The team; with another scope, its calls only.")] = "",
    scope: Annotated[
        str, typer.Option(help="organisation, team, key, user, workflow, run, model or tag.")
    ] = "team",
    subject: Annotated[
        str | None, typer.Option(help='Whose: a name, or "*" for each its own. Of a team: --team.')
    ] = None,
    window: Annotated[str, typer.Option(help="hour, day, week, month or total.")] = "month",
    on_exceed: Annotated[str, typer.Option(help="block or warn.")] = "block",
    timezone: Annotated[str | None, typer.Option(help="Europe/Berlin; else UTC.")] = None,
    shrink: Annotated[
        bool | None, typer.Option(help="Lower the output cap where that makes a call fit.")
    ] = None,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Make a budget, or change its limit.

    The next call goes by it, in every process.
    """
    use_config(config)
    given: dict[str, Any] = {
        "scope": scope,
        "subject": subject,
        "team": team or None,
        "window": window,
        "limit_usd": limit_usd,
        "on_exceed": on_exceed,
        "timezone": timezone,
        "shrink": shrink,
    }
    show_views(run_async(_set(_body(given))), output)


def _body(given: dict[str, Any]) -> "BudgetBody":
    from pydantic import ValidationError  # noqa: PLC0415 - slow; ``--help`` does without

    from proxy.admin.shapes import BudgetBody  # noqa: PLC0415 - see above

    try:
        return BudgetBody.model_validate(given)
    except ValidationError as error:
        raise refused(error, "--scope") from None


async def _set(body: "BudgetBody") -> "list[BudgetView]":
    from proxy.admin.budgets import changed_budget  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.admin.problems import Problem  # noqa: PLC0415 - see above

    settings, _ = load()
    async with opened_ledger(settings) as (ledger, database):
        teams = tuple(await teams_known(settings, database))
        try:
            budget = changed_budget(body, await ledger.budgets(), teams, settings.defaults)
        except Problem as problem:
            raise wrong(problem.message, problem.param, "--scope") from None
        await ledger.set_budget(budget, ACTOR)
        return [view for view in await ledger.budgets() if view.budget.id == budget.id]


@app.command()
def remove(
    budget_id: Annotated[str, typer.Argument(metavar="id", help="As `budgets list` shows it.")],
    *,
    config: ConfigOption = None,
) -> None:
    """Remove a budget that is not in the configuration.

    The next call goes by it, in every process.
    """
    use_config(config)
    run_async(_remove(budget_id))
    write(f"removed {budget_id}\n")


async def _remove(budget_id: str) -> None:
    settings, _ = load()
    async with opened_ledger(settings) as (ledger, _database):
        if not await ledger.remove_budget(budget_id, ACTOR):
            raise FareboxError(f"there is no budget {budget_id!r}; `farebox budgets list` has them")


def show_views(views: "list[BudgetView]", output: Format) -> None:
    """Budgets in the form that was asked for."""
    from proxy.admin.shapes import budget_rows  # noqa: PLC0415 - slow; ``--help`` does without

    rows = [row.model_dump(mode="json") for view in views for row in budget_rows(view)]
    show(rows, COLUMNS, output, "Budgets")
