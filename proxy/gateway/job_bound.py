"""What a batch can cost: the sum of what each of its requests can cost, at the price for batches."""

from msgspec.structs import replace

from proxy.core import estimate
from proxy.core.call import CapSource
from proxy.core.limits import Cap
from proxy.core.objects import Bounded
from proxy.core.pricing import BATCH
from proxy.gateway.config import GatewayConfig
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.dialects.batch_requests import UNREADABLE, Asked, openai_request
from proxy.gateway.dialects.request_body import once
from proxy.gateway.dialects.usage import Json
from proxy.gateway.reserve import bound_of
from proxy.gateway.router import Target

_MOST_NAMED = 8  # models and reasons: a file may have any number of them
_SEVERAL = "a batch for several models"


class Bounding:
    """Adds up what requests can cost that go to one upstream."""

    def __init__(self, config: GatewayConfig, upstream: str, at_us: int) -> None:
        self._config = config
        self._upstream = upstream
        self._at_us = at_us
        self._requests = self._amount = self._estimate = 0
        self._models: dict[str, None] = {}
        self._why: dict[str, None] = {}
        self._unpriced = False

    def line(self, line: Json | None) -> None:
        """A line of OpenAI's file."""
        self.add(Asked(None, why=UNREADABLE) if line is None else openai_request(line))

    def add(self, asked: Asked) -> None:
        """One more request."""
        self._requests += 1
        if asked.facts is None:
            if asked.why and len(self._why) < _MOST_NAMED:
                self._why[asked.why] = None
            return
        facts = asked.facts
        if len(self._models) < _MOST_NAMED:
            self._models[facts.model] = None
        for why in facts.unbounded[: _MOST_NAMED - len(self._why)]:
            self._why[why] = None
        self._price(replace(facts, variants=(*facts.variants, BATCH)), asked.body_bytes)

    def _price(self, facts: RequestFacts, body_bytes: int) -> None:
        target = Target(self._upstream, facts.model)
        bound = bound_of(self._config, (target,), facts, body_bytes, self._at_us)
        if not bound.rates:
            self._unpriced = True
            return
        cap = Cap(facts.output_limit, CapSource.CLIENT)
        self._amount += bound.most_nano(cap)
        output = estimate.likely_output(facts.output_limit) * facts.choices
        self._estimate += bound.rates[0].likely_nano(
            estimate.likely_input(body_bytes), output if facts.makes_text else 0, facts.beside
        )

    def bounded(self) -> Bounded:
        """What all of them can cost."""
        why = [*self._why, *([_SEVERAL] if len(self._models) > 1 else [])]
        return Bounded(
            self._requests,
            self._amount,
            self._estimate,
            tuple(self._models),
            self._unpriced,
            once(why),
        )
