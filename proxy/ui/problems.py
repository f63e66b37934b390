"""What went wrong, as a page in the same look."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from proxy.core.errors import FareboxError, LedgerError
from proxy.ui.rendering import render

_TITLES = {
    400: "That did not work",
    403: "Not for you",
    404: "Nothing here",
    405: "Not that way",
    413: "Too much",
    429: "Too many tries",
    503: "The ledger does not answer",
}


class Problem(FareboxError):
    """Why a page is not shown, and what to do instead."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


async def on_problem(request: Request, error: Exception) -> Response:
    """One of our own."""
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class
    return _page(request, error.status, error.message, error.headers)


async def on_ledger(request: Request, error: Exception) -> Response:
    """The database is away."""
    assert isinstance(error, LedgerError)  # noqa: S101 - registered for this class
    message = (
        "Calls go on as `ledger.unavailable` says, and nothing is lost; this page comes back with the "
        f"database. What it says: {error}"
    )
    return _page(request, 503, message, {"retry-after": "5"})


async def on_http(request: Request, error: Exception) -> Response:
    """What the framework found: no such page, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    message = (
        f"There is no page {request.url.path}. What there is, is in the navigation."
        if error.status_code == 404  # noqa: PLR2004 - HTTP's
        else str(error.detail)
    )
    return _page(request, error.status_code, message, None)


def _page(request: Request, status: int, message: str, headers: dict[str, str] | None) -> Response:
    seen = getattr(request.state, "viewer", None)
    token = getattr(request.state, "form_token", "")
    return render(
        request,
        "error.html",
        status=status,
        viewer=seen,
        form_token=token,
        headers=headers,
        title=_TITLES.get(status, "Something is wrong"),
        code=status,
        message=message,
    )
