"""Answers that a lane's calls draw from: usage, charge and timing, made and priced once.

Two million calls each drawn and priced anew would take minutes; some hundred answers for each lane look
the same in every report, and each is priced as the data path would.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import json

from proxy.core.pricing import ChargeLine, PriceBook, PriceQuery, Rates
from proxy.core.usage import Usage
from proxy.ledger.demo.company import EMBEDDINGS, MESSAGES, TEAMS, UPSTREAMS, Lane

_POOL = 400
_CACHE_HIT = 0.6  # of the calls of a lane that has something to cache
CAPS = {team.name: team.max_output_tokens for team in TEAMS}
_KINDS = ("batch", "interactive", "backfill")
_json = json.Encoder().encode


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What one call of a lane came to."""

    lane: Lane
    stream: bool
    kind: str  # a tag of what works at night
    overhead_us: int  # of Farebox
    usage: Usage
    raw: str
    cost_nano: int
    charge: tuple[ChargeLine, ...]
    price_source: str
    price_version: str
    first_byte_us: int
    duration_us: int


class Samples:
    """The answers of one lane, made anew when its price changes."""

    def __init__(self, lane: Lane, prices: PriceBook, seed: str) -> None:
        self._lane = lane
        self._prices = prices
        self._seed = seed
        self._query = PriceQuery(lane.upstream, UPSTREAMS[lane.upstream], lane.served or lane.model)
        self._rates: Rates | None = None
        self._pool: list[Sample] = []

    def at(self, at_us: int) -> list[Sample]:
        """The answers at the prices of a time."""
        rates = self._prices.rates(self._query, at_us) if self._query.provider else None
        if not self._pool or rates != self._rates:
            self._rates = rates
            rng = random.Random(f"{self._seed} {rates.version if rates else ''}")
            self._pool = [self._sample(rates, rng) for _ in range(_POOL)]
        return self._pool

    def _sample(self, rates: Rates | None, rng: random.Random) -> Sample:
        lane = self._lane
        usage = _usage(lane, rng)
        charge = rates.charge(usage) if rates else None
        first_byte_us = round(lane.first_byte_ms * rng.lognormvariate(0, 0.45) * 1000)
        writing_us = usage.output_tokens * 1_000_000 // lane.tokens_s
        return Sample(
            lane,
            rng.random() < lane.streamed,
            rng.choice(_KINDS) if lane.nightly else "",
            rng.randrange(900, 2600),
            usage,
            _json(_RAW.get(lane.endpoint, _chat_usage)(usage)).decode(),
            charge.nano if charge else 0,
            charge.lines if charge else (),
            rates.source if rates else "unpriced",
            rates.version if rates else "",
            first_byte_us,
            first_byte_us + writing_us + round(4000 * rng.lognormvariate(0, 1)),
        )


def _usage(lane: Lane, rng: random.Random) -> Usage:
    size = lane.size
    total = max(8, round(size.input * rng.lognormvariate(0, size.input_sigma)))
    cached = 0
    if size.cached and rng.random() < _CACHE_HIT:
        cached = round(total * min(0.98, size.cached * rng.uniform(0.7, 1.3)) / 128) * 128
    output = round(size.output * rng.lognormvariate(0, size.output_sigma)) if size.output else 0
    reasoning = round(size.reasoning * rng.lognormvariate(0, 0.8)) if size.reasoning else 0
    output = min(output, CAPS[lane.team])
    reasoning = min(reasoning, CAPS[lane.team] - output)
    written = 0
    if lane.endpoint == MESSAGES and size.cached and not cached:
        written = round(total * size.cached)
    return Usage(
        input=max(0, total - cached - written),
        cached_input=cached,
        cache_write=written,
        output=output,
        reasoning=0 if lane.endpoint == MESSAGES else reasoning,
    )


# The provider's own words


def _chat_usage(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _messages_usage(usage: Usage) -> dict[str, object]:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached_input,
        "output_tokens": usage.output_tokens,
    }


def _embeddings_usage(usage: Usage) -> dict[str, object]:
    return {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}


_RAW: dict[str, Callable[[Usage], dict[str, object]]] = {
    MESSAGES: _messages_usage,
    EMBEDDINGS: _embeddings_usage,
}
