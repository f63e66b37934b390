"""``farebox alerts``: try the channels, and see what was told."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxy.cli.output import Column, Format, FormatOption, show
from proxy.cli.session import ConfigOption, load, opened, run_async, use_config
from proxy.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.settings import ChannelSettings
    from proxy.store.alerts import QueuedAlert

app = typer.Typer(help="Who is told when a budget fills.", no_args_is_help=True)
_RESULT = [Column("channel"), Column("kind"), Column("result")]
_QUEUED = [
    *(Column(name) for name in ("created_at", "channel", "state", "title", "problem")),
    Column("tries", number=True),
]
_TAKEN = "taken"


@app.command("test")
def try_channels(
    *,
    channel: Annotated[str | None, typer.Option(help="This channel only.")] = None,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Send a test alert to each channel.

    The exit code is 1 where one does not take it.
    """
    use_config(config)
    settings, _ = load()
    channels = [c for c in settings.alerts.channels if channel in (None, c.name)]
    if not channels:
        named = f"named {channel!r}" if channel else "at all"
        raise ConfigurationError(
            f"there is no channel {named}; add one under alerts.channels (docs/alerts.md)"
        )
    results = run_async(_test(channels))
    show(results, _RESULT, output, "Test alerts")
    raise typer.Exit(0 if all(r["result"] == _TAKEN for r in results) else 1)


async def _test(channels: "Sequence[ChannelSettings]") -> list[dict[str, Any]]:
    from proxy.core.alerts import trial_alert  # noqa: PLC0415 - slow; ``--help`` does without
    from proxy.observe.alerts import NotTaken, open_channel  # noqa: PLC0415 - see above
    from proxy.store.clock import now_us  # noqa: PLC0415 - see above

    results = []
    for settings in channels:
        try:
            await open_channel(settings).send(trial_alert(now_us()))
            result = _TAKEN
        except NotTaken as problem:
            result = str(problem)
        results.append({"channel": settings.name, "kind": settings.kind, "result": result})
    return results


@app.command("list")
def list_alerts(
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    output: FormatOption = Format.TABLE,
    config: ConfigOption = None,
) -> None:
    """Show the newest alerts, and whether they were taken."""
    use_config(config)
    show([_row(queued) for queued in run_async(_recent(limit))], _QUEUED, output, "Alerts")


def _row(queued: "QueuedAlert") -> dict[str, Any]:
    from proxy.core.present import iso  # noqa: PLC0415 - slow; ``--help`` does without

    return {
        "created_at": iso(queued.created_at_us),
        "channel": queued.channel,
        "state": queued.state,
        "title": queued.alert.title,
        "problem": queued.problem,
        "tries": queued.tries,
    }


async def _recent(limit: int) -> "Sequence[QueuedAlert]":
    from proxy.store.alerts import AlertQueue  # noqa: PLC0415 - slow; ``--help`` does without

    settings, _ = load()
    async with opened(settings) as database:
        return await AlertQueue(database).recent(limit)
