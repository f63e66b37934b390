"""``farebox reconcile``: the ledger beside a provider's usage export."""

import sys
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import Column, Format, FormatOption, show
from proxy.cli.session import ConfigOption, load, opened, run_async, use_config
from proxy.cli.spans import moment

if TYPE_CHECKING:
    from proxy.store.reconcile import Compared, Tolerance
    from proxy.store.usage_export import UsageExport

DIFFERENT = 1
_NAMES = ("requests", "input_tokens", "cached_tokens", "output_tokens")
_COLUMNS = [
    Column("day"),
    Column("model"),
    *(
        Column(f"{name}{side}", f"{name.removesuffix('_tokens')}{side}".replace("_", " "), number=True)
        for name in _NAMES
        for side in ("", "_export")
    ),
    Column("cost_usd", "cost $", number=True),
    Column("cost_usd_export", "cost $ export", number=True),
    Column("difference_usd", "difference $", number=True),
    Column("verdict"),
]  # fmt: skip


class Provider(StrEnum):
    """Whose exports are understood."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


def reconcile(
    *,
    provider: Annotated[Provider, typer.Option(help="Whose export it is.")],
    file: Annotated[
        list[Path],
        typer.Option(
            "--file",
            help="A usage or costs export; again for more of them.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ],
    since: Annotated[
        datetime | None, typer.Option("--from", parser=moment, help="From this day (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", parser=moment, help="Before this day (UTC).")
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(help="This upstream's calls; again for more; else all of the provider's."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=100, help="Numbers so many per cent apart count as equal.")
    ] = 0.0,
    tolerance_usd: Annotated[
        str, typer.Option("--tolerance-usd", help="So do costs that are so far apart.")
    ] = "0",
    differences: Annotated[
        bool, typer.Option("--differences", help="Show what differs, and nothing else.")
    ] = False,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Compare the ledger with a provider's usage export.

    By day and model; the exit code is 1 where they differ.
    """
    use_config(config)
    _whole_days(since, until)
    near = _tolerance(tolerance, tolerance_usd)
    export = _read(provider, file)
    found = run_async(_compare(provider, export, since, until, upstream or (), near))
    _show(found, export, output, differences=differences)
    if any(row.verdict != "equal" for row in found):
        raise typer.Exit(DIFFERENT)


def _whole_days(since: datetime | None, until: datetime | None) -> None:
    for option, at in (("--from", since), ("--to", until)):
        if at is not None and at.timestamp() % 86_400:
            raise typer.BadParameter(
                "providers count whole days of UTC; write one like 2026-01-31", param_hint=option
            )
    if since and until and until <= since:
        raise typer.BadParameter("is not later than --from", param_hint="--to")


def _tolerance(per_cent: float, usd: str) -> "Tolerance":
    from proxy.core.money import nano_from_usd  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.reconcile import Tolerance  # noqa: PLC0415 - see above

    try:
        return Tolerance(Fraction(str(per_cent)) / 100, abs(nano_from_usd(usd)))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--tolerance-usd") from None


def _read(provider: Provider, paths: list[Path]) -> "UsageExport":
    from proxy.store.export_forms import read_export  # noqa: PLC0415 - slow; see above
    from proxy.store.usage_export import UnreadableExport  # noqa: PLC0415 - see above

    try:
        return read_export(provider, paths)
    except UnreadableExport as error:
        # A wrong file is a wrong command line, not a difference.
        raise typer.BadParameter(str(error), param_hint="--file") from None


async def _compare(
    provider: Provider,
    export: "UsageExport",
    since: datetime | None,
    until: datetime | None,
    upstreams: Collection[str],
    tolerance: "Tolerance",
) -> "list[Compared]":
    from proxy.cli.providers import providers  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.store.ledger_days import ledger_days  # noqa: PLC0415 - see above
    from proxy.store.reconcile import compare, days_of  # noqa: PLC0415 - see above

    settings, _ = load()
    days = days_of(export, since, until)
    wanted = set(upstreams) or _of(provider, providers(settings))
    async with opened(settings) as database:
        ledger = await ledger_days(database, wanted, days)
    return compare(ledger, export, set(days), tolerance)


def _of(provider: Provider, known: Mapping[str, str]) -> set[str]:
    """The upstreams at this provider; one of its name too, which may be configured no more."""
    return {name for name, at in known.items() if at == provider} | {provider.value}


def _show(
    found: "list[Compared]", export: "UsageExport", output: Format, *, differences: bool
) -> None:
    rows = [_row(row) for row in found if not differences or row.verdict != "equal"]
    unknown = {
        name for name in (*_NAMES, "cost_usd") if all(r[f"{name}_export"] is None for r in rows)
    }
    columns = [c for c in _COLUMNS if c.field.removesuffix("_export") not in unknown or not rows]
    show(rows, columns, output, "The ledger, and " + " and ".join(dict.fromkeys(export.forms)))
    verdicts = Counter(str(row.verdict) for row in found)
    said = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(verdicts.items()))
    sys.stderr.write(f"days × models: {said or 'none on either side'}\n")


def _row(row: "Compared") -> dict[str, Any]:
    from proxy.core.money import usd  # noqa: PLC0415 - slow; ``--help`` does without

    counts: dict[str, Any] = {}
    for name in _NAMES:
        counts[name] = getattr(row.ledger, name)
        counts[f"{name}_export"] = getattr(row, name)
    known = row.cost_nano is not None
    return {
        "day": row.day,
        "model": row.model,
        **counts,
        "cost_usd": usd(row.ledger.cost_nano),
        "cost_usd_export": usd(row.cost_nano or 0) if known else None,
        "difference_usd": usd(row.ledger.cost_nano - (row.cost_nano or 0)) if known else None,
        "verdict": str(row.verdict),
    }
