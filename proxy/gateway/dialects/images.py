"""OpenAI's images: generated, edited, varied. By tokens (GPT Image) or by the piece (DALL·E and others)."""

import re
from typing import Any, Final

import orjson
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from proxy.core.errors import Refusal
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects import request_body
from proxy.gateway.dialects.answer_reader import Json, Texts, UncutEvents
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scan,
    Scanner,
    Watch,
    answers_in_events,
)
from proxy.gateway.dialects.body_check import FLAG, decisive, read_object, shown
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.form import Form, FormEdits
from proxy.gateway.dialects.framing import EventStream
from proxy.gateway.dialects.image_tokens import PARTIAL, image_flags, image_usage, tokens_of
from proxy.gateway.dialects.json_patch import with_model
from proxy.gateway.dialects.notes import note_error, note_flag, note_names
from proxy.gateway.dialects.route import Route, openai_routes
from proxy.gateway.dialects.stated import stated_nano

_DECISIVE: Final = decisive("model", "n", "partial_images", "quality", "size", "stream")
_TYPES: Final = {**request_body.TYPES, "stream": FLAG}
_FORM_FIELDS: Final = (*_DECISIVE, "prompt", "user")
_MOST: Final = 10
_MOST_PARTIAL: Final = 3
_DEFAULT: Final = "dall-e-2"  # the model of a request that names none
_BY_PIECE = re.compile(
    r"dall-e|imagen|imagine|flux|stable-diffusion|sdxl|recraft|ideogram|seedream"
)
# Models whose tokens for a picture are published; newer ones draw in any size.
_KNOWN_SIZES = re.compile(r"gpt-image-1(?:$|-mini|\.5)|chatgpt-image")


class Images:
    """One of the three endpoints. ``edits`` takes pictures along."""

    family = "openai"

    def __init__(self, name: str, *, takes_pictures: bool) -> None:
        self.name = name
        self._takes_pictures = takes_pictures

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed of a JSON body. Raises InvalidRequest with the parameter's name."""
        document = read_object(body, _DECISIVE, _TYPES)
        return self._facts(document, address.model)

    def inspect_form(self, form: Form, address: Address) -> RequestFacts:
        """The same of a form."""
        return self._facts(
            form.document(_FORM_FIELDS, numbers=("n", "partial_images")), address.model
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Name the upstream's model."""
        return with_model(body, patch.model)

    def patch_form(self, form: Form, patch: Patch) -> FormEdits:
        """The same in a form."""
        return form.renamed(patch.model)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return answers_in_events(facts, content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        if watch.streamed:
            return EventScanner(ImageEvents(facts), EventStream(), watch)
        return DocumentScanner(ImageAnswer(facts), watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """The prompt."""
        return shown(facts.document.get("prompt"))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)

    def _facts(self, document: Json, addressed: str) -> RequestFacts:
        model = request_body.model_of(document, addressed, _DEFAULT)
        count = request_body.whole_number(document, "n", 1, _MOST) or 1
        partial = request_body.whole_number(document, "partial_images", 0, _MOST_PARTIAL) or 0
        quality, size = document.get("quality"), document.get("size")
        prompt = document.get("prompt")
        by_piece = _BY_PIECE.search(model) is not None
        reasons = []
        if not by_piece:
            if not _KNOWN_SIZES.search(model):
                reasons.append(f"pictures of {model}")
            if self._takes_pictures:
                reasons.append("image")
        tokens = count * (tokens_of(quality, size) + PARTIAL * partial)
        return RequestFacts(
            model=model,
            stream=document.get("stream") is True,
            user=shown(document.get("user")),
            unbounded=request_body.once(reasons),
            makes_text=False,
            text_bytes=len(prompt.encode("utf-8", "replace")) if isinstance(prompt, str) else 0,
            beside=Usage(images=count) if by_piece else Usage(image_output=tokens),
            variants=_variants(quality, size) if by_piece else (),
            document=document,
        )


def _variants(quality: Any, size: Any) -> tuple[str, ...]:
    """Quality and size, as far as they decide a price by the piece."""
    told = [value for value in (quality, size) if isinstance(value, str)]
    return tuple(shown(value) for value in told if value not in {"standard", "auto", ""})


class ImageAnswer:
    """Reads an answer with pictures in it, without making anything of them."""

    __slots__ = ("_facts", "scan")

    usage_name = "usage"

    def __init__(self, facts: RequestFacts) -> None:
        self._facts = facts
        self.scan = Scan(variants=facts.variants)

    def quickly(self, body: bytes) -> bool:
        """Step over the pictures."""
        try:
            answer = _decode(body)
            usage = orjson.loads(bytes(answer.usage)) if answer.usage else None
        except (DecodeError, UnicodeDecodeError, orjson.JSONDecodeError, RecursionError):
            return False
        if answer.error is not None or answer.data is None:
            return False
        self.scan.finished = True
        note_names(self.scan, {"model": answer.model, "id": answer.id})
        _note(self.scan, usage, len(answer.data))
        return True

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_names(self.scan, document)
        if not note_error(self.scan, document):
            data = document.get("data")
            made = len(data) if isinstance(data, list) else self._facts.beside.images
            _note(self.scan, document.get("usage"), made)

    def spoken(self, document: Json) -> Texts:
        """Nothing."""
        del document
        return iter(())


class ImageEvents(UncutEvents):
    """Reads pictures that come in events: some before they are done, and the last with its usage."""

    __slots__ = ("scan",)

    marks: tuple[bytes, ...] = (b'"usage"', b'"error"', b".completed")

    def __init__(self, facts: RequestFacts) -> None:
        self.scan = Scan(variants=facts.variants)

    def event(self, kind: str, document: Json) -> None:
        """Each picture's last event has its own usage: they add up."""
        named = document.get("type")
        kind = named if isinstance(named, str) else kind
        if note_error(self.scan, document):
            self.scan.finished = True
        elif kind.endswith(".completed"):
            _note(self.scan, document.get("usage"), 1, self.scan.usage or EMPTY)
            self.scan.finished = True


def _note(scan: Scan, usage: Any, made: int, before: Usage = EMPTY) -> None:
    """Take the tokens, where the answer counts any, on top of others; else the pictures themselves."""
    if isinstance(usage, dict):
        scan.usage_raw = orjson.dumps(usage)
        stated = stated_nano(usage)
        if stated is not None:
            scan.stated_nano = stated
        for flag in image_flags(usage):
            note_flag(scan, flag)
        counted = _read(usage)
        if counted != EMPTY:
            scan.usage = before + counted
            return
    scan.counted = (scan.counted or EMPTY) + Usage(images=made)


def _read(usage: Json) -> Usage:
    if "prompt_tokens" not in usage:
        return image_usage(usage)
    # OpenRouter writes it as of a chat
    return image_usage(
        {
            "input_tokens": usage.get("prompt_tokens"),
            "input_tokens_details": usage.get("prompt_tokens_details"),
            "output_tokens": usage.get("completion_tokens"),
            "output_tokens_details": usage.get("completion_tokens_details"),
        }
    )


class _Answer(Struct):
    """The members that matter; the others are stepped over."""

    id: str | None = None
    model: str | None = None
    data: list[Raw] | None = None
    error: Any = None
    usage: Raw = Raw()


_decode = Decoder(_Answer).decode

ROUTES: Final = (
    *openai_routes(
        "/images/generations",
        Images("openai_images", takes_pictures=False),
        "images.generations",
    ),
    *openai_routes(
        "/images/edits", Images("openai_image_edits", takes_pictures=True), "images.edits"
    ),
    *openai_routes(
        "/images/variations",
        Images("openai_image_variations", takes_pictures=True),
        "images.variations",
    ),
    # OpenRouter's one endpoint for all of it.
    Route("POST", "/v1/images", Images("openrouter_images", takes_pictures=True), "images"),
)
