"""The client's bytes are the upstream's bytes, and the upstream's are the client's.

Each answer is fetched twice: through Farebox, and from the simulator itself. A client that asked for
usage must get what the simulator sends to one that asked; a client that did not, what it sends to one
that did not, although Farebox has asked.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.running import KEY, SIMULATED, Running, config, farebox
from tests.e2e.wire import Answer, Headers, ask, message, recorder

ASKED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
UNASKED: dict[str, Any] = {"stream": True}
WHOLE: dict[str, Any] = {}
CLIENTS = {"whole": WHOLE, "streamed": UNASKED, "streamed, usage asked for": ASKED}

# What differs between any two answers of the simulator, and what belongs to one connection.
_ITS_OWN = {b"date", b"x-request-id", b"openai-processing-ms"}
_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}


def chat(controls: str, key: str, *, prompt: str = "Grüße, 你好 🙂", **changes: Any) -> bytes:
    """A chat completion whose answer is the same each time it is asked for."""
    text = f"{prompt} [[sim: id=equal, output_tokens=12{', ' if controls else ''}{controls}]]"
    document = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
    body = json.dumps(document | changes, ensure_ascii=False).encode()
    headers = [("authorization", f"Bearer {key}"), ("content-type", "application/json")]
    return message(headers=headers, body=body)


def end_to_end(answer: Answer) -> Headers:
    """The headers that have to be the same, in their order, with values where those can be."""
    return [
        (name, b"" if name in _ITS_OWN else value)
        for name, value in answer.headers
        if name not in _HOP_BY_HOP and not name.startswith(b"x-farebox-")
    ]


async def assert_equal(run: Running, controls: str, **changes: Any) -> Answer:
    """Both ways give the same status, headers and bytes; the answer is returned."""
    through = await ask(run.url, chat(controls, KEY, **changes))
    direct = await ask(run.upstream, chat(controls, SIMULATED, **changes))
    place = f"{controls} {changes}"
    assert (direct.status, direct.body) == (through.status, through.body), place
    assert end_to_end(direct) == end_to_end(through), place
    assert direct.whole == through.whole, place
    return through


SPLITS = ["", "split=1", "split=7", "split=line", "split=event", "split=char"]
ODDITIES = ["bad_json", "half_utf8", "no_done", "error", "truncated", "crlf", "no_space"]


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_answer_is_the_upstreams_however_it_is_cut(run: Running, client: str) -> None:
    """Where the upstream's writes end does not matter: within a line, an event, or a character."""
    for split in SPLITS:
        answer = await assert_equal(run, split, **CLIENTS[client])

        assert answer.status == 200


async def test_the_other_upstream_client_passes_the_same_bytes(
    run: Running, tmp_path: Path
) -> None:
    """The adapter for httpx, which is the way through outbound proxies, changes nothing either."""
    base_url = f"{run.upstream}/v1"
    upstream = {"preset": "openai", "base_url": base_url, "api_key": SIMULATED, "client": "httpx"}
    folder = tmp_path / "other"
    folder.mkdir()
    document = config(run.upstream, folder, upstreams={"sim": upstream})
    async with farebox(folder, document) as (url, _):
        other = replace(run, url=url)
        for client in CLIENTS.values():
            for oddity in ODDITIES:
                await assert_equal(other, f"malformed={oddity}", **client)
            for split in SPLITS:
                await assert_equal(other, split, **client)
            await assert_equal(other, "status=429", **client)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("malformed", ODDITIES)
async def test_an_answer_that_is_odd_or_wrong_goes_through_as_it_is(
    run: Running, client: str, malformed: str
) -> None:
    """Nothing is mended: not half a character, not a stream without its end, not a rare notation."""
    for split in SPLITS:
        answer = await assert_equal(run, f"malformed={malformed}, {split}", **CLIENTS[client])

        assert answer.status == 200


async def test_comments_go_through(run: Running) -> None:
    """Also the comment before the usage that is taken out: it may keep the connection alive."""
    for split in SPLITS:
        controls = f"malformed=comments, {split}"
        await assert_equal(run, controls, **ASKED)
        asked = await ask(run.upstream, chat(controls, SIMULATED, **ASKED))
        through = await ask(run.url, chat(controls, KEY, **UNASKED))

        assert through.body == without_usage(asked.body)


def without_usage(stream: bytes) -> bytes:
    """A stream with usage as one would take it out by hand."""
    events = stream.replace(b',"usage":null', b"").split(b"\n\n")
    return b"\n\n".join(event for event in events if b'"choices":[],"usage"' not in event)


@pytest.mark.parametrize("client", CLIENTS)
async def test_every_way_of_the_upstream_goes_through(run: Running, client: str) -> None:
    """Usage in any place, several choices, long and empty answers, pauses, refused options."""
    for controls in [
        "choices=3",
        "reasoning_tokens=9",
        "cached_tokens=3",
        "no_usage",
        "usage_zero=all",
        "usage_zero=chunks",
        "usage_on_finish_chunk",
        "usage_on_finish_chunk, split=1",
        "output_tokens=0",
        "output_tokens=1",
        "output_tokens=3000",
        "output_tokens=3000, split=4096",
        "tier=priority",
        "reject_stream_options",
        "ignore_max_tokens",
        "first_byte_ms=20",
        "event_ms=1",
    ]:
        await assert_equal(run, controls, **CLIENTS[client])


@pytest.mark.parametrize("client", CLIENTS)
async def test_tool_calls_go_through(run: Running, client: str) -> None:
    """Arguments of tools come in pieces, for several tools at once."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}

    answer = await assert_equal(run, "tool_calls=2, split=3", tools=[tool], **CLIENTS[client])

    assert b"tool_calls" in answer.body


@pytest.mark.parametrize("client", CLIENTS)
async def test_errors_of_every_status_go_through(run: Running, client: str) -> None:
    """Status, headers and body of an upstream's own error are the client's, redirects included."""
    statuses = [300, 301, 307, 400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 429, 451]
    for status in [*statuses, 499, 500, 501, 502, 503, 504, 520, 529, 599]:
        answer = await assert_equal(run, f"status={status}", **CLIENTS[client])

        assert status == answer.status
    await assert_equal(run, "status=429, retry_after=7", **CLIENTS[client])
    await assert_equal(run, "status=429, error_code=insufficient_quota", **CLIENTS[client])
    await assert_equal(run, "status=400, error_code=stream_options", **CLIENTS[client])


@pytest.mark.parametrize("client", ["streamed", "streamed, usage asked for"])
@pytest.mark.parametrize("events", [1, 5, 12])
async def test_what_came_before_the_upstream_died_goes_through(
    run: Running, client: str, events: int
) -> None:
    """The client gets every byte of a stream that breaks off, and sees that it broke off."""
    controls = f"die_after_events={events}, die=close, split=event"
    answer = await assert_equal(run, controls, **CLIENTS[client])

    assert not answer.whole


@pytest.mark.parametrize("client", CLIENTS)
async def test_usage_is_seen_only_where_it_was_asked_for(run: Running, client: str) -> None:
    """Farebox asks every upstream for usage, and the row has it; who did not ask does not see it."""
    answer = await assert_equal(run, "", **CLIENTS[client])

    assert (b"usage" in answer.body) is (CLIENTS[client] is not UNASKED)
    row = await run.row(answer.value(b"x-farebox-call-id").decode())
    assert (row["usage_source"], row["output_tokens"]) == ("provider", 12)


async def test_what_is_only_passed_through_goes_both_ways_as_it_is(run: Running) -> None:
    """Any method, path, query and body of the rest of the API: the simulator's echo tells."""
    multipart = b"--x\r\ncontent-disposition: form-data; name=f\r\n\r\n\x00\xff\r\n--x--\r\n"
    for method, target, kind, body in [
        ("GET", "/v1/files?limit=2&after=a%20b&after=c", "", b""),
        ("DELETE", "/v1/files/file-1", "", b""),
        ("POST", "/v1/files", "multipart/form-data; boundary=x", multipart),
        (
            "PUT",
            "/v1/containers/%E2%82%AC%2Fx;p=1/files",
            "application/octet-stream",
            b"\x00" * 70_000,
        ),
        ("PATCH", "/v1/unknown-endpoint", "application/json", b'{"a" : 1,  "a":2}  '),
        ("POST", "/v1/evals", "application/json; charset=utf-8", b"not json"),
        ("OPTIONS", "/v1/files", "", b""),
    ]:
        sent = [("x-repeated", "1"), ("x-repeated", "2"), ("accept", "*/*"), ("openai-beta", "x=1")]
        sent += [("content-type", kind)] if kind else []
        echoes = []
        for url, key in ((run.url, KEY), (run.upstream, SIMULATED)):
            headers = [("authorization", f"Bearer {key}"), *sent]
            answer = await ask(url, message(method, target, headers, body), method)
            assert answer.status == 200, answer.body
            echo = json.loads(answer.body)
            echo["headers"] = [h for h in echo["headers"] if [*h] in [[*s] for s in sent]]
            echoes.append((echo, [h for h in answer.headers if h[0] == b"set-cookie"]))
        assert echoes[0] == echoes[1], target
        assert echoes[0][0]["headers"] == [list(pair) for pair in sent]


async def test_a_download_goes_through_byte_for_byte(run: Running) -> None:
    """What is no JSON and longer than any buffer, and what a HEAD says of it."""
    target = "/v1/files/3000000/content"
    for method in ("GET", "HEAD"):
        asked = [
            await ask(url, message(method, target, [("authorization", f"Bearer {key}")]), method)
            for url, key in ((run.url, KEY), (run.upstream, SIMULATED))
        ]
        assert asked[0].body == asked[1].body
        if method == "GET":
            assert end_to_end(asked[0]) == end_to_end(asked[1])
            assert len(asked[0].body) == 3_000_000


# What arrives upstream

ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 124\r\n\r\n"
    b'{"id":"c-1","object":"chat.completion","model":"gpt-4o-mini","choices":[],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
# As odd as JSON allows: space, order, escapes, repeats of what does not matter, large numbers.
ODD = (
    b'\n{ "messages" :[{"content":"\\u0041 \xf0\x9f\x99\x82 \\ud83d\\ude42\\/","role":"user"}],\t"x":1e400,'
    b'"x" : 2, "seed":123456789012345678901234567890 , "model":"gpt-4o-mini", "y":{"model":"z"} %b}\r\n '
)


async def sent_upstream(start: Start, body: bytes, **changes: Any) -> bytes:
    """The body that arrives at an upstream which keeps every byte."""
    async with recorder(ANSWER) as upstream:
        base = {"preset": "openai", "base_url": f"{upstream.url}/v1", "api_key": SIMULATED}
        async with start(upstreams={"sim": base}, **changes) as run:
            head = [("authorization", f"Bearer {KEY}"), ("content-type", "application/json")]
            answer = await ask(run.url, message(headers=head, body=body))
            assert answer.status == 200, answer.body
        (request,) = upstream.requests
        return request.body


async def test_without_a_cap_the_upstream_gets_the_clients_bytes(start: Start) -> None:
    """Where nothing is to be changed nothing is: space, order, escapes and numbers included."""
    for more in (
        b"",
        b', "max_tokens" : 5',
        b', "stream":true,"stream_options":{"include_usage" : true}',
    ):
        body = ODD % more

        assert body == await sent_upstream(start, body)


async def test_only_the_usage_option_is_added_to_a_stream(start: Start) -> None:
    """All other bytes of a streamed request arrive as they were sent."""
    body = ODD % b',"stream":true '

    sent = await sent_upstream(start, body)

    added = b',"stream_options":{"include_usage":true}'
    assert body == sent.replace(added, b"")
    assert sent.count(added) == 1


async def test_only_the_cap_is_spliced_in(start: Start) -> None:
    """A team's cap is written into the parameter that the model takes, over the client's if need be."""
    capped = {"teams": [{"name": "search", "max_output_tokens": 7}]}
    keys = {"keys": [{"name": "k", "team": "search", "key": KEY}]}

    added = await sent_upstream(start, ODD % b"", **capped, **keys)
    lowered = await sent_upstream(start, ODD % b', "max_tokens" : 500', **capped, **keys)
    kept = await sent_upstream(start, ODD % b', "max_tokens" : 5', **capped, **keys)

    assert added.replace(b',"max_tokens":7', b"") == ODD % b""
    assert lowered == ODD % b', "max_tokens" : 7'
    assert kept == ODD % b', "max_tokens" : 5'


async def test_no_credential_and_no_header_of_ours_goes_upstream(start: Start) -> None:
    """The upstream sees its own key, and neither the client's nor who and where the client is."""
    secret = [
        ("authorization", f"Bearer {KEY}"),
        ("x-api-key", "sk-of-the-client"),
        ("api-key", "sk-of-the-client"),
        ("cookie", "session=of-the-client"),
        ("x-forwarded-for", "10.9.8.7"),
        ("forwarded", "for=10.9.8.7"),
        ("x-real-ip", "10.9.8.7"),
        ("x-farebox-user", "ada-of-the-client"),
        ("x-farebox-tags", "cost=of-the-client"),
        ("connection", "x-hop"),
        ("x-hop", "of-the-client"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic of-the-client"),
        ("accept-encoding", "gzip, br"),
    ]
    kept = [
        ("user-agent", "test/1"),
        ("openai-organization", "org"),
        ("x-stainless-lang", "python"),
    ]
    async with recorder(ANSWER) as upstream:
        base = {"preset": "openai", "base_url": f"{upstream.url}/v1", "api_key": "sk-of-ours"}
        async with start(upstreams={"sim": base}) as run:
            await ask(run.url, message(headers=[*secret, *kept], body=ODD % b""))
        (request,) = upstream.requests

    sent = dict(request.headers)
    text = b"\n".join(name + b": " + value for name, value in request.headers)
    assert b"of-the-client" not in text
    assert b"10.9.8.7" not in text
    assert b"farebox" not in text
    assert KEY.encode() not in text
    assert len(sent) == len(request.headers)
    assert sent[b"authorization"] == b"Bearer sk-of-ours"
    assert sent[b"accept-encoding"] == b"identity"
    assert [sent[name.encode()].decode() for name, _ in kept] == [value for _, value in kept]
