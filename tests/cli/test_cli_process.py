"""The command as a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import root
from proxy.settings import Settings
from tests.cli.conftest import Cli

_NOT_FOR_A_REPORT = (
    "alembic",
    "fastapi",
    "httpx",
    "rich",
    "sqlalchemy.dialects.postgresql",
    "structlog",
)
SLOW = ("sqlalchemy", "alembic", "fastapi", "uvicorn", "httpx", "tiktoken", "proxy.settings")


def test_help_imports_nothing_slow() -> None:
    """A command line that answers at once: what a command needs is imported by that command."""
    code = (
        "import json, sys; from proxy.cli.root import run; run(['--help']);"
        "json.dump(sorted(sys.modules), sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(json.loads(done.stderr)) & set(SLOW) == set()
    assert "serve" in done.stdout


def test_a_report_loads_what_it_needs(cli: Cli) -> None:
    """No server, no migrations, no logs, no other database's driver: most of a report is its start."""
    cli("db", "upgrade")
    code = (
        "import json, sys; from proxy.cli.root import run; run(['report', 'spend']);"
        "json.dump(sorted(sys.modules), sys.stderr)"
    )
    environment = {"FAREBOX_CONFIG": str(cli.config), "PYTHONPATH": str(Path(__file__).parents[2])}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    assert done.stdout == "Spend: nothing to show\n"
    assert set(json.loads(done.stderr)) & set(_NOT_FOR_A_REPORT) == set()


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip()


def test_a_reader_that_had_enough_causes_no_traceback(cli: Cli) -> None:
    """``farebox keys list | head``."""
    for number in range(30):
        cli("keys", "create", f"key-{number}", "--team", "search")
    command = f"{sys.executable} -m proxy keys list | head -n 1"

    done = subprocess.run(
        ["/bin/sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={"FAREBOX_CONFIG": str(cli.config), "PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert "Traceback" not in done.stderr


def test_serve_takes_its_options_over_the_configuration(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host, port and workers of the command line win; the rest stays."""
    started: list[tuple[Settings, Path | None, bool]] = []

    def serve(settings: Settings, *, config_path: Path | None, demo: bool) -> int:
        started.append((settings, config_path, demo))
        return 3

    monkeypatch.setattr("proxy.app.serve", serve)
    done = cli("serve", "--host", "127.0.0.2", "--port", "9000", "--workers", "2", "--demo")

    [(settings, path, demo)] = started
    server = settings.server
    assert (server.host, server.port, server.workers, demo) == ("127.0.0.2", 9000, 2, True)
    assert server.shutdown_grace_s == 30
    assert path == cli.config
    assert done.code == 3


def test_every_command_has_a_sentence(cli: Cli) -> None:
    """``--help`` tells what each command does, in one that is short enough to be shown whole."""
    assert root.app.info.help
    for arguments in ([], ["keys"], ["budgets"], ["report"], ["alerts"], ["prices"], ["db"]):
        done = cli(*arguments, "--help")
        assert done.code == 0
        lines = done.out[done.out.index("Commands:") :].splitlines()[1:]
        told = [line for line in lines if line.startswith("  ") and not line.startswith("   ")]
        assert told
        assert all(len(line.split()) > 2 for line in told)
        assert [line for line in lines if line.endswith("...")] == []
