"""Routes of the data path: raw ASGI, dispatched before any framework."""

import structlog

from proxy.core.errors import InternalError, NotFound, Refusal, ShuttingDown
from proxy.gateway import answers
from proxy.gateway.active import ActiveCall
from proxy.gateway.inbound import ClientLeft, Inbound, Receive, Scope, Send
from proxy.gateway.models import Models
from proxy.gateway.own_calls import OwnCalls
from proxy.gateway.paths import NO_WAY, find_way
from proxy.gateway.pipeline import Pipeline

_log = structlog.get_logger("farebox.gateway")
_LISTED = "openai"  # the API whose list of models is our own; others' are their upstream's


class Routes:
    """The ASGI application of ``/v1`` and ``/farebox/v1``."""

    def __init__(
        self,
        pipeline: Pipeline,
        models: Models,
        own_calls: OwnCalls,
    ) -> None:
        self._pipeline = pipeline
        self._models = models
        self._own_calls = own_calls
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        inbound = Inbound(scope, receive)
        way = find_way(inbound.method, inbound.path, inbound.values)
        call = ActiveCall(self._pipeline.config, inbound, way or NO_WAY)
        try:
            await self._answer(call, send)
        except Refusal as refusal:
            await answers.refuse(send, call.dialect, refusal, call.id)
        except ClientLeft:
            return
        except Exception:  # noqa: BLE001 - logged whole, and said to the client
            # The edge: a defect of ours ends one call, with its row settled by the pipeline, and
            # never the process. The traceback holds no request data.
            _log.exception("defect", call_id=call.id, endpoint=call.endpoint)
            if not call.answering:
                await _defect(send, call)

    async def _answer(self, call: ActiveCall, send: Send) -> None:
        if self.stopping:
            raise ShuttingDown(
                "Farebox is stopping. Try again in a moment.", headers=(("retry-after", "1"),)
            )
        if call.way.metered:
            await self._pipeline.handle(call, send)
            return
        path = call.inbound.path
        if call.inbound.method == "GET":
            listed = call.dialect.family == _LISTED
            if listed and (path == b"/v1/models" or path.startswith(b"/v1/models/")):
                await self._models.answer(call, send)
                return
            if path.startswith(b"/farebox/v1/calls/"):
                await self._own_calls.answer(call, send)
                return
        if call.way is NO_WAY:
            raise NotFound(f"There is nothing at {path.decode('latin-1')}. Calls go to /v1/….")
        await self._pipeline.handle(call, send)


async def _defect(send: Send, call: ActiveCall) -> None:
    failed = InternalError(f"Farebox failed on this call. Its log has the call id {call.id}.")
    await answers.refuse(send, call.dialect, failed, call.id)
