"""The tree of commands, and the one place where errors become messages and exit codes.

Modules that take long to import (the server, the database, the ledger) are imported by the commands
that need them, so that ``farebox --help`` answers at once.
"""

import sys
from contextvars import copy_context
from typing import Annotated

import typer

from proxy.cli import (
    alerts,
    budgets,
    db,
    demo_data,
    export,
    keys,
    prices,
    reconcile,
    report,
    reprice,
)
from proxy.cli.output import Format, FormatOption
from proxy.cli.session import ConfigOption, load, use_config
from proxy.core.errors import ConfigurationError, FareboxError

OK, PROBLEM, USAGE = 0, 1, 2

app = typer.Typer(
    name="farebox",
    help="An OpenAI-compatible metering reverse proxy: every call counted, capped, budgeted and recorded.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run(arguments: list[str] | None = None) -> int:
    """Run the command. What Farebox can explain is a message on stderr, never a traceback."""
    try:
        # In a context of its own, so that a second run in the same process starts from nothing.
        copy_context().run(app, arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    except ConfigurationError as error:
        _say(str(error))
        return USAGE
    except FareboxError as error:
        _say(str(error))
        return PROBLEM
    except OSError as error:  # a file that can't be read or written
        _say(str(error))
        return PROBLEM
    return OK


def _say(message: str) -> None:
    sys.stderr.write(f"farebox: {message}\n")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    config: ConfigOption = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Options of every command."""
    if version:
        from importlib.metadata import version as version_of  # noqa: PLC0415 - see the module

        typer.echo(version_of("farebox"))
        raise typer.Exit
    use_config(config)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def serve(
    *,
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.", min=1, max=256)] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Something to call at once.")] = False,
) -> None:
    """Serve until told to stop. Options win over the configuration."""
    use_config(config)
    settings, path = load()
    given = {"host": host, "port": port, "workers": workers}
    changed = {name: value for name, value in given.items() if value is not None}
    server = settings.server.model_copy(update=changed)

    from proxy.app import serve as start  # noqa: PLC0415 - see the module

    code: int = start(settings.model_copy(update={"server": server}), config_path=path, demo=demo)
    raise typer.Exit(code)


@app.command()
def check(*, config: ConfigOption = None, output: FormatOption = Format.TABLE) -> None:
    """Check the configuration, and what it leads to.

    The database, the prices, the vocabularies and each upstream; the exit code is 1 for a problem.
    """
    use_config(config)
    settings, path = load()

    from proxy.cli.check import findings, show  # noqa: PLC0415 - see the module
    from proxy.cli.session import run_async  # noqa: PLC0415 - see the module

    found = run_async(findings(settings, path))
    show(found, output)
    raise typer.Exit(PROBLEM if any(finding.is_problem for finding in found) else OK)


# In the order in which `farebox --help` shows them: after what serves and checks.
app.command("export")(export.export)
app.command("reprice")(reprice.reprice)
app.command("reconcile")(reconcile.reconcile)
app.command("demo-data")(demo_data.demo_data)
app.add_typer(keys.app, name="keys")
app.add_typer(budgets.app, name="budgets")
app.add_typer(report.app, name="report")
app.add_typer(alerts.app, name="alerts")
app.add_typer(prices.app, name="prices")
app.add_typer(db.app, name="db")
