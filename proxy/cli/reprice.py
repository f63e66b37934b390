"""``farebox reprice``: history rated anew, by adjusting entries."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import Column, Format, FormatOption, show
from proxy.cli.progress import progress
from proxy.cli.session import ConfigOption, load, opened, run_async, use_config
from proxy.cli.spans import moment
from proxy.store.clock import epoch_us

if TYPE_CHECKING:
    from proxy.store.call_filter import CallFilter
    from proxy.store.reprice import Line, Tally

_COLUMNS = [
    Column("team"),
    Column("model"),
    Column("calls", number=True),
    Column("changed", number=True),
    Column("newly_priced", number=True),
    Column("before_usd", "before $", number=True),
    Column("after_usd", "after $", number=True),
    Column("difference_usd", "difference $", number=True),
]


def reprice(
    *,
    since: Annotated[datetime, typer.Option("--from", parser=moment, help="Calls from this time.")],
    until: Annotated[datetime, typer.Option("--to", parser=moment, help="Before this time.")],
    model: Annotated[str | None, typer.Option(help="Of this model, requested or served.")] = None,
    team: Annotated[str | None, typer.Option(help="This team's calls only.")] = None,
    upstream: Annotated[str | None, typer.Option(help="Answered by this upstream only.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")
    ] = False,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Rate calls anew, by the prices of when each began.

    They are the configuration's, and those of the price data.
    """
    from proxy.store.call_filter import CallFilter  # noqa: PLC0415 - slow; ``--help`` does without

    use_config(config)
    if until <= since:
        raise typer.BadParameter("is not later than --from", param_hint="--to")
    wanted = CallFilter(
        model=model, team=team, upstream=upstream, from_us=epoch_us(since), to_us=epoch_us(until)
    )
    tally = run_async(_reprice(wanted, dry_run=dry_run))
    rows = _rows(tally)
    if len(rows) > 1 and output in (Format.TABLE, Format.MD):
        rows.append({"team": "all", "model": "", **_numbers(tally.total)})
    show(rows, _COLUMNS, output, "Repriced (dry run)" if dry_run else "Repriced")
    sys.stderr.write(_said(tally, dry_run=dry_run))


async def _reprice(wanted: "CallFilter", *, dry_run: bool) -> "Tally":
    from proxy.cli.providers import providers  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.ledger.reprice import Repricing  # noqa: PLC0415 - see above
    from proxy.store.pricebook import layered_book  # noqa: PLC0415 - see above
    from proxy.store.records import Records  # noqa: PLC0415 - see above

    settings, _ = load()
    async with opened(settings) as database:
        run = Repricing(
            database, layered_book(settings.prices), providers(settings), dry_run=dry_run
        )
        with progress("calls", await Records(database).count(wanted)) as advance:
            async for calls in run.run(wanted):
                advance(calls)
    return run.tally


def _rows(tally: "Tally") -> list[dict[str, Any]]:
    return [
        {"team": team, "model": model, **_numbers(line)}
        for (team, model), line in sorted(tally.lines.items())
    ]


def _numbers(line: "Line") -> dict[str, Any]:
    from proxy.core.money import usd  # noqa: PLC0415 - slow; ``--help`` does without

    return {
        "calls": line.calls,
        "changed": line.changed,
        "newly_priced": line.newly_priced,
        "before_usd": usd(line.before_nano),
        "after_usd": usd(line.before_nano + line.difference_nano),
        "difference_usd": usd(line.difference_nano),
    }


def _said(tally: "Tally", *, dry_run: bool) -> str:
    from proxy.core.money import usd  # noqa: PLC0415 - slow; ``--help`` does without

    total = tally.total
    done = "would be adjusted; nothing was written" if dry_run else "adjusted"
    lines = [
        f"{total.calls:,} calls seen, {total.changed:,} {done}: ${usd(total.difference_nano)}",
        *(f"left alone, {why}: {count:,} attempts" for why, count in sorted(tally.left.items())),
    ]
    return "".join(f"{line}\n" for line in lines)
