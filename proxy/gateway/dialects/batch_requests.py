"""The requests of a batch, one by one, before they are submitted: what each of them can cost."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import anthropic, completions, embeddings, openai_chat, responses
from proxy.gateway.dialects.base import NOWHERE, Dialect, RequestFacts
from proxy.gateway.dialects.route import Route
from proxy.gateway.dialects.usage import Json

UNREADABLE: Final = "a request that can't be read"


class Asked(NamedTuple):
    """One request. Without facts it can't be bounded, and ``why``; it is free where there is no reason."""

    facts: RequestFacts | None
    body_bytes: int = 0
    why: str = ""


def dialect_of(routes: tuple[Route, ...]) -> Dialect:
    """The dialect of an API's first route."""
    return routes[0].dialect


def openai_request(line: Json) -> Asked:
    """A line of the file that a batch of OpenAI's is made of."""
    url = line.get("url")
    if url == _FREE:
        return Asked(None)
    dialect = _BY_URL.get(url) if type(url) is str else None
    if dialect is None:
        return Asked(None, why=f"requests to {str(url)[:40]}")
    return _asked(dialect, line.get("body"))


def anthropic_requests(document: Json) -> Iterator[Asked]:
    """The requests in the body that submits a batch of Anthropic's."""
    found = document.get("requests")
    for request in found if type(found) is list else ():
        yield _asked(_MESSAGES, request.get("params") if type(request) is dict else None)


def _asked(dialect: Dialect, body: Any) -> Asked:
    if type(body) is not dict:
        return Asked(None, why=UNREADABLE)
    data = orjson.dumps(body)
    try:
        facts = dialect.inspect(data, NOWHERE)
    except InvalidRequest:
        return Asked(None, why=UNREADABLE)
    return Asked(facts, len(data) if facts.text_bytes is None else facts.text_bytes)


_FREE: Final = "/v1/moderations"
_MESSAGES: Final = dialect_of(anthropic.ROUTES)
# As it is written in the file; Azure's lines leave the version out.
_BY_URL: Final = {
    prefix + path: dialect_of(routes)
    for prefix in ("/v1", "")
    for path, routes in (
        ("/chat/completions", openai_chat.ROUTES),
        ("/responses", responses.ROUTES),
        ("/completions", completions.ROUTES),
        ("/embeddings", embeddings.ROUTES),
    )
}
