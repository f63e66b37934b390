"""What a chat request is answered with, before it becomes bytes: choices, their tokens, the usage."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.simulator import language, schema
from proxy.simulator.request import ChatRequest

_SHORTEST, _SPREAD = 12, 32  # of an answer whose length nobody asks for
_FIXED_CREATED: Final = 1_767_225_600


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. Each piece of its arguments is one token, and so is its name."""

    id: str
    name: str
    arguments: list[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: hidden tokens, then text or tool calls. Each piece of text is one token."""

    reasoning: int
    text: list[str]
    calls: tuple[ToolCall, ...]
    finish: str

    @property
    def tokens(self) -> int:
        """All its tokens, the hidden ones among them."""
        called = sum(1 + len(call.arguments) for call in self.calls)
        return self.reasoning + len(self.text) + called


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    id: str
    created: int
    model: str
    tier: str
    prompt_tokens: int
    cached_tokens: int
    choices: tuple[Choice, ...]

    @property
    def tokens(self) -> int:
        """The completion tokens of all choices."""
        return sum(choice.tokens for choice in self.choices)

    @property
    def reasoning(self) -> int:
        """The hidden tokens of all choices."""
        return sum(choice.reasoning for choice in self.choices)

    def usage(self, *, zero: bool = False) -> dict[str, Any]:
        """The usage as the API reports it; ``zero`` is what a provider reports that does not count."""
        prompt, cached, completion, reasoning = (
            (0, 0, 0, 0)
            if zero
            else (self.prompt_tokens, self.cached_tokens, self.tokens, self.reasoning)
        )
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def compose(request: ChatRequest, serial: str, now: float) -> Completion:
    """Answer a request: the same text for the same request, under an id of its own."""
    fixed = request.controls.id
    return Completion(
        id=f"chatcmpl-{fixed or serial}",
        created=_FIXED_CREATED if fixed else int(now),
        model=request.model.served,
        tier=request.tier,
        prompt_tokens=request.prompt_tokens,
        cached_tokens=request.cached_tokens,
        choices=tuple(
            _choice(request, number, fixed or serial) for number in range(request.choices)
        ),
    )


def _choice(request: ChatRequest, number: int, serial: str) -> Choice:
    cap = request.output_cap
    reasoning = request.reasoning if cap is None else min(request.reasoning, cap)
    room = None if cap is None else cap - reasoning
    if request.tools:
        return _calling(request, f"{serial}{number}", reasoning, room)
    text, finish = _stopped(_text(request, number, room), request.stop)
    if room is not None and len(text) > room:
        text, finish = text[:room], "length"
    return Choice(reasoning, text, (), finish)


def _calling(request: ChatRequest, serial: str, reasoning: int, room: int | None) -> Choice:
    calls: list[ToolCall] = []
    finish = "tool_calls"
    for number, function in enumerate(request.tools):
        arguments = language.tokens(
            orjson.dumps(schema.example(function.get("parameters") or {"type": "object"})).decode()
        )
        if room is not None:
            if room < 1 + len(arguments):
                finish = "length"
            if room < 1:
                break
            arguments = arguments[: room - 1]
            room -= 1 + len(arguments)
        calls.append(ToolCall(f"call_{serial}{number}", str(function.get("name")), arguments))
    return Choice(reasoning, [], tuple(calls), finish)


def _text(request: ChatRequest, number: int, room: int | None) -> list[str]:
    """The tokens of one choice, one more than there is room for where it goes on."""
    structured = _structured(request.response_format)
    if structured is not None:
        return language.tokens(orjson.dumps(structured).decode())
    length = request.controls.output_tokens
    if length is None:
        length = _SHORTEST + request.seed % _SPREAD
    if room is not None:
        length = min(length, room + 1)
    return language.say(length, request.seed + number)


def _structured(response_format: Any) -> Any:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return {"answer": "simulated"}
    wanted = response_format.get("json_schema")
    return schema.example(wanted.get("schema")) if isinstance(wanted, dict) else None


def _stopped(text: list[str], stop: tuple[str, ...]) -> tuple[list[str], str]:
    """The text up to the first of the stop sequences; the token that it begins in is billed."""
    if not stop:
        return text, "stop"
    whole = "".join(text)
    end = min((at for s in stop if (at := whole.find(s)) >= 0), default=len(whole))
    kept: list[str] = []
    for piece in text:
        if end <= 0:
            break
        kept.append(piece[:end])
        end -= len(piece)
    return kept, "stop"
