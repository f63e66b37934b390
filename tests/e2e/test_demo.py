"""The first five minutes: what README.md and the demo's own greeting say, done literally."""

import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.commands import FAREBOX, Service, environment, farebox, service

pytestmark = pytest.mark.xdist_group("demo")
ROOT = Path(__file__).resolve().parents[2]
HELLO = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo in a folder that was empty."""

    folder: Path
    service: Service

    @property
    def greeting(self) -> str:
        """What it tells the person who started it."""

        def whole() -> str:
            text = self.service.stderr.read_text()
            return text if text.endswith("/admin/docs\n") else ""

        return self.service.until(whole)

    @property
    def key(self) -> str:
        """The key that it shows."""
        found = re.search(r"Key of team 'demo'.*: +(fb-sk-\S+)", self.greeting)
        assert found
        return found[1]

    @property
    def admin_token(self) -> str:
        """The admin token that it shows."""
        found = re.search(r"Admin token: +(\S+)", self.greeting)
        assert found
        return found[1]

    def chat(self) -> httpx.Response:
        """A call with the shown key."""
        headers = {"authorization": f"Bearer {self.key}"}
        url = f"{self.service.url}/v1/chat/completions"
        return httpx.post(url, json=HELLO, headers=headers, timeout=30)

    def admin(self, path: str) -> list[dict[str, Any]]:
        """What the admin API lists."""
        headers = {"authorization": f"Bearer {self.admin_token}"}
        answer = httpx.get(f"{self.service.url}/admin/v1{path}", headers=headers, timeout=30)
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """A line as it is copied into a shell."""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One for tests that change nothing."""
    folder = tmp_path_factory.mktemp("demo")
    with service(folder, "--demo") as running:
        yield Demo(folder, running)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with service(tmp_path, "--demo") as running:
        yield Demo(tmp_path, running)


def test_it_serves_within_seconds_from_an_empty_folder(tmp_path: Path) -> None:
    """It makes what it needs, says that the provider is simulated, and answers the first call."""
    began = time.monotonic()
    with service(tmp_path, "--demo") as running:
        demo = Demo(tmp_path, running)
        answer = demo.chat()

        assert time.monotonic() - began < 20
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-simulated"] == "true"
        assert "SIMULATED" in demo.greeting
        assert running.url in demo.greeting
        assert running.stop() == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_curl_line_works(shared: Demo) -> None:
    """It is one command for a shell, and prints the answer."""
    found = re.search(r"(?m)^  (curl (?:.*\\\n)*.*)$", shared.greeting)
    assert found

    done = shared.shell(found[1])

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_the_python_line_works(shared: Demo) -> None:
    """It runs in the Python that Farebox runs in, and prints the answer."""
    found = re.search(r"(?m)^  (\S*python\S* -c '[^']*')$", shared.greeting)
    assert found
    assert Path(sys.executable).name in found[1]

    done = shared.shell(found[1])

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_commands_of_the_greeting_work(demo: Demo) -> None:
    """Report and budget of the demo, as the greeting writes them; then the next call is refused."""
    assert demo.chat().status_code == 200
    lines = re.findall(r"(?m)^  (\S*farebox (?:report|budgets) .*)$", demo.greeting)
    assert len(lines) == 2

    for line in lines:
        program, _, arguments = line.partition(" ")
        done = demo.shell(f"{' '.join(FAREBOX)} {arguments}")
        assert done.returncode == 0, done.stderr
        assert "demo" in done.stdout
        assert shutil.which(program) or not Path(sys.executable).with_name("farebox").exists()
    assert demo.chat().status_code == 429


def test_a_budget_set_from_elsewhere_refuses_the_very_next_call(demo: Demo) -> None:
    """Another process sets a budget for the team; the next call is refused, by its name."""
    before = demo.chat()
    arguments = ["--team", "demo", "--limit-usd", "0.0001", "--window", "day"]
    done = farebox("budgets", "set", *arguments, cwd=demo.folder)
    after = demo.chat()

    assert done.returncode == 0, done.stderr
    assert (before.status_code, after.status_code) == (200, 429)
    error = after.json()["error"]
    assert (error["code"], error["type"]) == ("budget_exceeded", "insufficient_quota")
    for told in ("'team:demo:day'", "'demo'", "$0.0001", "It resets"):
        assert told in error["message"]
    assert after.headers["x-should-retry"] == "false"


def test_a_second_start_finds_everything_as_it_was(tmp_path: Path) -> None:
    """Key, admin token, calls and budgets outlast a restart; secrets are the owner's to read only."""
    with service(tmp_path, "--demo") as first:
        demo = Demo(tmp_path, first)
        key, token, call = demo.key, demo.admin_token, demo.chat()
        arguments = ["--team", "demo", "--limit-usd", "7", "--window", "week"]
        assert farebox("budgets", "set", *arguments, cwd=tmp_path).returncode == 0
        assert first.stop(signal.SIGINT) == 0
        assert "Traceback" not in first.stderr.read_text() + first.stdout.read_text()
    with service(tmp_path, "--demo") as second:
        demo = Demo(tmp_path, second)

        assert (key, token) == (demo.key, demo.admin_token)
        assert [call.headers["x-farebox-call-id"]] == [row["id"] for row in demo.admin("/calls")]
        assert {"team:demo:month", "team:demo:week"} == {b["id"] for b in demo.admin("/budgets")}
        assert demo.chat().status_code == 200
        assert second.stop() == 0
    for name in ("demo-key", "demo-admin-token"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600


def test_with_a_providers_key_it_forwards_there(tmp_path: Path) -> None:
    """Where OPENAI_API_KEY is set the demo says that it forwards to OpenAI, and never shows the key."""
    with service(tmp_path, "--demo", changes={"OPENAI_API_KEY": "sk-of-the-person"}) as running:
        greeting = Demo(tmp_path, running).greeting

        assert "forwards to OpenAI" in greeting
        assert "SIMULATED" not in greeting
        assert "sk-of-the-person" not in greeting + running.stdout.read_text()


def test_what_readme_says_works(demo: Demo) -> None:
    """README.md's Python and console blocks run as they are, but for where they run."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"(?s)```python\n(.*?)```", text)
    assert block
    script = block[1].replace("<the key that `make run` printed>", demo.key)
    (demo.folder / "readme.py").write_text(
        script.replace("http://127.0.0.1:8080", demo.service.url)
    )
    done = demo.shell(f"{sys.executable} readme.py")
    assert done.returncode == 0, done.stderr
    assert re.match(r"0\.0\d+ \w", done.stdout)
    assert demo.admin("/spend?group_by=user,workflow")[0]["group"] == {
        "user": "ada",
        "workflow": "greeting",
    }

    section = re.search(r"(?s)## Set a budget.*?```console\n(.*?)```", text)
    assert section
    said = section[1].replace("\\\n", "")
    commands = "\n".join(["set -e", *re.findall(r"(?m)^\$ (.*)$", said)])
    here = commands.replace(".venv/bin/farebox", " ".join(FAREBOX))
    done = demo.shell(here.replace("http://127.0.0.1:8080", demo.service.url))
    assert done.returncode == 0, done.stderr
    promised = re.search(r"(?m)^(\{.*)…$", said)
    assert promised
    listed, found, report = done.stdout.partition(promised[1])
    assert found
    assert "team:demo:day" in listed
    assert "demo" in report
