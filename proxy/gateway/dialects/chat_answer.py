"""What an answer of the chat format says that is not streamed."""

from typing import Final

import orjson
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from proxy.gateway.dialects.answer_reader import Json, Texts
from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.chat_text import spoken_in_choices
from proxy.gateway.dialects.notes import note_error, note_flag, note_names, note_usage
from proxy.gateway.dialects.usage import read_plain_usage

BILLED_UNKNOWN: Final = "billed_unknown"  # billed, without a word of how much


class ChatAnswer:
    """Reads a chat completion."""

    __slots__ = ("scan",)

    usage_name = "usage"

    def __init__(self) -> None:
        self.scan = Scan()

    def quickly(self, body: bytes) -> bool:
        """Note what a usual document says, in a third of the time."""
        return note_plainly(self.scan, body)

    def document(self, document: Json) -> None:
        """Note what the answer says."""
        note_names(self.scan, document)
        note_usage(self.scan, document)
        note_refusal(self.scan, document)

    def spoken(self, document: Json) -> Texts:
        """The text of all choices."""
        return spoken_in_choices(document, "message")


def note_refusal(scan: Scan, document: Json) -> None:
    """Take the error of an answer that is one, and whether it is billed all the same."""
    if note_error(scan, document) and _is_filtered(document.get("error")):
        # Azure bills what it worked out before its filter said no, and does not say how much.
        scan.billed_error = True
        note_flag(scan, BILLED_UNKNOWN)


def _is_filtered(error: object) -> bool:
    return (
        isinstance(error, dict)
        and error.get("code") == "content_filter"
        and isinstance(error.get("innererror"), dict)
    )


class _PlainAnswer(Struct):
    """The members that matter of an answer as OpenAI writes it; the others are stepped over."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    object: str | None = None
    error: None = None
    x_groq: None = None
    usage: Raw = Raw()


_decode_plain = Decoder(_PlainAnswer).decode


def note_plain_usage(scan: Scan, payload: bytes) -> bool:
    """Note usage and tier of a chunk where nothing is unusual about it; else nothing, and say False."""
    try:
        chunk = _decode_plain(payload)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False
    usage = read_plain_usage(chunk.usage)
    if usage is None or chunk.object != "chat.completion.chunk" or not payload.isascii():
        return False
    scan.usage = usage
    scan.usage_raw = orjson.dumps(orjson.loads(bytes(chunk.usage)))
    if chunk.service_tier:
        scan.service_tier = chunk.service_tier
    return True


def note_plainly(scan: Scan, body: bytes) -> bool:
    """Note what an answer says where nothing is unusual about it; else nothing, and say False.

    The same would be noted by parsing all of it, which takes three times as long. Only a number too
    large for a float, which makes the rest unreadable then, does no harm here.
    """
    try:
        answer = _decode_plain(body)
        if not body.isascii():
            body.decode()  # what is stepped over is not checked for this
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False
    usage = read_plain_usage(answer.usage)
    if usage is None or answer.object == "error":
        return False
    scan.finished = True
    scan.served_model = answer.model or ""
    scan.upstream_call_id = answer.id or ""
    scan.service_tier = answer.service_tier or ""
    scan.usage = usage
    scan.usage_raw = orjson.dumps(orjson.loads(bytes(answer.usage)))
    return True
