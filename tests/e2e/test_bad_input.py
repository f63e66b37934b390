"""What no client should send: a clear error in OpenAI's shape, nothing forwarded, no row lost."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Running, eventually
from tests.e2e.wire import ask, message, recorder, wired

JSON = ("content-type", "application/json")
WITH_KEY = [("authorization", f"Bearer {KEY}"), JSON]
MESSAGES = '"messages":[{"role":"user","content":"Hello"}]'
GOOD = f'{{"model":"gpt-4o-mini",{MESSAGES}}}'.encode()
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Bad:
    """A body, and what to say of it."""

    body: bytes
    param: str | None = None
    status: int = 400
    code: str = "invalid_request"
    says: str = ""
    headers: list[tuple[str, str]] = field(default_factory=lambda: [JSON])


def chat(more: str, model: str = '"gpt-4o-mini"') -> bytes:
    return f'{{"model":{model},{MESSAGES}{more}}}'.encode()


BODIES = {
    "nothing": Bad(b"", says="empty"),
    "white space": Bad(b" \r\n\t ", says="empty"),
    "no JSON": Bad(b"model=gpt-4o-mini", says="not valid JSON"),
    "half of it": Bad(GOOD[:-10], says="not valid JSON"),
    "two documents": Bad(GOOD + GOOD, says="not valid JSON"),
    "a trailing comma": Bad(GOOD[:-1] + b",}", says="not valid JSON"),
    "a comment": Bad(b"// hi\n" + GOOD, says="not valid JSON"),
    "an array": Bad(b"[" + GOOD + b"]", says="JSON object"),
    "a string": Bad(b'"gpt-4o-mini"', says="JSON object"),
    "null": Bad(b"null", says="JSON object"),
    "NaN": Bad(chat(',"temperature":NaN'), says="not valid JSON"),
    "Infinity": Bad(chat(',"temperature":-Infinity'), says="not valid JSON"),
    "a control character": Bad(chat(',"user":"a\x01b"'), says="not valid JSON"),
    "not UTF-8": Bad(GOOD.replace(b"Hello", b"Hel\xfflo"), says="not valid JSON"),
    "a surrogate as UTF-8": Bad(GOOD.replace(b"Hello", b"\xed\xa0\x80"), says="not valid JSON"),
    "UTF-16": Bad(GOOD.decode().encode("utf-16"), says="byte order mark"),
    "a byte order mark": Bad(b"\xef\xbb\xbf" + GOOD, says="byte order mark"),
    "gzip": Bad(b"\x1f\x8b\x08\x00" + bytes(30), says="not valid JSON"),
    "nested deep": Bad(chat(',"x":' + "[" * 100 + "]" * 100), says="nested deeper"),
    "nested very deep": Bad(chat(',"x":' + '{"a":' * 90_000 + "1" + "}" * 90_000)),
    "nested without end": Bad(b"[" * 1_000_000),
    "no model": Bad(f"{{{MESSAGES}}}".encode(), "model"),
    "a model that is null": Bad(chat("", "null"), "model"),
    "a model that is a number": Bad(chat("", "5"), "model"),
    "an empty model": Bad(chat("", '""'), "model"),
    "a model with a line break": Bad(chat("", r'"gpt\n4"'), "model"),
    "a long model": Bad(chat("", '"' + "m" * 600 + '"'), "model"),
    "no messages": Bad(b'{"model":"gpt-4o-mini"}', "messages"),
    "messages that are a string": Bad(b'{"model":"gpt-4o-mini","messages":"Hello"}', "messages"),
    "max_tokens below zero": Bad(chat(',"max_tokens":-1'), "max_tokens"),
    "max_tokens zero": Bad(chat(',"max_tokens":0'), "max_tokens"),
    "max_tokens a fraction": Bad(chat(',"max_tokens":1.5'), "max_tokens"),
    "max_tokens a string": Bad(chat(',"max_tokens":"5"'), "max_tokens"),
    "max_tokens true": Bad(chat(',"max_tokens":true'), "max_tokens"),
    "max_tokens beyond 64 bits": Bad(chat(f',"max_tokens":{10**30}'), "max_tokens"),
    "max_completion_tokens below zero": Bad(
        chat(',"max_completion_tokens":-1'), "max_completion_tokens"
    ),
    "n zero": Bad(chat(',"n":0'), "n"),
    "n too many": Bad(chat(',"n":1000000'), "n"),
    "stream a string": Bad(chat(',"stream":"yes"'), "stream"),
    "stream_options an array": Bad(chat(',"stream":true,"stream_options":[]'), "stream_options"),
    "include_usage a number": Bad(
        chat(',"stream":true,"stream_options":{"include_usage":1}'), "stream_options.include_usage"
    ),
    "tools an object": Bad(chat(',"tools":{}'), "tools"),
    "user a number": Bad(chat(',"user":7'), "user"),
    "metadata a string": Bad(chat(',"metadata":"x"'), "metadata"),
    "model twice": Bad(chat(',"model":"gpt-4o"'), "model", says="twice"),
    "model twice, once with escapes": Bad(chat(r',"mod\u0065l":"gpt-4o"'), "model", says="twice"),
    "max_tokens twice": Bad(chat(',"max_tokens":5,"max_tokens":50000'), "max_tokens", says="twice"),
    "include_usage twice": Bad(
        chat(',"stream":true,"stream_options":{"include_usage":true,"include_usage":false}'),
        "stream_options.include_usage",
        says="twice",
    ),
    "Model": Bad(chat(',"Model":"gpt-4o"'), "model", says="must be written"),
    "a model that no rule matches": Bad(
        chat("", '"claude-9"'), "model", 404, "model_not_found", says="GET /v1/models"
    ),
    "a model that is not the team's": Bad(
        chat("", '"gpt-4o"'), "model", 403, "model_not_allowed", says="gpt-4o-mini"
    ),
    "more output than the team's cap": Bad(
        chat(',"max_tokens":5000'), "max_tokens", 400, "max_output_tokens_exceeded", says="1000"
    ),
    "a form": Bad(b"model=x", headers=[("content-type", "application/x-www-form-urlencoded")]),
    "multipart": Bad(b"--x\r\n", headers=[("content-type", "multipart/form-data; boundary=x")]),
    "tags without a value": Bad(GOOD, says="x-farebox-tags", headers=[("x-farebox-tags", "a,b=c")]),
    "tags without a name": Bad(GOOD, says="x-farebox-tags", headers=[("x-farebox-tags", "=b")]),
    "too many tags": Bad(
        GOOD,
        says="at most",
        headers=[("x-farebox-tags", ",".join(f"t{i}=1" for i in range(100)))],
    ),
    "many headers": Bad(
        GOOD,
        status=431,
        code="request_too_large",
        says="limits.max_header_bytes",
        headers=[(f"x-{i}", "1") for i in range(10_000)],
    ),
    "a huge header": Bad(
        GOOD,
        status=431,
        code="request_too_large",
        says="limits.max_header_bytes",
        headers=[("x-huge", "h" * 100_000)],
    ),
}


@pytest.fixture
async def strict(start: Start) -> AsyncIterator[Running]:
    """Farebox with a team that may not do everything."""
    team = {
        "name": "search",
        "models": ["gpt-4o-mini", "claude-*"],
        "max_output_tokens": 1000,
        "on_over_cap": "reject",
    }
    key = {"name": "search-key", "team": "search", "key": KEY}
    rule = {"match": "gpt-*", "upstream": "sim"}
    async with start(teams=[team], keys=[key], models=[rule]) as run:
        yield run


async def assert_still_serves(run: Running) -> None:
    """Whatever was sent before, the next call is answered."""
    answer = await run.chat()
    assert answer.status_code == 200, answer.text


async def test_a_bad_body_is_refused_with_what_is_wrong(strict: Running) -> None:
    """Each has its status, code and parameter; it is a row, and the upstream hears nothing of it."""
    for name, bad in BODIES.items():
        headers = [("authorization", f"Bearer {KEY}"), *bad.headers]
        answer = await ask(strict.url, message(headers=headers, body=bad.body))
        error = answer.error

        assert (bad.status, bad.code, bad.param) == (
            answer.status,
            error["code"],
            error["param"],
        ), name
        assert bad.says in error["message"], name
        assert len(error["message"]) < 1000, name
        row = await strict.row(answer.value(b"x-farebox-call-id").decode())
        told = (row["outcome"], row["status"], row["refusal"], row["cost_usd"])
        assert ("refused", bad.status, bad.code, "0.00") == told, name

    assert strict.heard.requests == 0
    rows = await strict.calls()
    assert len(rows) == len(BODIES)
    await assert_still_serves(strict)
    assert await strict.verify() == []


CREDENTIALS: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "empty": [("authorization", "")],
    "a scheme only": [("authorization", "Bearer")],
    "a scheme and space": [("authorization", "Bearer   ")],
    "no scheme": [("authorization", KEY)],
    "another scheme": [("authorization", f"Basic {KEY}")],
    "an unknown key": [("authorization", "Bearer fb-sk-unknown")],
    "a longer key": [("authorization", f"Bearer {KEY}x")],
    "a shorter key": [("authorization", f"Bearer {KEY[:-1]}")],
    "another case": [("authorization", f"Bearer {KEY.upper()}")],
    "two keys": [("authorization", f"Bearer {KEY},{KEY}")],
    "not ASCII": [("authorization", "Bearer \xe4\xf6\xfc\xff")],
    "a long one": [("authorization", "Bearer " + "k" * 30_000)],
    "in the query": [],
    "in a cookie": [("cookie", f"authorization=Bearer {KEY}")],
    "the provider's": [("authorization", "Bearer sk-simulated")],
}


async def test_without_a_known_key_nothing_happens(run: Running) -> None:
    """A missing, unknown or odd credential is 401 at every endpoint; the message shows no key."""
    query = f"?api_key={KEY}&key={KEY}"
    for name, headers in CREDENTIALS.items():
        for method, target in [
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/embeddings"),
            ("GET", "/v1/models"),
            ("GET", "/farebox/v1/calls/fb-0"),
        ]:
            asked = message(
                method, target + query, [*headers, JSON], GOOD if method == "POST" else b""
            )
            answer = await ask(run.url, asked)

            assert (401, "invalid_api_key") == (answer.status, answer.error["code"]), name
            assert KEY[:-1] not in answer.error["message"], name
    assert run.heard.requests == 0
    assert await run.calls() == []
    await assert_still_serves(run)


async def test_a_key_is_taken_in_every_form_that_sdks_send(run: Running) -> None:
    """The scheme in any case, space around the key, and the headers of other dialects."""
    for header in [
        ("Authorization", f"bearer {KEY}"),
        ("AUTHORIZATION", f"BEARER   {KEY}  "),
        ("x-api-key", KEY),
        ("api-key", KEY),
        ("x-goog-api-key", KEY),
    ]:
        answer = await ask(run.url, message(headers=[header, JSON], body=GOOD))

        assert answer.status == 200, header


async def test_a_revoked_and_an_expired_key_are_refused(run: Running) -> None:
    """From the moment it is revoked, a key is as good as none."""
    made = await run.admin("POST", "/keys", json={"name": "short", "team": "search"})
    good = await run.chat(key=made["secret"])
    await run.admin("DELETE", "/keys/short")
    revoked = await run.chat(key=made["secret"])

    assert (200, 401) == (good.status_code, revoked.status_code)
    assert revoked.json()["error"]["code"] == "invalid_api_key"
    assert run.heard.requests == 1


PATHS = [
    "/v1/../admin/v1/keys",
    "/v1/..",
    "/v1/.",
    "/v1/files/../../admin",
    "/v1/%2e%2e/admin",
    "/v1/%2E%2E%2Fadmin",
    "/v1/files/..%2f..%2fadmin",
    "/v1/files/..%5c..%5cadmin",
    "/v1/files/..\\..\\admin",
    "/v1/files/.%2e/admin",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat//completions",
    "/v1/chat/completions/",
    "/v1/chat/./completions",
    "/v1/chat/%63ompletions",
    "/v1/chat%2fcompletions",
    "/v1/Chat/Completions",
    "/v1/chat/completions%20",
    "/v1/chat/completions;x=1",
    "/v1/chat/completions%00",
    "/%76%31/chat/completions",
    "/v1",
    "/V1/chat/completions",
    "/v2/chat/completions",
    "/chat/completions",
    "/",
]


async def test_no_path_gets_around_the_meter_or_out_of_the_api(run: Running) -> None:
    """What another server could read as a metered endpoint, or as one outside of the API, is no path here."""
    for path in PATHS:
        answer = await ask(run.url, message(target=path, headers=WITH_KEY, body=GOOD))

        assert answer.status in {400, 404, 405}, (path, answer.body)
        assert json.loads(answer.body)["error"]["message"], path
    assert run.heard.requests == 0
    await assert_still_serves(run)


async def test_the_admin_api_is_not_reached_through_a_callers_key(run: Running) -> None:
    """A caller's key opens nothing but calls, whatever the path looks like."""
    for path in ["/admin/v1/keys", "/admin/v1/../v1/keys", "/%61dmin/v1/keys", "/admin//v1/keys"]:
        answer = await ask(run.url, message("GET", path, WITH_KEY), "GET")

        assert answer.status in {401, 404}, path


async def test_a_body_over_the_limit_is_refused_before_it_is_read(run: Running) -> None:
    """A declared length over 32 MiB is refused at once: not a byte of the body is waited for."""
    declared = [*WITH_KEY, ("content-length", str(33 * MIB))]
    async with wired(run.url) as wire:
        await wire.send(message(headers=declared))
        answer = await wire.answer()

    assert (413, "request_too_large") == (answer.status, answer.error["code"])
    assert "limits.max_body_bytes" in answer.error["message"]
    row = await run.row(answer.value(b"x-farebox-call-id").decode())
    assert ("refused", 413) == (row["outcome"], row["status"])
    assert run.heard.requests == 0


async def test_a_long_body_without_a_length_is_refused_when_it_is_over(run: Running) -> None:
    """Chunked, 33 MiB: refused, with a row; no more memory is taken than the limit's few times."""
    before = resident_mib()
    piece = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)
    async with wired(run.url) as wire:
        await wire.send(message(headers=[*WITH_KEY, ("transfer-encoding", "chunked")]))
        for _ in range(33):
            await wire.send(piece)
        answer = await wire.answer()
        for _ in range(100):  # a client that does not listen is read, and not kept
            await wire.send(piece)

    assert (413, "request_too_large") == (answer.status, answer.error["code"])
    assert resident_mib() - before < 150
    assert run.heard.requests == 0
    assert [row["refusal"] for row in await run.calls()] == ["request_too_large"]
    await assert_still_serves(run)


async def test_a_body_just_within_the_limit_is_taken(start: Start) -> None:
    """The limit is a number of bytes: that many pass, one more does not."""
    limit = {"max_body_bytes": len(GOOD)}
    async with start(limits=limit) as run:
        fits = await ask(run.url, message(headers=WITH_KEY, body=GOOD))
        over = await ask(run.url, message(headers=WITH_KEY, body=GOOD + b" "))

    assert (200, 413) == (fits.status, over.status)


async def test_a_head_without_end_is_not_kept(run: Running) -> None:
    """A header line of a megabyte and more, or lines without end: an error, and the connection closes."""
    start_line = (
        b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer %b\r\n" % KEY.encode()
    )
    before = resident_mib()
    for part in (b"x" * MIB, b"x-more: 1\r\n" * 100_000, b"x: " + b"y" * (8 * MIB)):
        async with wired(run.url) as wire:
            await wire.send(start_line + part)
            answer = await wire.answer()

            assert (431, "request_too_large") == (answer.status, answer.error["code"])
            assert await wire.closed()
    assert resident_mib() - before < 50
    await assert_still_serves(run)


async def test_a_long_address_is_refused(run: Running) -> None:
    """100 kB of path or query: an error, nothing forwarded. What the meter may see has a row."""
    for target in ("/v1/files/" + "a" * 100_000, "/v1/files?x=" + "a" * 100_000):
        answer = await ask(run.url, message("GET", target, WITH_KEY), "GET")

        assert (431, "request_too_large") == (answer.status, answer.error["code"])
    # The parser's counters have 16 bits: this one would look like another path.
    wrapped = "/v1/" + "a" * (2**16 - 4) + "/v1/models"
    assert (await ask(run.url, message("GET", wrapped, WITH_KEY), "GET")).status == 431
    assert run.heard.requests == 0
    await assert_still_serves(run)


NOT_HTTP = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "two lengths": b"POST /v1/x HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": (
        b"POST /v1/x HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a length below zero": b"POST /v1/x HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    "a name with space": b"POST /v1/x HTTP/1.1\r\nx y: 1\r\n\r\n",
    "a folded line": b"POST /v1/x HTTP/1.1\r\nx: 1\r\n 2\r\n\r\n",
    "a path that is not ASCII": b"GET /v1/\xff HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT example.test:443 HTTP/1.1\r\nhost: example.test\r\n\r\n",
    "a bad chunk": b"POST /v1/x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_no_http_is_told_so(run: Running, name: str) -> None:
    """The answer has OpenAI's shape too, and the connection closes: its bytes can't be told apart."""
    async with wired(run.url) as wire:
        await wire.send(NOT_HTTP[name])
        answer = await wire.answer()

        assert (400, "invalid_request") == (answer.status, answer.error["code"])
        assert await wire.closed()
    assert run.heard.requests == 0
    await assert_still_serves(run)


async def test_pipelined_requests_are_answered_in_their_order(run: Running) -> None:
    """A client that does not wait gets its answers one after the other, each with a row."""
    bodies = [chat(f',"user":"u{i}","max_tokens":{i}') for i in range(1, 6)]
    bodies.insert(2, b"no JSON")
    async with wired(run.url) as wire:
        await wire.send(b"".join(message(headers=WITH_KEY, body=body) for body in bodies))
        answers = [await wire.answer() for _ in bodies]

    assert [200, 200, 400, 200, 200, 200] == [answer.status for answer in answers]
    rows = [await run.row(answer.value(b"x-farebox-call-id").decode()) for answer in answers]
    assert ["u1", "u2", "", "u3", "u4", "u5"] == [row["user"] for row in rows]
    assert [1, 2, 0, 3, 4, 5] == [row["output_tokens"] for row in rows]


async def test_what_follows_on_the_connection_does_not_reach_into_an_answer(run: Running) -> None:
    """Garbage after a request ends the connection; it is not answered within the answer under way."""
    async with wired(run.url) as wire:
        streamed = chat(',"stream":true').replace(b"Hello", b"[[sim: event_ms=5]]")
        await wire.send(message(headers=WITH_KEY, body=streamed))
        await wire.send(b"\x00garbage\r\n\r\n")
        answer = await wire.answer()

    assert answer.status == 200
    assert b"HTTP/1.1" not in answer.body
    await assert_still_serves(run)


async def test_an_upgrade_is_not_made(run: Running) -> None:
    """A call that asks for another protocol is answered in this one."""
    for protocol in ("websocket", "h2c"):
        headers = [*WITH_KEY, ("connection", "upgrade"), ("upgrade", protocol)]
        answer = await ask(run.url, message(headers=headers, body=GOOD))

        assert answer.status == 200, answer.body


async def test_a_client_that_waits_for_leave_to_send_gets_it(run: Running) -> None:
    """``Expect: 100-continue`` is answered where the body is wanted, and not where it is refused."""
    async with wired(run.url) as wire:
        asked = [*WITH_KEY, ("expect", "100-continue"), ("content-length", str(len(GOOD)))]
        await wire.send(message(headers=asked))
        await wire.send(GOOD)
        assert (await wire.answer()).status == 200
    async with wired(run.url) as wire:
        asked = [JSON, ("expect", "100-continue"), ("content-length", str(len(GOOD)))]
        await wire.send(message(headers=asked))
        assert (await wire.answer()).status == 401


async def test_odd_but_right_requests_are_forwarded_as_they_are(start: Start) -> None:
    """What only looks wrong is not refused: repeats that do not matter, escapes, half a surrogate pair."""
    bodies = [
        GOOD.replace(b"Hello", rb"\ud83d half an emoji"),
        chat(',"x":1,"x":2'),
        chat(',"metadata":{"model":"a","n":"b"}'),
        chat(',"temperature":1e-400,"seed":1234567890123456789012345'),
        b"\r\n\t " + GOOD + b" \n",
        chat(',"max_tokens":null,"n":null,"stream":null,"tools":null,"user":null'),
        GOOD.replace(b"Hello", b"[" * 1000),
    ]
    async with recorder(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as upstream:
        base = {"preset": "openai", "base_url": f"{upstream.url}/v1", "api_key": "sk"}
        async with start(upstreams={"sim": base}) as run:
            for body in bodies:
                answer = await ask(run.url, message(headers=WITH_KEY, body=body))

                assert answer.status == 200, (body, answer.body)
    assert bodies == [request.body for request in upstream.requests]


async def test_clients_that_stop_half_way_leave_nothing_behind(run: Running) -> None:
    """A head or body that is never finished is no call upstream, and holds nothing."""
    for part in (
        b"POST",
        message(headers=WITH_KEY)[:-2],
        message(headers=WITH_KEY, body=GOOD)[:-5],
    ):
        for _ in range(20):
            async with wired(run.url) as wire:
                await wire.send(part)

    async def idle() -> bool:
        return run.app.house.pipeline.in_flight == 0

    await eventually(idle)
    assert run.heard.requests == 0
    assert (await run.budget())["held_usd"] == "0.00"
    await assert_still_serves(run)


def resident_mib() -> float:
    """Memory of this process, Farebox and simulator included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB
