"""``farebox report``: what was called and what it cost, from the ledger."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli import budgets as budget_commands
from proxy.cli.output import Column, Format, FormatOption, show, write
from proxy.cli.refused import refused
from proxy.cli.session import ConfigOption, load, opened_to_read, run_async, use_config
from proxy.cli.spans import moment
from proxy.core.errors import FareboxError

if TYPE_CHECKING:
    from proxy.store.reports import Reports, SpendPage, SpendQuery
    from proxy.store.rows import CallDetail

app = typer.Typer(help="What was called and what it cost. Alone, the same as `report spend`.")
By = Annotated[
    str,
    typer.Option("--by", help="What to group by, joined by commas: team, model, user, day, tag …"),
]
WindowOption = Annotated[
    str, typer.Option("--window", help="The current hour, day, week, month or total, in UTC.")
]
From = Annotated[datetime | None, typer.Option("--from", parser=moment, help="From this time.")]
To = Annotated[datetime | None, typer.Option("--to", parser=moment, help="Before this time.")]
Team = Annotated[str | None, typer.Option("--team", help="This team's calls only.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many rows.")]
_COUNTS = [
    Column("calls", number=True),
    Column("input_tokens", number=True),
    Column("cached_tokens", number=True),
    Column("output_tokens", number=True),
    Column("errors", number=True),
    Column("unpriced", number=True),
    Column("cost_usd", "cost $", number=True),
]
_PAGE = 1000


@app.callback(invoke_without_command=True)
def report(
    context: typer.Context,
    *,
    by: By = "team,model",
    window: WindowOption = "month",
    since: From = None,
    until: To = None,
    team: Team = None,
    limit: Limit = 1000,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show what was spent this month by team and model, where no other report is named."""
    use_config(config)
    if context.invoked_subcommand is None:
        spend(by=by, window=window, since=since, until=until, team=team, limit=limit, output=output)


@app.command()
def spend(
    *,
    by: By = "team,model",
    window: WindowOption = "month",
    since: From = None,
    until: To = None,
    team: Team = None,
    limit: Limit = 1000,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show what was spent in groups, the dearest first.

    By day or hour, in the order of time.
    """
    use_config(config)
    query = _query(by, window, since, until, team)
    [rows] = run_async(_spends((query, limit)))
    groups = [Column(group.value) for group in query.group_by]
    show(rows, [*groups, *_COUNTS], output, "Spend")


@app.command()
def top(
    *,
    by: By = "model",
    window: WindowOption = "month",
    since: From = None,
    until: To = None,
    team: Team = None,
    limit: Limit = 10,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show the dearest groups, and their share of everything."""
    use_config(config)
    query = _query(by, window, since, until, team)
    everything = _query("", window, since, until, team)
    total, rows = run_async(_spends((everything, 1), (query, limit)))
    all_cost = Decimal(total[0]["cost_usd"]) if total else Decimal(0)
    for row in rows:
        share = Decimal(row["cost_usd"]) / all_cost if all_cost else Decimal(0)
        row["share"] = f"{share:.1%}"
    groups = [Column(group.value) for group in query.group_by]
    show(rows, [*groups, *_COUNTS, Column("share", number=True)], output, "Dearest")


def _query(
    by: str, window: str, since: datetime | None, until: datetime | None, team: str | None
) -> "SpendQuery":
    from pydantic import ValidationError  # noqa: PLC0415 - slow; ``--help`` does without

    from proxy.admin.queries import SpendRequest  # noqa: PLC0415 - see above
    from proxy.store.clock import now_us  # noqa: PLC0415 - see above
    from proxy.store.reports import SpendQuery, UnknownGroup, read_groups  # noqa: PLC0415 - see above

    times = {"from": since, "to": until} if since or until else {"window": window}
    try:
        request = SpendRequest.model_validate(times)
        return SpendQuery(read_groups(by), *request.bounds(now_us()), team=team)
    except UnknownGroup as error:
        raise typer.BadParameter(str(error), param_hint="--by") from None
    except ValidationError as error:
        raise refused(error, "--from") from None


async def _spends(*asked: "tuple[SpendQuery, int]") -> list[list[dict[str, Any]]]:
    from proxy.store.reports import Reports  # noqa: PLC0415 - slow; ``--help`` does without

    settings, _ = load()
    async with opened_to_read(settings) as database:
        reports = Reports(database)
        return [await _spend(reports, query, limit) for query, limit in asked]


async def _spend(reports: "Reports", query: "SpendQuery", limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = None
    while len(rows) < limit:
        page: SpendPage = await reports.spend(query, min(limit - len(rows), _PAGE), cursor)
        rows += [_spend_row(asdict(row)) for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    return rows


def _spend_row(row: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, str] = row.pop("group")
    return {**group, **row}


@app.command()
def call(
    call_id: Annotated[str, typer.Argument(help="The answer's header x-farebox-call-id.")],
    *,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show one call, its attempts, and the lines of its charge."""
    use_config(config)
    found = run_async(_call(call_id))
    if found is None:
        raise FareboxError(f"there is no call {call_id!r}; a call's row is written when it ends")
    if output is Format.JSON:
        import orjson  # noqa: PLC0415 - slow; ``--help`` does without

        write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    from proxy.core.present import CallRow  # noqa: PLC0415 - slow; ``--help`` does without

    fields = [{"field": name, "value": getattr(found, name)} for name in CallRow.__slots__]
    show(fields, [Column("field"), Column("value")], output, f"Call {call_id}")
    attempts = [asdict(attempt) for attempt in found.attempt_rows]
    if output is not Format.CSV:
        show(attempts, _ATTEMPT, output, "Attempts")
        lines = [
            {
                "attempt": a["number"],
                **line,
                "model": line["model"] or a["model_served"] or a["model"],
            }
            for a in attempts
            for line in a["charge"]
        ]
        show(lines, _CHARGE, output, "Charge")
        if found.adjustments:
            adjustments = [asdict(adjustment) for adjustment in found.adjustments]
            show(adjustments, _ADJUSTMENT, output, "Adjustments")


_ATTEMPT = [
    Column("number", "#", number=True),
    *(Column(name) for name in ("upstream", "model", "model_served", "status", "error", "flags")),
    Column("duration_ms", "ms", number=True),
    Column("usage_source"),
    Column("price_source"),
    Column("price_version"),
    Column("stated_usd", "stated $", number=True),
    Column("list_usd", "list $", number=True),
    Column("cost_usd", "cost $", number=True),
]
_CHARGE = [
    Column("attempt", "#", number=True),
    Column("model"),
    Column("what"),
    Column("quantity", number=True),
    Column("price_nano_usd", "nano-$ each", number=True),
]
_ADJUSTMENT = [
    Column("created_at"),
    Column("attempt", "#", number=True),
    Column("reason"),
    Column("price_source"),
    Column("price_version"),
    Column("amount_usd", "adds $", number=True),
]


async def _call(call_id: str) -> "CallDetail | None":
    from proxy.store.records import Records  # noqa: PLC0415 - slow; ``--help`` does without

    settings, _ = load()
    async with opened_to_read(settings) as database:
        return await Records(database).call(call_id)


app.command("budgets")(budget_commands.list_budgets)
