"""Every other endpoint: through as it came, both ways, and on record as not metered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from proxy.simulator.passthrough import file_bytes
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, SIMULATED, Running, bearer
from tests.e2e.wire import ask, message

MB = 2**20
STATM = Path("/proc/self/statm")
KEYED = [*bearer(KEY).items()]
needs_statm = pytest.mark.skipif(not STATM.exists(), reason="memory is read from Linux's /proc")


async def echo(run: Running, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    """The request as the upstream got it."""
    arguments["headers"] = bearer(KEY) | arguments.get("headers", {})
    answer = await run.client.request(method, path, **arguments)
    assert answer.status_code == 200, answer.text
    seen: dict[str, Any] = answer.json()
    return seen


def named(seen: dict[str, Any], name: str) -> list[str]:
    """The values of a header, as the upstream got them."""
    return [value for key, value in seen["headers"] if key == name]


# The request...


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
async def test_any_method(run: Running, method: str) -> None:
    """What the upstream does with it is its business."""
    seen = await echo(run, method, "/v1/assistants/asst_1")
    assert (seen["method"], seen["path"]) == (method, "/v1/assistants/asst_1")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/files?limit=2&after=a%20b&after=c",
        "/v1/files?",
        "/v1/files?x=%E2%82%AC+%2B&y",
        "/v1/files/a%2Fb%3Fc",
        "/v1/files/%C3%BC/content%20x",
        "/v1/vector_stores/vs_1/files/",
        "/v1/nobody/knows:this@one;v=1,2",
    ],
)
async def test_path_and_query_as_they_were_written(run: Running, target: str) -> None:
    """Escapes, order, repeats and empty ones stay."""
    answer = await ask(run.url, message("GET", target, KEYED), "GET")
    path, _, query = target.partition("?")
    assert answer.status == 200
    seen = httpx.Response(200, content=answer.body).json()
    assert (seen["raw_path"], seen["query_string"]) == (path, query)


async def test_headers_go_on_and_secrets_stay(run: Running) -> None:
    """The client's own end-to-end headers, repeats in their order; never its credential, address or ours."""
    sent = [
        ("openai-organization", "org-1"),
        ("openai-beta", "assistants=v2"),
        ("x-repeated", "one"),
        ("x-repeated", "two"),
        ("user-agent", "its own/1"),
        ("content-type", "application/octet-stream"),
        ("accept-encoding", "gzip, br"),
        ("x-api-key", "sk-mine"),
        ("cookie", "session=secret"),
        ("x-farebox-user", "ada"),
        ("x-farebox-tags", "a=b"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("via", "1.1 somebody"),
        ("te", "trailers"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "only to you"),
        ("connection", "keep-alive, x-hop"),
    ]
    answer = await ask(run.url, message("POST", "/v1/files", [*KEYED, *sent], b"body"))
    seen = httpx.Response(200, content=answer.body).json()
    assert named(seen, "authorization") == [f"Bearer {SIMULATED}"]
    assert named(seen, "x-repeated") == ["one", "two"]
    assert named(seen, "openai-organization") == ["org-1"]
    assert named(seen, "openai-beta") == ["assistants=v2"]
    assert named(seen, "user-agent") == ["its own/1"]
    assert named(seen, "content-type") == ["application/octet-stream"]
    assert named(seen, "content-length") == ["4"]
    assert named(seen, "accept-encoding") == ["identity"]
    assert named(seen, "host") == [urlsplit(run.upstream).netloc]
    for gone in ("x-api-key", "cookie", "via", "te", "x-hop", "x-real-ip", "forwarded"):
        assert named(seen, gone) == [], gone
    everything = str(seen)
    for secret in (KEY, "sk-mine", "session=secret", "203.0.113.9", "farebox", "127.0.0.1"):
        assert secret not in everything.replace(urlsplit(run.upstream).netloc, "")


async def test_headers_of_the_configuration_are_added(start: Start) -> None:
    """What an upstream wants to have in every request."""
    async with start(sim={"headers": {"X-Title": "Farebox", "openai-project": "p1"}}) as run:
        seen = await echo(run, "GET", "/v1/files")
    assert (named(seen, "x-title"), named(seen, "openai-project")) == (["Farebox"], ["p1"])


BINARY = Random(1).randbytes(300_000)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 70_000, 300_000])
async def test_binary_bodies(run: Running, size: int, chunked: bool) -> None:
    """Byte for byte, with or without a declared length."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 7001):
            yield BINARY[:size][start : start + 7001]

    content = pieces() if chunked else BINARY[:size]
    seen = await echo(run, "POST", "/v1/x", content=content, headers={"content-type": "audio/wav"})
    assert seen["body"] == {"size": size, "sha256": sha256(BINARY[:size]).hexdigest()}


async def test_multipart_uploads(run: Running) -> None:
    """The SDK's upload of a file arrives with its boundary and bytes as the SDK made them."""
    sent: list[bytes] = []

    async def keep(request: httpx.Request) -> None:
        sent.append(await request.aread())

    client = httpx.AsyncClient(event_hooks={"request": [keep]})
    async with run.sdk(http_client=client) as sdk:
        raw = await sdk.files.with_raw_response.create(
            file=("train.jsonl", BINARY, "application/jsonl"), purpose="fine-tune"
        )
    seen = httpx.Response(200, content=raw.content).json()
    assert seen["body"]["sha256"] == sha256(sent[0]).hexdigest()
    assert named(seen, "content-type")[0].startswith("multipart/form-data; boundary=")


# The answer...


async def test_repeated_headers_of_the_answer(run: Running) -> None:
    """Cookies come in several headers, which must not be joined."""
    answer = await run.client.get("/v1/files", headers=bearer(KEY))
    cookies = answer.headers.get_list("set-cookie")
    assert cookies == ["first=1; path=/", "second=2; path=/"]
    assert answer.headers["x-farebox-call-id"].startswith("fb-")
    assert "x-farebox-output-cap" not in answer.headers


@pytest.mark.parametrize("status", [204, 304, 404, 418, 500])
async def test_any_status(run: Running, status: int) -> None:
    """The status and the body are the upstream's."""
    path = f"/v1/files?x=[[sim: status={status}]]"
    async with httpx.AsyncClient(base_url=run.upstream) as client:
        direct = await client.get(path, headers=bearer(SIMULATED))
    answer = await run.client.get(path, headers=bearer(KEY))
    assert (answer.status_code, answer.content) == (direct.status_code, direct.content)


async def test_head(run: Running) -> None:
    """The head of the answer with its length, and no body."""
    answer = await run.client.head("/v1/files/12345/content", headers=bearer(KEY))
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 0
    assert answer.content == b""
    again = await run.client.get("/v1/files", headers=bearer(KEY))  # the connection is in order
    assert again.status_code == 200


async def test_it_is_on_record_and_not_metered(run: Running) -> None:
    """A row with what is known; its endpoint is one of a bounded list."""
    paths = ["/v1/files/f_1", "/v1/audio/voices", "/v1/images/other", "/v1/zzz/1", "/v1/"]
    for path in paths:
        await echo(run, "POST", path)
    rows = await run.calls()
    assert [row["endpoint"] for row in rows] == [
        "files",
        "audio.voices",
        "images.other",
        "other",
        "other",
    ]
    assert {row["usage_source"] for row in rows} == {"none"}
    assert {(row["cost_usd"], row["attempts"], row["outcome"]) for row in rows} == {
        ("0.00", 1, "completed")
    }
    assert all(row["upstream_call_id"].startswith("req_") for row in rows)
    assert await run.settled_cleanly() == 0


async def test_no_budget_refuses_it(start: Start) -> None:
    """What has no price here is not held."""
    teams = [{"name": "search", "budgets": [{"limit_usd": 0}]}]
    async with start(teams=teams) as run:
        assert (await run.client.get("/v1/files", headers=bearer(KEY))).status_code == 200
        assert (await run.chat("Hello")).status_code == 429


# Large ones...


@asynccontextmanager
async def flat_memory(most_bytes: int) -> AsyncIterator[None]:
    """The process must not grow by more than so much in between."""
    page = 4096

    def resident() -> int:
        return int(STATM.read_text().split()[1]) * page

    before = resident()
    peak = before

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident())
            await asyncio.sleep(0.002)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
    assert peak - before < most_bytes, f"grew by {(peak - before) / MB:.0f} MB"


@needs_statm
async def test_a_large_upload_is_never_held(start: Start) -> None:
    """100 MB go through in flat memory, whole."""
    block = BINARY[: MB // 4]
    digest = sha256()

    async def blocks() -> AsyncIterator[bytes]:
        for _ in range(400):
            digest.update(block)
            yield block

    async with start() as run:
        async with flat_memory(24 * MB):
            seen = await echo(
                run, "POST", "/v1/files", content=blocks(), headers={"content-type": "audio/wav"}
            )
        assert seen["body"] == {"size": 100 * MB, "sha256": digest.hexdigest()}


@needs_statm
async def test_a_large_download_is_never_held(run: Running) -> None:
    """256 MB go through in flat memory, whole; their length is said before."""
    size = 256 * MB
    came = 0
    async with (
        flat_memory(24 * MB),
        run.client.stream("GET", f"/v1/files/{size}/content", headers=bearer(KEY)) as answer,
    ):
        assert answer.headers["content-length"] == str(size)
        async for piece in answer.aiter_raw():
            if not came or came + len(piece) == size:
                assert piece == file_bytes(came, came + len(piece))
            came += len(piece)
    assert came == size


async def test_a_slow_reader_slows_the_upstream_down(start: Start) -> None:
    """While the client does not read, the upstream can't send: only what fits the buffers is on its way."""
    block = bytes(MB // 16)
    total = 64 * MB
    written = 0
    stuck = asyncio.Event()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while written < total:
            writer.write(block)
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                await writer.drain()
            written += len(block)
        writer.close()

    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, start(sim={"base_url": f"http://127.0.0.1:{port}/v1"}) as run:
        address = urlsplit(run.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=4096)
        writer.write(message("GET", "/v1/files/f/content", KEYED))
        head = await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(20):
            await stuck.wait()
        assert written < 40 * MB  # of the kernel's buffers, mostly
        body = await reader.readexactly(total)
        writer.close()
    assert b"200 OK" in head
    assert len(body) == written == total
    assert not any(body)


async def test_a_body_of_json_is_bounded(start: Start) -> None:
    """JSON is read whole, up to ``limits.max_body_bytes``; other uploads are streams without a bound."""
    async with start(limits={"max_body_bytes": 1000}) as run:
        body = b'"' + b"x" * 2000 + b'"'
        kinds = {}
        for kind in ("application/json", "audio/wav"):
            headers = bearer(KEY) | {"content-type": kind}
            answer = await run.client.post("/v1/x", headers=headers, content=body)
            kinds[kind] = answer.status_code
    assert kinds == {"application/json": 413, "audio/wav": 200}
