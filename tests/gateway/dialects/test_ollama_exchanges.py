"""Recorded answers of Ollama's own API. Skipped where the recordings are absent."""

from functools import partial
from pathlib import Path

import pytest

from proxy.gateway.dialects.base import NOWHERE, Dialect
from proxy.gateway.paths import find_way
from proxy.store.vocabulary import Vocabulary
from tests.gateway.dialects.recorded import (
    Exchange,
    body_of,
    broken_off,
    held_input,
    replayed,
    scanner_of,
    totals,
)
from tests.recorded import exchanges


def dialect_of(exchange: Exchange) -> Dialect:
    way = find_way("POST", exchange["path"].encode(), {})
    assert way is not None
    return way.dialect


@pytest.fixture(scope="module", name="recorded")
def _recorded() -> list[Exchange]:
    ours = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")
    return [e for e in exchanges() if e["path"] in ours and e.get("response_text")]


def test_every_recorded_count_is_found(recorded: list[Exchange]) -> None:
    """A side that the answer leaves out is to be counted; no byte changes."""
    for exchange in recorded:
        said = exchange["usage"][-1][1] if exchange["usage"] else {}
        expected = {
            "input": said.get("prompt_eval_count", 0),
            "output": said.get("eval_count", 0),
        }
        for scanner in replayed(dialect_of(exchange), exchange):
            scan = scanner.scan
            found = (exchange["id"], totals(scan.usage))
            assert (exchange["id"], {k: n for k, n in expected.items() if n}) == found
            assert scan.lacks_input == ("prompt_eval_count" not in said)
            assert scan.lacks_output is False
            assert scan.finished
            assert scan.served_model
    assert len(recorded) >= 8


def test_no_recorded_request_had_more_input_than_is_held_for(recorded: list[Exchange]) -> None:
    for exchange in recorded:
        body = body_of(exchange)
        facts = dialect_of(exchange).inspect(body, NOWHERE)
        said = exchange["usage"][-1][1] if exchange["usage"] else {}
        bound = held_input(body, facts)
        assert said.get("prompt_eval_count", 0) <= bound
        assert facts.stream == exchange["stream"]


def test_a_stream_that_breaks_is_estimated(recorded: list[Exchange], tmp_path: Path) -> None:
    vocabulary = Vocabulary(tmp_path)
    for exchange in recorded:
        if not exchange["stream"]:
            continue
        answer = exchange["response_text"].encode()
        counted = 0
        made = partial(scanner_of, dialect_of(exchange), exchange, vocabulary)
        for scanner in broken_off(answer, made, b'"done":true', mark=b"\n"):
            assert (scanner.scan.usage, scanner.scan.finished) == (None, False)
            counted = scanner.count_output()
        billed = exchange["usage"][-1][1]["eval_count"]
        print(f"\nollama: {billed} billed, {counted} estimated")  # noqa: T201
        assert 0.8 < billed / counted < 1.25
    vocabulary.close()
