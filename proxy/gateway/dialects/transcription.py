"""OpenAI's transcriptions and translations of sound: a form with a file, billed by tokens or by time."""

import math
import re
from typing import Any, Final

import orjson
from msgspec.structs import replace

from proxy.core import estimate
from proxy.core.errors import InvalidRequest, Refusal
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects import request_body
from proxy.gateway.dialects.answer_reader import Json, Texts, UncutEvents
from proxy.gateway.dialects.audio_length import Length, audio_length
from proxy.gateway.dialects.base import (
    Address,
    Patch,
    RequestFacts,
    Scan,
    Scanner,
    Watch,
    comes_in_events,
)
from proxy.gateway.dialects.body_check import shown
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.form import Form, FormEdits
from proxy.gateway.dialects.framing import EventStream
from proxy.gateway.dialects.notes import note_error, note_flag, note_names
from proxy.gateway.dialects.route import openai_routes
from proxy.gateway.dialects.usage import read_usage

LENGTH_ESTIMATED: Final = "audio_length_estimated"  # its container could not be read
AUDIO_ESTIMATED: Final = "audio_estimated"  # tokens of sound by its length

_FIELDS: Final = ("model", "prompt", "response_format", "stream", "user")
_BY_TIME = re.compile(r"whisper|voxtral|parakeet|canary", re.IGNORECASE)
_TOKENS_PER_S: Final = 10
_MOST_TOKENS_PER_S: Final = 20
_MOST_KEPT: Final = 1024 * 1024  # bytes of a text that is counted
_MOST_S: Final = 10**6


class Transcription:
    """``/audio/transcriptions`` and ``/audio/translations``."""

    family = "openai"

    def __init__(self, name: str) -> None:
        self.name = name

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """There is no JSON for this. Raises InvalidRequest."""
        del body, address
        raise InvalidRequest("The body must be a multipart form with the fields model and file.")

    def inspect_form(self, form: Form, address: Address) -> RequestFacts:
        """Read the fields, and how long the file is. Raises InvalidRequest."""
        document = form.document(_FIELDS)
        model = request_body.model_of(document, address.model)
        length = _length(form)
        by_time = _BY_TIME.search(model) is not None
        prompt = document.get("prompt", "")
        document["milliseconds"], document["measured"] = length
        if by_time:
            beside = Usage(milliseconds=-(-length.milliseconds // 1000) * 1000)
        else:
            beside = Usage(
                audio_input=-(-length.milliseconds // 1000) * _MOST_TOKENS_PER_S,
                output=estimate.output_bound(None, model),
            )
        return RequestFacts(
            model=model,
            stream=document.get("stream") is True,
            user=shown(document.get("user")),
            unbounded=() if length.measured else ("audio of unknown length",),
            makes_text=False,
            text_bytes=0 if by_time else len(str(prompt).encode("utf-8", "replace")),
            beside=beside,
            document=document,
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Never asked: a JSON body is refused."""
        del patch
        return body

    def patch_form(self, form: Form, patch: Patch) -> FormEdits:
        """Name the upstream's model."""
        return form.renamed(patch.model)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        return comes_in_events(content_type) or (facts.stream and not content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        if watch.streamed:
            return EventScanner(
                TranscriptEvents(facts), EventStream(), replace(watch, output_cap=None)
            )
        if watch.content_type.startswith("text/"):
            return TextScanner(facts, watch)
        return DocumentScanner(TranscriptAnswer(facts, watch), watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """The prompt."""
        return shown(facts.document.get("prompt"))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)


def _length(form: Form) -> Length:
    part = form.file("file")
    if part is None:
        return Length(0, measured=False)
    size = part.end - part.start

    def read(start: int, length: int) -> bytes:
        return form.read(part.start + start, max(0, min(length, size - start)))

    return audio_length(read, size)


def note_heard(scan: Scan, facts: RequestFacts, text_tokens: int, seconds: Any = None) -> None:
    """Count what the provider does not report: by the length that it says, else that of the file."""
    milliseconds = int(facts.document.get("milliseconds") or 0)
    if _is_seconds(seconds):
        milliseconds = math.ceil(seconds * 1000)
    elif not facts.document.get("measured"):
        note_flag(scan, LENGTH_ESTIMATED)
    if facts.beside.milliseconds:
        # By whole seconds, the nearest, as OpenAI bills them.
        scan.counted = Usage(milliseconds=(milliseconds + 500) // 1000 * 1000)
        return
    note_flag(scan, AUDIO_ESTIMATED)
    tokens = -(-milliseconds * _TOKENS_PER_S // 1000)
    scan.counted = Usage(audio_input=tokens, output=text_tokens)


def note_reported(scan: Scan, usage: Any) -> bool:
    """Take the usage, of either kind. False where there is none."""
    if not isinstance(usage, dict):
        return False
    seconds = usage.get("seconds", usage.get("prompt_audio_seconds"))
    found = EMPTY
    if usage.get("type") != "duration":
        details = usage.get("input_token_details")
        found = read_usage({"input_tokens_details": details, **usage}).usage
    if seconds is not None and _is_seconds(seconds):
        found = replace(found, milliseconds=math.ceil(seconds * 1000))
    if found == EMPTY:
        return False
    scan.usage = found
    scan.usage_raw = orjson.dumps(usage)
    return True


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= _MOST_S


class TranscriptAnswer:
    """Reads a transcript in JSON."""

    __slots__ = ("_facts", "_watch", "scan")

    usage_name = "usage"

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        self._facts = facts
        self._watch = watch
        self.scan = Scan()

    def quickly(self, body: bytes) -> bool:
        """Nothing is usual enough."""
        del body
        return False

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_names(self.scan, document)
        if note_error(self.scan, document) or note_reported(self.scan, document.get("usage")):
            return
        tokens = sum(self._watch.count(text) for _, text in self.spoken(document))
        note_heard(self.scan, self._facts, tokens, document.get("duration"))

    def spoken(self, document: Json) -> Texts:
        """The transcript."""
        if isinstance(text := document.get("text"), str):
            yield "text", text


class TranscriptEvents(UncutEvents):
    """Reads a transcript that comes in events."""

    __slots__ = ("_facts", "scan")

    marks: tuple[bytes, ...] = (b'"transcript.text.done"', b'"usage"', b'"error"')

    def __init__(self, facts: RequestFacts) -> None:
        self._facts = facts
        self.scan = Scan()
        note_heard(self.scan, facts, 0)

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        del kind
        failed = note_error(self.scan, document)
        note_reported(self.scan, document.get("usage"))
        if failed or document.get("type") == "transcript.text.done":
            self.scan.finished = True

    def said(self, kind: str, document: Json) -> Texts:
        """The text of one event."""
        del kind
        if isinstance(delta := document.get("delta"), str):
            yield "text", delta


class TextScanner:
    """Scans a transcript that is plain text, or subtitles."""

    __slots__ = ("_facts", "_kept", "_size", "_watch", "scan")

    cut = False

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        self.scan = Scan()
        self._facts = facts
        self._watch = watch
        self._kept = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """Pass the bytes on."""
        self._size += len(data)
        if len(self._kept) < _MOST_KEPT:
            self._kept += data[: _MOST_KEPT - len(self._kept)]
        return data

    def finish(self) -> bytes:
        """Count; nothing was held back."""
        if not self.scan.finished:
            self.scan.finished = True
            note_heard(self.scan, self._facts, self.count_output())
        return b""

    def count_output(self) -> int:
        """Tokens of the text."""
        tokens = self._watch.count(self._kept.decode("utf-8", "replace"))
        return tokens * max(self._size, 1) // max(len(self._kept), 1)


ROUTES: Final = (
    *openai_routes(
        "/audio/transcriptions", Transcription("openai_transcription"), "audio.transcriptions"
    ),
    *openai_routes(
        "/audio/translations", Transcription("openai_translation"), "audio.translations"
    ),
)
