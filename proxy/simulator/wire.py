"""The bytes of a chat answer, as recordings of the real API show them.

Not streamed, the JSON is indented and ends in a line feed. Streamed, each event is compact JSON, and
carries ``"usage":null`` after its choices where usage was asked for, and padding that hides lengths.
"""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from proxy.simulator.completion import Choice, Completion, ToolCall
from proxy.simulator.controls import Malformation
from proxy.simulator.errors import SERVER_ERROR
from proxy.simulator.faults import ENDS_EARLY, Event, dress, spoil
from proxy.simulator.request import ChatRequest

FINGERPRINT: Final = "fp_simulated"
_DONE: Final = b"data: [DONE]\n\n"
_PADDING: Final = "m0PcI8W8buMcALi0SINgNl"
_LONGEST_PADDING: Final = 16
_PADDINGS: Final = tuple(
    b',"obfuscation":"%b"' % _PADDING[shift : shift + length].encode()
    for shift, length in enumerate((5, 4, 15, 0, 9, 1, 12, 7, 3, 14, 2, 10, 6, 13, 8, 11))
)
_ROLE: Final = b'{"role":"assistant","content":"","refusal":null}'


def whole(request: ChatRequest, completion: Completion) -> bytes:
    """The body of an answer that is not streamed."""
    body: dict[str, Any] = {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": completion.model,
        "choices": [
            _whole_choice(number, choice, reasons=request.model.reasons)
            for number, choice in enumerate(completion.choices)
        ],
    }
    if not request.controls.no_usage:
        body["usage"] = completion.usage(zero=request.controls.usage_zero == "all")
    body["service_tier"] = completion.tier
    body["system_fingerprint"] = FINGERPRINT
    if request.controls.malformed is Malformation.ERROR:
        body = SERVER_ERROR
    data = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if request.controls.malformed in (Malformation.BAD_JSON, Malformation.TRUNCATED):
        return data[: len(data) // 2]
    if request.controls.malformed is Malformation.HALF_UTF8:
        return data[: data.index(b'"content"')] + b'"content": "caf\xc3'
    return data


def _whole_choice(number: int, choice: Choice, *, reasons: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(choice.text)}
    if choice.calls:
        message["content"] = None
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for call in choice.calls
        ]
    message["refusal"] = None
    message["annotations"] = []
    shown: dict[str, Any] = {"index": number, "message": message}
    if not reasons:
        shown["logprobs"] = None
    shown["finish_reason"] = choice.finish
    return shown


class EventStream:
    """The events of one streamed answer: ``body()`` holds all tokens, ``tail()`` what follows them."""

    def __init__(self, request: ChatRequest, completion: Completion) -> None:
        self._request = request
        self._completion = completion
        self._controls = request.controls
        self._head = self._frame_head()
        self._logprobs = b"" if request.model.reasons else b',"logprobs":null'
        self._usage = self._usage_of_each_chunk()
        self._sent = 0  # chunks, for the padding

    def body(self) -> Iterator[Event]:
        """The events that carry the answer, ends of the choices included."""
        fault = self._controls.malformed
        events = spoil(fault, self._chunks(), head=self._head, tokens=self._completion.tokens)
        return events if fault is None else (dress(fault, event) for event in events)

    def tail(self) -> Iterator[Event]:
        """The usage, where it was asked for, and the mark of the end."""
        fault = self._controls.malformed
        if fault in ENDS_EARLY:
            return
        if self._reports_apart:
            zero = self._controls.usage_zero == "all"
            usage = b',"usage":' + orjson.dumps(self._completion.usage(zero=zero))
            yield dress(fault, self._chunk(b"", usage))
        if fault is not Malformation.NO_DONE:
            yield dress(fault, Event(_DONE))

    @property
    def _reports_apart(self) -> bool:
        """Usage comes in a chunk of its own."""
        controls = self._controls
        hidden = controls.no_usage or controls.usage_on_finish_chunk
        return self._request.include_usage and not hidden

    def _frame_head(self) -> bytes:
        answer = self._completion
        opening = {
            "id": answer.id,
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": answer.model,
            "service_tier": answer.tier,
            "system_fingerprint": FINGERPRINT,
        }
        return b"data: " + orjson.dumps(opening)[:-1] + b',"choices":['

    def _usage_of_each_chunk(self) -> bytes:
        if self._controls.usage_zero and not self._controls.no_usage:
            return b',"usage":' + orjson.dumps(self._completion.usage(zero=True))
        return b',"usage":null' if self._reports_apart else b""

    def _chunk(self, choice: bytes, usage: bytes, tokens: int = 0) -> Event:
        padding = b""
        if self._request.obfuscate:
            padding = _PADDINGS[self._sent % _LONGEST_PADDING]
            self._sent += 1
        return Event(b"".join((self._head, choice, b"]", usage, padding, b"}\n\n")), tokens)

    def _delta(self, number: int, delta: bytes, tokens: int = 0, finish: bytes = b"null") -> Event:
        usage = self._usage
        if finish != b"null" and self._controls.usage_on_finish_chunk:
            usage = b',"usage":' + orjson.dumps(self._completion.usage())
        choice = b'{"index":%d,"delta":%b%b,"finish_reason":%b}' % (
            number,
            delta,
            self._logprobs,
            finish,
        )
        return self._chunk(choice, usage, tokens)

    def _chunks(self) -> Iterator[Event]:
        """The choices one piece each in turn, then the end of each, as the API interleaves them."""
        speaking = [
            self._said(number, choice) for number, choice in enumerate(self._completion.choices)
        ]
        while speaking:
            still = []
            for pieces in speaking:
                event = next(pieces, None)
                if event is not None:
                    yield event
                    still.append(pieces)
            speaking = still
        for number, choice in enumerate(self._completion.choices):
            yield self._delta(number, b"{}", finish=b'"%b"' % choice.finish.encode())

    def _said(self, number: int, choice: Choice) -> Iterator[Event]:
        if choice.calls:
            yield from self._called(number, choice)
            return
        yield self._delta(number, _ROLE, choice.reasoning)
        for piece in choice.text:
            yield self._delta(number, b'{"content":%b}' % orjson.dumps(piece), 1)

    def _called(self, number: int, choice: Choice) -> Iterator[Event]:
        for place, call in enumerate(choice.calls):
            opening = orjson.dumps([_opened(place, call)])
            if place == 0:
                delta = (
                    b'{"role":"assistant","content":null,"tool_calls":%b,"refusal":null}' % opening
                )
                yield self._delta(number, delta, choice.reasoning + 1)
            else:
                yield self._delta(number, b'{"tool_calls":%b}' % opening, 1)
            for piece in call.arguments:
                part = [{"index": place, "function": {"arguments": piece}}]
                yield self._delta(number, b'{"tool_calls":%b}' % orjson.dumps(part), 1)


def _opened(place: int, call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": ""}
    return {"index": place, "id": call.id, "type": "function", "function": function}
