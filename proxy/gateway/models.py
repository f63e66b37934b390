"""GET /v1/models: what the key may use."""

import asyncio
import time
from urllib.parse import unquote

import orjson

from proxy.core.call import Key
from proxy.core.errors import LedgerError, LedgerUnavailable, ModelNotFound, UpstreamFailed
from proxy.gateway import answers
from proxy.gateway.active import ActiveCall
from proxy.gateway.authenticate import authenticate
from proxy.gateway.config import GatewayConfig, Upstream
from proxy.gateway.inbound import Send
from proxy.gateway.pipeline import Pipeline
from proxy.gateway.ports import Keys
from proxy.gateway.router import allowed
from proxy.gateway.upstreams.base import UpstreamRequest

_KEPT_S = 300.0  # how long an upstream's list is used before it is asked again
_RETRY_S = 10.0  # and how long after it failed
_PATIENCE_S = 5.0  # a list is worth no longer wait
_MAX_LIST_BYTES = 4 * 2**20
_GLOB = frozenset("*?[")

Model = dict[str, object]


class Models:
    """The models that the upstreams list and the rules lead to, seen with a key's eyes."""

    def __init__(self, pipeline: Pipeline, keys: Keys) -> None:
        self._pipeline = pipeline
        self._keys = keys
        self._lists: dict[str, tuple[float, list[Model]]] = {}

    async def answer(self, call: ActiveCall, send: Send) -> None:
        """The list, or one model of it. Raises InvalidApiKey, ModelNotFound, LedgerUnavailable."""
        try:
            key, _ = await authenticate(call.inbound, self._keys, call.started_at_us)
        except LedgerError as error:
            raise LedgerUnavailable(
                "Farebox can't reach its ledger. Try again in a moment."
            ) from error
        models = await self._models(self._pipeline.config, key)
        wanted = unquote(call.inbound.path[len(b"/v1/models/") :].decode("latin-1"))
        call.answering = True
        extra = [(b"x-farebox-call-id", call.id.encode())]
        if not wanted:
            body = orjson.dumps({"object": "list", "data": models})
        else:
            found = next((m for m in models if m["id"] == wanted), None)
            if found is None:
                raise ModelNotFound(
                    f"The model {wanted!r} is not among those that this key may use (GET /v1/models).",
                    param="model",
                )
            body = orjson.dumps(found)
        await answers.answer_json(send, 200, body, extra)

    async def _models(self, config: GatewayConfig, key: Key) -> list[Model]:
        upstreams = list(config.upstreams.values())
        lists = await asyncio.gather(*(self._listed(u) for u in upstreams))
        models: dict[str, Model] = {}
        for rule in config.router.rules:
            if not _GLOB.intersection(rule.pattern):
                models[rule.pattern] = _model(rule.pattern, "farebox")
        for upstream, listed in zip(upstreams, lists, strict=True):
            for model in listed:
                name = str(model["id"])
                if name not in models and _leads_to(config, name, upstream.name):
                    models[name] = model
        return [
            models[name]
            for name in sorted(models)
            if allowed(name, key.team.models) and allowed(name, key.models)
        ]

    async def _listed(self, upstream: Upstream) -> list[Model]:
        """An upstream's own list; empty where it has none or can't be asked."""
        now = time.monotonic()
        until, models = self._lists.get(upstream.name, (0.0, []))
        if now < until:
            return models
        try:
            async with asyncio.timeout(_PATIENCE_S):
                models, keep = await _ask(upstream), _KEPT_S
        except (UpstreamFailed, TimeoutError, ValueError):
            keep = _RETRY_S  # the last known list is better than none
        self._lists[upstream.name] = (now + keep, models)
        return models


async def _ask(upstream: Upstream) -> list[Model]:
    headers = [(b"accept", b"application/json"), (b"accept-encoding", b"identity")]
    request = UpstreamRequest(
        b"GET", b"/models", [*headers, *upstream.credential, *upstream.headers], fresh=True
    )
    response = await upstream.client.send(request)
    try:
        parts = []
        size = 0
        while (data := await response.read()) and size < _MAX_LIST_BYTES:
            parts.append(data)
            size += len(data)
    finally:
        await response.aclose()
    document = orjson.loads(b"".join(parts))
    listed = document.get("data") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return []
    return [m for m in listed if isinstance(m, dict) and isinstance(m.get("id"), str)]


def _leads_to(config: GatewayConfig, model: str, upstream: str) -> bool:
    try:
        return any(t.upstream == upstream for t in config.router.plan(model).targets)
    except ModelNotFound:
        return False


def _model(name: str, owner: str) -> Model:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
