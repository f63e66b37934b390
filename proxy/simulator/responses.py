"""The responses API: the chat that it stands for, in its own words; in the background too."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from proxy.simulator import errors
from proxy.simulator.completion import Completion

_MOST_KEPT: Final = 1000
_ASKED_UNTIL_DONE: Final = 2  # how often one in the background is asked for before it is over


def as_chat(parsed: dict[str, Any]) -> dict[str, Any]:
    """The chat request that a request stands for. Raises Problem."""
    given = parsed.get("input")
    if given is None:
        raise errors.missing("input")
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    chat: dict[str, Any] = {
        name: parsed[name] for name in ("model", "stream", "service_tier", "user") if name in parsed
    }
    chat["messages"] = [
        {"role": m.get("role", "user"), "content": _text(m.get("content"))}
        for m in messages
        if isinstance(m, dict)
    ]
    if parsed.get("max_output_tokens") is not None:
        chat["max_tokens"] = parsed["max_output_tokens"]
    return chat


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part["text"] for part in parts if isinstance(part, dict) and "text" in part)


def document(completion: Completion, parsed: dict[str, Any], status: str) -> dict[str, Any]:
    """A response; one that is not over has neither output nor usage."""
    over = status not in ("queued", "in_progress")
    cut = completion.choices[0].finish == "length"
    serial = completion.id.removeprefix("chatcmpl-")
    return {
        "id": f"resp_{serial}",
        "object": "response",
        "created_at": completion.created,
        "status": "incomplete" if over and cut else status,
        "background": bool(parsed.get("background")),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if over and cut else None,
        "instructions": parsed.get("instructions"),
        "max_output_tokens": parsed.get("max_output_tokens"),
        "model": completion.model,
        "output": [_message(completion, serial)] if over else [],
        "parallel_tool_calls": True,
        "service_tier": completion.tier,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": parsed.get("tools") or [],
        "tool_usage": {"web_search": {"num_requests": 0}},
        "top_p": 1.0,
        "usage": _usage(completion) if over else None,
        "metadata": parsed.get("metadata") or {},
    }


def _message(completion: Completion, serial: str) -> dict[str, Any]:
    text = "".join(completion.choices[0].text)
    return {
        "id": f"msg_{serial}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}],
    }


def _usage(completion: Completion) -> dict[str, Any]:
    return {
        "input_tokens": completion.prompt_tokens,
        "input_tokens_details": {"cached_tokens": completion.cached_tokens},
        "output_tokens": completion.tokens,
        "output_tokens_details": {"reasoning_tokens": completion.reasoning},
        "total_tokens": completion.prompt_tokens + completion.tokens,
    }


def events(completion: Completion, parsed: dict[str, Any]) -> Iterator[bytes]:
    """The events of a streamed response."""
    begun = document(completion, parsed, "in_progress")
    ended = document(completion, parsed, "completed")
    item = ended["output"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    told: list[tuple[str, dict[str, Any]]] = [
        ("created", {"response": begun}),
        ("in_progress", {"response": begun}),
        ("output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
        ("content_part.added", {**place, "part": {**item["content"][0], "text": ""}}),
        *(
            ("output_text.delta", {**place, "delta": piece, "logprobs": []})
            for piece in completion.choices[0].text
        ),
        ("output_text.done", {**place, "text": item["content"][0]["text"], "logprobs": []}),
        ("content_part.done", {**place, "part": item["content"][0]}),
        ("output_item.done", {"output_index": 0, "item": item}),
        (ended["status"], {"response": ended}),
    ]
    for number, (kind, said) in enumerate(told):
        data = orjson.dumps({"type": f"response.{kind}", "sequence_number": number, **said})
        yield b"event: response.%b\ndata: %b\n\n" % (kind.encode(), data)


class Background:
    """The responses that are made in the background: each is over once it was asked for a while."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Completion, dict[str, Any], int]] = {}

    def begin(self, completion: Completion, parsed: dict[str, Any]) -> dict[str, Any]:
        """The first answer to a request."""
        queued = document(completion, parsed, "queued")
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[queued["id"]] = (completion, parsed, 0)
        return queued

    def retrieve(self, id_: str) -> dict[str, Any]:
        """One of them, as it is by now. Raises Problem."""
        if id_ not in self._kept:
            raise errors.invalid(f"Response with id '{id_}' not found.", param="id")
        completion, parsed, asked = self._kept[id_]
        self._kept[id_] = (completion, parsed, asked + 1)
        over = asked + 1 >= _ASKED_UNTIL_DONE
        return document(completion, parsed, "completed" if over else "in_progress")
