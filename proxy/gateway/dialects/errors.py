"""Refusals in the shapes that SDKs understand."""

import orjson

from proxy.core.errors import Refusal


def openai_error(refusal: Refusal) -> bytes:
    """A refusal in OpenAI's shape."""
    return orjson.dumps(
        {
            "error": {
                "message": refusal.message,
                "type": refusal.type,
                "param": refusal.param,
                "code": refusal.code,
            }
        }
    )
