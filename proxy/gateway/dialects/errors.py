"""Refusals in the shapes that SDKs understand."""

from typing import Final

import orjson

from proxy.core.errors import Refusal

# Anthropic's word for what is refused; else by status.
_ANTHROPIC_TYPES: Final = {
    "invalid_api_key": "authentication_error",
    "budget_exceeded": "billing_error",
    "rate_limit_exceeded": "rate_limit_error",
    "request_too_large": "request_too_large",
    "ledger_unavailable": "overloaded_error",
    "shutting_down": "overloaded_error",
    "upstream_timeout": "timeout_error",
}
_ANTHROPIC_BY_STATUS: Final = {403: "permission_error", 404: "not_found_error"}
_FIRST_OF_SERVER: Final = 500


def anthropic_error(refusal: Refusal) -> bytes:
    """A refusal in Anthropic's shape. ``code`` is ours, and says which refusal it is."""
    server = refusal.status >= _FIRST_OF_SERVER
    other = _ANTHROPIC_BY_STATUS.get(
        refusal.status, "api_error" if server else "invalid_request_error"
    )
    error = {
        "type": _ANTHROPIC_TYPES.get(refusal.code, other),
        "message": refusal.message,
        "code": refusal.code,
    }
    return orjson.dumps({"type": "error", "error": error})


def cohere_error(refusal: Refusal) -> bytes:
    """A refusal in Cohere's shape."""
    return orjson.dumps({"message": refusal.message, "code": refusal.code})


def ollama_error(refusal: Refusal) -> bytes:
    """A refusal in Ollama's shape."""
    return orjson.dumps({"error": refusal.message, "code": refusal.code})


_GOOGLE_STATUS: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_ERROR_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"


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


def google_error(refusal: Refusal) -> bytes:
    """A refusal in Google's shape; its own code is the ``reason`` of the details."""
    return orjson.dumps(
        {
            "error": {
                "code": refusal.status,
                "message": refusal.message,
                "status": _GOOGLE_STATUS.get(refusal.status, "INVALID_ARGUMENT"),
                "details": [{"@type": _ERROR_INFO, "reason": refusal.code, "domain": "farebox"}],
            }
        }
    )


# The exceptions that the SDKs of Bedrock know, by our code; else by status.
_AWS_TYPES: Final = {
    "budget_exceeded": "ServiceQuotaExceededException",
    "upstream_timeout": "ModelTimeoutException",
    "upstream_unreachable": "ServiceUnavailableException",
}
_AWS_BY_STATUS: Final = {
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    502: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}


def aws_error(refusal: Refusal) -> bytes:
    """A refusal in AWS's shape. ``code`` would be taken for the exception's name: ours is ``reason``."""
    by_status = _AWS_BY_STATUS.get(refusal.status, "ValidationException")
    return orjson.dumps(
        {
            "__type": _AWS_TYPES.get(refusal.code, by_status),
            "message": refusal.message,
            "reason": refusal.code,
        }
    )
