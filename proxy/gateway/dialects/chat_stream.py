"""Watches an answer that is an event stream.

Bytes go through as they come. What has gone through is kept and read in blocks, when it is many
bytes, when the output could have reached its cap, and at the end; so a chunk costs an append.
"""

from typing import Final

from proxy.gateway.dialects import sse
from proxy.gateway.dialects.base import RequestFacts, Scan, Watch
from proxy.gateway.dialects.chat_chunks import ChunkReader, event_text, plain_text, unix_lines
from proxy.gateway.dialects.chat_ending import ending
from proxy.gateway.dialects.chat_scan import note_flag
from proxy.gateway.dialects.output_count import OutputCount
from proxy.gateway.dialects.usage_strip import LONGEST_EVENT, UsageStrip

EVENT_TOO_LONG: Final = "event_too_long"  # one event was passed on unread
CUT_AT_CAP: Final = "cut_at_cap"

_MOST_KEPT = 32 * 1024  # bytes that wait to be read
_PER_PIECE = 48  # bytes that a kept piece costs beside its own


class StreamScanner:
    """Scans a stream of chat chunks. With n choices the cap is n times that of one, for all together."""

    __slots__ = (
        "_cap",
        "_facts",
        "_kept",
        "_kept_bytes",
        "_output",
        "_reader",
        "_room",
        "_scan",
        "_strip",
        "_uncounted",
        "_watch",
        "cut",
    )

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        self._facts = facts
        self._watch = watch
        self._scan = Scan()
        self._reader = ChunkReader(self._scan)
        self._output = OutputCount(watch.count)
        self._strip = UsageStrip() if watch.strip_usage else None
        self._cap = None if watch.output_cap is None else watch.output_cap * facts.choices
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._uncounted: list[bytes] = []  # blocks that were read, but not for their text
        self._room = self._room_left()
        self.cut = False

    @property
    def scan(self) -> Scan:
        """What was learned so far; reads what is kept."""
        if self._kept:
            self._read_kept()
        return self._scan

    def feed(self, data: bytes) -> bytes:
        """Pass the bytes on, less what is hidden; past the cap, the end of the answer instead."""
        self._kept.append(data)
        self._kept_bytes += len(data) + _PER_PIECE
        if self.cut:
            if self._kept_bytes > _MOST_KEPT:
                self._read_kept()
            return b""
        if self._kept_bytes > self._room and (end := self._make_room(len(data))) is not None:
            return end if self._strip is None else end
        if self._strip is None:
            return data
        return self._strip.feed(data)
