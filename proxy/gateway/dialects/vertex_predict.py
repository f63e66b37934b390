"""Google's older way to ask a model, ``:predict``: embeddings, and the pictures of Imagen.

What is billed depends on the model: tokens or characters of the text, pictures made, pictures embedded.
Of other models no answer tells it: the call is not metered, and a budget's ``unbounded`` policy decides.
"""

import re
from typing import Any, Final

import orjson
from msgspec import DecodeError, Raw, Struct, field
from msgspec.json import Decoder

from proxy.core.errors import Refusal
from proxy.core.usage import Usage
from proxy.gateway.dialects import json_object, splice
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
from proxy.gateway.dialects.body_check import model_name, refuse_depth
from proxy.gateway.dialects.chat_body import parse
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import google_error
from proxy.gateway.dialects.gemini import variants_of
from proxy.gateway.dialects.notes import note_error, note_flag
from proxy.gateway.dialects.outside import OUTSIDE
from proxy.gateway.dialects.route import Route

_DECISIVE: Final = (("instances",), ("parameters",))
_UNREAD: Final = "an endpoint whose usage is not read"
_COUNT: Final = "sampleCount"
_MOST_BY_DEFAULT: Final = 4  # pictures, where the request does not say how many
_MOST: Final = 10**12  # of anything that one answer counts
_PICTURES = re.compile(r"imagen|imagegeneration|virtual-try-on")
_MULTIMODAL: Final = "multimodalembedding"
_EMBEDDING = re.compile(r"embedding|gecko")


class Predict:
    """``models/{model}:predict`` of a model of Google's. Has no state: one serves all calls."""

    name = "vertex_predict"

    def __init__(self, family: str) -> None:
        self.family = family

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        document = parse(body)
        refuse_depth(document)
        json_object.refuse_doubtful(body, _DECISIVE)
        model = model_name(address.model)
        instances = json_object.items(document, "instances")
        texts: list[str] = []
        if _PICTURES.search(model):
            beside = Usage(images=_pictures(body, document) * max(len(instances), 1))
            why: tuple[str, ...] = ()
        elif _EMBEDDING.search(model):
            texts = _texts(instances)
            multimodal = _is_multimodal(model)
            pictures = sum(1 for i in instances if type(i) is dict and i.get("image") is not None)
            beside = Usage(characters=_billed("".join(texts)), images=pictures if multimodal else 0)
            why = _not_text(instances, pictures_have_a_price=multimodal)
        else:
            return RequestFacts(
                model, unbounded=(_UNREAD,), outside=True, makes_text=False, text_bytes=0
            )
        return RequestFacts(
            model=model,
            unbounded=why,
            makes_text=False,
            text_bytes=sum(len(text.encode("utf-8", "replace")) for text in texts),
            beside=beside,
            variants=variants_of(address),
            document={"texts": texts},
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """The same body: the model is in the path, and no output can be capped."""
        del patch
        return body

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """Never, in practice."""
        del facts
        return comes_in_events(content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        return DocumentScanner(PredictAnswer(facts), watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """The texts to embed."""
        return "\n".join(facts.document.get("texts", []))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in Google's shape."""
        return google_error(refusal)


class _Statistics(Struct):
    token_count: float | None = None


class _Embeddings(Struct):
    statistics: _Statistics | None = None


class _Prediction(Struct):
    """The members that matter; vectors and pictures are stepped over."""

    embeddings: _Embeddings | None = None
    picture: Raw = field(default_factory=Raw, name="bytesBase64Encoded")
    stored: Raw = field(default_factory=Raw, name="gcsUri")


class _Metadata(Struct):
    characters: float | None = field(default=None, name="billableCharacterCount")


class _Answer(Struct):
    predictions: list[_Prediction]
    metadata: _Metadata | None = None
    error: Any = None


_decode = Decoder(_Answer).decode


class PredictAnswer:
    """Reads an answer, of which nearly all are vectors or pictures that nobody here wants."""

    __slots__ = ("_facts", "scan")

    usage_name = "metadata"

    def __init__(self, facts: RequestFacts) -> None:
        self._facts = facts
        flags = (OUTSIDE,) if facts.outside or "video" in facts.unbounded else ()
        self.scan = Scan(variants=facts.variants, flags=flags)

    def quickly(self, body: bytes) -> bool:
        """Step over what is long."""
        try:
            answer = _decode(body)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if answer.error is not None:
            return False
        self.scan.finished = True
        self._note(answer)
        return True

    def document(self, document: Json) -> None:
        """Note an error; of an answer that was not read, what the request asked for."""
        if not note_error(self.scan, document):
            self._note(None)

    def spoken(self, document: Json) -> Texts:
        """Nothing."""
        del document
        return iter(())

    def _note(self, answer: _Answer | None) -> None:
        facts, scan = self._facts, self.scan
        if facts.outside:
            return
        if _PICTURES.search(facts.model):
            made = facts.beside.images
            if answer is not None:  # what its filter kept back is not billed
                made = sum(1 for p in answer.predictions if bytes(p.picture) or bytes(p.stored))
            scan.counted = Usage(images=made)
        elif _is_multimodal(facts.model):
            scan.counted = facts.beside
        else:
            self._note_tokens(answer)

    def _note_tokens(self, answer: _Answer | None) -> None:
        """Tokens as reported; characters likewise, else as Google says that it counts them."""
        scan = self.scan
        metadata = answer.metadata if answer is not None else None
        told = metadata.characters if metadata is not None else None
        characters = self._facts.beside.characters
        if told is not None and 0 <= told <= _MOST:
            characters = int(told)
        counts = [_tokens(p) for p in answer.predictions] if answer is not None else []
        scan.lacks_input = not counts or None in counts
        tokens = 0 if scan.lacks_input else sum(count or 0 for count in counts)
        scan.usage = Usage(input=tokens, characters=characters)
        scan.usage_raw = orjson.dumps({"token_count": tokens, "billableCharacterCount": told})
        if scan.lacks_input:
            note_flag(scan, "usage_missing")


def _tokens(prediction: _Prediction) -> int | None:
    statistics = prediction.embeddings.statistics if prediction.embeddings else None
    count = statistics.token_count if statistics else None
    return None if count is None or not 0 <= count <= _MOST else int(count)


def _pictures(body: bytes, document: Json) -> int:
    parameters = json_object.inner(document, "parameters")
    if not parameters:
        return _MOST_BY_DEFAULT
    start = next(m.value[0] for m in splice.members(body) if m.name == "parameters")
    json_object.refuse_doubtful(body, ((_COUNT,),), start)
    return json_object.whole(parameters.get(_COUNT), f"parameters.{_COUNT}") or _MOST_BY_DEFAULT


def _is_multimodal(model: str) -> bool:
    return _MULTIMODAL in model


def _texts(instances: list[Any]) -> list[str]:
    """What is embedded of each, and its title."""
    found = (
        i.get(name) for i in instances if type(i) is dict for name in ("title", "content", "text")
    )
    return [text for text in found if type(text) is str]


def _billed(text: str) -> int:
    """Characters without white space."""
    return len("".join(text.split()))


def _not_text(instances: list[Any], *, pictures_have_a_price: bool) -> tuple[str, ...]:
    """What of the instances neither its text nor its number bounds."""
    known = {"content", "title", "text", "task_type", "taskType"}
    known |= {"image"} if pictures_have_a_price else set()
    reasons = (
        str(name)[:40]
        for instance in instances
        for name in (instance if type(instance) is dict else ("instance",))
        if name not in known
    )
    return tuple(dict.fromkeys(reasons))


_STUDIO, _VERTEX = Predict("gemini"), Predict("vertex")
ROUTES: Final = (
    *(
        Route("POST", f"/{version}/{path}publishers/google/models/{{model}}:predict", _VERTEX,
              "predict", holds="")
        for version in ("v1", "v1beta1")
        for path in ("projects/{project}/locations/{location}/", "")
    ),
    *(
        Route("POST", f"/{version}/models/{{model}}:predict", _STUDIO, "predict", holds="")
        for version in ("v1beta", "v1", "v1alpha")
    ),
)  # fmt: skip
