"""The application around the data path: ``/admin/v1``, its documentation, health and metrics."""

from fastapi import APIRouter, Depends, FastAPI

from proxy.admin import budgets, calls, keys, machine, pages, spend, teams
from proxy.admin.auth import admin_only
from proxy.admin.deps import AdminDeps
from proxy.admin.json_only import JsonOnly
from proxy.admin.problems import explain_errors


def create_admin(deps: AdminDeps) -> FastAPI:
    """The whole application; everything under ``/admin/v1`` wants the admin token."""
    app = FastAPI(
        title="Farebox admin API",
        version="1",
        summary="Calls, spend, budgets, keys and teams.",
        openapi_url="/admin/openapi.json",
        docs_url=None,  # the framework's pages load their scripts from elsewhere: nothing without internet
        redoc_url=None,
    )
    app.add_middleware(JsonOnly)
    explain_errors(app)
    api = APIRouter(prefix="/admin/v1", dependencies=[Depends(admin_only(deps.settings))])
    for routes in (calls, spend, budgets, keys, teams):
        api.include_router(routes.routes(deps))
    app.include_router(api)
    app.include_router(machine.routes(deps))
    app.include_router(pages.routes(app))
    return app
