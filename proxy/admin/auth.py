"""Who may use the admin API: whoever shows the admin token of the configuration."""

import hmac
from collections.abc import Callable

from fastapi import Request

from proxy.admin.problems import Problem
from proxy.settings import Settings

_BEARER = "bearer "


def admin_only(settings: Callable[[], Settings]) -> Callable[[Request], None]:
    """A dependency that lets only the admin token pass. With none configured nobody passes."""

    def check(request: Request) -> None:
        token = settings().admin_token
        if not token:
            raise Problem(
                403,
                "admin_token_not_set",
                "The admin API is closed because no admin token is set. Set FAREBOX_ADMIN_TOKEN in the "
                "environment, or `admin_token: ${FAREBOX_ADMIN_TOKEN}` in the configuration, and send it "
                "as `Authorization: Bearer <token>`.",
            )
        shown = request.headers.get("authorization", "")
        if shown[: len(_BEARER)].lower() != _BEARER or not _equal(shown[len(_BEARER) :], token):
            raise Problem(
                401,
                "invalid_admin_token",
                "Send the admin token as `Authorization: Bearer <token>`.",
                headers={"www-authenticate": "Bearer"},
            )

    return check


def _equal(shown: str, token: str) -> bool:
    # A token may be short and chosen by a person: here time must tell nothing.
    return hmac.compare_digest(shown.strip().encode(), token.encode())
