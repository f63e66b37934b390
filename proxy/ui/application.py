"""The pages under ``/ui``, each at its address."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.core.errors import LedgerError
from proxy.ui.access import Access
from proxy.ui.deps import UiDeps
from proxy.ui.pages import budgets, calls, keys, models, overview
from proxy.ui.problems import Problem, on_http, on_ledger, on_problem
from proxy.ui.rendering import STATIC, static_type
from proxy.ui.security import SecurityHeaders

_YEAR_S = 31_536_000


def create_ui(deps: UiDeps) -> Starlette:
    """The application for every path under ``/ui``."""
    access = Access(deps)
    editing = budgets.Editing(deps)
    keeping = keys.Keeping(deps)
    page, admin = access.page, access.admin_page
    return Starlette(
        routes=[
            Route("/ui", page(overview.show)),
            Route("/ui/", page(overview.show)),
            Route("/ui/login", access.login, methods=["GET", "POST"]),
            Route("/ui/logout", page(access.logout), methods=["POST"]),
            Route("/ui/budgets", page(budgets.show)),
            Route("/ui/budgets/edit", admin(editing.edit), methods=["GET", "POST"]),
            Route("/ui/calls", page(calls.show)),
            Route("/ui/calls/{call_id}", page(calls.show_one)),
            Route("/ui/models", page(models.show)),
            Route("/ui/keys", page(keys.show)),
            Route("/ui/keys/new", admin(keeping.new), methods=["GET", "POST"]),
            Route("/ui/keys/{key_id}/rotate", admin(keeping.rotate), methods=["GET", "POST"]),
            Route("/ui/keys/{key_id}/revoke", admin(keeping.revoke), methods=["GET", "POST"]),
            Route("/ui/static/{name}", _static),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={
            Problem: on_problem,
            LedgerError: on_ledger,
            HTTPException: on_http,
        },
    )


async def _static(request: Request) -> Response:
    """A file of the page. Its address holds its version, so that browsers may keep it for good."""
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(404)
    headers = {"cache-control": f"public, max-age={_YEAR_S}, immutable"}
    return Response(STATIC[name], headers=headers, media_type=static_type(name))
