"""Mistral's OCR: a document goes in, its pages come out as text, billed by the page."""

from typing import Any, Final

import orjson

from proxy.core.errors import Refusal
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects import request_body
from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scan,
    Scanner,
    Watch,
    comes_in_events,
)
from proxy.gateway.dialects.body_check import decisive, read_object
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.json_patch import with_model
from proxy.gateway.dialects.notes import note_error, note_flag, note_names
from proxy.gateway.dialects.route import openai_routes
from proxy.gateway.dialects.usage import WRONG_TYPE

_ANNOTATIONS: Final = ("bbox_annotation_format", "document_annotation_format")
_DECISIVE: Final = decisive("document", "model", "pages", *_ANNOTATIONS)
_ANNOTATED: Final = "annotated"  # the variant of the price
_MOST: Final = 10**6


class Ocr:
    """``/ocr``. Has no state: one serves all calls."""

    name = "mistral_ocr"
    family = "openai"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        document = read_object(body, _DECISIVE, request_body.TYPES)
        pages = document.get("pages")
        chosen = len(pages) if isinstance(pages, list) and pages else 0
        annotated = any(document.get(name) is not None for name in _ANNOTATIONS)
        return RequestFacts(
            model=request_body.model_of(document, address.model),
            unbounded=() if chosen else ("pages of a document",),
            makes_text=False,
            text_bytes=0,
            beside=Usage(pages=chosen),
            variants=(_ANNOTATED,) if annotated else (),
            document={},
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Name the upstream's model."""
        return with_model(body, patch.model)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """Never, in practice."""
        del facts
        return comes_in_events(content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        return DocumentScanner(OcrAnswer(facts), watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """None: pages are billed."""
        del facts
        return ""

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape, which Mistral's SDK shows too."""
        return openai_error(refusal)


class OcrAnswer:
    """Reads how many pages were read: as the answer says, else those that are in it."""

    __slots__ = ("scan",)

    usage_name = "usage_info"

    def __init__(self, facts: RequestFacts) -> None:
        self.scan = Scan(variants=facts.variants)

    def quickly(self, body: bytes) -> bool:
        """Nothing is usual enough."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_names(self.scan, document)
        if note_error(self.scan, document):
            return
        told, pages = document.get("usage_info"), document.get("pages")
        count = self._count(told) if isinstance(told, dict) else None
        if count is not None:
            self.scan.usage = Usage(pages=count)
            self.scan.usage_raw = orjson.dumps(told)
        else:
            self.scan.counted = Usage(pages=len(pages)) if isinstance(pages, list) else EMPTY

    def spoken(self, document: Json) -> Texts:
        """Nothing is counted by its text."""
        del document
        return iter(())

    def _count(self, told: Json) -> int | None:
        value: Any = told.get("pages_processed")
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int and 0 <= value <= _MOST:
            return int(value)
        if value is not None:
            note_flag(self.scan, WRONG_TYPE)
        return None


ROUTES: Final = openai_routes("/ocr", Ocr(), "ocr")
