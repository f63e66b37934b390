"""A chat request as the simulator reads it, refused where the real API refuses it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from proxy.simulator import catalogue, errors, language
from proxy.simulator.catalogue import Model
from proxy.simulator.controls import Controls, UnknownControl, read_controls
from proxy.simulator.invoice import Ticket

_MOST_CHOICES: Final = 128
_PER_MESSAGE, _PER_ANSWER, _PER_IMAGE, _BYTES_PER_TOOL_TOKEN = 4, 3, 85, 4
_DEFAULT_REASONING: Final = 64


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What one chat completion asks for."""

    model: Model
    controls: Controls
    seed: int  # of the text: the same for the same messages and `seed`
    prompt_tokens: int
    cached_tokens: int
    choices: int
    output_cap: int | None  # of each choice
    reasoning: int  # hidden tokens of each choice, before the cap
    stop: tuple[str, ...]
    tools: tuple[dict[str, Any], ...]  # the functions to call
    response_format: dict[str, Any] | None
    tier: str
    stream: bool
    include_usage: bool
    obfuscate: bool


class Asked(NamedTuple):
    """What a request says before its messages are read."""

    document: dict[str, Any]
    model: Model
    controls: Controls


def read_asked(body: bytes, ticket: Ticket, *, embeds: bool = False) -> Asked:
    """Read what a request names, and note it for the invoice. Raises Problem."""
    parsed = parse_object(body)
    model = model_of(parsed, embeds=embeds)
    ticket.model_requested, ticket.user = parsed["model"], user_of(parsed)
    return Asked(parsed, model, controls_of(body, parsed["model"]))


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises Problem."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise errors.not_json() from None
    if not isinstance(parsed, dict):
        raise errors.not_json()
    return parsed


def controls_of(body: bytes, model: str) -> Controls:
    """The controls in a body and model name. Raises Problem for one that does not exist."""
    try:
        return read_controls(body, model)
    except UnknownControl as unknown:
        if model.startswith(catalogue.SIMULATED) and b"[[sim:" not in body:
            raise errors.unknown_model(model) from unknown
        raise errors.invalid(str(unknown), code="unknown_control") from unknown


def model_of(parsed: dict[str, Any], *, embeds: bool) -> Model:
    """The model that a request names. Raises Problem."""
    name = parsed.get("model")
    if name is None:
        raise errors.invalid("you must provide a model parameter")
    if not isinstance(name, str):
        raise errors.wrong_type("model", "a string", name)
    model = catalogue.find(name)
    if model is None or (model.embeds != embeds and not name.startswith(catalogue.SIMULATED)):
        raise errors.unknown_model(name)
    return model


def user_of(parsed: dict[str, Any]) -> str | None:
    """Whom a request is made for."""
    return next(iter(_strings((parsed.get("user"), parsed.get("safety_identifier")))), None)


def read_chat(parsed: dict[str, Any], model: Model, controls: Controls) -> ChatRequest:
    """Read a chat completion. Raises Problem."""
    messages = _messages(parsed)
    stream, options = _stream(parsed, controls)
    choices = _integer(parsed, "n", most=_MOST_CHOICES)
    cap = _output_cap(parsed, model)
    stop = _stop(parsed, model)
    prompt = _prompt_tokens(messages, parsed) if controls.prompt_tokens is None else None
    prompt_tokens = controls.prompt_tokens or 0 if prompt is None else prompt
    tier = controls.tier or model.tier(_string(parsed, "service_tier"))
    return ChatRequest(
        model=model,
        controls=controls,
        seed=crc32(orjson.dumps([messages, parsed.get("seed")])),
        prompt_tokens=prompt_tokens,
        cached_tokens=min(controls.cached_tokens, prompt_tokens),
        choices=controls.choices or choices or 1,
        output_cap=None if controls.ignore_max_tokens else cap,
        reasoning=_reasoning(parsed, model, controls),
        stop=stop,
        tools=_called_tools(parsed, controls),
        response_format=parsed.get("response_format"),
        tier=tier,
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        obfuscate=options.get("include_obfuscation") is not False,
    )


def _messages(parsed: dict[str, Any]) -> list[dict[str, Any]]:
    messages = parsed.get("messages")
    if messages is None:
        raise errors.missing("messages")
    if not isinstance(messages, list):
        raise errors.wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise errors.invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise errors.wrong_type(f"messages[{number}]", "an object", message)
        if not isinstance(message.get("role"), str):
            raise errors.missing(f"messages[{number}].role")
    return messages


def _stream(parsed: dict[str, Any], controls: Controls) -> tuple[bool, dict[str, Any]]:
    stream, options = parsed.get("stream"), parsed.get("stream_options")
    if stream is not None and not isinstance(stream, bool):
        raise errors.wrong_type("stream", "a boolean", stream)
    if options is None:
        return bool(stream), {}
    if controls.reject_stream_options:
        raise errors.invalid(
            "Unknown parameter: 'stream_options'.",
            param="stream_options",
            code="unknown_parameter",
        )
    if not isinstance(options, dict):
        raise errors.wrong_type("stream_options", "an object", options)
    if not stream:
        raise errors.invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return True, options


def _output_cap(parsed: dict[str, Any], model: Model) -> int | None:
    old = _integer(parsed, "max_tokens")
    new = _integer(parsed, "max_completion_tokens")
    if old is not None and model.reasons:
        raise errors.unsupported("max_tokens", "max_completion_tokens")
    if old is not None and new is not None:
        raise errors.invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )
    param, asked = ("max_tokens", old) if new is None else ("max_completion_tokens", new)
    if asked is None:
        return model.max_output
    if model.max_output is not None and asked > model.max_output:
        raise errors.invalid(
            f"{param} is too large: {asked}. This model supports at most {model.max_output} "
            f"completion tokens, whereas you provided {asked}.",
            param=param,
            code="invalid_value",
        )
    return asked


def _integer(parsed: dict[str, Any], param: str, *, most: int | None = None) -> int | None:
    value = parsed.get(param)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.wrong_type(param, "an integer", value)
    if value < 1:
        raise errors.below(param, 1, value)
    if most is not None and value > most:
        raise errors.above(param, most, value)
    return value


def _stop(parsed: dict[str, Any], model: Model) -> tuple[str, ...]:
    stop = parsed.get("stop")
    if stop is None:
        return ()
    if model.reasons:
        raise errors.unsupported("stop")
    if isinstance(stop, str):
        return (stop,) if stop else ()
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise errors.wrong_type("stop", "a string or an array of strings", stop)
    return tuple(text for text in stop if text)


def _reasoning(parsed: dict[str, Any], model: Model, controls: Controls) -> int:
    if controls.reasoning_tokens is not None:
        return controls.reasoning_tokens
    if not model.reasons or parsed.get("reasoning_effort") in ("none", "minimal"):
        return 0
    return _DEFAULT_REASONING


def _called_tools(parsed: dict[str, Any], controls: Controls) -> tuple[dict[str, Any], ...]:
    """The functions to call: those that `tool_choice` demands, or as many as the control asks for."""
    tools = parsed.get("tools")
    if not isinstance(tools, list):
        return ()
    functions = [
        tool["function"]
        for tool in tools
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    ]
    choice = parsed.get("tool_choice")
    if not functions or choice == "none":
        return ()
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        named = [f for f in functions if f.get("name") == choice["function"].get("name")]
        return tuple(named[:1])
    calls = controls.tool_calls or (1 if choice == "required" else 0)
    return tuple(functions[number % len(functions)] for number in range(calls))


def _prompt_tokens(messages: list[dict[str, Any]], parsed: dict[str, Any]) -> int:
    total = _PER_ANSWER + sum(
        _PER_MESSAGE + _content_tokens(message.get("content")) + _extra_tokens(message)
        for message in messages
    )
    if parsed.get("tools"):
        total += len(orjson.dumps(parsed["tools"])) // _BYTES_PER_TOOL_TOKEN
    if isinstance(parsed.get("response_format"), dict):
        total += len(orjson.dumps(parsed["response_format"])) // _BYTES_PER_TOOL_TOKEN
    return total


def _content_tokens(content: Any) -> int:
    if isinstance(content, str):
        return language.count(content)
    if not isinstance(content, list):
        return 0
    return sum(_part_tokens(part) for part in content if isinstance(part, dict))


def _part_tokens(part: dict[str, Any]) -> int:
    if part.get("type") == "image_url":
        return _PER_IMAGE
    return language.count(" ".join(_strings((part.get("text"), part.get("refusal")))))


def _extra_tokens(message: dict[str, Any]) -> int:
    calls = message.get("tool_calls")
    name = sum(language.count(text) for text in _strings((message.get("name"),)))
    return name + (len(orjson.dumps(calls)) // _BYTES_PER_TOOL_TOKEN if calls else 0)


def _strings(values: Iterable[Any]) -> Iterable[str]:
    return (value for value in values if isinstance(value, str))


def _string(parsed: dict[str, Any], param: str) -> str | None:
    value = parsed.get(param)
    if value is not None and not isinstance(value, str):
        raise errors.wrong_type(param, "a string", value)
    return value
