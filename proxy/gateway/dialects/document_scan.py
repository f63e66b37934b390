"""Watches an answer that is one JSON document: bytes go through, and are read at the end."""

import re
from typing import Final

from proxy.core.calibration import AS_COUNTED, Calibration
from proxy.gateway.dialects import splice
from proxy.gateway.dialects.answer_reader import DocumentReader
from proxy.gateway.dialects.base import Scan, Watch
from proxy.gateway.dialects.notes import note_flag, parse
from proxy.gateway.dialects.output_count import OutputCount

TOO_LARGE: Final = "answer_too_large"  # only its beginning and end were read
UNREADABLE: Final = "answer_unreadable"  # no JSON object

_MOST_KEPT = 16 * 1024 * 1024  # bytes of an answer that is parsed as a whole
_END_KEPT = 64 * 1024  # of a larger one: usage stands at the end
_BEGINNING_KEPT = 4 * 1024  # model and id stand at the beginning
_BOM: Final = b"\xef\xbb\xbf"  # some clients read past it
_BYTES_PER_TOKEN = 4  # for what was not kept

_NAMES = re.compile(rb'"(?:model|id|service_tier)"\s*:\s*"[^"\\]{1,512}"')


class DocumentScanner:
    """Scans an answer that is not streamed."""

    __slots__ = (
        "_beginning",
        "_body",
        "_calibration",
        "_end",
        "_finished",
        "_kept",
        "_reader",
        "_size",
        "_watch",
    )

    cut = False

    def __init__(
        self, reader: DocumentReader, watch: Watch, calibration: Calibration = AS_COUNTED
    ) -> None:
        self._reader = reader
        self._watch = watch
        self._calibration = calibration
        self._kept: list[bytes] = []
        self._size = 0
        self._beginning = self._end = b""
        self._body = b""  # the whole answer, once it is there
        self._finished = False

    @property
    def scan(self) -> Scan:
        """What was learned so far."""
        return self._reader.scan

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
            body = kept[0] if len(kept) == 1 else b"".join(kept)
            self._body = body.removeprefix(_BOM)
            if not self._reader.quickly(self._body):
                self._read_whole(self._body)
        self._kept = []
        return b""

    def count_output(self) -> int:
        """Tokens of the output's text; of an answer that was not kept, an estimate by its size."""
        self.finish()
        if self._end:
            return self._size // _BYTES_PER_TOKEN
        output = OutputCount(self._watch.count)
        if document := parse(self._body):
            for place, text in self._reader.spoken(document):
                output.add(place, text)
        return output.billed(self._calibration)

    def _read_whole(self, body: bytes) -> None:
        document = parse(body)
        if document is None:
            note_flag(self.scan, UNREADABLE)
            return
        self.scan.finished = True
        self._reader.document(document)

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
        """Read names from the beginning and usage from the end, where it has any."""
        document = parse(b"{" + b",".join(_NAMES.findall(self._beginning)) + b"}") or {}
        name = self._reader.usage_name
        pattern = re.compile(rb'"%b"\s*:\s*(?=\{)' % re.escape(name.encode()))
        for match in reversed(list(pattern.finditer(self._end))):
            try:
                value = self._end[match.end() : splice.value_end(self._end, match.end())]
            except ValueError:
                continue
            if usage := parse(value):
                document[name] = usage
                break
        self._reader.document(document)
        self.scan.finished = self._end.rstrip().endswith(b"}")
