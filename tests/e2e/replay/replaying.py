"""Recorded exchanges through a running Farebox, and what became of each."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.e2e.replay.expected import Counts, expected
from tests.e2e.replay.place import Exchange, Place, place
from tests.e2e.replay.request import request_body
from tests.e2e.replay.upstream import REPLAY, ReplayUpstream, answer_body, replaying
from tests.e2e.running import KEY, bearer, farebox

ADDRESSED = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_DROPPED = (
    *ADDRESSED,
    "host",
    "content-length",
    "accept-encoding",
    "connection",
    "transfer-encoding",
)
_USAGE_NULL = re.compile(rb',"usage":null(?=[,}])')


@dataclass(slots=True)
class Report:
    """How many were right, by provider, endpoint and stream; and what was wrong with the others."""

    right: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, exchange: Exchange, endpoint: str, problems: list[str]) -> None:
        """One exchange that was replayed."""
        if problems:
            where = f"{exchange['provider']} {endpoint} {exchange['id']} ({exchange['file']})"
            self.wrong.append(f"{where}: {'; '.join(problems)}")
        else:
            self.right[exchange["provider"], endpoint, bool(exchange["stream"])] += 1

    def table(self) -> str:
        """The counts, a line a kind."""
        rows = [
            f"{provider:14} {endpoint:24} {'stream' if stream else '-':6} {n:5}"
            for (provider, endpoint, stream), n in sorted(self.right.items())
        ]
        return "\n".join([*rows, f"right: {self.right.total()}, wrong: {len(self.wrong)}"])


@dataclass(frozen=True, slots=True)
class Replay:
    """A Farebox in front of the replaying upstream, for one kind of upstream."""

    client: httpx.AsyncClient
    upstream: ReplayUpstream
    app: Any

    async def exchange(self, exchange: Exchange, where: Place, split: str) -> tuple[str, list[str]]:
        """Replay one: the endpoint that it was recorded as, and what was wrong."""
        path, headers, body = self.request(exchange, where, split)
        answer = await self.client.request(exchange["method"], path, headers=headers, content=body)
        if "x-farebox-call-id" not in answer.headers or exchange["id"] not in self.upstream.asked:
            return "?", [f"not forwarded: {answer.status_code} {answer.text[:200]}"]
        problems = _compare_answer(exchange, answer, asked=body)
        row = await self.row(answer.headers["x-farebox-call-id"])
        counts = expected(exchange, where)
        return row["endpoint"], problems + _compare_row(exchange, row, counts)

    def request(
        self, exchange: Exchange, where: Place, split: str
    ) -> tuple[str, dict[str, str], bytes]:
        """Path, headers and body that a client sends."""
        headers = {
            name.lower(): str(value[-1] if isinstance(value, list) else value)
            for name, value in (exchange["request_headers"] or {}).items()
            if name.lower() not in _DROPPED
        }
        headers |= {REPLAY: f"{exchange['id']} {split}"} | bearer(KEY)
        body, content_type = request_body(exchange, where)
        if content_type.startswith("multipart/") and "content-type" in headers:
            del headers["content-type"]
        if content_type:
            headers.setdefault("content-type", content_type)
        path = where.path + (f"?{exchange['query']}" if exchange["query"] else "")
        return path, headers, body

    async def row(self, call_id: str) -> dict[str, Any]:
        """What the ledger says of a call."""
        answer = await self.client.get(f"/farebox/v1/calls/{call_id}", headers=bearer(KEY))
        row: dict[str, Any] = answer.json()
        return row


@asynccontextmanager
async def replay(
    folder: Path, template: Path, kind: Place, exchanges: Iterable[Exchange]
) -> AsyncIterator[Replay]:
    """Farebox with one upstream of this kind, which replays."""
    async with replaying(exchanges) as (address, upstream):
        made = {"dialect": kind.dialect, "base_url": address + kind.base, "api_key": "sk-replayed"}
        if kind.preset:
            made["preset"] = kind.preset
        document = {
            "database": f"sqlite:///{folder}/farebox.db",
            "upstreams": {"replayed": made},
            "models": [{"match": "*", "upstream": "replayed"}],
            "teams": [{"name": "search"}],
            "keys": [{"name": "search-key", "team": "search", "key": KEY}],
            "logging": {"level": "error"},
            "server": {"port": 0},
        }
        async with (
            farebox(folder, document, template) as (url, app),
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            await app.house.tokenizer.load()
            yield Replay(client, upstream, app)


def by_kind(exchanges: Iterable[Exchange]) -> dict[Place, list[tuple[Exchange, Place]]]:
    """Exchanges by the upstream that they need; the kind's path is left empty."""
    kinds: dict[Place, list[tuple[Exchange, Place]]] = {}
    for exchange in exchanges:
        where = place(exchange)
        if where is not None:
            kinds.setdefault(where._replace(path=""), []).append((exchange, where))
    return kinds


def _compare_answer(exchange: Exchange, answer: httpx.Response, *, asked: bytes) -> list[str]:
    """Status and bytes are the upstream's, but for the usage that the client did not ask for."""
    problems = []
    if answer.status_code != exchange["status"]:
        problems.append(f"status {answer.status_code}, not {exchange['status']}")
    want, got = answer_body(exchange), answer.content
    if want != got and _without_usage(want) != _without_usage(got):
        problems.append(f"{len(got)} bytes that differ from the {len(want)} recorded")
    elif want != got and b'"include_usage"' in asked and b"true" in asked:
        problems.append("usage that the client asked for is missing")
    return problems


def _without_usage(stream: bytes) -> bytes:
    """A chat stream as it is where nobody asked for usage."""
    events = re.split(rb"(?<=\n\n)", _USAGE_NULL.sub(b"", stream))
    return b"".join(e for e in events if not (b'"choices":[]' in e and b'"usage":{' in e))


def _compare_row(exchange: Exchange, row: dict[str, Any], counts: Counts | None) -> list[str]:
    """The ledger's counts are the reported ones, bucket by bucket."""
    if row.get("usage_source") == "none" and counts is not None and any(counts):
        return [f"not metered, but reported {counts}"]
    got = Counts(
        row["input_tokens"],
        row["cached_tokens"],
        row["cache_write_tokens"],
        row["output_tokens"],
        row["reasoning_tokens"],
    )
    if counts is None:
        wrong = row["usage_source"] == "provider" and any(got)
        return [f"{got} said to be reported, and nothing is"] if wrong else []
    if got != counts:
        return [f"{tuple(got)} and not {tuple(counts)}; usage {_shown(exchange)}"]
    if any(counts) and row["usage_source"] != "provider":
        return [f"usage_source is {row['usage_source']}"]
    return []


def _shown(exchange: Exchange) -> str:
    return orjson.dumps(exchange["usage"][-1:]).decode()[:400]
