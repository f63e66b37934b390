"""Recorded streams through a running Farebox, broken off: what a row says then, beside what was billed."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import httpx

from bench.estimates import events_of
from tests.e2e.replay.expected import expected
from tests.e2e.replay.place import Exchange, Place
from tests.e2e.replay.replaying import Replay, by_kind, replay
from tests.e2e.replay.upstream import CUT, answer_body

_OK = 200
_LONG = 400_000  # bytes of a stream that would take long
_EVENTS = frozenset(("text/event-stream", "application/x-ndjson", "application/stream+json",
                     "application/vnd.amazon.eventstream"))  # fmt: skip

Choose = Callable[[list[int]], Iterable[int]]


@dataclass(slots=True)
class Cuts:
    """Of one provider."""

    streams: int = 0
    cuts: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    errors: list[float] = field(default_factory=list)  # estimate / billed - 1, one a stream


@dataclass(slots=True)
class CutReport:
    """What became of all of them."""

    by_provider: defaultdict[str, Cuts] = field(default_factory=lambda: defaultdict(Cuts))
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        """A line a provider."""
        lines = ["provider        streams   cuts  counted  estimated  provider  none  median error"]
        for name, made in sorted(self.by_provider.items()):
            by = made.sources
            median = statistics.median(map(abs, made.errors)) if made.errors else 0.0
            lines.append(
                f"{name:15} {made.streams:7} {made.cuts:6} {by['counted']:8} {by['estimated']:10}"
                f" {by['provider']:9} {by['none']:5} {median:13.0%} ({len(made.errors)})"
            )
        cuts = sum(made.cuts for made in self.by_provider.values())
        return "\n".join([*lines, f"cut: {cuts}, wrong: {len(self.wrong)}"])


async def cut_streams(
    folder: Path, template: Path, exchanges: Iterable[Exchange], choose: Choose
) -> CutReport:
    """Break each stream off after the events that are chosen of it. ``choose`` gets the bytes before each."""
    report = CutReport()
    streams = (e for e in exchanges if _is_stream(e))
    for number, (kind, wanted) in enumerate(by_kind(streams).items()):
        home = folder / str(number)
        home.mkdir()
        async with replay(home, template, kind, [e for e, _ in wanted]) as running:
            cuts = 0
            for exchange, where in wanted:
                cuts += await _cut(running, exchange, where, choose, report)
            report.wrong += await _wrong_in_all(running, cuts)
    return report


async def _cut(
    running: Replay, exchange: Exchange, where: Place, choose: Choose, report: CutReport
) -> int:
    body = answer_body(exchange)
    *events, _ = events_of(body, _type(exchange))
    ends = list(accumulate(map(len, events)))
    into = report.by_provider[exchange["provider"]]
    into.streams += 1
    estimate = 0
    cuts = 0
    for end in choose(ends):
        row, problems = await _broken(running, exchange, where, end)
        cuts += 1
        into.cuts += 1
        into.sources[row.get("usage_source", "")] += 1
        if row.get("usage_source") in {"counted", "estimated"}:
            estimate = row["output_tokens"]
        report.wrong += [f"{exchange['provider']} {exchange['id']} at {end}: {p}" for p in problems]
    counts = expected(exchange, where)
    if counts is not None and counts.output and estimate:
        into.errors.append(estimate / counts.output - 1)
    return cuts


async def _broken(
    running: Replay, exchange: Exchange, where: Place, end: int
) -> tuple[dict[str, Any], list[str]]:
    """The row of a stream that broke off there, and what is wrong about it."""
    path, headers, body = running.request(exchange, where, f"{CUT}{end}")
    got = b""
    problems = []
    async with running.client.stream("POST", path, headers=headers, content=body) as answer:
        try:
            async for data in answer.aiter_raw():
                got += data
            problems.append("its client saw a whole answer")
        except httpx.RemoteProtocolError:
            pass
        call_id = answer.headers.get("x-farebox-call-id", "")
    row = await running.row(call_id)
    want = answer_body(exchange)[:end]
    if not (want == got or _stripped(want, got)):
        problems.append(f"{len(got)} bytes, not {len(want)}")
    if "id" not in row:
        return row, [*problems, "no row"]
    if (row["outcome"], row["attempts"]) != ("upstream_failed", 1):
        problems.append(f"{row['outcome']} after {row['attempts']} attempts")
    return row, problems


def _stripped(want: bytes, got: bytes) -> bool:
    """Whether it is what the client gets that did not ask for usage."""
    return b"usage" in want and len(got) <= len(want) and got[:20] == want[:20]


async def _wrong_in_all(running: Replay, cuts: int) -> list[str]:
    """A row each, none twice, and every total the sum of its rows."""
    await running.app.house.pipeline.settled()
    wrong: list[str] = await running.app.house.ledger.verify()
    rows = await running.app.house.database.run(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM calls").scalar(),
        writes=False,
    )
    return [*wrong, *([f"{rows} rows of {cuts} calls"] if rows != cuts else [])]


def _type(exchange: Exchange) -> str:
    return (exchange["content_type"] or "").partition(";")[0].strip().lower()


def _is_stream(exchange: Exchange) -> bool:
    if not exchange["stream"] or exchange["status"] != _OK or _type(exchange) not in _EVENTS:
        return False
    if (exchange.get("request_json") or {}).get("background"):
        return False  # its provider goes on, and is asked how it ended
    return 0 < len(answer_body(exchange)) < _LONG
