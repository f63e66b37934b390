"""What each step of a call costs by itself: ``python -m bench.core``, microseconds on this machine."""

import argparse
import gc
import json
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from decimal import Decimal

from bench.answers import MODEL, events_of, json_body, request_body
from proxy.core.budgets import Budget, Scope, Window, WindowKey, WindowState, decide, window_bounds
from proxy.core.call import (
    AttemptRecord,
    CallFinished,
    CallRecord,
    CapSource,
    Key,
    Outcome,
    Principal,
    Team,
    new_call_id,
)
from proxy.core.estimate import input_bound, output_bound
from proxy.core.limits import output_cap
from proxy.core.money import NANO_PER_USD, nano_from_usd
from proxy.core.pricing import PriceQuery
from proxy.core.usage import Usage, UsageSource
from proxy.gateway.dialects.base import NOWHERE, Patch, RequestFacts, Watch
from proxy.gateway.dialects.openai_chat import OpenAIChat
from proxy.observe.call_lines import call_fields
from proxy.observe.metrics import Metrics
from proxy.store.pricebook import layered_book
from proxy.store.secret import digest

Step = Callable[[], object]

_AT_US = 1_763_800_000_000_000
_ROUND_S = 0.1
_ROUNDS = 5
_USAGE = Usage(input=200, cached_input=19, output=14)
_CHAT = OpenAIChat()


def steps() -> Iterator[tuple[str, Step]]:
    """Every step, by name, in the order of a call."""
    yield from _before_forwarding()
    yield from _scanning()
    yield from _after_the_answer()


def _before_forwarding() -> Iterator[tuple[str, Step]]:
    small, large = request_body("json"), request_body("json", size=16_000)
    stream = request_body("stream30", stream=True, wants_usage=False)
    yield "digest of a key", lambda: digest("fb-sk-" + "a" * 49)
    yield "inspect, 1 kB", lambda: _CHAT.inspect(small, NOWHERE)
    yield "inspect, 16 kB", lambda: _CHAT.inspect(large, NOWHERE)
    key = Key("k", "bench", Team("bench", max_output_tokens=1000))
    yield "output cap", lambda: output_cap(4096, key, model_rule=None, default=8192)
    capped = Patch(output_cap=1000, cap_parameter="max_tokens")
    yield "patch: cap, 1 kB", lambda: _CHAT.patch(small, capped)
    yield "patch: cap, 16 kB", lambda: _CHAT.patch(large, capped)
    asked = Patch(output_cap=1000, cap_parameter="max_tokens", include_usage=True)
    yield "patch: cap and usage, 1 kB", lambda: _CHAT.patch(stream, asked)
    book, query = layered_book(()), PriceQuery("mock", "openai", "gpt-4o")
    yield "price bound, known", lambda: book.bound(query, _AT_US)
    rates = book.bound(query, _AT_US)
    if rates is None:
        raise RuntimeError("the price data does not know gpt-4o")
    most = rates.most_nano
    yield (
        "most that a call can cost",
        lambda: most(input_bound(1000, has_tools=False), output_bound(4096, "gpt-4o")),
    )
    budget = Budget("team:bench:month", Scope.TEAM, "bench", 10**6 * NANO_PER_USD, Window.MONTH)
    principal = Principal(key)
    yield "budget covers the call", lambda: budget.subjects(principal, "gpt-4o")
    yield "bounds of a month", lambda: window_bounds(Window.MONTH, "UTC", _AT_US)
    windows = [WindowState(WindowKey(budget.id, "bench", 0), budget, None)]
    yield "decide, one budget", lambda: decide(windows, 10_000_000)
    yield "decide, four budgets", lambda: decide(windows * 4, 10_000_000)
    yield "new call id", new_call_id


def _scanning() -> Iterator[tuple[str, Step]]:
    answer, facts = json_body(), RequestFacts(model="gpt-4o", output_limit=4096)
    yield "scan a JSON answer", _scan([answer], facts, streamed=False)
    for count in (30, 300):
        events, asked = events_of(count), RequestFacts("gpt-4o", stream=True, wants_usage=True)
        whole = [b"".join(events)]
        yield f"scan {count} events in one piece", _scan(whole, asked, streamed=True)
        yield f"scan {count} events one by one", _scan(events, asked, streamed=True)
        yield (
            f"scan {count} events one by one, usage stripped",
            _scan(events, RequestFacts("gpt-4o", stream=True), streamed=True, strip=True),
        )


def _scan(pieces: list[bytes], facts: RequestFacts, *, streamed: bool, strip: bool = False) -> Step:
    watch = Watch(streamed=streamed, strip_usage=strip, output_cap=4096, count=len)

    def scan() -> object:
        scanner = _CHAT.scanner(facts, watch)
        for piece in pieces:
            scanner.feed(piece)
        scanner.finish()
        return scanner.scan

    found = _CHAT.scanner(facts, watch)
    for piece in pieces:
        found.feed(piece)
    found.finish()
    if found.scan.usage is None:
        raise RuntimeError("the scanner does not find the usage: the figures would mean nothing")
    return scan


def _after_the_answer() -> Iterator[tuple[str, Step]]:
    book, query = layered_book(()), PriceQuery("mock", "openai", MODEL)
    yield "rates, known", lambda: book.rates(query, _AT_US)
    rates = book.rates(query, _AT_US)
    if rates is None:
        raise RuntimeError(f"the price data does not know {MODEL}")
    charge = rates.charge
    yield "charge", lambda: charge(_USAGE)
    event = CallFinished(_record())
    metrics = Metrics()
    yield "count in the metrics", lambda: metrics.call_finished(event)
    yield "fields of a log line", lambda: call_fields(event)
    yield "a price read", lambda: nano_from_usd(Decimal("2.50"))


def _record() -> CallRecord:
    attempt = AttemptRecord(
        1,
        "mock",
        "gpt-4o",
        _AT_US,
        900,
        800,
        200,
        MODEL,
        "chatcmpl-x",
        _USAGE,
        UsageSource.PROVIDER,
    )
    return CallRecord(
        id=new_call_id(), started_at_us=_AT_US, team="bench", organisation="", key_id="k", key="bench",
        user="", workflow="", run="", tags=(), endpoint="chat.completions", model_requested="gpt-4o",
        stream=False, status=200, outcome=Outcome.COMPLETED, output_cap=4096,
        output_cap_source=CapSource.CLIENT, duration_us=1000, first_byte_us=900, overhead_us=100,
        attempts=(attempt,),
    )  # fmt: skip


def microseconds(step: Step) -> float:
    """The median of some rounds."""
    timer = timeit.Timer(step, timer=time.process_time)  # others may be at work on the machine
    number, _ = timer.autorange()
    number = max(1, int(number * _ROUND_S / 0.2))  # autorange takes 0.2 s
    return statistics.median(timer.repeat(_ROUNDS, number)) / number * 1e6


def main() -> int:
    """Print a line a step."""
    parser = argparse.ArgumentParser(prog="python -m bench.core", description=__doc__)
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    options = parser.parse_args()
    gc.disable()
    found = {name: microseconds(step) for name, step in steps()}
    if options.json:
        print(json.dumps({name: round(us, 3) for name, us in found.items()}, indent=2))
        return 0
    for name, us in found.items():
        print(f"{us:10.2f} µs  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
