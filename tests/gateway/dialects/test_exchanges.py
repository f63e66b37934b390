"""Recorded answers of real providers. Skipped where the recordings are not beside the checkout."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects.base import NOWHERE, Patch, RequestFacts, Watch
from proxy.gateway.dialects.openai_chat import OpenAIChat
from proxy.gateway.dialects.usage import read_usage
from proxy.store.vocabulary import Vocabulary
from tests.gateway.dialects.chunks import asked, cut_every, pretokens, relayed

_BESIDE = Path(__file__).parents[4] / "shared" / "exchanges"
_FILE = Path(os.environ.get("FAREBOX_EXCHANGES", str(_BESIDE))) / "replay.jsonl.gz"

pytestmark = pytest.mark.skipif(not _FILE.exists(), reason="no recordings here")

CHAT = OpenAIChat()


@pytest.fixture(scope="module", name="exchanges")
def _exchanges() -> list[dict[str, Any]]:
    with gzip.open(_FILE, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [e for e in found if "chat/completions" in e["path"] and e.get("response_text")]


def answers(exchanges: list[dict[str, Any]], *, streamed: bool) -> Iterator[dict[str, Any]]:
    for exchange in exchanges:
        is_stream = (exchange["content_type"] or "").startswith("text/event-stream")
        if exchange["status"] == 200 and is_stream == streamed:
            yield exchange


def last_usage(exchange: dict[str, Any]) -> dict[str, Any] | None:
    found = [
        u
        for _, u in exchange["usage"]
        if isinstance(u, dict) and any(_number(v) for v in u.values())
    ]
    return found[-1] if found else None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def watch(*, streamed: bool, strip: bool = False) -> Watch:
    return Watch(streamed=streamed, strip_usage=strip, output_cap=None, count=pretokens)


@pytest.mark.parametrize("streamed", [False, True])
def test_every_recorded_usage_is_found(exchanges: list[dict[str, Any]], streamed: bool) -> None:
    """The last object that says something, of every provider, streamed or not, and the bytes stay."""
    seen = 0
    for exchange in answers(exchanges, streamed=streamed):
        body = exchange["response_text"].encode()
        for size in (37, 4096) if streamed else (4096,):
            scanner = CHAT.scanner(asked(stream=streamed), watch(streamed=streamed))
            assert body == relayed(scanner, cut_every(body, size))
            raw, usage = last_usage(exchange), scanner.scan.usage
            assert (exchange["id"], raw and read_usage(raw).usage) == (exchange["id"], usage)
            seen += raw is not None
    assert seen > 100


def test_every_recorded_total_is_input_and_output(exchanges: list[dict[str, Any]]) -> None:
    """What the buckets add up to is the provider's own total, but where the row is flagged."""
    equal = flagged = 0
    for exchange in exchanges:
        if (raw := last_usage(exchange)) and isinstance(raw.get("total_tokens"), int):
            reading = read_usage(raw)
            total = reading.usage.input_tokens + reading.usage.output_tokens
            assert reading.flags or raw["total_tokens"] == total, exchange["id"]
            equal += raw["total_tokens"] == total
            flagged += bool(reading.flags)
    assert equal > 20 * flagged


def test_a_recorded_stream_without_its_usage_is_an_unasked_one(
    exchanges: list[dict[str, Any]],
) -> None:
    """No chunk is left that holds only usage, none that has a null one; the rest is there to the byte."""
    seen = 0
    for exchange in answers(exchanges, streamed=True):
        body = exchange["response_text"].encode()
        for size in (11, 4096):
            scanner = CHAT.scanner(asked(stream=True), watch(streamed=True, strip=True))
            out = relayed(scanner, cut_every(body, size))
            assert b',"usage":null' not in out
            assert usage_only(body) == usage_only(body) - usage_only(out)
            assert without_usage(body) == out.replace(b"\r\n", b"\n")
            seen += body != out
    assert seen > 50


def without_usage(body: bytes) -> bytes:
    """The stream, by other means: for recordings, whose null usage is always written the same way."""
    kept = body.replace(b"\r\n", b"\n").replace(b',"usage":null', b"").split(b"\n\n")
    return b"\n\n".join(e for e in kept if not usage_only(e))


def usage_only(body: bytes) -> int:
    dense = body.replace(b" ", b"").split(b"\n\n")
    return sum(b'"choices":[]' in e and b'"usage":{' in e for e in dense)


def test_an_unasked_recorded_stream_is_left_alone(exchanges: list[dict[str, Any]]) -> None:
    """Streams without usage, or with it on a chunk that says more, come out as they went in."""
    seen = 0
    for exchange in answers(exchanges, streamed=True):
        options = (exchange.get("request_json") or {}).get("stream_options") or {}
        body = exchange["response_text"].encode()
        if options.get("include_usage") or b'"usage":null' in body:
            continue
        scanner = CHAT.scanner(asked(stream=True), watch(streamed=True, strip=True))
        assert body == relayed(scanner, [body])
        seen += 1
    assert seen > 50


def test_no_recorded_stream_is_cut_at_what_it_was_billed_for(
    exchanges: list[dict[str, Any]], tmp_path: Path
) -> None:
    """With the real vocabulary, and the cap at the very number of tokens that was billed."""
    vocabulary = Vocabulary(tmp_path)
    seen = 0
    for exchange in answers(exchanges, streamed=True):
        raw = last_usage(exchange)
        cap = read_usage(raw).usage.output_tokens if raw else 0
        if cap:
            model = exchange["request_json"].get("model", "gpt-4o")
            watch = Watch(
                streamed=True, strip_usage=False, output_cap=cap, count=vocabulary.counter(model)
            )
            scanner = CHAT.scanner(asked(model=model, stream=True), watch)
            body = exchange["response_text"].encode()
            assert body == relayed(scanner, cut_every(body, 700))
            seen += 1
    vocabulary.close()
    assert seen > 100


def test_every_recorded_request_is_read_and_can_be_patched(exchanges: list[dict[str, Any]]) -> None:
    """None of them is refused; a patched body is the same but for what was patched."""
    patch = Patch(model="other", output_cap=7, cap_parameter="max_tokens", include_usage=True)
    seen = 0
    for exchange in exchanges:
        document = exchange.get("request_json")
        if not isinstance(document, dict) or "model" not in document:
            continue
        for separators in ((",", ":"), (", ", ": ")):
            body = json.dumps(document, separators=separators).encode()
            facts = inspected(body)
            assert facts.model == document["model"]
            after = json.loads(CHAT.patch(body, patch))
            assert after["model"] == "other"
            assert after["stream_options"]["include_usage"] is True
            for name in document.keys() - {
                "model",
                "stream_options",
                "max_tokens",
                "max_completion_tokens",
            }:
                assert document[name] == after[name]
        seen += 1
    assert seen > 500


def inspected(body: bytes) -> RequestFacts:
    try:
        return CHAT.inspect(body, NOWHERE)
    except InvalidRequest as refused:
        pytest.fail(f"{refused.message}: {body[:300]!r}")
