"""What no client should send: a clear error in OpenAI's shape, nothing forwarded, no row lost."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.e2e.conftest import Start
from tests.e2e.requests import GOOD, JSON, MESSAGES, WITH_KEY, assert_still_serves, chat
from tests.e2e.running import KEY, Running
from tests.e2e.wire import ask, message, recorder


@dataclass(frozen=True, slots=True)
class Bad:
    """A body, and what to say of it."""

    body: bytes
    param: str | None = None
    status: int = 400
    code: str = "invalid_request"
    says: str = ""
    headers: list[tuple[str, str]] = field(default_factory=lambda: [JSON])


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

            assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), name
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


async def test_a_revoked_key_is_refused(run: Running) -> None:
    """From the moment it is revoked, a key is as good as none."""
    made = await run.admin("POST", "/keys", json={"name": "short", "team": "search"})
    good = await run.chat(key=made["secret"])
    await run.admin("DELETE", "/keys/short")
    revoked = await run.chat(key=made["secret"])

    assert (good.status_code, revoked.status_code) == (200, 401)
    assert revoked.json()["error"]["code"] == "invalid_api_key"
    assert run.heard.requests == 1


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
