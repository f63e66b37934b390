"""OpenAI's speech: a text goes in, a sound comes out, billed by characters or by tokens."""

import re
from typing import Any, Final

import orjson

from proxy.core.errors import Refusal
from proxy.core.usage import Usage
from proxy.gateway.dialects import request_body
from proxy.gateway.dialects.answer_reader import Json, UncutEvents
from proxy.gateway.dialects.audio_length import audio_length, window
from proxy.gateway.dialects.base import Address, Patch, RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.body_check import TEXT, decisive, read_object, shown, wrong
from proxy.gateway.dialects.chat_answer import ChatAnswer
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.event_scan import EventScanner
from proxy.gateway.dialects.framing import EventStream
from proxy.gateway.dialects.image_tokens import image_usage
from proxy.gateway.dialects.json_patch import with_model
from proxy.gateway.dialects.notes import note_error, note_flag
from proxy.gateway.dialects.route import openai_routes
from proxy.gateway.dialects.transcription import AUDIO_ESTIMATED

_DECISIVE: Final = decisive("input", "instructions", "model", "response_format", "stream_format")
_TYPES: Final = {
    **request_body.TYPES,
    "instructions": TEXT,
    "response_format": TEXT,
    "stream_format": TEXT,
}
_BY_TOKENS = re.compile(r"gpt-|gemini", re.IGNORECASE)
_TOKENS_PER_MINUTE: Final = 1250
_PCM_BYTES_PER_S: Final = 48_000  # 24 kHz, 16 bits, as OpenAI sends it without a header
_KEPT: Final = 64 * 1024  # bytes of the beginning, and of the end


class Speech:
    """``/audio/speech``. Has no state: one serves all calls."""

    name = "openai_speech"
    family = "openai"

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""
        document = read_object(body, _DECISIVE, _TYPES)
        model = request_body.model_of(document, address.model)
        text = document.get("input")
        if type(text) is not str:
            raise wrong("input", "the text to speak", text)
        by_tokens = _BY_TOKENS.search(model) is not None
        return RequestFacts(
            model=model,
            stream=document.get("stream_format") == "sse",
            user=shown(document.get("user")),
            unbounded=("length of the speech",) if by_tokens else (),
            makes_text=False,
            text_bytes=None if by_tokens else 0,
            beside=Usage() if by_tokens else Usage(characters=len(text)),
            document=document,
        )

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Name the upstream's model."""
        return with_model(body, patch.model)

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """All sound goes through as it comes; only errors are documents."""
        del facts
        return content_type != "application/json"

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""
        if not watch.streamed:
            return DocumentScanner(ChatAnswer(), watch)
        if watch.content_type == "text/event-stream":
            return EventScanner(SpeechEvents(facts), EventStream(), watch)
        return SoundScanner(facts, watch)

    def prompt_text(self, facts: RequestFacts) -> str:
        """The text to speak, and how."""
        given = (facts.document.get(name) for name in ("input", "instructions"))
        return "\n".join(text for text in given if isinstance(text, str))

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in OpenAI's shape."""
        return openai_error(refusal)


class SoundScanner:
    """Passes a sound on; keeps its beginning and end, which say how long it is."""

    __slots__ = ("_facts", "_head", "_size", "_tail", "_watch", "scan")

    cut = False

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        self._facts = facts
        self._watch = watch
        self._head = bytearray()
        self._tail = b""
        self._size = 0
        # What is spoken is billed from the first word on.
        self.scan = Scan(counted=facts.beside if facts.beside.characters else None)

    def feed(self, data: bytes) -> bytes:
        """The same bytes."""
        self._size += len(data)
        if len(self._head) < _KEPT:
            self._head += data[: _KEPT - len(self._head)]
        self._tail = (self._tail + data[-_KEPT:])[-_KEPT:]
        return data

    def finish(self) -> bytes:
        """Nothing was held back."""
        if not self.scan.finished:
            self.scan.finished = True
            if self.scan.counted is None:
                self.scan.counted = self._tokens()
        return b""

    def count_output(self) -> int:
        """Tokens of the sound so far, by its length."""
        return self._tokens().audio_output

    def _tokens(self) -> Usage:
        """By the usual speed: the answer itself counts nothing."""
        note_flag(self.scan, AUDIO_ESTIMATED)
        document, count = self._facts.document, self._watch.count
        texts = [document.get(name) for name in ("input", "instructions")]
        if document.get("response_format") == "pcm":
            milliseconds = self._size * 1000 // _PCM_BYTES_PER_S
        else:
            read = window(bytes(self._head), self._tail, self._size)
            milliseconds = audio_length(read, self._size).milliseconds
        return Usage(
            input=sum(count(text) for text in texts if isinstance(text, str)),
            audio_output=-(-milliseconds * _TOKENS_PER_MINUTE // 60_000),
        )


class SpeechEvents(UncutEvents):
    """Reads a sound that comes in events, the last of which has its usage."""

    __slots__ = ("scan",)

    marks: tuple[bytes, ...] = (b'"speech.audio.done"', b'"usage"', b'"error"')

    def __init__(self, facts: RequestFacts) -> None:
        self.scan = Scan(counted=facts.beside if facts.beside.characters else None)

    def event(self, kind: str, document: Json) -> None:
        """Note what one event says."""
        del kind
        failed = note_error(self.scan, document)
        usage = document.get("usage")
        if isinstance(usage, dict):
            self._note(usage)
        if failed or document.get("type") == "speech.audio.done":
            self.scan.finished = True

    def _note(self, usage: dict[str, Any]) -> None:
        """All output is sound."""
        counted = image_usage(usage)
        if counted.input_tokens or counted.output_tokens:
            self.scan.usage = Usage(
                input=counted.input,
                cached_input=counted.cached_input,
                audio_output=counted.image_output,
            )
            self.scan.usage_raw = orjson.dumps(usage)


ROUTES: Final = openai_routes("/audio/speech", Speech(), "audio.speech")
