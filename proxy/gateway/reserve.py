"""Reserve: hold the most that a call can cost, with no more precision than it takes to admit it.

First the cheap bound (bytes of the body); if that does not fit, the tokenizer's count; if that does
not fit, a smaller output cap where the budget allows it; if only other calls' holds are in the way,
a moment for them to settle; then refuse.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from proxy.core import estimate
from proxy.core.budgets import Refused
from proxy.core.call import AttemptRecord, CallRecord, CapSource
from proxy.core.errors import (
    BudgetExceeded,
    CallNotBounded,
    LedgerUnavailable,
    ModelNotPriced,
    Refusal,
)
from proxy.core.limits import Cap
from proxy.core.money import usd
from proxy.core.objects import Bounded
from proxy.core.pricing import BATCH, PriceQuery, Rates
from proxy.core.reservation import Hold, HoldRequest
from proxy.core.usage import EMPTY, Usage
from proxy.gateway.active import ActiveCall
from proxy.gateway.config import GatewayConfig, Upstream
from proxy.gateway.dialects.base import RequestFacts
from proxy.gateway.experience import Experience
from proxy.gateway.ports import Ledger, Tokenizer
from proxy.gateway.router import Target

_LEAST_SHRUNK_CAP = 16  # tokens: an answer shorter than that is none
_MOST_OUTPUT = 10_000_000  # tokens: more than any answer
_NO_RETRY = (("x-should-retry", "false"),)


@dataclass(frozen=True, slots=True)
class Reservations:
    """Admits calls to the ledger, or explains why not."""

    ledger: Ledger
    tokenizer: Tokenizer
    experience: Experience

    async def reserve(self, call: ActiveCall) -> Hold:
        """The call's hold. Raises BudgetExceeded, ModelNotPriced, CallNotBounded; LedgerError."""
        if not call.metered:
            return await self._exempt(call)
        if call.job is not None:
            return await self._batch(call, call.job)
        bound = _bound(call)
        call.amount_nano = bound.most_nano(call.cap)
        call.estimate_nano = self._likely_nano(call, bound)
        call.plain = bound.plain
        answer = await self._ask(call, bound)
        if isinstance(answer, Refused):
            answer = await self._more_precisely(call, bound, answer)
        if answer.hard and call.facts.stream and (call.cap.tokens is None or call.facts.unbounded):
            call.paid_output = bound.affordable(answer.amount_nano)
        return answer

    def _likely_nano(self, call: ActiveCall, bound: "Bound") -> int:
        """What it will likely have cost if this process dies under it.

        A provider stops a stream when it loses us, unless it is one that bills the whole all the same.
        What is not streamed it makes, and bills, to the end.
        """
        if not bound.rates or bound.plain is None:
            return 0
        team, facts = call.principal.key.team.name, call.facts
        model, stream, cap = facts.model, facts.stream, call.cap.tokens
        known = self.experience
        if not facts.makes_text:
            output = 0
        elif stream and call.config.upstreams[call.plan.targets[0].upstream].bills_whole:
            output = known.output(team, model, cap, stream=stream)
        else:
            output = known.under_way(team, model, cap, stream=stream)
        tokens = known.input(team, model, bound.body_bytes, stream=stream)
        nano = bound.plain.likely_nano(tokens, output * bound.choices, bound.beside)
        return round(nano * known.paid(team, model, stream=stream))

    def learn(self, call: ActiveCall, record: CallRecord) -> None:
        """Remember what a call came to, for those whose end nobody sees."""
        last, facts = record.last, call.facts
        if last is None or not call.metered or not isinstance(call.body, bytes):
            return
        if call.first_sent is None:  # an answer of a batch, that took its own time and price
            return
        plain = call.plain
        if last.number > 1:  # perhaps at another upstream
            query = price_query(call.config.upstreams[last.upstream], last.model, facts)
            plain = call.config.prices.rates(query, call.started_at_us)
        usage = last.usage
        self.experience.learn(
            record,
            facts.choices,
            input_bytes(call),
            makes_text=facts.makes_text,
            plain_nano=plain.likely_nano(usage.input_tokens, usage.output_tokens) if plain else 0,
        )

    async def _exempt(self, call: ActiveCall) -> Hold:
        answer = await self.ledger.reserve(
            HoldRequest(
                call.principal,
                call.pending(next_attempt(call)),
                0,
                model=call.facts.model,
                exempt=True,
            )
        )
        assert isinstance(answer, Hold)  # noqa: S101 - no budget refuses an exempt call
        return answer

    async def _ask(self, call: ActiveCall, bound: "Bound") -> Hold | Refused:
        matters = bool(call.facts.model) and not call.facts.outside
        return await self._hold(call, unpriced=matters and not bound.rates)

    async def _hold(self, call: ActiveCall, *, unpriced: bool) -> Hold | Refused:
        return await self.ledger.reserve(
            HoldRequest(
                principal=call.principal,
                record=call.pending(next_attempt(call)),
                amount_nano=call.amount_nano,
                estimate_nano=call.estimate_nano,
                model=call.facts.model,
                unpriced=unpriced,
                unbounded=bool(call.facts.unbounded),
            )
        )

    async def _batch(self, call: ActiveCall, job: Bounded) -> Hold:
        """What all its requests can cost. Nothing makes that less, but time may make room."""
        call.amount_nano, call.estimate_nano = job.amount_nano, job.estimate_nano
        deadline = time.monotonic() + call.config.defaults.hold_wait_s
        while isinstance(answer := await self._hold(call, unpriced=job.unpriced), Refused):
            if not await self._wait(answer, deadline):
                raise explain(call, answer)
        return answer

    async def _more_precisely(self, call: ActiveCall, bound: "Bound", refused: Refused) -> Hold:
        spent = refused.available_nano <= 0 and not refused.waitable  # nothing at all would fit
        if spent or refused.reason != "budget":
            raise explain(call, refused)
        deadline = time.monotonic() + call.config.defaults.hold_wait_s
        bound = await self._count(call, bound)
        answer: Hold | Refused = refused
        while isinstance(answer, Refused):
            # An unbounded call's budget may want more held than was asked for.
            available = answer.available_nano - (answer.amount_nano - call.amount_nano)
            patient = answer.waitable and time.monotonic() < deadline
            if bound.most_nano(call.cap) > available and answer.budget.shrink and not patient:
                _shrink(call, bound, available)
            amount = bound.most_nano(call.cap)
            if amount < call.amount_nano or amount <= available:
                call.amount_nano = amount
            elif not await self._wait(answer, deadline):
                raise explain(call, answer)
            answer = await self._ask(call, bound)
        return answer

    async def _count(self, call: ActiveCall, bound: "Bound") -> "Bound":
        text = call.dialect.prompt_text(call.facts)
        tokens = await self.tokenizer.count_prompt(text, call.facts, call.facts.model)
        counted = estimate.counted_bound(
            tokens,
            has_tools=call.facts.has_tools,
            model=call.facts.model,
            body_bytes=bound.body_bytes,
        )
        counted += call.facts.more_input
        return replace(bound, input_tokens=min(bound.input_tokens, counted))

    async def _wait(self, refused: Refused, deadline: float) -> bool:
        """Whether something may have been given back that lets the call in after all."""
        left = deadline - time.monotonic()
        if not refused.waitable or left <= 0:
            return False
        await self.ledger.released(left)
        return True


class Bound(Struct, frozen=True):
    """What the most and the likely cost of a call are made of."""

    rates: tuple[Rates, ...]  # of every upstream it may go to; empty where one has no price
    input_tokens: int
    model: str
    choices: int
    plain: Rates | None = None  # of the first upstream, if it serves the call as it was asked to
    body_bytes: int = 0
    makes_text: bool = True
    streamed: bool = False
    beside: Usage = EMPTY

    def most_nano(self, cap: Cap) -> int:
        """The most that the call can cost: one answer, and the prompt wherever it was tried before.

        What is not streamed is made to the end, and billed, also where we gave up and tried the next.
        """
        output = self._most_output(cap)
        if len(self.rates) == 1:
            return self.rates[0].most_nano(self.input_tokens, output, self.beside)
        each = [r.most_nano(self.input_tokens, output, self.beside) for r in self.rates]
        if not self.streamed:
            return sum(each)
        most = max(each, default=0)
        if len(self.rates) > 1:
            prompts = [r.most_nano(self.input_tokens, 0) for r in self.rates]
            most += sum(prompts) - min(prompts)
        return most

    def _most_output(self, cap: Cap) -> int:
        if not self.makes_text:
            return 0
        return estimate.output_bound(cap.tokens, self.model, self.choices)

    def affordable(self, amount_nano: int) -> int | None:
        """The most output tokens that the amount pays for, even if the input cost nothing."""
        if not self.rates:
            return None
        low, high = 0, _MOST_OUTPUT
        while low < high:
            middle = (low + high + 1) // 2
            if min(r.most_nano(0, middle) for r in self.rates) <= amount_nano:
                low = middle
            else:
                high = middle - 1
        return low


def next_attempt(call: ActiveCall) -> AttemptRecord:
    """The attempt that is about to be sent: what is known of it if this process dies."""
    target = call.plan.targets[0]
    return AttemptRecord(1, target.upstream, target.model, call.started_at_us, 0)


def _bound(call: ActiveCall) -> Bound:
    size = input_bytes(call)
    return bound_of(call.config, call.plan.targets, call.facts, size, call.started_at_us)


def bound_of(
    config: GatewayConfig,
    targets: Sequence[Target],
    facts: RequestFacts,
    body_bytes: int,
    at_us: int,
) -> Bound:
    """What bounds a request that may go to these targets."""
    rates = []
    plain = None
    for target in targets:
        query = price_query(config.upstreams[target.upstream], target.model, facts)
        plain = plain or config.prices.rates(query, at_us)
        found = config.prices.bound(query, at_us)
        if found is None:
            return Bound((), 0, facts.model, facts.choices)
        rates.append(found)
    return Bound(
        rates=tuple(rates),
        input_tokens=estimate.input_bound(body_bytes, has_tools=facts.has_tools) + facts.more_input,
        model=facts.model,
        choices=facts.choices,
        plain=plain,
        body_bytes=body_bytes,
        makes_text=facts.makes_text,
        streamed=facts.stream,
        beside=facts.beside,
    )


def input_bytes(call: ActiveCall) -> int:
    """The bytes of a body that can become input tokens."""
    if call.facts.text_bytes is not None:
        return call.facts.text_bytes
    return len(call.body) if isinstance(call.body, bytes) else 0


def price_query(upstream: Upstream, model: str, facts: RequestFacts) -> PriceQuery:
    """What decides the price of a request before it is answered."""
    # A batch is no tier that a request could name to be cheaper.
    tier = (facts.service_tier,) if facts.service_tier not in {"", BATCH} else ()
    variants = (*tier, *facts.variants, *upstream.variants)
    return PriceQuery(upstream.name, upstream.provider, model, variants)


def _shrink(call: ActiveCall, bound: Bound, available_nano: int) -> None:
    """Lower the output cap to what still fits, if anything does."""
    low, high = 0, estimate.output_bound(call.cap.tokens, call.facts.model)
    while low < high:
        middle = (low + high + 1) // 2
        if bound.most_nano(Cap(middle, CapSource.BUDGET)) <= available_nano:
            low = middle
        else:
            high = middle - 1
    if low >= _LEAST_SHRUNK_CAP:
        call.cap = Cap(low, CapSource.BUDGET)


def explain(call: ActiveCall, refused: Refused) -> Refusal:
    """What the client is told."""
    if refused.reason == "unpriced":
        return _not_priced(call, refused)
    if refused.reason == "unbounded":
        why = ", ".join(call.facts.unbounded)
        return CallNotBounded(
            f"The cost of this call can't be bounded from its body ({why}), and the budget "
            f"{refused.budget.id!r} blocks. Leave that out, or set `unbounded: allow` or "
            "`unbounded: {reserve_usd: …}` on the budget.",
            headers=_NO_RETRY,
        )
    return _exceeded(refused)


def _exceeded(refused: Refused) -> BudgetExceeded:
    budget = refused.budget
    resets = f"It resets {refused.resets_at_iso}." if refused.resets_at else "It never resets."
    return BudgetExceeded(
        f"Budget {budget.id!r} ({budget.scope} {refused.subject!r}, {budget.window}) does not "
        f"allow this call: limit ${usd(budget.limit_nano)}, spent ${usd(refused.spent_nano)}, "
        f"held for calls under way ${usd(refused.held_nano)}, this call may cost up to "
        f"${usd(refused.amount_nano)}. {resets} "
        "Ask for less output (max_completion_tokens), or have the budget raised.",
        headers=_NO_RETRY,
    )


def _not_priced(call: ActiveCall, refused: Refused) -> ModelNotPriced:
    target = _unpriced(call)
    model = target.model or call.facts.model
    known = call.config.upstreams[target.upstream].provider
    hint = "" if known else ", or say whose list prices the upstream has (`price_provider: openai`)"
    return ModelNotPriced(
        f"Nothing says what the model {model!r} costs at the upstream {target.upstream!r}, and the "
        f"budget {refused.budget.id!r} blocks. Add to the configuration:\n"
        "prices:\n"
        f'  - {{upstream: {target.upstream}, model: "{model}", '
        "input_per_mtok: 0.00, output_per_mtok: 0.00}\n"
        f"or set `unpriced: allow` on the budget{hint}.",
        param="model",
        headers=_NO_RETRY,
    )


def _unpriced(call: ActiveCall) -> Target:
    """The target that nothing gives a price for."""
    config, targets = call.config, call.plan.targets
    for target in targets:
        query = price_query(config.upstreams[target.upstream], target.model, call.facts)
        if config.prices.bound(query, call.started_at_us) is None:
            return target
    return targets[0]


def unavailable() -> LedgerUnavailable:
    """The refusal of a call that the ledger can't take."""
    return LedgerUnavailable(
        "Farebox can't reach its ledger, and its configuration says that nothing is forwarded "
        "unrecorded (ledger.unavailable: reject). Try again in a moment.",
        headers=(("retry-after", "1"),),
    )
