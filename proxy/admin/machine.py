"""What machines ask: is the process alive, may it get calls, what has it counted."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from proxy.admin.deps import AdminDeps
from proxy.observe.families import CONTENT_TYPE


def routes(deps: AdminDeps) -> APIRouter:
    """Open to everybody who reaches the port: none of it names a key, a user or a text."""
    router = APIRouter(tags=["machine"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        """The ledger answers and its tables are current; 503 with the reason where not."""
        if reason := await deps.ready():
            return JSONResponse({"status": "not ready", "reason": reason}, 503)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Everything that is counted, in the text format of Prometheus."""
        await deps.settled()
        return Response(await deps.metrics.text(), media_type=CONTENT_TYPE)

    return router
