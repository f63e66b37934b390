"""What a document of an answer says about itself, in the words that most dialects share, noted in a Scan."""

import re
from typing import Any

import orjson

from proxy.gateway.dialects.base import Scan
from proxy.gateway.dialects.stated import says_something, search_context, stated_nano
from proxy.gateway.dialects.usage import Json, find_usage, read_usage

_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
_NO_WORD = re.compile(r"[^a-z0-9_.-]+")


def parse(data: bytes) -> Json | None:
    """The object in these bytes; None where there is none."""
    if data == b"[DONE]":
        return None
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if type(document) is dict else None


def note_names(scan: Scan, document: Json) -> None:
    """Take model and id, each from the first that has it (Azure's first chunk has none)."""
    if not scan.served_model and isinstance(model := document.get("model"), str):
        scan.served_model = model
    if not scan.upstream_call_id and isinstance(id_ := document.get("id"), str):
        scan.upstream_call_id = id_
    note_tier(scan, document)


def note_tier(scan: Scan, document: Json) -> None:
    """Take the service tier; the last that is given is the billed one. A usage object may give it, too."""
    tier = document.get("service_tier")
    if isinstance(tier, str) and tier:
        scan.service_tier = tier


def note_usage(scan: Scan, document: Json) -> bool:
    """Take the usage, over what came before: the last one wins. False where there is none."""
    raw = find_usage(document)
    if raw is None:
        return False
    reading = read_usage(raw)
    scan.usage = reading.usage
    scan.usage_raw = orjson.dumps(raw)
    note_tier(scan, raw)  # Mistral says it there
    if says_something(raw):
        scan.stated_nano = stated_nano(raw)
        if (size := search_context(raw)) and size not in scan.variants:
            scan.variants = (*scan.variants, size)
    for flag in reading.flags:
        note_flag(scan, flag)
    return True


def follow_path(document: Json) -> str:
    """Where to ask how it goes that the answer only began, below the request's path; "" for an odd id."""
    id_ = document.get("id")
    return f"/{id_}" if isinstance(id_, str) and _ID.fullmatch(id_) else ""


def note_error(scan: Scan, document: Json) -> bool:
    """Take the first error as a short word. False where the document has none."""
    error = document.get("error")
    if not error and document.get("object") == "error":
        error = document
    x_groq = document.get("x_groq")
    if not error and isinstance(x_groq, dict):
        error = x_groq.get("error")
    if not error:
        return False
    scan.error = scan.error or _word(error)
    return True


def note_flag(scan: Scan, flag: str) -> None:
    """Add a flag, once."""
    if flag not in scan.flags:
        scan.flags = (*scan.flags, flag)


def _word(error: Any) -> str:
    """A short word for the error; never its message, which may quote the prompt."""
    if isinstance(error, dict):
        for name in ("code", "type", "status"):
            value = error.get(name)
            if isinstance(value, str | int) and value:
                return _NO_WORD.sub("_", str(value).lower())[:64]
    return "error"
