"""Refusals in the shapes that SDKs understand."""

from typing import Final

import orjson

from proxy.core.errors import BudgetExceeded, Refusal

_PAYMENT_REQUIRED: Final = 402
# SDKs that try every 429 again, whatever the answer says of that. A budget is not there a second later.
_RETRY_ANY_429: Final = frozenset(("cohere",))


def refused_status(refusal: Refusal, family: str) -> int:
    """The status of a refusal, such that the SDKs of this API do not try it again in vain."""
    if family in _RETRY_ANY_429 and isinstance(refusal, BudgetExceeded):
        return _PAYMENT_REQUIRED
    return refusal.status


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
