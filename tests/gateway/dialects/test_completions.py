"""OpenAI's completions."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.core.usage import Usage
from proxy.gateway.dialects.base import NOWHERE, Patch, RequestFacts, Scanner, Watch
from proxy.gateway.dialects.completions import Completions
from proxy.gateway.paths import find_way
from tests.gateway.dialects.chunks import DONE, compact, cut_every, event, relayed, words

COMPLETIONS = Completions()
USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def inspected(**members: Any) -> RequestFacts:
    document = {"model": "gpt-3.5-turbo-instruct", "prompt": "Say this", **members}
    return COMPLETIONS.inspect(compact(document), NOWHERE)


def scanner(
    *, streamed: bool = True, strip: bool = False, cap: int | None = None, **members: Any
) -> Scanner:
    watch = Watch(streamed=streamed, strip_usage=strip, output_cap=cap, count=words)
    return COMPLETIONS.scanner(inspected(stream=streamed, **members), watch)


def chunk(*texts: str, **extra: Any) -> dict[str, Any]:
    choices = [
        {"text": text, "index": i, "logprobs": None, "finish_reason": None}
        for i, text in enumerate(texts)
    ]
    return {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": choices, **extra}


@pytest.mark.parametrize(
    ("members", "choices"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"n": 2, "best_of": 5}, 5),
        ({"best_of": None}, 1),
        ({"prompt": ["a", "b"], "n": 3}, 6),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1, 2], [3]]}, 2),
    ],
)
def test_as_many_answers_as_are_generated(members: dict[str, Any], choices: int) -> None:
    """The best of many are shown; all of them are billed, for each of the prompts."""
    assert choices == inspected(**members).choices


def test_token_ids_are_tokens() -> None:
    facts = inspected(prompt=[[1, 2], [3]])

    assert (facts.prompt_tokens, COMPLETIONS.prompt_text(facts)) == (3, "")


def test_the_suffix_is_part_of_the_prompt() -> None:
    assert COMPLETIONS.prompt_text(inspected(suffix="the end")) == "Say this\nthe end"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"prompt":"x"}', "model"),
        (b'{"model":"m","prompt":"x","n":0}', "n"),
        (b'{"model":"m","prompt":"x","best_of":1000}', "best_of"),
        (b'{"model":"m","prompt":"x","max_tokens":"9"}', "max_tokens"),
        (b'{"model":"m","prompt":"x","n":1,"n":100}', "n"),
        (b'{"model":"m","prompt":"x","Best_Of":100}', "best_of"),
    ],
)
def test_what_is_in_doubt_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        COMPLETIONS.inspect(body, NOWHERE)
    assert param == refused.value.param


def test_only_scoring_a_prompt_is_no_mistake() -> None:
    assert inspected(max_tokens=0, echo=True).output_limit == 1


def test_no_limit_may_be_written_as_minus_one() -> None:
    """A cap takes its place."""
    assert inspected(max_tokens=-1).output_limit is None
    patched = COMPLETIONS.patch(b'{"max_tokens":-1}', Patch(output_cap=5))
    assert patched == b'{"max_tokens":5}'


@pytest.mark.parametrize(
    ("body", "after"),
    [
        (
            b'{"model":"a"}',
            b'{"model":"b","max_tokens":7,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"model":"a","max_tokens":9,"stream_options":{"include_usage":false}}',
            b'{"model":"b","max_tokens":7,"stream_options":{"include_usage":true}}',
        ),
    ],
)
def test_a_patch(body: bytes, after: bytes) -> None:
    assert after == COMPLETIONS.patch(
        body, Patch("b", 7, "max_completion_tokens", include_usage=True)
    )


def test_an_answer() -> None:
    watching = scanner(streamed=False)
    relayed(watching, [compact(chunk("one two", usage=USAGE))])

    assert (watching.scan.usage, watching.scan.finished) == (Usage(input=5, output=3), True)


@pytest.mark.parametrize("size", [1, 9, 1000])
@pytest.mark.parametrize("before", [None, ZERO])
def test_the_usage_that_we_asked_for_is_hidden(before: dict[str, int] | None, size: int) -> None:
    """The client's bytes are those of a stream that nobody asked for usage.

    Asked for it, Ollama fills every chunk with zeros; others write null until the last one.
    """
    asked = [chunk("one ", usage=before), chunk("two", usage=before), chunk(usage=USAGE)]
    unasked = [chunk("one "), chunk("two")]
    watching = scanner(strip=True)
    out = relayed(watching, cut_every(b"".join(map(event, asked)) + DONE, size))

    assert b"".join(map(event, unasked)) + DONE == out
    assert watching.scan.usage == Usage(input=5, output=3)


def test_past_its_cap_a_stream_ends_as_a_completion_ends() -> None:
    watching = scanner(cap=2)
    out = relayed(watching, [event(chunk(f"word{i} ")) for i in range(9)])
    *_, last, done = [line[6:] for line in out.splitlines() if line.startswith(b"data: ")]

    assert (watching.cut, done) == (True, b"[DONE]")
    assert json.loads(last)["choices"] == [
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}
    ]


def test_what_is_repeated_is_not_counted() -> None:
    """The prompt in front of the answer was not generated, and does not use up the cap."""
    body = event(chunk("Say this")) + event(chunk(" and that more")) + DONE
    watching = scanner(cap=2, echo=True)

    assert body == relayed(watching, [body])
    assert watching.count_output() == 3


def test_a_broken_stream_is_counted() -> None:
    watching = scanner()
    relayed(watching, [event(chunk("one two ")), event(chunk("three"))])

    assert (watching.scan.usage, watching.count_output()) == (None, 3)


@given(st.binary(max_size=400), st.integers(1, 40), st.booleans())
def test_any_bytes_pass_unchanged(body: bytes, size: int, echo: bool) -> None:
    watching = scanner(echo=echo)

    assert body == relayed(watching, cut_every(body, size))
    watching.count_output()


def test_mistral_fills_in_the_middle_and_answers_as_a_chat() -> None:
    facts = COMPLETIONS.inspect(
        b'{"model":"codestral-latest","prompt":"def f(","suffix":"return 1","max_tokens":9}',
        NOWHERE,
    )
    watch = Watch(streamed=False, strip_usage=False, output_cap=None, count=words)
    choice = {"index": 0, "message": {"content": "x y"}, "finish_reason": "stop"}
    told, untold = (COMPLETIONS.scanner(facts, watch) for _ in range(2))
    told.feed(compact({"choices": [choice], "usage": USAGE}))
    untold.feed(compact({"choices": [choice]}))
    assert told.finish() == untold.finish() == b""

    assert COMPLETIONS.prompt_text(facts) == "def f(\nreturn 1"
    assert told.scan.usage == Usage(input=5, output=3)
    assert (untold.scan.usage, untold.count_output()) == (None, 2)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/fim/completions", "openai_completions"),
        ("/v1/engines/davinci-002/completions", "openai_completions"),
        ("/v1/engines/ada-002/embeddings", "openai_embeddings"),
        ("/v1/ocr", "mistral_ocr"),
    ],
)
def test_older_and_other_paths_lead_there(path: str, dialect: str) -> None:
    way = find_way("POST", path.encode(), {})

    assert way is not None
    assert (way.metered, way.dialect.name) == (True, dialect)
    assert way.model == (path.split("/")[3] if "engines" in path else "")
