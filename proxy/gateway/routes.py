"""Routes of the data path: raw ASGI, dispatched before any framework."""

from functools import lru_cache

import structlog

from proxy.core.errors import NotFound, Refusal, ShuttingDown
from proxy.gateway import answers
from proxy.gateway.active import ActiveCall
from proxy.gateway.dialects.registry import UNMETERED
from proxy.gateway.inbound import ClientLeft, Inbound, Receive, Scope, Send
from proxy.gateway.models import Models
from proxy.gateway.own_calls import OwnCalls
from proxy.gateway.paths import METERED
from proxy.gateway.pipeline import Pipeline

_log = structlog.get_logger("farebox.gateway")

# Endpoints of OpenAI's API, as the bounded label of what is only passed through.
_KNOWN = frozenset(
    [
        "assistants",
        "audio",
        "batches",
        "chat",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "models",
        "moderations",
        "organization",
        "realtime",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    ]
)


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
        dialect = METERED.get(inbound.path) if inbound.method == "POST" else None
        call = ActiveCall(
            config=self._pipeline.config,
            inbound=inbound,
            dialect=dialect or UNMETERED,
            endpoint=_endpoint(inbound.path),
            metered=dialect is not None,
        )
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
        path = call.inbound.path
        if call.inbound.method == "GET":
            if path == b"/v1/models" or path.startswith(b"/v1/models/"):
                await self._models.answer(call, send)
                return
            if path.startswith(b"/farebox/v1/calls/"):
                await self._own_calls.answer(call, send)
                return
        if not path.startswith(b"/v1/"):
            raise NotFound(f"There is nothing at {path.decode('latin-1')}. Calls go to /v1/….")
        await self._pipeline.handle(call, send)


@lru_cache(maxsize=1024)
def _endpoint(path: bytes) -> str:
    parts = path.decode("latin-1").split("/")
    if len(parts) < 3 or parts[2] not in _KNOWN:  # noqa: PLR2004 - "", "v1", the endpoint
        return "other"
    if parts[2] in {"audio", "chat", "images"} and len(parts) > 3:  # noqa: PLR2004
        return f"{parts[2]}.{parts[3]}" if parts[3].isalpha() and len(parts[3]) < 20 else parts[2]  # noqa: PLR2004
    return parts[2]


async def _defect(send: Send, call: ActiveCall) -> None:
    body = (
        b'{"error":{"message":"Farebox failed on this call. Its log has the call id '
        + call.id.encode()
        + b'.","type":"server_error","param":null,"code":"internal_error"}}'
    )
    await answers.answer_json(send, 500, body, [(b"x-farebox-call-id", call.id.encode())])
