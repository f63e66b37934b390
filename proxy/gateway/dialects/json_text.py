"""What is no text in a document, as the text that is counted for it."""

from typing import Any

import orjson

from proxy.gateway.dialects.usage import Json


def json_text(value: object) -> str:
    """A value as compact JSON, as the provider's template likely writes it."""
    try:
        return orjson.dumps(value).decode()
    except (orjson.JSONEncodeError, TypeError):  # nested deeper than any provider takes or answers
        return ""


def objects(value: Any) -> list[Json]:
    """The objects of a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
