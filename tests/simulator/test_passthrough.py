"""The echo that stands in for the rest of an API, and downloads."""

import asyncio
from hashlib import sha256

import httpx
import pytest

from proxy.simulator import API_KEY, Outcome
from proxy.simulator.passthrough import file_bytes
from tests.simulator.provider import Provider


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_method(provider: Provider, method: str) -> None:
    echo = (await provider.client.request(method, "/v1/threads")).json()

    assert (method, "/v1/threads") == (echo["method"], echo["path"])


async def test_a_head_has_no_body(provider: Provider) -> None:
    response = await provider.client.head("/v1/threads")

    assert (response.status_code, response.content) == (200, b"")


async def test_describes_what_came(provider: Provider) -> None:
    """Path as sent, query, repeated headers in order, and binary bytes by their hash."""
    body = bytes(range(256)) * 1000

    response = await provider.client.post(
        "/v1/files/a%2Fb?x=1&x=2&y=%20",
        content=body,
        headers=[("x-one", "1"), ("x-two", "2"), ("x-one", "3")],
    )

    echo = response.json()
    assert echo["raw_path"] == "/v1/files/a%2Fb"
    assert echo["query_string"] == "x=1&x=2&y=%20"
    assert [header for header in echo["headers"] if header[0].startswith("x-")] == [
        ["x-one", "1"],
        ["x-two", "2"],
        ["x-one", "3"],
    ]
    assert {"size": len(body), "sha256": sha256(body).hexdigest()} == echo["body"]


async def test_multipart(provider: Provider) -> None:
    request = provider.client.build_request(
        "POST", "/v1/files", files={"file": ("a.bin", b"\x00\xff" * 70_000)}, data={"purpose": "x"}
    )
    body = await request.aread()
    response = await provider.client.send(request)

    assert {"size": len(body), "sha256": sha256(body).hexdigest()} == response.json()["body"]


async def test_the_same_request_has_the_same_answer(provider: Provider) -> None:
    first = await provider.client.post("/v1/x", content=b"abc")
    provider.client.cookies.clear()
    second = await provider.client.post("/v1/x", content=b"abc")

    assert first.content == second.content


async def test_headers_repeat_in_the_answer_too(provider: Provider) -> None:
    response = await provider.client.get("/v1/x")

    assert response.headers.get_list("set-cookie") == ["first=1; path=/", "second=2; path=/"]


async def test_costs_nothing(provider: Provider) -> None:
    await provider.client.get("/v1/x")

    assert (
        provider.line.endpoint,
        provider.line.status,
        provider.line.cost_nano,
        provider.line.model,
    ) == ("/v1/x", 200, 0, None)


async def test_controls_in_body_or_query(provider: Provider) -> None:
    """A GET has no body to put a marker in."""
    by_body = await provider.client.post("/v1/x", content=b"[[sim: status=503]]")
    by_query = await provider.client.get("/v1/x", params={"q": "[[sim: status=418]]"})

    assert [by_body.status_code, by_query.status_code] == [503, 418]


@pytest.mark.parametrize("size", [0, 1, 65_520, 65_521, 65_522, 1_000_000])
async def test_a_download(provider: Provider, size: int) -> None:
    response = await provider.client.get(f"/v1/files/{size}/content")

    assert str(size) == response.headers["content-length"]
    assert file_bytes(0, size) == response.content


async def test_a_part_of_a_download() -> None:
    assert file_bytes(0, 200_000)[70_000:150_000] == file_bytes(70_000, 150_000)


async def test_a_download_waits_for_its_reader(provider: Provider) -> None:
    """A terabyte costs no memory, and ends when its reader leaves."""
    async with provider.client.stream("GET", "/v1/files/1000000000000/content") as response:
        first = await anext(response.aiter_raw())

    assert file_bytes(0, len(first)) == first
    assert (await provider.chat()).status_code == 200


async def test_leaving_within_the_request(provider: Provider) -> None:
    """A body that never ends is no answered request; it costs nothing."""
    _, writer = await asyncio.open_connection(provider.host, int(provider.port))
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
        b"authorization: Bearer " + API_KEY.encode() + b"\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    (line,) = await provider.billed()
    assert (line.outcome, line.status, line.cost_nano) == (Outcome.CLIENT_LEFT, 0, 0)


async def test_keep_alive_serves_many(provider: Provider) -> None:
    async with httpx.AsyncClient(
        base_url=provider.address,
        headers={"authorization": f"Bearer {API_KEY}"},
        limits=httpx.Limits(max_connections=1),
    ) as client:
        statuses = [(await client.get("/v1/models")).status_code for _ in range(20)]

    assert statuses == 20 * [200]
