"""The commands beside a running service: they work on its database, and say what its API says."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.cli.root import run
from tests.e2e.commands import Service, farebox, service
from tests.e2e.running import bearer, chat_body, nano

pytestmark = pytest.mark.xdist_group("commands")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Beside:
    """A running demo, and the commands run in its folder."""

    folder: Path
    service: Service

    def secret(self, name: str) -> str:
        """The demo's key or admin token."""
        return (self.folder / "data" / name).read_text().strip()

    def chat(self, key: str | None = None, **changes: Any) -> httpx.Response:
        """A call over HTTP."""
        url = f"{self.service.url}/v1/chat/completions"
        key = key or self.secret("demo-key")
        body = chat_body("Hello [[sim: output_tokens=8]]", **changes)
        return httpx.post(url, json=body, headers=bearer(key), timeout=30)

    def api(self, path: str) -> Any:
        """What the admin API says."""
        headers = bearer(self.secret("demo-admin-token"))
        answer = httpx.get(f"{self.service.url}/admin/v1{path}", headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """A demo with some calls: of two models, one streamed, one refused."""
    folder = tmp_path_factory.mktemp("beside")
    with service(folder, "--demo") as serving:
        beside = Beside(folder, serving)
        for changes in ({}, {"stream": True}, {"model": "gpt-4o", "user": "ada"}):
            assert beside.chat(**changes).status_code == 200
        assert beside.chat(max_tokens=-1).status_code == 400
        assert len(beside.api("/calls")["items"]) == 4
        yield beside


class Commands:
    """The commands, run here: no other process than the service's is needed for what they say."""

    def __init__(self, beside: Beside, capsys: pytest.CaptureFixture[str]) -> None:
        self.beside = beside
        self._capsys = capsys

    def text(self, *arguments: str) -> str:
        """What a command writes to stdout."""
        self._capsys.readouterr()
        code = run(list(arguments))
        out, error = self._capsys.readouterr()
        assert code == 0, error
        return out

    def rows(self, *arguments: str) -> list[Row]:
        """The same in JSON."""
        rows: list[Row] = json.loads(self.text(*arguments, "--format", "json"))
        return rows

    def forms(self, *arguments: str) -> list[Row]:
        """The JSON rows, once table and CSV have shown the same."""
        rows = self.rows(*arguments)
        table = self.text(*arguments, "--format", "table")
        lines = list(csv.DictReader(io.StringIO(self.text(*arguments, "--format", "csv"))))
        assert len(rows) == len(lines)
        for row, line in zip(rows, lines, strict=True):
            assert set(row) == set(line)
            for name, value in row.items():
                if isinstance(value, str):
                    assert value == line[name]
                elif isinstance(value, int | float) and not isinstance(value, bool):
                    assert str(value) == line[name]
        first = rows[0].values()
        assert any(isinstance(value, str) and value and value in table for value in first)
        return rows


@pytest.fixture
def commands(
    running: Beside, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Commands:
    monkeypatch.chdir(running.folder)
    for name in ("FAREBOX_CONFIG", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    return Commands(running, capsys)


def test_budgets_are_those_of_the_service(commands: Commands) -> None:
    """``budgets list`` and ``report budgets`` show what the admin API shows, spent included."""
    listed = commands.forms("budgets", "list")

    assert commands.beside.api("/budgets")["items"] == listed
    assert listed == commands.rows("report", "budgets")
    assert nano(listed[0]["spent_usd"]) > 0


def test_spend_is_that_of_the_service(commands: Commands) -> None:
    """``report spend`` in groups, and the dearest: to the nano-dollar what the admin API says."""
    for by in ("team,model", "model", "user", "key,endpoint", "day"):
        told = commands.forms("report", "spend", "--by", by)
        asked = commands.beside.api(f"/spend?group_by={by}&window=month")["items"]
        assert [item.pop("group") | item for item in asked] == told, by
    top = commands.rows("report", "top", "--by", "model")

    assert [row["model"] for row in top[:2]] == ["gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"]
    spent = sum(nano(call["cost_usd"]) for call in commands.beside.api("/calls")["items"])
    assert spent == sum(nano(row["cost_usd"]) for row in top)
    assert spent == nano(commands.rows("budgets", "list")[0]["spent_usd"])


def test_a_call_is_that_of_the_service(commands: Commands) -> None:
    """``report call`` shows a call with its attempts, in every form."""
    for call in commands.beside.api("/calls")["items"]:
        told = json.loads(commands.text("report", "call", call["id"], "--format", "json"))
        asked = commands.beside.api(f"/calls/{call['id']}")

        assert asked == told
        assert call == {name: asked[name] for name in call}
        for form in ("table", "csv", "md"):
            text = commands.text("report", "call", call["id"], "--format", form)
            assert call["id"] in text
            assert call["cost_usd"] in text
    assert run(["report", "call", "fb-0"]) == 1


def test_keys_made_here_work_there(commands: Commands) -> None:
    """Made, it works at once; rotated, the new secret does; revoked, none does, within seconds."""
    beside = commands.beside
    secret = commands.text("keys", "create", "app", "--team", "demo").strip()
    assert beside.chat(secret).status_code == 200

    rotated = commands.rows("keys", "rotate", "app")[0]["secret"]
    assert beside.chat(rotated).status_code == 200
    beside.service.until(lambda: beside.chat(secret).status_code == 401)

    assert beside.api("/keys")["items"] == [
        {name: row[name] for name in shown}
        for row in commands.forms("keys", "list")
        for shown in beside.api("/keys")["items"][:1]
    ]
    commands.text("keys", "revoke", "app")
    beside.service.until(lambda: beside.chat(rotated).status_code == 401)
    states = {row["name"]: row["state"] for row in commands.rows("keys", "list")}
    assert states == {"demo-key": "active", "app": "revoked"}


def test_an_export_has_every_call(commands: Commands, tmp_path: Path) -> None:
    """As CSV and as JSON lines, the oldest first: the rows of the admin API."""
    asked = list(reversed(commands.beside.api("/calls")["items"]))

    lines = commands.text("export", "--format", "jsonl").splitlines()
    assert asked == [json.loads(line) for line in lines]

    file = tmp_path / "calls.csv"
    commands.text("export", "--output", str(file))
    told = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [call["id"] for call in asked] == [row["id"] for row in told]
    assert [call["cost_usd"] for call in asked] == [row["cost_usd"] for row in told]


def test_check_finds_the_demo_well(commands: Commands) -> None:
    """Nothing is wrong with a folder that a demo runs in."""
    verdicts = {row["what"]: row["verdict"] for row in commands.forms("check")}

    assert "problem" not in verdicts.values()
    assert verdicts["database sqlite:///data/farebox.db"] == "ok"


def test_commands_at_the_same_time_disturb_nobody(running: Beside) -> None:
    """While other processes read and write the database, calls go through, and the sums stay right."""
    for limit in ("6", "7"):
        arguments = ["--team", "demo", "--limit-usd", limit, "--window", "week"]
        done = farebox("budgets", "set", *arguments, "--format", "json", cwd=running.folder)
        assert done.returncode == 0, done.stderr
        assert running.chat().status_code == 200

    budgets = {b["id"]: b for b in running.api("/budgets")["items"]}
    assert budgets["team:demo:week"]["limit_usd"] == "7.00"
    # A budget that comes later counts what was spent in its window before.
    assert budgets["team:demo:week"]["spent_usd"] == budgets["team:demo:month"]["spent_usd"]
