"""What is logged, and what never is."""

import io
import logging
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.core.call import CallFinished, Outcome
from proxy.observe.call_lines import call_fields
from proxy.observe.logs import AT_ONCE, Logs, LogWriter, call_line, json_line, masked
from tests.observe.samples import ATTEMPT, RECORD, REFUSED, finished

SECRETS = (
    "fb-sk-0123456789abcdefABCDEF0123456789abcdefABCDE",
    "sk-proj-abcdefghijklmnop0123456789",
    "sk-ant-api03-abcdefghijklmnop",
    "AIzaSyA-abcdefghijklmnopqrstuvwxyz012345",
    "gsk_abcdefghijklmnop0123456789",
)


class Kept(io.BytesIO):
    """Output that can still be read after it was closed over."""

    def entries(self) -> list[dict[str, Any]]:
        """The lines, read."""
        return [orjson.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def out() -> Kept:
    return Kept()


@pytest.fixture
def logs(out: Kept) -> Iterator[Logs]:
    logs = Logs(out=out)
    yield logs
    logs.close()


def test_a_call_is_one_line_of_json(logs: Logs, out: Kept) -> None:
    """With who called, what it used, what it cost and how long it took."""
    logs.call_finished(finished())
    logs.close()

    [line] = out.entries()
    expected = {
        "event": "call",
        "level": "info",
        "call_id": RECORD.id,
        "team": "search",
        "key": "search-prod",
        "user": "alice",
        "model_served": "gpt-5-mini-2026-08-07",
        "status": 200,
        "outcome": "completed",
        "input_tokens": 1234,
        "output_tokens": 100,
        "cost_usd": "0.001234567",
        "duration_ms": 2000.5,
        "time_to_first_byte_ms": 450.3,
        "attempts": 1,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["time"] == "2026-11-18T11:06:42.000Z"


def test_a_refused_call_has_its_line_too(logs: Logs, out: Kept) -> None:
    logs.call_finished(CallFinished(REFUSED, warnings=("team:search:day:warn",)))
    logs.close()

    [line] = out.entries()
    assert (line["refusal"], line["upstream"], line["warnings"]) == (
        "budget_exceeded",
        "",
        ["team:search:day:warn"],
    )


def test_a_line_holds_no_secret_and_no_text(logs: Logs, out: Kept) -> None:
    """Secrets that slip into a message, an exception or a field are masked; usage objects are left out."""
    quoted = " ".join(SECRETS)
    logs.call_finished(finished({"usage_raw": '{"prompt": "my secret prompt"}'}, user=SECRETS[0]))
    structlog.get_logger().warning("oops", header=f"Bearer {SECRETS[1]}", quoted=quoted)
    logging.getLogger("some.library").error("sent %s", quoted)
    try:
        int(quoted)
    except ValueError:
        structlog.get_logger().exception("failed")
    logs.close()

    written = out.getvalue().decode()
    for secret in SECRETS:
        assert secret[6:] not in written
    assert "my secret prompt" not in written
    assert written.count("\n") == 4
    assert "ValueError" in written


@pytest.mark.parametrize(
    "text", ["risk-assessment-workflow", "task-1234567890", "desk-0123456789", "gpt-5-mini"]
)
def test_what_only_looks_a_little_like_a_key_is_left_alone(text: str) -> None:
    assert masked(text.encode()) == text.encode()


def test_the_libraries_logs_are_lines_of_the_same_form(logs: Logs, out: Kept) -> None:
    logging.getLogger("uvicorn.error").warning("Started %s", "here")
    logs.close()

    [line] = out.entries()
    assert (line["event"], line["logger"], line["level"]) == (
        "Started here",
        "uvicorn.error",
        "warning",
    )


def test_libraries_are_heard_when_they_warn(logs: Logs, out: Kept) -> None:
    """What they tell of every request is noise."""
    logging.getLogger("httpx").info("HTTP Request: GET …")
    logging.getLogger("httpx").warning("careful")
    logs.close()

    assert [line["event"] for line in out.entries()] == ["careful"]


def test_the_standard_logging_is_left_as_it_was(out: Kept) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    Logs(out=out).close()

    assert (root.level, list(root.handlers)) == before


def test_below_its_level_nothing_is_logged(out: Kept) -> None:
    """At level warning a call that went well says nothing; one that the upstream failed does."""
    logs = Logs(level="warning", out=out)
    logs.call_finished(finished())
    structlog.get_logger().info("ready")
    logs.call_finished(finished(outcome=Outcome.UPSTREAM_FAILED))
    logs.close()

    assert [(line["event"], line["level"]) for line in out.entries()] == [("call", "warning")]


def test_a_console_gets_readable_lines_without_empty_fields(out: Kept) -> None:
    logs = Logs("console", out=out)
    logs.call_finished(CallFinished(replace(REFUSED, workflow="")))
    logs.close()

    line = out.getvalue().decode()
    assert "call_id=" + RECORD.id in line
    assert "workflow" not in line
    assert "\x1b" not in line


def test_nothing_is_lost_at_a_normal_stop(logs: Logs, out: Kept) -> None:
    """What waits is written before ``close`` returns, in the order in which it came."""
    for number in range(5000):
        logs.call_finished(finished(run=str(number)))
    logs.close()

    assert [line["run"] for line in out.entries()] == [str(number) for number in range(5000)]


def test_a_text_that_is_no_unicode_is_logged_all_the_same(logs: Logs, out: Kept) -> None:
    """One odd value must not end the log."""
    logs.call_finished(finished(user="\ud800"))
    logs.call_finished(finished())
    logs.close()

    assert [line["user"] for line in out.entries()] == ["?", "alice"]


class Stuck(Kept):
    """Output whose reader has stopped reading, until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.released = threading.Event(), threading.Event()
        self.writes: list[int] = []  # lines of each

    def write(self, data: Any) -> int:
        """Wait, then take it."""
        self.reached.set()
        self.released.wait()
        self.writes.append(data.count(b"\n"))
        return super().write(data)


def render(fields: Any) -> bytes:
    return orjson.dumps(fields)


def write_while_stuck(writer: LogWriter, stuck: Stuck, numbers: range) -> None:
    """The first number is being written while the others come; then all are."""
    first, *others = numbers
    writer.put({"n": first})
    stuck.reached.wait()
    for number in others:
        writer.put({"n": number})
    stuck.released.set()
    writer.close()


def test_a_stuck_reader_costs_lines_not_calls() -> None:
    """The queue is bounded; what is dropped is counted, and told as soon as there is room."""
    stuck = Stuck()
    write_while_stuck(LogWriter(stuck, render, capacity=10), stuck, range(15))

    lines = stuck.entries()
    assert [line["n"] for line in lines if "n" in line] == list(range(11))
    assert [line["lines"] for line in lines if line.get("event") == "log_lines_dropped"] == [4]


def test_many_lines_are_written_a_few_at_a_time() -> None:
    """The event loop has the interpreter back with each write: it never stands still for all that waits."""
    stuck = Stuck()
    write_while_stuck(LogWriter(stuck, render), stuck, range(101))

    assert [line["n"] for line in stuck.entries()] == list(range(101))
    assert max(stuck.writes) == AT_ONCE


class Broken(Kept):
    """Output whose reader is gone."""

    def write(self, _data: Any) -> int:
        """Nobody takes it."""
        raise BrokenPipeError


def test_a_reader_that_is_gone_stops_nothing() -> None:
    writer = LogWriter(Broken(), render)
    writer.put({"n": 1})
    writer.close()
    writer.close()


def test_errors_of_attempts_are_told(logs: Logs, out: Kept) -> None:
    failed = replace(ATTEMPT, error="timeout")
    logs.call_finished(CallFinished(replace(RECORD, attempts=(failed, replace(ATTEMPT, number=2)))))
    logs.close()

    assert out.entries()[0]["errors"] == ["timeout"]


_TEXTS = st.lists(
    st.sampled_from(
        [
            "sk-",
            "gsk_",
            "s",
            "k-",
            "Bearer ",
            "AIza",
            "key_",
            "012345678901",
            "\n",
            "\x00",
            "\\",
            '"',
        ]
    )
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@given(texts=st.tuples(_TEXTS, _TEXTS, _TEXTS, _TEXTS))
def test_the_line_of_a_call_is_masked_like_any_other(texts: tuple[str, ...]) -> None:
    """Where a secret may be is looked for only in what others said, and never missed for that."""
    user, model, error, warning = texts
    event = CallFinished(
        replace(
            RECORD,
            user=user,
            model_requested=model,
            attempts=(replace(ATTEMPT, error=error), replace(ATTEMPT, upstream_call_id=user)),
        ),
        warnings=(warning,),
    )

    assert call_line(event, json_line) == masked(json_line(call_fields(event)))
