"""Ollama's own API: requests read and patched, answers scanned."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects.base import NOWHERE, Dialect, Patch, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.ollama import ROUTES
from tests.gateway.dialects.chunks import compact, cut_every, relayed, words
from tests.gateway.dialects.documents import misplaced

BY_PATH: dict[str, Dialect] = {route.path: route.dialect for route in ROUTES}
CHAT, GENERATE, EMBED = BY_PATH["/api/chat"], BY_PATH["/api/generate"], BY_PATH["/api/embed"]


def facts(dialect: Dialect = CHAT, **document: Any) -> RequestFacts:
    return dialect.inspect(compact({"model": "qwen3", **document}), NOWHERE)


@pytest.mark.parametrize(("stream", "streamed"), [({}, True), ({"stream": None}, True), ({"stream": False}, False)])  # fmt: skip
def test_it_is_streamed_unless_it_says_otherwise(stream: dict[str, Any], streamed: bool) -> None:
    assert facts(**stream).stream is streamed
    assert facts(EMBED, **stream).stream is False


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, None),
        ({"options": None}, None),
        ({"options": {}}, None),
        ({"options": {"num_predict": 7}}, 7),
        ({"options": {"num_predict": 7.0}}, 7),
        ({"options": {"num_predict": 0}}, None),
        ({"options": {"num_predict": -1}}, None),
        ({"options": {"num_predict": -2}}, None),
    ],
)
def test_its_limit_is_an_option(options: dict[str, Any], limit: int | None) -> None:
    assert facts(**options).output_limit == limit


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"options": []}, "options"),
        ({"options": {"num_predict": "7"}}, "options.num_predict"),
        ({"options": {"num_predict": True}}, "options.num_predict"),
        ({"Options": {"num_predict": 7}}, "options"),
        ({"stream": 1}, "stream"),
        ({"model": ""}, "model"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(document: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        facts(**document)

    assert refused.value.param == param


def test_a_limit_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="given twice"):
        CHAT.inspect(b'{"model":"m","options":{"num_predict":1,"num_predict":9}}', NOWHERE)


def test_pictures_are_held_for() -> None:
    assert facts(messages=[{"images": ["iVBOR", "iVBOR"]}]).more_input == 2 * 16_384
    assert facts(GENERATE, images=["iVBOR"]).more_input == 16_384


@pytest.mark.parametrize(
    ("said", "patched"),
    [
        (b'{"model": "a"}', b'{"model": "a","options":{"num_predict":5}}'),
        (b'{"options":null}', b'{"options":{"num_predict":5}}'),
        (b'{"options":{ }}', b'{"options":{ "num_predict":5}}'),
        (b'{"options": {"seed": 1}, "x":1}', b'{"options": {"seed": 1,"num_predict":5}, "x":1}'),
        (b'{"options":{"num_predict": -1}}', b'{"options":{"num_predict": 5}}'),
        (b'{"options":{"num_predict":9}}', b'{"options":{"num_predict":5}}'),
        (b'{"options":{"num_predict":3}}', b'{"options":{"num_predict":3}}'),
    ],
)
def test_the_cap_is_spliced_in(said: bytes, patched: bytes) -> None:
    assert patched == CHAT.patch(said, Patch(output_cap=5))


def test_the_rest_stays_as_it_came() -> None:
    said = b'{ "model" : "a", "input":["x"] }'

    assert EMBED.patch(said, Patch(model="b", output_cap=5)) == b'{ "model" : "b", "input":["x"] }'
    assert EMBED.patch(said, Patch()) is said


def test_all_text_of_a_prompt_is_counted() -> None:
    chat = facts(
        messages=[{"content": "said", "thinking": "thought", "tool_calls": [{"function": {"name": "called"}}]}],
        tools=[{"function": {"name": "tool"}}],
        format={"type": "schema"},
    )  # fmt: skip
    made = facts(GENERATE, system="system", prompt="prompt", suffix="suffix", format="json")
    embedded = facts(EMBED, input=["first", "second"])
    text = " ".join(map(CHAT.prompt_text, (chat, made, embedded)))

    for said in ("said", "thought", "called", "tool", "schema", "system", "prompt", "suffix", "first", "second"):  # fmt: skip
        assert said in text


# Answers


def scanner(dialect: Dialect = CHAT, *, streamed: bool = True, paid: int | None = None) -> Scanner:
    watch = Watch(
        streamed=streamed, strip_usage=False, output_cap=None, paid_output=paid, count=words
    )
    return dialect.scanner(RequestFacts(model="m"), watch)


def line(**said: Any) -> bytes:
    return compact({"model": "qwen3", "created_at": "now", **said}) + b"\n"


def text(said: str) -> bytes:
    return line(message={"role": "assistant", "content": said}, done=False)


def done(**said: Any) -> bytes:
    return line(message={"content": ""}, done=True, done_reason="stop", **said)


def scanned(stream: bytes, **made: Any) -> Scanner:
    watching = scanner(**made)
    assert stream == relayed(watching, [stream])
    return watching


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_last_line_has_the_counts(size: int) -> None:
    stream = text("a b ") + text("c") + done(prompt_eval_count=9, eval_count=3)
    watching = scanner()

    assert stream == relayed(watching, cut_every(stream, size))
    scan = watching.scan
    assert (scan.usage, scan.finished, scan.served_model) == (
        Usage(input=9, output=3),
        True,
        "qwen3",
    )
    assert (scan.lacks_input, scan.lacks_output, scan.flags) == (False, False, ())


def test_a_side_that_is_missing_is_counted_and_flagged() -> None:
    """Older versions leave the prompt out where all of it was cached."""
    scan = scanned(text("a") + done(eval_count=3)).scan
    neither = scanned(text("a b") + done())

    assert (scan.usage, scan.lacks_input, scan.flags) == (Usage(output=3), True, ("input_counted",))
    assert (neither.scan.lacks_input, neither.scan.lacks_output) == (True, True)
    assert neither.count_output() == 2


def test_loading_a_model_costs_nothing() -> None:
    scan = scanned(line(response="", done=True, done_reason="load"), streamed=False).scan

    assert (scan.usage, scan.lacks_input, scan.lacks_output) == (EMPTY, False, False)


def test_embeddings_have_input_or_nothing() -> None:
    """The older endpoint does not say how much it read."""
    new = scanned(line(embeddings=[[1]], prompt_eval_count=4), dialect=EMBED, streamed=False)
    old = scanned(line(embedding=[1]), dialect=EMBED, streamed=False)

    assert (new.scan.usage, new.scan.flags) == (Usage(input=4), ())
    assert (old.scan.usage, old.count_output()) == (None, 0)


def test_an_error_inside_a_stream_is_noted() -> None:
    scan = scanned(text("a") + compact({"error": "model runner has stopped"}) + b"\n").scan

    assert (scan.error, scan.finished, scan.usage) == ("error", False, None)


def test_thoughts_and_calls_are_counted() -> None:
    call = {"function": {"name": "f", "arguments": {"a": "b c"}}}
    message = {"content": "", "thinking": "one two ", "tool_calls": [call]}

    assert scanned(line(message=message, done=False)).count_output() == 2 + 2


@pytest.mark.parametrize("dialect", [CHAT, GENERATE])
def test_a_stream_past_what_its_hold_pays_for_is_ended_as_at_its_limit(dialect: Dialect) -> None:
    def said(words: str) -> bytes:
        return text(words) if dialect is CHAT else line(response=words, done=False)

    watching = scanner(dialect, paid=3)
    head = said("one two ")
    out = watching.feed(head) + watching.feed(said("three four five ")) + watching.feed(done())
    last = json.loads(out[len(head) :])

    assert out.startswith(head)
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 2)
    assert ("message" in last, "response" in last) == (dialect is CHAT, dialect is GENERATE)


_JSON: Final = misplaced(
    "done",
    "message",
    "content",
    "tool_calls",
    "function",
    "eval_count",
    "error",
    "prompt_eval_count",
    "images",
    "messages",
    "options",
    "num_predict",
    "input",
)


@given(st.lists(_JSON, max_size=4), st.integers(1, 40))
def test_nothing_that_an_answer_says_breaks_the_scanner(said: list[Any], size: int) -> None:
    stream = b"".join(json.dumps(s).encode() + b"\n" for s in said)
    watching = scanner()
    assert stream == relayed(watching, cut_every(stream, size))
    assert watching.count_output() >= 0
    whole = scanner(streamed=False)
    assert stream == relayed(whole, cut_every(stream, size))
    assert whole.count_output() >= 0


@given(st.dictionaries(st.sampled_from(["options", "messages", "images", "input", "x"]), _JSON))
def test_any_body_is_read_or_refused(document: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", **document}).encode()
    for dialect in BY_PATH.values():
        try:
            read = dialect.inspect(body, NOWHERE)
        except InvalidRequest:
            continue
        dialect.prompt_text(read)
        json.loads(dialect.patch(body, Patch(output_cap=5)))
