"""Changing the configuration of a running Farebox: whole, at once, and without dropping a call."""

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.app import application
from proxy.app import reload as module
from proxy.core.errors import ConfigurationError
from proxy.settings import Settings, load_settings
from proxy.simulator import create_app
from proxy.simulator import serve as serve_simulator
from tests.e2e.conftest import Start
from tests.e2e.heard import Heard
from tests.e2e.running import KEY, SIMULATED, Config, Running, bearer, eventually

Change = Callable[[Config], object]
OTHER_KEY = KEY + "-other"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at more often than usual."""
    monkeypatch.setattr(module, "_EVERY_S", 0.02)
    monkeypatch.setattr(module, "_WRITTEN_S", 0.01)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[ConfigurationError | None]:
    """Each time that the file was read again, with what was wrong with it."""
    found: list[ConfigurationError | None] = []

    def load(path: Path | None, env: Mapping[str, str]) -> Settings:
        try:
            settings = load_settings(path, env)
        except ConfigurationError as error:
            found.append(error)
            raise
        found.append(None)
        return settings

    monkeypatch.setattr(application, "load_settings", load)
    return found


@pytest.fixture
def file(tmp_path: Path) -> "File":
    return File(tmp_path / "farebox.yaml")


class File:
    """The configuration file of the Farebox that runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def change(self, change: Change) -> None:
        """Replace it by a changed one, as editors and orchestrators do."""
        document = yaml.safe_load(self.path.read_text())
        change(document)
        self.replace(yaml.safe_dump(document))

    def replace(self, text: str) -> None:
        """Replace it by another one."""
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self.path)


async def until_cap(run: Running, cap: str | None) -> None:
    """Wait until calls have this cap."""

    async def has_it() -> bool:
        answer = await run.chat("Hello")
        assert answer.status_code == 200
        shown: str | None = answer.headers.get("x-farebox-output-cap")
        return shown == cap

    await eventually(has_it)


def set_cap(tokens: int) -> Change:
    """A change of the team's cap."""
    return lambda document: document["teams"][0].update(max_output_tokens=tokens)


async def test_limits_change(run: Running, file: File) -> None:
    """Caps and budgets are those of the file, for the next call; what was spent stays spent."""
    await until_cap(run, None)
    spent = (await run.budget())["spent_usd"]
    assert spent != "0.00"

    def change(document: Config) -> None:
        document["teams"][0]["budgets"] = [
            {"limit_usd": 77, "window": "month"},
            {"limit_usd": 5, "window": "day"},
        ]
        set_cap(9)(document)

    file.change(change)
    await until_cap(run, "9; source=team")
    assert (await run.budget())["limit_usd"] == "77.00"
    assert float((await run.budget())["spent_usd"]) > float(spent)
    assert (await run.budget("team:search:day"))["limit_usd"] == "5.00"
    assert await run.verify() == []


async def test_a_budget_can_begin_to_refuse(run: Running, file: File) -> None:
    """A limit below what was spent refuses the next call; a higher one lets it through again."""
    for limit, status in ((0, 429), (100, 200)):
        file.change(partial(_set_limit, limit))

        async def so(expected: int = status) -> bool:
            return (await run.chat("Hello")).status_code == expected

        await eventually(so)


def _set_limit(limit_usd: int, document: Config) -> None:
    document["teams"][0]["budgets"][0]["limit_usd"] = limit_usd


async def test_keys_change(run: Running, file: File) -> None:
    """A key that is gone is refused, one that is new is taken, and one that moved is another team's."""
    assert (await run.chat(key=OTHER_KEY)).status_code == 200

    def change(document: Config) -> None:
        first, second = document["keys"]
        first["team"] = "other"
        second["key"] = KEY + "-new"

    file.change(change)

    async def taken() -> bool:
        return (await run.chat(key=KEY + "-new")).status_code == 200

    await eventually(taken)
    assert (await run.chat(key=OTHER_KEY)).status_code == 401
    call = (await run.chat()).headers["x-farebox-call-id"]
    assert (await run.row(call))["team"] == "other"


async def test_models_and_upstreams_change(start: Start, file: File) -> None:
    """A name can lead to a provider that was not there before, and the list shows it."""
    second = Heard(create_app())
    models = [{"match": "gpt-*", "upstream": "sim"}]
    async with serve_simulator(second) as url, start(models=models) as run:

        def change(document: Config) -> None:
            document["upstreams"]["more"] = {
                "preset": "openai",
                "base_url": f"{url}/v1",
                "api_key": SIMULATED,
            }
            document["models"].insert(0, {"name": "fast", "targets": ["more/gpt-4o-mini"]})

        assert (await run.chat(model="fast")).status_code == 404
        file.change(change)

        async def there() -> bool:
            return (await run.chat(model="fast")).status_code == 200

        await eventually(there)
        listed = await run.client.get("/v1/models", headers=bearer(KEY))
        assert second.bodies[-1]["model"] == "gpt-4o-mini"
    assert "fast" in {model["id"] for model in listed.json()["data"]}


async def test_prices_change(run: Running, file: File) -> None:
    """The next call is charged by the new price; rows of before keep theirs."""
    before = (await run.chat("Hello", model="sim-output-tokens-10")).headers["x-farebox-cost-usd"]
    file.change(lambda d: d["prices"][0].update(output_per_mtok="8.00", input_per_mtok="2.00"))

    async def doubled() -> bool:
        answer = await run.chat("Hello", model="sim-output-tokens-10")
        return float(answer.headers["x-farebox-cost-usd"]) == 2 * float(before)

    await eventually(doubled)
    assert (await run.calls())[0]["cost_usd"] == before
    assert await run.verify() == []


async def test_calls_under_way_keep_what_they_began_with(run: Running, file: File) -> None:
    """A stream goes on over a reload, even where its own upstream is another one afterwards."""

    async def stream() -> bytes:
        body: Any = {"model": "sim-event-ms-15+output-tokens-40", "stream": True}
        body["messages"] = [{"role": "user", "content": "Hello"}]
        came = b""
        path = "/v1/chat/completions"
        async with run.client.stream("POST", path, json=body, headers=bearer(KEY)) as answer:
            async for piece in answer.aiter_raw():
                came += piece
        return came

    call = asyncio.create_task(stream())
    await run.upstream_heard(1)

    def change(document: Config) -> None:
        document["upstreams"]["sim"]["idle_timeout_s"] = 99  # makes it a new upstream
        set_cap(9)(document)

    file.change(change)
    await until_cap(run, "9; source=team")
    assert not call.done()
    came = await call
    assert came.endswith(b"data: [DONE]\n\n")
    (row,) = [row for row in await run.calls() if row["stream"]]
    assert (row["outcome"], row["output_tokens"], row["output_cap"]) == ("completed", 40, None)
    assert await run.verify() == []


BROKEN = {
    "no YAML": "teams: [",
    "an unknown field": "upstream: {}",
    "a wrong type": "teams: 7",
    "half of it": "database: sqlite:///farebox.db\nteams:\n  - {name: search, max_output",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_file_changes_nothing(
    run: Running, file: File, reads: list[ConfigurationError | None], text: str
) -> None:
    """The last good configuration stays in force, whole; a good file after that is taken."""
    good = file.path.read_text()
    file.replace(text)

    async def read() -> bool:
        return bool(reads)

    await eventually(read)
    assert reads[0] is not None
    assert (await run.chat("Hello")).status_code == 200
    assert (await run.chat(key=OTHER_KEY)).status_code == 200
    assert (await run.budget())["limit_usd"] == "100.00"
    file.replace(good)
    file.change(set_cap(9))
    await until_cap(run, "9; source=team")


async def test_a_file_that_is_away_for_a_moment_changes_nothing(
    run: Running, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some editors remove the file before they write it again."""
    good = file.path.read_text()
    looks: list[module.Stamp | None] = []

    def look(path: Path, stamp: Callable[[Path], module.Stamp | None] = module._stamp) -> Any:
        looks.append(stamp(path))
        return looks[-1]

    monkeypatch.setattr(module, "_stamp", look)
    file.path.unlink()

    async def missed() -> bool:
        return looks.count(None) > 3

    await eventually(missed)
    assert (await run.chat("Hello")).status_code == 200
    file.path.write_text(good)
    file.change(set_cap(9))
    await until_cap(run, "9; source=team")


async def test_a_change_of_the_modification_time_is_no_change(
    run: Running, file: File, reads: list[ConfigurationError | None]
) -> None:
    """The same words again: nothing is swapped, and connections stay."""
    await run.chat("Hello")
    config = run.app.house.pipeline.config
    os.utime(file.path)

    async def read() -> bool:
        return bool(reads)

    await eventually(read)
    assert (await run.chat("Hello")).status_code == 200
    assert run.app.house.pipeline.config is config


async def test_what_needs_a_restart_does_not_take_the_rest_down(start: Start, file: File) -> None:
    """A new database or port waits for a restart; the rest of the file is in force."""
    async with start() as run:

        def change(document: Config) -> None:
            document["database"] = "sqlite:///elsewhere.db"
            set_cap(9)(document)

        file.change(change)
        await until_cap(run, "9; source=team")
        assert await run.verify() == []
        assert len(await run.calls()) >= 1
