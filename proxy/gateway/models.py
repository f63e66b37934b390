"""GET /v1/models: what the key may use."""

import asyncio
import time
from dataclasses import dataclass, field
from urllib.parse import unquote

import orjson

from proxy.core.call import Key
from proxy.core.errors import (
    InvalidApiKey,
    LedgerError,
    LedgerUnavailable,
    ModelNotFound,
    UpstreamFailed,
)
from proxy.gateway import answers
from proxy.gateway.active import ActiveCall
from proxy.gateway.asking import asked
from proxy.gateway.authenticate import authenticate
from proxy.gateway.config import GatewayConfig, Upstream, speaks
from proxy.gateway.credentials import credential
from proxy.gateway.inbound import IDENTITY, Send
from proxy.gateway.pipeline import Pipeline
from proxy.gateway.ports import Keys
from proxy.gateway.router import allowed
from proxy.gateway.upstreams.base import Headers, UpstreamRequest

_KEPT_S = 300.0  # how long an upstream's list is used before it is asked again
_RETRY_S = 10.0  # and how long after it failed
_PATIENCE_S = 5.0  # a list is worth no longer wait
_MAX_LIST_BYTES = 4 * 2**20
_OK = 200
_LISTS = "openai"  # the API whose list of models is asked for
_KEY_REFUSED = frozenset((401, 403))
_GLOB = frozenset("*?[")

Model = dict[str, object]


class Models:
    """The models that the upstreams list and the rules lead to, seen with a key's eyes."""

    def __init__(self, pipeline: Pipeline, keys: Keys) -> None:
        self._pipeline = pipeline
        self._keys = keys
        self._lists: dict[str, _List] = {}

    async def answer(self, call: ActiveCall, send: Send) -> None:
        """The list, or one model of it. Raises InvalidApiKey, ModelNotFound, LedgerUnavailable."""
        try:
            key, secret = await authenticate(call.inbound, self._keys, call.started_at_us)
        except LedgerError as error:
            raise LedgerUnavailable(
                "Farebox can't reach its ledger. Try again in a moment."
            ) from error
        config = self._pipeline.config
        if key.forward_upstream is None:
            models = await self._models(config)
        else:
            models = await _provided(config.upstreams[key.forward_upstream], secret)
        models = [m for m in models if _may_use(key, str(m["id"]))]
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

    async def _models(self, config: GatewayConfig) -> list[Model]:
        upstreams = [u for u in config.upstreams.values() if _LISTS in speaks(u)]
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
        return [models[name] for name in sorted(models)]

    async def _listed(self, upstream: Upstream) -> list[Model]:
        """An upstream's own list; empty where it has none or can't be asked."""
        now = time.monotonic()
        kept = self._lists.get(upstream.name)
        if kept is None or kept.upstream is not upstream:  # a reload may have made another of it
            kept = self._lists[upstream.name] = _List(upstream)
        if now < kept.until:
            return kept.models
        try:
            async with asyncio.timeout(_PATIENCE_S):
                own = upstream.openai_credential or upstream.credential
                kept.models = await _ask(upstream, own)
            kept.until = now + _KEPT_S
        except (UpstreamFailed, TimeoutError, ValueError):
            kept.until = now + _RETRY_S  # the last known list is better than none
        return kept.models


@dataclass(slots=True)
class _List:
    """What an upstream listed, and until when that is not asked for again."""

    upstream: Upstream
    until: float = 0.0
    models: list[Model] = field(default_factory=list)


class _Refused(ValueError):
    """The upstream gave no list."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


async def _provided(upstream: Upstream, secret: str) -> list[Model]:
    """The models that a provider's own key may use there. Raises InvalidApiKey, UpstreamFailed."""
    try:
        return await _ask(upstream, credential(upstream.credential_header, secret))
    except ValueError as error:
        if isinstance(error, _Refused) and error.status in _KEY_REFUSED:
            raise InvalidApiKey("The provider refuses this API key.") from None
        raise UpstreamFailed("The provider gave no list of its models.") from None


async def _ask(upstream: Upstream, shown: Headers) -> list[Model]:
    headers = [(b"accept", b"application/json"), IDENTITY]
    request = UpstreamRequest(
        b"GET",
        upstream.openai_prefix + b"/models",
        [*headers, *shown, *upstream.headers],
        fresh=True,
    )
    async with asked(upstream, request) as response:
        parts = []
        size = 0
        while (data := await response.read()) and size < _MAX_LIST_BYTES:
            parts.append(data)
            size += len(data)
    if response.status != _OK:
        raise _Refused(response.status)
    document = orjson.loads(b"".join(parts))
    listed = document.get("data") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return []
    return [m for m in listed if isinstance(m, dict) and isinstance(m.get("id"), str)]


def _may_use(key: Key, model: str) -> bool:
    return allowed(model, key.team.models) and allowed(model, key.models)


def _leads_to(config: GatewayConfig, model: str, upstream: str) -> bool:
    try:
        return any(t.upstream == upstream for t in config.router.plan(model).targets)
    except ModelNotFound:
        return False


def _model(name: str, owner: str) -> Model:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
