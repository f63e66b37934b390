"""The error answers of the real API, byte for byte where recordings show them."""

from typing import Any, Final

import orjson

Headers = list[tuple[bytes, bytes]]

_JSON: Final = (b"content-type", b"application/json")
_JSON_UTF8: Final = (b"content-type", b"application/json; charset=utf-8")
_HTML: Final = (b"content-type", b"text/html")
_VISIBLE_START, _VISIBLE_END = 8, 4  # of a wrong key


class Problem(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers


def _body(message: str, type_: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> Problem:
    """400, as the model's own front end writes it."""
    body = _body(message, "invalid_request_error", param, code)
    return Problem(400, orjson.dumps(body, option=orjson.OPT_INDENT_2))


def _from_the_edge(status: int, message: str, code: str | None) -> Problem:
    """What the API's edge says before a model is asked is indented by four and ends in a line feed."""
    text = orjson.dumps(
        _body(message, "invalid_request_error", None, code), option=orjson.OPT_INDENT_2
    )
    wide = text.replace(b"\n    ", b"\n        ").replace(b'\n  "', b'\n    "')
    return Problem(status, wide.replace(b"\n  }", b"\n    }") + b"\n", (_JSON_UTF8,))


def wrong_key(key: str) -> Problem:
    """401 for a key that is not known; the message shows the key's two ends."""
    hidden = len(key) - _VISIBLE_START - _VISIBLE_END
    shown = key if hidden <= 0 else f"{key[:_VISIBLE_START]}{'*' * hidden}{key[-_VISIBLE_END:]}"
    return _from_the_edge(
        401,
        f"Incorrect API key provided: {shown}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        "invalid_api_key",
    )


def no_key() -> Problem:
    """401 for a request without a key."""
    return _from_the_edge(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header "
        "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
        "https://platform.openai.com/account/api-keys.",
        None,
    )


def unknown_model(model: str) -> Problem:
    """404 for a model that is not on offer."""
    return _from_the_edge(
        404,
        f"The model `{model}` does not exist or you do not have access to it.",
        "model_not_found",
    )


def unknown_url(method: str, path: str) -> Problem:
    """404 for an address outside of the API."""
    return _from_the_edge(404, f"Invalid URL ({method} {path})", None)


def not_json() -> Problem:
    """400 for a body that is no JSON object."""
    return invalid(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
        "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not "
        "valid JSON. If you have trouble figuring out how to fix this, please contact us through our "
        "help center at help.openai.com.)"
    )


def wrong_type(param: str, expected: str, value: object) -> Problem:
    """400 for a value of another JSON type."""
    return invalid(
        f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead.",
        param=param,
        code="invalid_type",
    )


def below(param: str, least: int, value: int) -> Problem:
    """400 for an integer that is too small."""
    return invalid(
        f"Invalid '{param}': integer below minimum value. Expected a value >= {least}, "
        f"but got {value} instead.",
        param=param,
        code="integer_below_min_value",
    )


def above(param: str, most: int, value: int) -> Problem:
    """400 for an integer that is too large."""
    return invalid(
        f"Invalid '{param}': integer above maximum value. Expected a value <= {most}, "
        f"but got {value} instead.",
        param=param,
        code="integer_above_max_value",
    )


def unsupported(param: str, instead: str | None = None) -> Problem:
    """400 for a parameter that this model does not take."""
    hint = f" Use '{instead}' instead." if instead else ""
    return invalid(
        f"Unsupported parameter: '{param}' is not supported with this model.{hint}",
        param=param,
        code="unsupported_parameter",
    )


def missing(param: str) -> Problem:
    """400 for a parameter that must be there."""
    return invalid(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


_ON_DEMAND: Final[dict[int, tuple[str, str, str | None]]] = {
    400: ("Simulated: the request is invalid.", "invalid_request_error", None),
    401: ("Incorrect API key provided: simulated.", "invalid_request_error", "invalid_api_key"),
    403: (
        "Simulated: the project does not have access to the model.",
        "invalid_request_error",
        "model_not_found",
    ),
    404: ("Simulated: there is no such thing.", "invalid_request_error", "not_found"),
    408: ("Simulated: the request timed out.", "server_error", "timeout"),
    429: (
        "Rate limit reached for requests. Please try again later.",
        "requests",
        "rate_limit_exceeded",
    ),
    500: (
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
        None,
    ),
    503: (
        "The engine is currently overloaded, please try again later",
        "service_unavailable_error",
        "engine_overloaded",
    ),
}
_QUOTA: Final = (
    "You exceeded your current quota, please check your plan and billing details.",
    "insufficient_quota",
    "insufficient_quota",
)
_GATEWAY: Final = {502: "Bad gateway", 504: "Gateway time-out", 520: "Unknown error"}
_REDIRECTS: Final = range(300, 400)
_TOO_MANY: Final = 429
SERVER_ERROR: Final = _body(*_ON_DEMAND[500][:2], None, None)


def on_demand(status: int, *, code: str | None = None, retry_after: int | None = None) -> Problem:
    """The error that a caller asked for; what stands before the API answers 502 and 504 with a page."""
    headers: Headers = []
    if retry_after is not None or status == _TOO_MANY:
        seconds = 1 if retry_after is None else retry_after
        headers.append((b"retry-after", str(seconds).encode()))
        headers.append((b"retry-after-ms", str(seconds * 1000).encode()))
    if status in _REDIRECTS:
        return Problem(status, b"", ((b"location", b"/v1/redirected"), *headers))
    if status in _GATEWAY:
        return Problem(status, _page(status), (_HTML, *headers))
    message, type_, usual = _ON_DEMAND.get(
        status, (f"Simulated: an error of status {status}.", "simulated_error", None)
    )
    if code == "insufficient_quota":
        message, type_, usual = _QUOTA
    body = _body(message, type_, None, code or usual)
    return Problem(status, orjson.dumps(body, option=orjson.OPT_INDENT_2), (_JSON, *headers))


def _page(status: int) -> bytes:
    title = f"{status} {_GATEWAY[status]}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>simulated</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    kinds = {str: "a string", int: "an integer", float: "a decimal number", list: "an array"}
    return kinds.get(type(value), "null" if value is None else "an object")
