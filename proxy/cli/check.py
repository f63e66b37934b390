"""``farebox check``: whether everything is there that a service needs, before it is started."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

from proxy.cli.check_upstreams import check_upstreams
from proxy.cli.finding import Finding
from proxy.cli.output import Column, Format
from proxy.cli.output import show as show_rows
from proxy.cli.providers import providers
from proxy.core.errors import LedgerError
from proxy.core.pricing import PriceQuery
from proxy.settings import Settings
from proxy.store import migrate
from proxy.store.engine import Database
from proxy.store.pricebook import layered_book
from proxy.store.vocabulary import ENCODINGS, Vocabulary

GUESSED_BELOW = 16  # characters of an admin token


async def findings(settings: Settings, path: Path | None) -> list[Finding]:
    """Everything that is checked. The configuration was: else there would be no settings."""
    source = str(path) if path else "no file: defaults and environment"
    return [
        Finding(
            "configuration",
            "ok",
            f"{source} (teams: {len(settings.teams)}, upstreams: {len(settings.upstreams)})",
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
        if database.is_absent:
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


async def _upstreams(settings: Settings) -> list[Finding]:
    if not settings.upstreams:
        return [Finding("upstreams", "note", "none; serve --demo brings a simulated one")]
    return await check_upstreams(settings.upstreams, _named_models(settings))
