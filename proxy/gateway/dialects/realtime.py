"""OpenAI's realtime API: what the events of a session say, in its first form and its second. Sans-I/O.

Of what a client sends only the kind of most events is looked at; of audio nothing but its length.
"""

from typing import Any, Final

import msgspec
import orjson
from msgspec import Raw, Struct

from proxy.core.errors import Refusal
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.notes import note_error, note_flag, note_usage
from proxy.gateway.dialects.unmetered import Unmetered
from proxy.gateway.dialects.usage import WRONG_TYPE, Json

DIALECT: Final = Unmetered("openai", openai_error)
CANCEL: Final = "response.cancel"
AUDIO: Final = "input_audio_buffer.append"
CREATE: Final = "response.create"
TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
NOT_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.failed"
_UPDATES: Final = frozenset(("session.update", "transcription_session.update"))
SESSIONS: Final = frozenset(
    (
        "session.created",
        "session.updated",
        "transcription_session.created",
        "transcription_session.updated",
    )
)
TEXT_DELTAS: Final = frozenset(
    (
        "response.text.delta",
        "response.output_text.delta",
        "response.audio_transcript.delta",
        "response.output_audio_transcript.delta",
        "response.function_call_arguments.delta",
        "response.mcp_call_arguments.delta",
    )
)
AUDIO_DELTAS: Final = frozenset(("response.audio.delta", "response.output_audio.delta"))
_MOST_S: Final = 10**6
_NONE: Final = Raw(b"null")


class ClientEvent(Struct, frozen=True):
    """What a client's event asks for, as far as money is concerned."""

    kind: str = ""  # "": nothing that we can read; the upstream will say so
    beside: bool = False  # a response outside of the conversation, beside any other
    transcribe: str | None = None  # the model that is to transcribe from now on; "": none


class _Kind(Struct):
    type: str = ""


class _Create(Struct):
    response: Raw = _NONE


_kind_of = msgspec.json.Decoder(_Kind).decode
_create = msgspec.json.Decoder(_Create).decode


def read_client(text: str | bytes) -> ClientEvent:
    """What a frame of the client asks for; events may come in binary frames too. Never raises."""
    try:
        kind = _kind_of(text).type
        if kind == CREATE:
            response = _object(_create(text).response)
            return ClientEvent(kind, beside=response.get("conversation") not in {None, "auto"})
        if kind in _UPDATES:
            return ClientEvent(kind, transcribe=transcriber(orjson.loads(text).get("session")))
    except (msgspec.DecodeError, orjson.JSONDecodeError, TypeError):
        return ClientEvent()
    return ClientEvent(kind)


class ServerEvent(Struct):
    """An event of the upstream; what is long is not decoded."""

    type: str = ""
    response_id: Any = ""
    item_id: Any = ""
    transcript: Any = ""
    delta: Raw = _NONE
    response: Raw = _NONE
    session: Raw = _NONE
    usage: Raw = _NONE
    error: Raw = _NONE


_server = msgspec.json.Decoder(ServerEvent).decode
_NO_EVENT: Final = ServerEvent()


def read_server(text: str | bytes) -> ServerEvent:
    """What a frame of the upstream says. Never raises."""
    try:
        return _server(text)
    except msgspec.DecodeError:
        return _NO_EVENT


def part_of(raw: Raw) -> Json:
    """A member of an event that is an object; empty where it is none."""
    return _object(raw)


def text_of(raw: Raw) -> str:
    """A member of an event that is a string; empty where it is none."""
    try:
        value = orjson.loads(bytes(raw))
    except orjson.JSONDecodeError:
        return ""
    return value if type(value) is str else ""


def transcriber(session: Any) -> str | None:
    """The model that transcribes what is said, by a session's settings; None where they don't say."""
    if type(session) is not dict:
        return None
    found: Any = None
    said = "input_audio_transcription" in session
    found = session.get("input_audio_transcription")
    audio = session.get("audio")
    heard = audio.get("input") if type(audio) is dict else None
    if type(heard) is dict and "transcription" in heard:
        said, found = True, heard["transcription"]
    if not said:
        return None
    model = found.get("model") if type(found) is dict else None
    return model if type(model) is str else ""


def note_response(scan: Scan, response: Json) -> None:
    """Take usage and end of a response that is done."""
    scan.finished = True
    if type(id_ := response.get("id")) is str:
        scan.upstream_call_id = id_
    usage = response.get("usage")
    if not note_usage(scan, response) and type(usage) is dict and usage:
        scan.usage, scan.usage_raw = EMPTY, orjson.dumps(usage)
    if response.get("status") == "failed":
        details = response.get("status_details")
        if type(details) is not dict or not note_error(scan, details):
            scan.error = scan.error or "failed"


def note_transcription(scan: Scan, usage: Json) -> None:
    """Take the usage of a transcription: tokens, or the length of what was said."""
    scan.finished = True
    if usage.get("type") != "duration":
        note_usage(scan, {"usage": usage})
        return
    seconds = usage.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= _MOST_S:
        note_flag(scan, WRONG_TYPE)
        return
    scan.usage = Usage(milliseconds=round(seconds * 1000))
    scan.usage_raw = orjson.dumps(usage)


def error_event(refusal: Refusal, event_id: str) -> str:
    """A refusal as the event that OpenAI's clients understand."""
    error = {
        "type": refusal.type,
        "code": refusal.code,
        "message": refusal.message,
        "param": refusal.param,
        "event_id": None,
    }
    return orjson.dumps({"type": "error", "event_id": event_id, "error": error}).decode()


def cancel_event(response_id: str) -> str:
    """What ends a response that nobody listens to any more."""
    return orjson.dumps({"type": CANCEL, "response_id": response_id}).decode()


def _object(raw: Raw) -> Json:
    try:
        value = orjson.loads(bytes(raw))
    except orjson.JSONDecodeError:
        return {}
    return value if type(value) is dict else {}
