"""``farebox check``: whether everything is there that a service needs, before it is started."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from proxy.cli.output import Column, Format
from proxy.cli.output import show as show_rows
from proxy.cli.providers import providers
from proxy.core.errors import LedgerError
from proxy.core.pricing import PriceQuery
from proxy.settings import Settings, UpstreamSettings
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.pricebook import layered_book
from proxy.store.vocabulary import ENCODINGS, Vocabulary

TIMEOUT_S = 5.0
_REFUSED = (401, 403)
# Where a list of models is, below the base URL: asking for it costs nothing.
_LISTS = {
    "openai": "/models",
    "anthropic": "/models",
    "gemini": "/models",
    "cohere": "/v1/models",
    "ollama": "/api/tags",
}


GUESSED_BELOW = 16  # characters of an admin token


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing."""

    what: str
    verdict: str  # ok | note | problem
    detail: str

    @property
    def is_problem(self) -> bool:
        """Whether the service would not work as configured."""
        return self.verdict == "problem"


async def findings(settings: Settings, path: Path | None) -> list[Finding]:
    """Everything that is checked. The configuration was: else there would be no settings."""
    source = str(path) if path else "no file: defaults and environment"
    return [
        Finding(
            "configuration",
            "ok",
            f"{source} ({len(settings.teams)} teams, {len(settings.upstreams)} upstreams)",
        ),
        *_admin(settings),
        await _database(settings),
        *_prices(settings),
        *await _vocabularies(),
        *await _upstreams(settings),
    ]


def show(found: Sequence[Finding], output: Format) -> None:
    """The findings in the form that was asked for."""
    rows = [asdict(finding) for finding in found]
    show_rows(rows, [Column("what"), Column("verdict"), Column("detail")], output, "Check")


def _admin(settings: Settings) -> list[Finding]:
    if settings.admin_token:
        if len(settings.admin_token) >= GUESSED_BELOW:
            return []
        said = "the admin token is short enough to be guessed: `openssl rand -hex 32` makes one that is not"
        return [Finding("admin API", "note", said)]
    return [Finding("admin API", "note", "closed: no admin token is set (FAREBOX_ADMIN_TOKEN)")]


async def _database(settings: Settings) -> Finding:
    what = f"database {settings.database_shown}"
    database = Database(settings.database)
    try:
        if database.is_sqlite and not database.path.exists():
            return Finding(what, "note", "does not exist yet; serve makes it")
        at = await migrate.current(database)
        if at != migrate.HEAD:
            return Finding(what, "note", f"at {at or 'nothing'}; serve brings it to {migrate.HEAD}")
        differences = await migrate.check(database)
    except LedgerError as error:
        return Finding(what, "problem", str(error))
    finally:
        await database.close()
    if differences:
        return Finding(what, "problem", "its tables differ: " + "; ".join(differences[:3]))
    return Finding(what, "ok", f"at {at}")


# Prices


def _prices(settings: Settings) -> list[Finding]:
    book = layered_book(settings.prices)
    now_us = time.time_ns() // 1000
    known = providers(settings)
    unpriced = []
    for upstream, model in _named_models(settings):
        if book.rates(PriceQuery(upstream, known[upstream], model), now_us) is None:
            unpriced.append(f"{upstream}/{model}")
    notes = []
    if unpriced:
        notes.append("nothing gives a price for " + ", ".join(unpriced))
    if strangers := _without_prices(settings, known):
        notes.append(
            f"{', '.join(strangers)}: no list prices at this address, and none under `prices:`; "
            "if they are a provider's, name it with `price_provider`"
        )
    if notes:
        return [Finding("prices", "note", "; ".join(notes))]
    return [Finding("prices", "ok", book.version)]


def _without_prices(settings: Settings, known: Mapping[str, str]) -> list[str]:
    """The upstreams whose every model lacks a price: a blocking budget refuses all of their calls."""
    written = [rule.upstream.lower() for rule in settings.prices]
    return [
        name
        for name, provider in known.items()
        if not provider and not any(fnmatchcase(name.lower(), glob) for glob in written)
    ]


def _named_models(settings: Settings) -> list[tuple[str, str]]:
    """Every upstream model that the configuration names without a wildcard."""
    named: list[tuple[str, str]] = []
    for rule in settings.models:
        targets = [target.partition("/") for target in rule.targets]
        named += [(upstream, model) for upstream, _, model in targets]
        if rule.upstream:
            named.append((rule.upstream, rule.upstream_model or rule.match or ""))
    return [(u, m) for u, m in named if u in settings.upstreams and not set("*?[") & set(m)]


async def _vocabularies() -> list[Finding]:
    vocabulary = Vocabulary()
    try:
        await vocabulary.load(*ENCODINGS)
        return [
            Finding(f"vocabulary {name}", "ok", "ready")
            if vocabulary.available(name)
            else Finding(
                f"vocabulary {name}", "problem", "missing: texts are estimated, not counted"
            )
            for name in ENCODINGS
        ]
    finally:
        vocabulary.close()


# Upstreams


async def _upstreams(settings: Settings) -> list[Finding]:
    if not settings.upstreams:
        return [Finding("upstreams", "note", "none; serve --demo brings a simulated one")]
    named = _named_models(settings)
    checks = (
        _upstream(name, upstream, [model for at, model in named if at == name])
        for name, upstream in settings.upstreams.items()
    )
    return list(await asyncio.gather(*checks))


async def _upstream(name: str, upstream: UpstreamSettings, named: Sequence[str]) -> Finding:
    """Ask for the models: that costs nothing, and tells whether the credential is good."""
    what = f"upstream {name}"
    started = time.monotonic()
    try:
        async with httpx.AsyncClient(verify=_tls(upstream), timeout=TIMEOUT_S) as client:
            answer = await client.get(_models_url(upstream), headers=_credential(upstream))
    except (httpx.HTTPError, OSError) as error:  # a file of certificates that can't be read, too
        host = urlsplit(upstream.base_url).netloc
        return Finding(
            what, "problem", f"{host} can't be reached: {str(error) or type(error).__name__}"
        )
    took = f"{(time.monotonic() - started) * 1000:.0f} ms"
    if answer.status_code in _REFUSED:
        if upstream.api_key:
            return Finding(what, "problem", f"refuses the api_key (status {answer.status_code})")
        if upstream.aws:
            return Finding(what, "ok", f"reached in {took}; the first call tells if `aws` is right")
        return Finding(
            what, "note", f"reached in {took}; wants a credential, and no api_key is set"
        )
    return _listed(what, took, answer, named)


def _listed(what: str, took: str, answer: httpx.Response, named: Sequence[str]) -> Finding:
    """What a list of models tells: how many there are, and which of ours are not among them."""
    models = _models(answer)
    if models is None:
        return Finding(what, "ok", f"reached in {took} (status {answer.status_code})")
    if missing := [model for model in named if model not in models]:
        return Finding(
            what,
            "note",
            f"reached in {took}; lists {len(models)} models, but not {', '.join(missing)}",
        )
    return Finding(what, "ok", f"reached in {took}; lists {len(models)} models")


def _models(answer: httpx.Response) -> set[str] | None:
    """The names in a list of models, in the forms of OpenAI, Gemini and Ollama; None where it is none."""
    try:
        document = answer.json()
    except ValueError:
        return None
    if not answer.is_success or not isinstance(document, dict):
        return None
    listed = document.get("data") or document.get("models")
    if not isinstance(listed, list):
        return None
    names = {
        str(model.get("id") or model.get("name"))
        for model in listed
        if isinstance(model, dict) and (model.get("id") or model.get("name"))
    }
    return {name.removeprefix("models/") for name in names}


def _tls(upstream: UpstreamSettings) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=upstream.ca_file) if upstream.verify_tls else False


def _models_url(upstream: UpstreamSettings) -> str:
    base = upstream.base_url.rstrip("/")
    return base + _LISTS.get(upstream.dialect, "")


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
