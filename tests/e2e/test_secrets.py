"""No key, no prompt and no answer is stored, logged or shown, also when everything goes wrong."""

import asyncio
import base64
import gc
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.gateway.dialects.openai_chat import OpenAIChat
from proxy.gateway.meter import Meter
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Running, bearer, chat_body, config, farebox
from tests.e2e.wire import ask, message

# Words that stand nowhere else. Each is a secret of its own kind.
PROMPT = "Zwiebelkuchen"
SYSTEM = "Quarkkeulchen"
ARGUMENT = "Pfannkuchen"
UPLOAD = "Rhabarberschorle"
HEADER = "Blaubeermarmelade"
QUERY = "Kirschmichel"
METADATA = "Johannisbeere"
FOREIGN_KEY = "fb-sk-somebody-elses-Holunder"
PROVIDER_KEY = "sk-of-the-provider-Sanddorn"
ADMIN_TOKEN = "admin-token-Brombeere"
SECRETS = [PROMPT, SYSTEM, ARGUMENT, UPLOAD, HEADER, QUERY, METADATA, KEY, FOREIGN_KEY]
SECRETS += [PROVIDER_KEY, "Sanddorn", ADMIN_TOKEN, "Brombeere", "Holunder"]


def secret_chat(controls: str = "", **changes: Any) -> dict[str, Any]:
    """A chat completion with something secret in every place that may hold a text."""
    body = chat_body(f"{PROMPT} [[sim: output_tokens=40{', ' if controls else ''}{controls}]]")
    parameters = {"type": "object", "properties": {ARGUMENT: {"type": "string"}}}
    tool = {"name": "f", "description": SYSTEM, "parameters": parameters}
    body["messages"].insert(0, {"role": "system", "content": SYSTEM})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ARGUMENT}}
    body["messages"].insert(1, {"role": "assistant", "content": None, "tool_calls": [call]})
    body["messages"].insert(2, {"role": "tool", "tool_call_id": "c", "content": ARGUMENT})
    body["tools"] = [{"type": "function", "function": tool}]
    body["metadata"] = {"note": METADATA}
    body["stop"] = [SYSTEM * 9]
    return body | changes


class Spoken:
    """Everything that was answered, in pieces long enough to be told from anything else."""

    def __init__(self) -> None:
        self.texts: set[str] = set()

    def hear(self, text: str) -> None:
        """Keep what an answer said."""
        words = "".join(re.findall(r'"content": ?"((?:[^"\\]|\\.)*)"', text))
        self.texts |= {words[at : at + 24] for at in range(0, max(len(words) - 24, 0), 24)}


async def calls_of_all_kinds(run: Running) -> Spoken:
    """Right and wrong ones, streamed and not, cut off, refused, passed through."""
    spoken = Spoken()
    for controls in ["", "no_usage", "malformed=error", "malformed=half_utf8", "status=500"]:
        for stream in (False, True):
            answer = await run.chat(**secret_chat(controls, stream=stream))
            spoken.hear(answer.text)
    await run.chat(**secret_chat("die_before_answer"))
    with pytest.raises(httpx.HTTPError):
        await run.chat(**secret_chat("die_after_events=9, die=close", stream=True))
    await a_client_that_leaves(run)
    await refused_calls(run)
    await run.client.post(
        f"/v1/files?token={QUERY}",
        content=UPLOAD * 50,
        headers=bearer(KEY) | {"x-custom": HEADER, "cookie": HEADER, "content-type": "text/x"},
    )
    await run.client.get(f"/v1/vector_stores/{QUERY}/search", headers=bearer(KEY))
    return spoken


async def a_client_that_leaves(run: Running) -> None:
    body = secret_chat("event_ms=2", stream=True)
    async with run.client.stream(
        "POST", "/v1/chat/completions", json=body, headers=bearer(KEY)
    ) as answer:
        await anext(answer.aiter_bytes())


async def refused_calls(run: Running) -> None:
    for changes in (
        {"max_tokens": PROMPT},
        {"n": {PROMPT: SYSTEM}},
        {"stream_options": PROMPT},
        {"messages": PROMPT},
        {"user": {PROMPT: 1}},
        {"tools": PROMPT},
    ):
        assert (await run.chat(**secret_chat(**changes))).status_code == 400
    assert (await run.chat(key=FOREIGN_KEY, **secret_chat())).status_code == 401
    headers = [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")]
    for body in (f'{{"x":"{PROMPT}"', f'{{"{PROMPT}":NaN}}', PROMPT, f'["{PROMPT}"]'):
        await ask(run.url, message(headers=headers, body=body.encode()))
    tags = ("x-farebox-tags", HEADER)
    await ask(run.url, message(headers=[*headers, tags], body=b'{"model":"m","messages":[]}'))
    await ask(run.url, b"POST /v1/x HTTP/1.1\r\n" + HEADER.encode() + b" : x\r\n\r\n")


def stored(folder: Path) -> dict[str, bytes]:
    """Every byte of the database, of its log and of what else lies beside it, but not the configuration."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".yaml"]
    return {path.name: path.read_bytes() for path in files}


def assert_none(places: dict[str, bytes], spoken: Spoken) -> None:
    """No secret is in any of the places, as it is or as base64."""
    secrets = {*SECRETS, *spoken.texts}
    assert len(spoken.texts) > 10
    for place, content in places.items():
        for secret in secrets:
            assert secret.encode() not in content, (place, secret)
            coded = base64.b64encode(secret.encode())[:-4]
            assert coded not in content, (place, secret)


async def test_nothing_secret_is_stored_logged_or_shown(
    start: Start, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Database, log, metrics, rows and spend have none of it, for calls that went well and badly."""
    async with start(admin_token=ADMIN_TOKEN, logging={"level": "debug"}) as run:
        spoken = await calls_of_all_kinds(run)
        await with_a_wrong_provider_key(run, tmp_path / "other")
        places = {
            "/metrics": (await run.client.get("/metrics")).content,
            "/healthz": (await run.client.get("/healthz")).content,
            "/readyz": (await run.client.get("/readyz")).content,
        }
        for path in ("calls?limit=500", "spend?group_by=user,tag", "keys", "budgets", "teams"):
            headers = bearer(ADMIN_TOKEN)
            answer = await run.client.get(f"/admin/v1/{path}", headers=headers)
            assert answer.status_code == 200, answer.text
            places[path] = answer.content
        assert len(await rows(run)) > 20
        places |= stored(tmp_path)  # with the write-ahead log as it is under load
    out, error = capfdbinary.readouterr()
    assert out.count(b'"event":"call"') > 20

    assert_none(places | {"stdout": out, "stderr": error} | stored(tmp_path), spoken)


async def with_a_wrong_provider_key(run: Running, folder: Path) -> None:
    """A provider that quotes the key it refuses, and one that is not there."""
    folder.mkdir()  # noqa: ASYNC240 - at once
    wrong = {"preset": "openai", "base_url": f"{run.upstream}/v1", "api_key": PROVIDER_KEY}
    upstreams = {"sim": wrong, "gone": wrong | {"base_url": "http://127.0.0.1:9/v1"}}
    models = [{"match": "*mini", "upstream": "sim"}, {"match": "*", "upstream": "gone"}]
    document = config(run.upstream, folder, upstreams=upstreams, models=models)
    async with farebox(folder, document) as (url, _):
        for model, status in (("gpt-4o-mini", 401), ("gpt-4o", 502)):
            headers = [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")]
            body = json.dumps(secret_chat(model=model)).encode()
            answer = await ask(url, message(headers=headers, body=body))
            assert answer.status == status
            assert PROVIDER_KEY.encode() not in answer.body


async def rows(run: Running) -> list[dict[str, Any]]:
    answer = await run.client.get("/admin/v1/calls?limit=500", headers=bearer(ADMIN_TOKEN))
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


DEFECTS = [
    (OpenAIChat, "inspect", 500, "refused"),
    (OpenAIChat, "patch", 500, "lost"),
    (OpenAIChat, "scanner", 500, "lost"),
    (Meter, "_row", 200, "completed"),
]


@pytest.mark.parametrize(("where", "what", "status", "outcome"), DEFECTS)
async def test_a_defect_of_ours_costs_one_answer_and_tells_no_secret(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    where: type,
    what: str,
    status: int,
    outcome: str,
) -> None:
    """An exception that quotes the prompt: the log says where it was, the row and the hold are settled."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"can't take {PROMPT}") from ValueError(PROMPT)

    async with start(admin_token=ADMIN_TOKEN) as run:
        with monkeypatch.context() as broken:
            broken.setattr(where, what, fail)
            answer = await run.chat(**secret_chat(stream=True))
            await run.app.house.pipeline.ended()
        assert status == answer.status_code
        if status == 500:
            assert answer.json()["error"]["code"] == "internal_error"
        (row,) = await rows(run)
        assert (outcome, status) == (row["outcome"], row["status"])
        assert (await run.chat()).status_code == 200
        assert await run.verify() == []
        assert [w.held_nano for b in await run.app.house.ledger.budgets() for w in b.windows] == [0]
    out = capfdbinary.readouterr().out

    assert b'"event":"defect"' in out
    assert b"RuntimeError" in out
    assert b"ValueError" in out
    assert PROMPT.encode() not in out


async def test_what_nobody_waited_for_is_told_without_its_words(
    start: Start, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The event loop's own report of a lost exception quotes it; ours does not."""

    async def fail() -> None:
        raise RuntimeError(PROMPT)

    async with start():
        task = asyncio.create_task(fail(), name=PROMPT)
        await asyncio.wait([task])
        del task
        gc.collect()
    out = capfdbinary.readouterr().out

    assert b'"event":"unhandled"' in out
    assert b"RuntimeError" in out
    assert b"in fail" in out
    assert PROMPT.encode() not in out
