"""The command, run in this process over a configuration and a database of the test's own."""

import asyncio
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.root import run
from proxy.core.call import CallRecord
from proxy.store import migrate
from proxy.store.engine import Database
from tests.store.filled import fill

CONFIGURATION = """
database: sqlite:///{folder}/farebox.db
teams:
  - name: search
    budgets: [{{limit_usd: 5}}]
  - name: billing
"""


@dataclass
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> Any:
        """Its JSON, read."""
        return json.loads(self.out)


@dataclass
class Cli:
    """A folder with a configuration, and the command in it."""

    folder: Path
    captured: pytest.CaptureFixture[str]

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "farebox.yaml"

    @property
    def url(self) -> str:
        """The database."""
        return f"sqlite:///{self.folder}/farebox.db"

    def __call__(self, *arguments: str) -> Done:
        """Run the command."""
        self.captured.readouterr()
        code = run(list(arguments))
        out, err = self.captured.readouterr()
        return Done(code, out, err)

    def typed(self, line: str) -> Done:
        """Run the command as it is typed, after ``farebox``."""
        return self(*shlex.split(line))

    def fill(self, records: Iterable[CallRecord]) -> None:
        """Write calls."""
        asyncio.run(self._fill(records))

    async def _fill(self, records: Iterable[CallRecord]) -> None:
        database = Database(self.url)
        await migrate.upgrade(database)
        await fill(database, records)
        await database.close()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A command whose configuration comes from the environment."""
    cli = Cli(tmp_path, capsys)
    cli.config.write_text(CONFIGURATION.format(folder=tmp_path))
    monkeypatch.setenv("FAREBOX_CONFIG", str(cli.config))
    monkeypatch.chdir(tmp_path)
    return cli
