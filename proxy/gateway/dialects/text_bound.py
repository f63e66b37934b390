"""How much text a piece of a stream can hold at most, without reading it."""

from typing import Final

from proxy.gateway.dialects.chat_chunks import DELTA

_OBFUSCATION = b'"obfuscation":"'  # OpenAI's: each event has another
_LONG, _SAMPLE = 32_768, 8_192  # bytes
MANY: Final = 1 << 62
_MOST_TRIED = 4  # events in which the frame is looked for; the last ones have no text


class TextBound:
    """Learns what stands before and after the text of each event, which is the same in all of them.

    Both hold a bare quote, and what a chunk may hold besides its one delta is no text. So as often as
    they are there, so many bytes are no text.
    """

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before = self._after = b""

    def most(self, data: bytes, enough: int = MANY) -> int:
        """No less than the bytes of text in the data; no close look where that is likely ``enough``."""
        if len(data) > _LONG:
            sample = self.most(data[_SAMPLE : 2 * _SAMPLE])
            if sample * len(data) > 2 * enough * _SAMPLE:
                return len(data)
        before = self._before
        found = data.count(before) if before else 0
        if not found:  # not learned yet, or another frame by now
            if not self._learn(data):
                return len(data)
            before = self._before
            found = data.count(before)
        after = self._after
        return len(data) - found * len(before) - data.count(after) * len(after)

    def _learn(self, data: bytes) -> bool:
        """Find an event with text, from the end: what comes last is nearest to what comes next."""
        at = len(data)
        for _ in range(_MOST_TRIED):
            at = data.rfind(b'"delta":{', 0, at)
            stop = data.find(b"\n\n", at) + 2
            if at < 0:
                return False
            text = DELTA.match(data, at)
            if stop == 1 or text is None or not text[1]:
                continue
            start = data.rfind(b"\n", 0, at) + 1
            event = data[start:stop]
            if event.count(b'"delta"') > 1 or event.count(b"\n") > 2 or b"\r" in event:  # noqa: PLR2004
                return False
            after = data[text.end(1) : stop]
            varies = after.find(_OBFUSCATION)
            self._before = data[start : text.start(1) + 1]
            self._after = after if varies < 0 else after[: varies + len(_OBFUSCATION)]
            return True
        return False
