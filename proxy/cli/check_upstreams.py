"""What ``farebox check`` finds at each upstream: whether it is there, takes the key, and is what it is said to be."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from proxy.cli.finding import Finding
from proxy.settings import UpstreamSettings

TIMEOUT_S = 5.0
_REFUSED: Final = (401, 403)
_MISSING: Final = (404, 405)
_FIRST_ERROR, _FIRST_FAILURE = 400, 500
# Where a list of models is, by dialect and below what its base URL may end with: asking for it costs nothing.
_LISTS: Final = {
    "anthropic": "/v1/models",
    "gemini": "/v1beta/models",
    "cohere": "/v1/models",
    "ollama": "/api/tags",
}
# What the list is called in it.
_CALLED: Final = {
    "openai": "data",
    "anthropic": "data",
    "gemini": "models",
    "cohere": "models",
    "ollama": "models",
}
_VERSIONS: Final = ("/v1", "/v1beta", "/v1alpha")
# Where else one may be, and what would have to be written then.
_ELSEWHERE: Final = (
    ("/v1/models", "base_url ends with {base}/v1"),
    ("/api/tags", "it is Ollama's own API: `dialect: ollama`"),
    ("/v1beta/models", "it is Gemini's API: `dialect: gemini`"),
)


async def check_upstreams(
    upstreams: dict[str, UpstreamSettings], named: Sequence[tuple[str, str]]
) -> list[Finding]:
    """A finding for each of them; ``named`` are the models that the configuration expects where."""
    checks = (
        _Check(name, upstream, [model for at, model in named if at == name]).finding()
        for name, upstream in upstreams.items()
    )
    return list(await asyncio.gather(*checks))


class _Check:
    """Asks one upstream for its models: that costs nothing, and tells whether the credential is good."""

    def __init__(self, name: str, upstream: UpstreamSettings, named: Sequence[str]) -> None:
        self._what = f"upstream {name}"
        self._upstream = upstream
        self._named = named
        self._base = upstream.base_url.rstrip("/")
        self._host = urlsplit(self._base).netloc
        self._took = ""

    async def finding(self) -> Finding:
        """What was found."""
        try:
            async with httpx.AsyncClient(verify=_tls(self._upstream), timeout=TIMEOUT_S) as client:
                return await self._ask(client)
        except (httpx.HTTPError, OSError) as error:  # certificates that can't be read, too
            said = str(error) or type(error).__name__
            return self._problem(f"{self._host} can't be reached: {said}")

    async def _ask(self, client: httpx.AsyncClient) -> Finding:
        upstream = self._upstream
        url = self._url()
        started = time.monotonic()
        answer = await client.get(url or self._base, headers=_credential(upstream))
        self._took = f"reached in {(time.monotonic() - started) * 1000:.0f} ms"
        status = answer.status_code
        if status in _REFUSED:
            return self._refused(status)
        if url is None and status < _FIRST_FAILURE:
            return self._ok("it tells no models; the first call tells whether it takes the key")
        if status in _MISSING:
            return await self._missing(client, url or self._base, status)
        if answer.is_success:
            return self._listed(answer, url or self._base)
        return self._odd(answer)

    def _odd(self, answer: httpx.Response) -> Finding:
        status = answer.status_code
        if status >= _FIRST_FAILURE:
            return self._problem(f"{self._took}, and fails with status {status}")
        if status >= _FIRST_ERROR:
            return self._ok(f"status {status}")
        return self._problem(
            f"leads on to {_place(answer)}: write that into base_url, nothing is redirected"
        )

    def _url(self) -> str | None:
        """Where its models are listed; None where they are nowhere."""
        from proxy.gateway.presets import preset_for  # noqa: PLC0415 - slow; ``--help`` does without

        upstream, base = self._upstream, self._base
        preset = preset_for(upstream.preset, urlsplit(base).hostname or "", upstream.dialect)
        if not preset.lists:
            return None
        if upstream.dialect == "openai":
            beside = "" if base.endswith(preset.openai_prefix) else preset.openai_prefix
            return f"{base}{beside}/models"
        path = _LISTS.get(upstream.dialect, "/models")
        return base + ("/models" if base.endswith(_VERSIONS) and path[:3] == "/v1" else path)

    def _refused(self, status: int) -> Finding:
        if self._upstream.api_key:
            return self._problem(f"refuses the api_key (status {status})")
        if self._upstream.aws:
            return self._ok("the first call tells if `aws` is right")
        return self._note(f"{self._took}; wants a credential, and no api_key is set")

    async def _missing(self, client: httpx.AsyncClient, url: str, status: int) -> Finding:
        """Nothing is there: perhaps it is a little beside that."""
        parts = urlsplit(url)
        nothing = f"has nothing at {parts.path} (status {status})"
        base = self._base
        for end in ("/chat/completions", "/messages", "/v1"):
            base = base.removesuffix(end)
        for path, advice in _ELSEWHERE:
            if base + path == url:
                continue
            answer = await client.get(base + path, headers=_credential(self._upstream))
            there = answer.status_code in _REFUSED or _models(answer) is not None
            if there:
                said = advice.format(base=base)
                return self._problem(f"{nothing}, but something at {path}: perhaps {said}")
        return self._note(
            f"{self._took}; {nothing}, where its models would be: are base_url and dialect right?"
        )

    def _listed(self, answer: httpx.Response, url: str) -> Finding:
        """What a list of models tells: how many there are, and which of ours are not among them."""
        dialect, document = self._upstream.dialect, _json(answer)
        models = _models(answer)
        path = urlsplit(url).path
        if models is None:
            said = f"what it answers at {path} is no list of models"
            return self._problem(f"{said}: are base_url and dialect right?")
        called = _CALLED.get(dialect, "data")
        if isinstance(document, dict) and called not in document:
            said = f"its list of models is not one of the dialect {dialect!r}"
            return self._problem(f"{said}: is that what it speaks?")
        missing = [model for model in self._named if model not in models]
        lists = "lists 1 model" if len(models) == 1 else f"lists {len(models)} models"
        if missing:
            return self._note(f"{self._took}; {lists}, but not {', '.join(missing)}")
        return self._ok(lists)

    def _ok(self, detail: str) -> Finding:
        return Finding(self._what, "ok", f"{self._took}; {detail}")

    def _note(self, detail: str) -> Finding:
        return Finding(self._what, "note", detail)

    def _problem(self, detail: str) -> Finding:
        return Finding(self._what, "problem", detail)


def _place(answer: httpx.Response) -> str:
    return str(answer.headers.get("location", "another place"))[:200]


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _models(answer: httpx.Response) -> set[str] | None:
    """The names in a list of models, in whichever form; None where it is none."""
    document = _json(answer)
    if not answer.is_success:
        return None
    listed = document  # Together's is a bare list
    if isinstance(document, dict):
        listed = next((document[n] for n in ("data", "models") if n in document), None)
    if not isinstance(listed, list):
        return None
    names = {
        str(model.get("id") or model.get("name"))
        for model in listed
        if isinstance(model, dict) and (model.get("id") or model.get("name"))
    }
    return {name.removeprefix("models/") for name in names}


def _tls(upstream: UpstreamSettings) -> ssl.SSLContext | bool:
    return _trusting(upstream.ca_file) if upstream.verify_tls else False


@cache
def _trusting(ca_file: str | None) -> ssl.SSLContext:
    # One for all: reading the certificates takes so long that dozens of upstreams would time out.
    return ssl.create_default_context(cafile=ca_file)


def _credential(upstream: UpstreamSettings) -> dict[str, str]:
    headers = dict(upstream.headers)
    if not upstream.api_key:
        return headers
    match upstream.dialect:
        case "anthropic":
            return {**headers, "x-api-key": upstream.api_key, "anthropic-version": "2023-06-01"}
        case "gemini" if "aiplatform" not in upstream.base_url and upstream.preset != "vertex":
            return {**headers, "x-goog-api-key": upstream.api_key}
        case _:
            name = {"azure": "api-key"}.get(upstream.preset or "")
            if name:
                return {**headers, name: upstream.api_key}
            return {**headers, "authorization": f"Bearer {upstream.api_key}"}
