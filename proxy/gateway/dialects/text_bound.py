"""How much text a piece of a stream can hold at most, without reading it."""

from proxy.gateway.dialects.chat_chunks import DELTA

_OBFUSCATION = b'"obfuscation":"'  # OpenAI's: each event has another
_MOST_TRIED = 4  # events in which the frame is looked for; the last ones have no text


class TextBound:
    """Learns what stands before and after the text of each event, which is the same in all of them.

    Both hold a bare quote, and what a chunk may hold besides its one delta is no text. So as often as
    they are there, so many bytes are no text.
    """

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before = self._after = b""

    def most(self, data: bytes) -> int:
        """No less than the bytes of text in the data."""
        before = self._before
        if not before:
            self._learn(data)
            before = self._before
            if not before:
                return len(data)
        after = self._after
        return len(data) - data.count(before) * len(before) - data.count(after) * len(after)

    def _learn(self, data: bytes) -> None:
        end = len(data)
        for _ in range(_MOST_TRIED):
            at = data.rfind(b'"delta":{', 0, end)
            start = data.rfind(b"\n", 0, at) + 1
            stop = data.find(b"\n", at) + 1
            text = DELTA.match(data, at) if at >= 0 and stop else None
            event = data[start:stop]
            if text is None or event.count(b'"delta"') > 1 or b"\r" in event:
                return
            if text[1]:
                after = data[text.end(1) : stop]
                varies = after.find(_OBFUSCATION)
                self._before = data[start : text.start(1) + 1]
                self._after = after if varies < 0 else after[: varies + len(_OBFUSCATION)]
                return
            end = at
