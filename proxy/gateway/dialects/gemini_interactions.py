"""Gemini's interactions: one endpoint for models and agents, with the state on the provider's side."""

from collections.abc import Iterator
from typing import Any, Final

import orjson
from msgspec.structs import replace

from proxy.core.errors import InvalidRequest, Refusal
from proxy.gateway.dialects import json_object, splice
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scan,
    Scanner,
    Watch,
    answers_in_events,
)
from proxy.gateway.dialects.body_check import model_name, refuse_depth
from proxy.gateway.dialects.chat_body import parse
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import google_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream
from proxy.gateway.dialects.gemini_usage import read_interaction
from proxy.gateway.dialects.json_object import inner, items, member, whole
from proxy.gateway.dialects.json_text import json_text
from proxy.gateway.dialects.notes import follow_path, note_error, note_flag, note_names
from proxy.gateway.dialects.route import Route

_CONFIG: Final = ("generation_config", "generationConfig")
_LIMIT: Final = ("max_output_tokens", "maxOutputTokens")
_MODEL: Final = ("model",)
_PREVIOUS: Final = ("previous_interaction_id", "previousInteractionId")
_MODALITIES: Final = ("response_modalities", "responseModalities")
_TIER: Final = ("service_tier", "serviceTier")
_DECISIVE: Final = (
    _CONFIG,
    _MODEL,
    _PREVIOUS,
    _MODALITIES,
    _TIER,
    ("agent",),
    ("background",),
    ("input",),
    ("stream",),
    ("tools",),
)
_GOES_ON: Final = frozenset(("queued", "in_progress"))
_WORDS: Final = frozenset(("text", "thought", "function_call", "function_result"))
_DONE: Final = b"event: interaction.completed\ndata: %b\n\nevent: done\ndata: [DONE]\n\n"


class Interactions:
    """``POST /v1beta/interactions``. Has no state: one serves all calls."""

    name = "gemini_interactions"
    family = "gemini"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        del address
        document = parse(body)
        refuse_depth(document)
        json_object.refuse_doubtful(body, _DECISIVE)
        model = model_name(member(document, "model", "agent"))
        config = inner(document, *_CONFIG)
        if config:
            start = next(m.value[0] for m in splice.members(body) if m.name in _CONFIG)
            json_object.refuse_doubtful(body, (_LIMIT,), start)
        stream = member(document, "stream")
        if stream is not None and type(stream) is not bool:
            raise InvalidRequest("'stream' must be true or false.", param="stream")
        tier = member(document, *_TIER)
        return RequestFacts(
            model=model.removeprefix("models/"),
            stream=bool(stream),
            output_limit=whole(member(config, *_LIMIT), "generation_config.max_output_tokens"),
            output_limit_name="generation_config.max_output_tokens",
            service_tier=tier if type(tier) is str else "",
            has_tools=bool(items(document, "tools")),
            background=member(document, "background") is True,
            unbounded=tuple(dict.fromkeys(_reasons(document))),
            document=document,
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice model and cap into the body."""
        if patch.model is not None:
            body = json_object.set_text(body, _MODEL, patch.model)
        if patch.output_cap is not None:
            body = json_object.set_number(body, (_CONFIG, _LIMIT), patch.output_cap)
        return body

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        reader = InteractionReader(background=facts.background)
        if watch.streamed:
            return EventScanner(reader, EventStream(), watch)
        return DocumentScanner(reader, watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes."""
        return "\n".join(_prompt(facts.document))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in Google's shape."""
        return google_error(refusal)


class InteractionReader:
    """Reads an interaction, whole or in the events of its stream."""

    __slots__ = ("_asked", "_background", "scan")

    usage_name = "usage"
    marks: tuple[bytes, ...] = (
        b'"usage"',
        b'"interaction"',
        b'"error"',
        b'"google_search_call"',
    )

    def __init__(self, *, background: bool = False) -> None:
        self.scan = Scan()
        self._background = background
        self._asked: dict[str, int] = {}  # queries that Google searched for, by step

    def quickly(self, body: bytes) -> bool:
        """Nothing is read without parsing."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what an interaction says."""
        note_names(self.scan, document)
        note_error(self.scan, document)
        goes_on = self._background and document.get("status") in _GOES_ON
        self.scan.follow = follow_path(document) if goes_on else ""
        if steps := list(_steps(document)):
            self._asked.clear()  # all of them are here
        for index, step in enumerate(steps):
            self._search(index, step)
        raw = document.get("usage")
        reading = read_interaction(raw) if isinstance(raw, dict) else None
        if reading is None:
            return
        searches = reading.usage.searches or sum(self._asked.values())
        self.scan.usage = replace(reading.usage, searches=searches)
        self.scan.usage_raw = orjson.dumps(raw)
        for flag in reading.flags:
            note_flag(self.scan, flag)

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        note_error(self.scan, document)
        for name in ("step", "delta", "content"):
            self._search(document.get("index", 0), document.get(name))
        inside = document.get("interaction")
        if isinstance(inside, dict):
            self.document(inside)
            if str(document.get("event_type") or kind).startswith("interaction.complete"):
                self.scan.finished = True

    def end(self, kind: str) -> None:
        """The stream's own end."""
        if kind in {"[DONE]", "done"}:
            self.scan.finished = True

    def spoken(self, document: Json) -> Texts:
        """The text of all steps, or outputs, as older versions call them."""
        for index, step in enumerate(_steps(document)):
            for text in _texts(step):
                yield f"{index}", text

    def said(self, kind: str, document: Json) -> Texts:
        """The text of one event."""
        del kind
        delta = document.get("delta")
        if isinstance(delta, dict):
            for text in _texts(delta):
                yield f"{document.get('index', 0)}", text

    def ending(self, frame: bytes, output_tokens: int) -> bytes:
        """The end of an interaction that is incomplete."""
        del frame
        interaction: dict[str, Any] = {
            "id": self.scan.upstream_call_id,
            "status": "incomplete",
            "usage": {"total_output_tokens": output_tokens},
            "object": "interaction",
            "model": self.scan.served_model,
        }
        return _DONE % orjson.dumps(
            {"interaction": interaction, "event_type": "interaction.completed"}
        )

    def _search(self, index: object, step: object) -> None:
        """Each query of a search is billed, as those of generateContent are."""
        if not isinstance(step, dict) or step.get("type") != "google_search_call":
            return
        arguments = step.get("arguments")
        queries = arguments.get("queries") if isinstance(arguments, dict) else None
        asked = sum(1 for query in queries if query) if isinstance(queries, list) else 0
        self._asked[str(index)] = max(asked, self._asked.get(str(index), 0))


def _steps(document: Json) -> Iterator[object]:
    """What the interaction consists of: steps, or outputs, as older versions call them."""
    for name in ("steps", "outputs"):
        steps = document.get(name)
        yield from steps if isinstance(steps, list) else ()


def _texts(value: object) -> Iterator[str]:
    """The texts of a step, a delta, a content, or a list of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name in ("text", "content", "summary", "arguments"):
            inside = value.get(name)
            if name == "arguments" and isinstance(inside, dict):
                yield json_text(inside)
            elif inside is not None:
                yield from _texts(inside)


def _prompt(document: Json) -> Iterator[str]:
    yield from _texts(document.get("input"))
    yield from _texts(member(document, "system_instruction", "systemInstruction"))
    for name in ("tools", "response_format", "responseFormat"):
        if document.get(name):
            yield json_text(document[name])


def _reasons(document: Json) -> Iterator[str]:
    """Why the cost can't be bounded from the body."""
    for names in (_PREVIOUS, ("agent",), ("background",)):
        if member(document, *names):
            yield names[0]
    for tool in items(document, "tools"):
        kind = tool.get("type") if type(tool) is dict else None
        if kind != "function":
            yield f"server tool {str(kind)[:64]}"
    modalities = member(document, *_MODALITIES)
    for modality in modalities if type(modalities) is list else ():
        if str(modality).lower() != "text":
            yield f"{str(modality)[:16]} output"
    yield from _media(document.get("input"))


def _media(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _media(item)
    elif isinstance(value, dict):
        kind = value.get("type")
        if kind is not None and kind not in _WORDS and "content" not in value:
            yield str(kind)[:40]
        if "content" in value:
            yield from _media(value["content"])


_INTERACTIONS: Final = Interactions()
ROUTES: Final = tuple(
    Route("POST", f"/{version}/interactions", _INTERACTIONS, "interactions", holds="")
    for version in ("v1beta", "v1alpha", "v1")
)
