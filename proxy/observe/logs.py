"""Structured logs: one line for each call, and what else there is to say, as JSON or for a console.

A line is put together and written by a thread, in batches: the event loop only hands the event over.
No secret, no prompt and no answer is in an event; what looks like a key is masked all the same,
for a message of a library may quote one.
"""

import contextlib
import json
import logging
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal

import orjson
import structlog

from proxy.core.call import CallFinished
from proxy.observe.call_lines import NOT_WELL, UsualLines, call_fields
from proxy.observe.defects import traceback_of

BATCH_EVERY_S = 0.05
# Lines of one write. While they are put together the event loop may stand still, for they take the
# interpreter; with each write it is given back.
AT_ONCE = 16
CAPACITY = 100_000  # lines that wait; more are dropped and counted, for logs must not stop calls

Entry = Mapping[str, Any]
_SECRET = re.compile(
    rb"(?<![A-Za-z0-9])(?:(?:fb-sk|sk|pk|gsk|xai|pplx|hf|key)[-_]|AIza|AKIA|Bearer\s+|Basic\s+)[\w\-.=/+]{8,}"
)


class LogWriter:
    """Writes entries from a thread. Nothing is lost at ``close``; what does not fit in between is counted."""

    def __init__(
        self, out: BinaryIO, render: Callable[[Entry], bytes], *, capacity: int = CAPACITY
    ) -> None:
        self._out = out
        self._render = render
        self._capacity = capacity
        self._waiting: deque[Entry | CallFinished] = deque()
        self._dropped = 0
        self._closed = False
        self._some = threading.Event()
        self._thread = threading.Thread(target=self._run, name="farebox-logs", daemon=True)
        self._thread.start()

    def put(self, entry: Entry | CallFinished) -> None:
        """Take an entry to be written soon. Never waits."""
        if len(self._waiting) >= self._capacity:
            self._dropped += 1
            return
        self._waiting.append(entry)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Write what waits and stop. Idempotent."""
        self._closed = True
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._some.wait()
            if not self._closed:
                threading.Event().wait(BATCH_EVERY_S)
            self._some.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while lines := [self._line(entry) for entry in self._taken()]:
            # A closed pipe ends the logs, not the service.
            with contextlib.suppress(OSError, ValueError):
                self._out.write(b"".join(lines))
                self._out.flush()

    def _taken(self) -> Iterator[Entry | CallFinished]:
        for _ in range(min(len(self._waiting), AT_ONCE)):
            yield self._waiting.popleft()
        if dropped := self._dropped:
            self._dropped -= dropped
            yield _stamped("warning", "log_lines_dropped", lines=dropped)

    def _line(self, entry: Entry | CallFinished) -> bytes:
        if isinstance(entry, CallFinished):
            return call_line(entry, self._render) + b"\n"
        return masked(self._render(entry)) + b"\n"


def masked(line: bytes) -> bytes:
    """The line with all that looks like a key or a credential replaced."""
    return _SECRET.sub(b"[secret]", line)


# One line a call


def call_line(event: CallFinished, render: Callable[[Entry], bytes]) -> bytes:
    """A call's line, without its end."""
    usual = _usual.line(event) if render is json_line else None
    return usual or masked(render(call_fields(event)))


_usual = UsualLines(masked)


def _stamped(level: str, event: str, **fields: object) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": now, "level": level, "event": event, **fields}


# Set-up

LogFormat = Literal["json", "console"]


class Logs:
    """Logging of one process, from here until ``close``: structlog's and the standard library's."""

    def __init__(
        self, log_format: LogFormat = "json", level: str = "info", out: BinaryIO | None = None
    ) -> None:
        threshold = logging.getLevelNamesMapping()[level.upper()]
        out = out or sys.stdout.buffer
        render = json_line if log_format == "json" else _console(colours=out.isatty())
        self._calls = threshold
        self._writer = LogWriter(out, render)
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, _exception, self._take],
            wrapper_class=structlog.make_filtering_bound_logger(threshold),
            logger_factory=structlog.ReturnLoggerFactory(),
            cache_logger_on_first_use=False,
        )
        self._library = _Library(self._writer)
        # Of libraries only warnings are wanted: some tell every request they make.
        root = logging.getLogger()
        self._level_before = root.level
        root.addHandler(self._library)
        root.setLevel(max(threshold, logging.WARNING))

    def call_finished(self, event: CallFinished) -> None:
        """Log a call. A call that went as it should is left out above level info."""
        if self._calls <= logging.INFO or event.record.outcome in NOT_WELL:
            self._writer.put(event)

    def close(self) -> None:
        """Write everything that waits, and let go of the standard library's logging."""
        logging.getLogger().removeHandler(self._library)
        logging.getLogger().setLevel(self._level_before)
        structlog.reset_defaults()
        self._writer.close()

    def _take(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        fields = dict(event)
        name = fields.pop("event", "")
        self._writer.put(_stamped(method, str(name), **fields))
        raise structlog.DropEvent


def _exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    shown = event.pop("exc_info", None)
    if shown:
        error = shown if isinstance(shown, BaseException) else sys.exc_info()[1]
        event["exception"] = traceback_of(error)
    return event


class _Library(logging.Handler):
    """Takes the lines of libraries that use the standard library's logging."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name}
        if record.exc_info:
            fields["exception"] = traceback_of(record.exc_info[1])
        self._writer.put(_stamped(record.levelname.lower(), record.getMessage(), **fields))


def json_line(fields: Entry) -> bytes:
    """The fields as a JSON object."""
    try:
        return orjson.dumps(fields)  # nearly always; the options make it slower
    except orjson.JSONEncodeError:
        return _json_of_anything(fields)


def _json_of_anything(fields: Entry) -> bytes:
    try:
        return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:  # half a character, or a number beyond 64 bits
        return json.dumps(fields, default=str, ensure_ascii=False).encode(errors="replace")


def _console(*, colours: bool) -> Callable[[Entry], bytes]:
    renderer = structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="time", sort_keys=False)

    def render(fields: Entry) -> bytes:
        told = {k: v for k, v in fields.items() if v not in ("", None, [])}
        return renderer(None, "", told).encode()

    return render
