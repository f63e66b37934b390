"""Errors of the admin API: always ``{"error": {"message", "code", "param"}}``, and what to do."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from proxy.admin.wording import explained
from proxy.core.errors import LedgerError
from proxy.store.key_rows import KeyNotChanged, KeyNotFound
from proxy.store.keys import UnknownTeam
from proxy.store.reports import BadCursor, UnknownGroup


class Problem(Exception):
    """An answer that says what went wrong and what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers

    def response(self) -> JSONResponse:
        """The answer that goes out."""
        error = {"message": self.message, "code": self.code, "param": self.param}
        return JSONResponse({"error": error}, self.status, self.headers)


def explain_errors(app: FastAPI) -> None:
    """Answer every error in the one shape."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(LedgerError, _ledger)
    app.add_exception_handler(KeyNotChanged, _key)
    app.add_exception_handler(BadCursor, _cursor)
    app.add_exception_handler(UnknownGroup, _group)


async def _problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class
    return error.response()


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    path = request.url.path
    hint = (
        "/admin/docs lists what there is"
        if path.startswith("/admin/")
        else "calls go to /v1/… (an SDK's base_url ends in /v1), the admin API is at /admin/v1"
    )
    message = f"{request.method} {path}: {error.detail}; {hint}"
    headers = dict(error.headers) if error.headers else None
    return Problem(error.status_code, "not_found", message, headers=headers).response()


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    message, param = explained(error.errors(), skip=1)
    return Problem(422, "invalid_request", message, param).response()


async def _ledger(_request: Request, error: Exception) -> JSONResponse:
    return Problem(503, "ledger_unavailable", str(error)).response()


async def _key(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnknownTeam):
        return Problem(422, "unknown_team", str(error), "team").response()
    if isinstance(error, KeyNotFound):
        return Problem(404, "key_not_found", str(error)).response()
    return Problem(409, "key_not_changed", str(error)).response()


async def _cursor(_request: Request, error: Exception) -> JSONResponse:
    return Problem(422, "invalid_cursor", str(error), "cursor").response()


async def _group(_request: Request, error: Exception) -> JSONResponse:
    return Problem(422, "unknown_group", f"group_by: {error}", "group_by").response()
