"""A file of results is read line by line, however it is cut, and passes unchanged."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.dialects.batch_results import Lines, read_anthropic, read_openai

BODY = {
    "object": "chat.completion", "model": "gpt-4o", "created": 1_790_000_000,
    "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
}  # fmt: skip
GOOD = json.dumps({"id": "batch_req_1", "response": {"status_code": 200, "body": BODY}}).encode()
FAILED = json.dumps({"id": "batch_req_2", "response": {"status_code": 400, "body": BODY}}).encode()
FILE = b"\n".join([GOOD, b"", b"no json", FAILED, b'{"id":1}', GOOD])


@given(st.lists(st.integers(0, len(FILE)), max_size=20))
def test_a_file_may_be_cut_anywhere(cuts: list[int]) -> None:
    scanner = Lines(read_openai)
    places = sorted({0, len(FILE), *cuts})
    passed = [scanner.feed(FILE[a:b]) for a, b in pairwise(places)]
    passed.append(scanner.finish())

    assert b"".join(passed) == FILE
    assert [r.id for r in scanner.results] == ["batch_req_1"] * 2
    assert {r.scan.variants for r in scanner.results} == {("batch",)}


@given(st.binary())
def test_any_other_file_says_nothing(content: bytes) -> None:
    for read in (read_openai, read_anthropic):
        scanner = Lines(read)

        assert scanner.feed(content) + scanner.finish() == content
        assert scanner.results == []
