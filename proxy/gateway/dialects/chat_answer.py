"""Watches an answer that is one JSON document: bytes go through, and are read at the end."""

import re
from typing import Final

import orjson
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from proxy.gateway.dialects import splice
from proxy.gateway.dialects.base import RequestFacts, Scan, Watch
from proxy.gateway.dialects.chat_scan import (
    note_error,
    note_flag,
    note_names,
    note_usage,
    parse,
)
from proxy.gateway.dialects.chat_text import spoken_in_choices
from proxy.gateway.dialects.output_count import OutputCount
from proxy.gateway.dialects.usage import read_plain_usage

TOO_LARGE: Final = "answer_too_large"  # only its beginning and end were read
UNREADABLE: Final = "answer_unreadable"  # no JSON object

_MOST_KEPT = 16 * 1024 * 1024  # bytes of an answer that is parsed as a whole
_END_KEPT = 64 * 1024  # of a larger one: usage stands at the end
_BEGINNING_KEPT = 4 * 1024  # model and id stand at the beginning
_BYTES_PER_TOKEN = 4  # for what was not kept

_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_NAMES = re.compile(rb'"(?:model|id|service_tier)"\s*:\s*"[^"\\]{1,512}"')


class AnswerScanner:
    """Scans an answer that is not streamed."""

    __slots__ = ("_beginning", "_body", "_end", "_finished", "_kept", "_size", "_watch", "scan")

    cut = False

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        del facts
        self.scan = Scan()
        self._watch = watch
        self._kept: list[bytes] = []
        self._size = 0
        self._beginning = self._end = b""
        self._body = b""  # the whole answer, once it is there
        self._finished = False

    def feed(self, data: bytes) -> bytes:
        """Pass the bytes on."""
        self._size += len(data)
        if self._size <= _MOST_KEPT:
            self._kept.append(data)
        else:
            self._keep_ends(data)
        return data

    def finish(self) -> bytes:
        """Read what was kept."""
        if self._finished:
            return b""
        self._finished = True
        if self._end:
            self._read_ends()
        elif self._size:
            kept = self._kept
            self._body = kept[0] if len(kept) == 1 else b"".join(kept)
            if not note_plainly(self.scan, self._body):
                self._read_whole(self._body)
        self._kept = []
        return b""

    def count_output(self) -> int:
        """Tokens of the text of all choices; of an answer that was not kept, an estimate by its size."""
        self.finish()
        if self._end:
            return self._size // _BYTES_PER_TOKEN
        output = OutputCount(self._watch.count)
        if document := parse(self._body):
            for place, text in spoken_in_choices(document, "message"):
                output.add(place, text)
        return output.tokens()

    def _read_whole(self, body: bytes) -> None:
        document = parse(body)
        if document is None:
            note_flag(self.scan, UNREADABLE)
            return
        self.scan.finished = True
        note_names(self.scan, document)
        note_usage(self.scan, document)
        note_error(self.scan, document)

    def _keep_ends(self, data: bytes) -> None:
        if self._kept:
            kept = b"".join(self._kept)
            self._kept = []
            self._beginning, self._end = kept[:_BEGINNING_KEPT], kept[-_END_KEPT:]
            note_flag(self.scan, TOO_LARGE)
        elif not self._beginning:
            self._beginning = data[:_BEGINNING_KEPT]
            note_flag(self.scan, TOO_LARGE)
        self._end = (self._end + data)[-_END_KEPT:]

    def _read_ends(self) -> None:
        names = b"{" + b",".join(_NAMES.findall(self._beginning)) + b"}"
        note_names(self.scan, parse(names) or {})
        for match in reversed(list(_USAGE.finditer(self._end))):
            try:
                value = self._end[match.end() : splice.value_end(self._end, match.end())]
            except ValueError:
                continue
            usage = parse(value)
            if usage and note_usage(self.scan, {"usage": usage}):
                break
        self.scan.finished = self._end.rstrip().endswith(b"}")


class _PlainAnswer(Struct):
    """The members that matter of an answer as OpenAI writes it; the others are stepped over."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    object: str | None = None
    error: None = None
    x_groq: None = None
    usage: Raw = Raw()


_decode_plain = Decoder(_PlainAnswer).decode


def note_plainly(scan: Scan, body: bytes) -> bool:
    """Note what an answer says where nothing is unusual about it; else nothing, and say False.

    The same would be noted by parsing all of it, which takes three times as long. Only a number too
    large for a float, which makes the rest unreadable then, does no harm here.
    """
    try:
        answer = _decode_plain(body)
        if not body.isascii():
            body.decode()  # what is stepped over is not checked for this
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False
    usage = read_plain_usage(answer.usage)
    if usage is None or answer.object == "error":
        return False
    scan.finished = True
    scan.served_model = answer.model or ""
    scan.upstream_call_id = answer.id or ""
    scan.service_tier = answer.service_tier or ""
    scan.usage = usage
    scan.usage_raw = orjson.dumps(orjson.loads(bytes(answer.usage)))
    return True
