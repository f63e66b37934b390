"""What the requests of OpenAI's API have in common beside chats."""

from collections.abc import Iterable
from typing import Final

from proxy.gateway.dialects.body_check import FLAG, OBJECT, TEXT, Types, model_name, shown, wrong
from proxy.gateway.dialects.chat_body import Json

TYPES: Final[Types] = {
    "metadata": OBJECT,
    "safety_identifier": TEXT,
    "service_tier": TEXT,
    "stream": FLAG,
    "stream_options": OBJECT,
    "user": TEXT,
}


def model_of(document: Json, addressed: str = "", default: str = "") -> str:
    """The model: as the path names it, else the body, else the endpoint's own. Raises InvalidRequest."""
    return model_name(addressed or document.get("model") or default)


def whole_number(document: Json, name: str, least: int, most: int) -> int | None:
    """A member that is a whole number within bounds, if it is there. Raises InvalidRequest."""
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise wrong(name, f"a whole number from {least} to {most}", value)
    return value


def output_limit(document: Json, name: str) -> int | None:
    """The most tokens that the client asks for. Raises InvalidRequest."""
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise wrong(name, "a whole number of tokens, at least 1", value)
    return value


def attribution(document: Json) -> tuple[str, dict[str, str]]:
    """Who asked, by the body's own fields. They are shown, never trusted, and never rewritten."""
    user = document.get("user") or document.get("safety_identifier") or ""
    metadata = document.get("metadata") or {}
    texts = {shown(name): shown(text) for name, text in metadata.items() if type(text) is str}
    return shown(user), texts


def once(reasons: Iterable[str]) -> tuple[str, ...]:
    """The reasons, each once, and short."""
    return tuple(dict.fromkeys(reason[:80] for reason in reasons))
