"""What machines ask: is the process alive, may it get calls, what has it counted."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from proxy.admin.deps import AdminDeps
from proxy.observe.exposition import CLASSIC, OPENMETRICS, accepts_openmetrics


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
    async def metrics(request: Request) -> Response:
        """Everything that is counted: OpenMetrics where it is asked for, else Prometheus' classic text."""
        await deps.settled()
        openmetrics = accepts_openmetrics(request.headers.get("accept", ""))
        page = await deps.metrics.text(openmetrics=openmetrics)
        headers = {"content-type": OPENMETRICS if openmetrics else CLASSIC, "vary": "accept"}
        return Response(page, headers=headers)

    for path, asked in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)):
        # Load balancers ask for the head alone.
        router.add_api_route(path, asked, methods=["HEAD"], include_in_schema=False)
    return router
