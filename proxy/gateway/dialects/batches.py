"""Batches: jobs of requests whose answers come in a file, line by line, at half the price.

What a job can cost is held when it is submitted, as far as its requests bound it: Anthropic's are in
the body, OpenAI's in a file that was sent before. What it used is read from the file of its results.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from proxy.core.errors import InvalidRequest, Refusal
from proxy.core.usage import EMPTY
from proxy.gateway.dialects.answer_document import AnswerDocument, Noted
from proxy.gateway.dialects.base import Address, RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.batch_requests import Asked, anthropic_requests
from proxy.gateway.dialects.batch_results import Result, ResultFile, read_anthropic, read_openai
from proxy.gateway.dialects.errors import (
    anthropic_error,
    cohere_error,
    openai_error,
)
from proxy.gateway.dialects.notes import parse
from proxy.gateway.dialects.outside import Outside
from proxy.gateway.dialects.route import Route, openai_routes
from proxy.gateway.dialects.unmetered import Unmetered
from proxy.gateway.dialects.upload import Upload
from proxy.gateway.dialects.usage import Json

_WHY: Final = "a batch, whose cost is known when its results are"


class State(NamedTuple):
    """How a batch goes, as its provider says."""

    id: str
    over: bool
    results: str = ""  # the id of the file with its answers, where they are in one
    expires_s: int = 0  # 0: it does not say


class JobApi(NamedTuple):
    """One provider's way to run batches."""

    name: str
    family: str
    error_body: Callable[[Refusal], bytes]
    state: Callable[[Json], State | None]
    read: Callable[[Json], Result | None]
    file: Callable[[Json], str]  # the file that a job's requests are in; "" where there is none
    requests: Callable[[Json], Iterator[Asked]]  # those in the body that submits it
    # Where its answers are, by the path that it was submitted to.
    results: Callable[[str, State], str]


class Submission(Noted):
    """Submits a job. Its answer is short, and is read whole."""

    def __init__(self, api: JobApi) -> None:
        super().__init__(api.family, api.error_body)
        self.name = api.name
        self.api = api

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Nothing of it is bounded as yet. Raises InvalidRequest."""
        del address
        document = parse(body)
        if document is None:
            raise InvalidRequest("The body must be a JSON object.")
        return RequestFacts(
            "", unbounded=(_WHY,), makes_text=False, text_bytes=0, document=document
        )

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner that learns the job's id. What it uses it uses later."""
        del facts, watch
        scanner = AnswerDocument()
        scanner.scan = Scan(counted=EMPTY)
        return scanner


class States(Noted):
    """How jobs go, told to a client."""

    def __init__(self, api: JobApi) -> None:
        super().__init__(api.family, api.error_body)
        self.name = f"{api.name}_state"
        self._api = api

    def read(self, document: Json) -> list[State]:
        """What it says: of one job, or of a page of them."""
        listed = document.get("data")
        found = listed if type(listed) is list else [document]
        states = (self._api.state(one) for one in found if type(one) is dict)
        return [state for state in states if state is not None]


# OpenAI's


def _openai_state(document: Json) -> State | None:
    id_, results = document.get("id"), document.get("output_file_id")
    if type(id_) is not str or document.get("object") != "batch":
        return None
    expires = document.get("expires_at")
    return State(
        id_,
        document.get("status") in {"completed", "failed", "expired", "cancelled"},
        results if type(results) is str else "",
        expires if type(expires) is int else 0,
    )


def _openai_file(document: Json) -> str:
    id_ = document.get("input_file_id")
    return id_ if type(id_) is str else ""


def _openai_results(path: str, state: State) -> str:
    if not state.results:
        return ""
    return f"{path.removesuffix('/batches')}/files/{state.results}/content"


# Anthropic's


def _anthropic_state(document: Json) -> State | None:
    id_ = document.get("id")
    if type(id_) is not str or document.get("type") != "message_batch":
        return None
    over = document.get("processing_status") == "ended"
    return State(id_, over, expires_s=_seconds(document.get("expires_at")))


def _anthropic_results(path: str, state: State) -> str:
    return f"{path}/{state.id}/results"


def _seconds(text: Any) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0


def _no_file(document: Json) -> str:
    del document
    return ""


def _none_inside(document: Json) -> Iterator[Asked]:
    del document
    return iter(())


OPENAI: Final = JobApi(
    "openai_batches",
    "openai",
    openai_error,
    _openai_state,
    read_openai,
    _openai_file,
    _none_inside,
    _openai_results,
)
ANTHROPIC: Final = JobApi(
    "anthropic_batches",
    "anthropic",
    anthropic_error,
    _anthropic_state,
    read_anthropic,
    _no_file,
    anthropic_requests,
    _anthropic_results,
)
APIS: Final = {api.name: api for api in (OPENAI, ANTHROPIC)}

_SUBMITTED: Final = Submission(OPENAI)
_STATES: Final = States(OPENAI)
_FILE: Final = ResultFile("openai_results", read_openai)
_UPLOAD: Final = Upload()
_AZURE: Final = ("/openai/v1", "/openai")


def _free(method: str, path: str, dialect: Unmetered, endpoint: str) -> tuple[Route, ...]:
    """What costs nothing: at its own path, and at those that Azure has for it."""
    return (
        Route(method, f"/v1{path}", dialect, endpoint, metered=False),
        *(Route(method, at + path, dialect, endpoint, metered=False, holds="") for at in _AZURE),
    )


# What is not metered later: a blocking budget's policy decides.
_MISTRAL: Final = Outside("mistral_batches", _WHY)
_COHERE: Final = Outside("cohere_jobs", _WHY, "cohere", cohere_error)

ROUTES: Final = (
    Route("POST", "/v1/batch/jobs", _MISTRAL, "batches"),
    Route("POST", "/v1/embed-jobs", _COHERE, "batches", holds=""),
    *openai_routes("/batches", _SUBMITTED, "batches"),
    Route("POST", "/openai/batches", _SUBMITTED, "batches", holds=""),
    *_free("GET", "/batches", _STATES, "batches"),
    *_free("GET", "/batches/{batch}", _STATES, "batches"),
    *_free("POST", "/batches/{batch}/cancel", _STATES, "batches"),
    *_free("POST", "/files", _UPLOAD, "files"),
    *_free("GET", "/files/{file}/content", _FILE, "files"),
    Route("POST", "/v1/messages/batches", Submission(ANTHROPIC), "batches"),
    Route(
        "GET",
        "/v1/messages/batches/{batch}/results",
        ResultFile("anthropic_results", read_anthropic, "anthropic", anthropic_error),
        "batches",
        metered=False,
    ),
)
