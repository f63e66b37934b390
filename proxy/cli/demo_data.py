"""``farebox demo-data``: a ledger with months of a made-up company's calls, to look at."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.progress import progress
from proxy.cli.refused import refused
from proxy.cli.session import ConfigOption, load, opened, run_async, use_config

if TYPE_CHECKING:
    from proxy.ledger.demo import DemoPlan, Seeded
    from proxy.settings import Settings

_MOST_DAYS = 3650


def demo_data(
    *,
    days: Annotated[int, typer.Option(help="Up to now.", min=1, max=_MOST_DAYS)] = 90,
    calls: Annotated[int, typer.Option(help="How many, over all these days.", min=1)] = 100_000,
    seed: Annotated[int, typer.Option(help="Another number, other calls.")] = 1,
    database: Annotated[
        str | None, typer.Option(help="The ledger; else that of the configuration.")
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Also into a ledger that has calls already.")
    ] = False,
    write_config: Annotated[
        Path | None,
        typer.Option(help="Write a configuration with the company's teams.", dir_okay=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Fill a ledger with the calls of a made-up company.

    To see Farebox with something in it.
    """
    from proxy.ledger.demo import DemoPlan  # noqa: PLC0415 - slow; ``--help`` does without

    use_config(config)
    settings, _ = load()
    if database is not None:
        settings = settings.model_copy(update={"database": _checked(database)})
    plan = DemoPlan(days, calls, seed, time.time_ns() // 1000, append)
    if write_config is not None:
        _write_config(write_config, settings)
    made = run_async(_seed(settings, plan))
    _tell(made, write_config)


def _checked(database: str) -> str:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - slow; ``--help`` does without

    from proxy.settings.fields import DatabaseUrl  # noqa: PLC0415 - see above

    try:
        url: str = TypeAdapter(DatabaseUrl).validate_python(database)
    except ValidationError as error:
        raise refused(error, "--database") from None
    return url


async def _seed(settings: "Settings", plan: "DemoPlan") -> "Seeded":
    from proxy.ledger.demo import seed  # noqa: PLC0415 - slow; ``--help`` does without

    async with opened(settings) as database:
        with progress("calls", plan.calls) as advance:
            return await seed(database, plan, settings.prices, advance)


def _tell(made: "Seeded", config: Path | None) -> None:
    sys.stderr.write(f"{made.calls:,} calls of a made-up company are in the ledger.\n")
    if made.secrets:
        sys.stderr.write("Its keys, shown now and never again (each shows its team's own view):\n")
    for name, secret in made.secrets.items():
        sys.stdout.write(f"{name}\t{secret}\n")
    if config is not None:
        sys.stderr.write(f"See it: FAREBOX_ADMIN_TOKEN=… farebox serve --config {config}\n")


# A configuration that knows the company


def _write_config(path: Path, settings: "Settings") -> None:
    if path.exists():
        raise typer.BadParameter(
            f"{path} is there already; name another file", param_hint="--write-config"
        )
    path.write_text(_CONFIG.format(database=settings.database, teams=_teams()), encoding="utf-8")


def _teams() -> str:
    from proxy.ledger.demo import ORGANISATION, TEAMS  # noqa: PLC0415 - see above

    return "\n".join(
        f"  - {{name: {team.name}, organisation: {ORGANISATION}, "
        f"max_output_tokens: {team.max_output_tokens}}}"
        for team in TEAMS
    )


# Budgets and keys are in the ledger: set by the command, changed on the page or through the API.
_CONFIG = """\
# The teams of `farebox demo-data`. Their budgets and keys are in the ledger.
database: {database}
admin_token: ${{FAREBOX_ADMIN_TOKEN:-}}
upstreams:
  openai:    {{preset: openai, base_url: https://api.openai.com/v1, api_key: "${{OPENAI_API_KEY:-}}"}}
  anthropic: {{dialect: anthropic, base_url: https://api.anthropic.com/v1, api_key: "${{ANTHROPIC_API_KEY:-}}"}}
models:
  - {{match: "claude-*", upstream: anthropic}}
  - {{match: "*", upstream: openai}}
teams:
{teams}
"""
