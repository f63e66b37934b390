"""The calls of an hour, in the order of time, as the data path would have recorded them."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallRecord, CapSource, Outcome
from proxy.core.pricing import PriceBook
from proxy.core.usage import UsageSource
from proxy.ledger.demo import tempo
from proxy.ledger.demo.company import LANES, ORGANISATION, TEAMS, DemoTeam
from proxy.ledger.demo.samples import CAPS, Sample, Samples

_HOUR_US = 3_600_000_000
_REFUSED, _FAILED, _LEFT, _RETRIED, _LOST = 0.0035, 0.0095, 0.0150, 0.0205, 0.0208
_REFUSALS = ("budget_exceeded", "budget_exceeded", "model_not_allowed")
_FAILURES = (429, 500, 503, 529)
_RUNAWAY_DAY = 9  # so many days before the end, an agent of "research" ran in circles
_RUNAWAY = 14.0


class Caller(NamedTuple):
    """Who makes a call: one key of a team, and perhaps a person."""

    team: str
    key_id: str
    key: str
    user: str


class Draw(NamedTuple):
    """One call, before it is written down: whose, when, and with which answer."""

    id: str
    at_us: int
    caller: Caller
    answer: Sample
    luck: float

    @property
    def went_wrong(self) -> bool:
        """Whether it was refused, failed, retried, left or lost."""
        return self.luck < _LOST


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the company does between two times. An hour is the same whoever makes it, and when."""

    start_us: int
    end_us: int
    seed: int
    callers: Mapping[str, Sequence[Caller]]
    samples: Sequence[Samples]

    def hour(self, start_us: int, count: int, until_us: int) -> Iterator[Draw]:
        """``count`` calls of the hour that begins then."""
        rng = random.Random(f"{self.seed} {start_us}")
        pools = [samples.at(start_us) for samples in self.samples]
        callers = [self.callers[lane.team] for lane in LANES]
        weights = list(accumulate(self._weights(start_us)))
        numbers = rng.choices(range(len(LANES)), cum_weights=weights, k=count)
        length_us = until_us - start_us
        times = sorted([start_us + int(rng.random() * length_us) for _ in range(count)])
        random_hex = rng.randbytes(10 * count).hex()
        place = 0
        for at_us, number in zip(times, numbers, strict=True):
            call_id = f"fb-{at_us // 1000:012x}{random_hex[place : place + 20]}"
            place += 20
            pool, who = pools[number], callers[number]
            yield Draw(
                call_id,
                at_us,
                who[int(rng.random() * len(who))],
                pool[int(rng.random() * len(pool))],
                rng.random(),
            )

    def _weights(self, hour_us: int) -> Iterator[float]:
        age = (hour_us - self.start_us) / max(1, self.end_us - self.start_us)
        day, night = tempo.by_day(hour_us // 1_000_000), tempo.by_night(hour_us // 1_000_000)
        runaway = (self.end_us - hour_us) // (24 * _HOUR_US) == _RUNAWAY_DAY
        for lane in LANES:
            weight = lane.first + (lane.last - lane.first) * age
            if runaway and lane.workflow == "coding-agent":
                weight *= _RUNAWAY
            yield weight * (night if lane.nightly else day)


def traffic(
    start_us: int, end_us: int, seed: int, prices: PriceBook, key_ids: Mapping[str, str]
) -> Traffic:
    """The company at work with these keys (name → id)."""
    callers = {team.name: _callers(team, key_ids) for team in TEAMS}
    samples = [Samples(lane, prices, f"{seed} {number}") for number, lane in enumerate(LANES)]
    return Traffic(start_us, end_us, seed, callers, samples)


def key_names(team: DemoTeam) -> tuple[str, str]:
    """A team's keys."""
    return f"{team.name}-prod", f"{team.name}-staging"


def _callers(team: DemoTeam, key_ids: Mapping[str, str]) -> list[Caller]:
    prod, staging = key_names(team)
    found = []
    for n in range(team.people):
        # The first people call most; what machines do has no user.
        user = f"{team.name}-{n + 1:02}" if n else ""
        caller = Caller(team.name, key_ids[prod], prod, user)
        found += [caller] * (1 + 2 * team.people // (n + 1))
    last = f"{team.name}-{team.people:02}"
    found.append(Caller(team.name, key_ids[staging], staging, last))
    return found


def record_of(draw: Draw) -> CallRecord:
    """The call as the data path would have recorded it."""
    caller, answer = draw.caller, draw.answer
    lane, overhead_us = answer.lane, answer.overhead_us
    attempt = _attempt(answer, draw.at_us + overhead_us, draw.id)
    answers = answer.usage.output_tokens > 0
    first_us = answer.first_byte_us if answer.stream else answer.duration_us
    call = CallRecord(
        draw.id,
        draw.at_us,
        lane.team,
        ORGANISATION,
        caller.key_id,
        caller.key,
        caller.user,
        lane.workflow,
        "",
        (("kind", answer.kind),) if answer.kind else (),
        lane.endpoint,
        lane.model,
        answer.stream,
        200,
        Outcome.COMPLETED,
        CAPS[lane.team] if answers else None,
        CapSource.TEAM if answers else CapSource.NONE,
        answer.duration_us + overhead_us,
        first_us + overhead_us,
        overhead_us,
        "",
        answer.cost_nano * 2,
        (attempt,),
    )
    return _gone_wrong(call, draw.luck) if draw.went_wrong else call


def _attempt(answer: Sample, at_us: int, call_id: str) -> AttemptRecord:
    lane = answer.lane
    return AttemptRecord(
        1,
        lane.upstream,
        lane.model,
        at_us,
        answer.duration_us,
        answer.first_byte_us,
        200,
        lane.served or lane.model,
        upstream_id(call_id),
        answer.usage,
        UsageSource.PROVIDER,
        answer.raw,
        answer.cost_nano,
        answer.charge,
        answer.price_source,
        answer.price_version,
    )


def upstream_id(call_id: str) -> str:
    """What the provider calls the call."""
    return f"req_{call_id[-16:]}"


# What goes wrong


def _gone_wrong(call: CallRecord, luck: float) -> CallRecord:
    answered = call.attempts[0]
    which = int(luck * 1e7)
    if luck < _REFUSED:
        return _refused(call, _REFUSALS[which % 3])
    if luck < _FAILED:
        status = _FAILURES[which % 4]
        return replace(
            call,
            status=status,
            outcome=Outcome.UPSTREAM_FAILED,
            refusal="upstream_failed",
            duration_us=(answered.first_byte_us or 0) + call.overhead_us,
            first_byte_us=(answered.first_byte_us or 0) + call.overhead_us,
            attempts=(_failed(answered, status),),
        )
    if luck < _LEFT:
        gone = replace(answered, usage_source=UsageSource.COUNTED, usage_raw="")
        return replace(call, outcome=Outcome.CLIENT_LEFT, attempts=(gone,))
    if luck < _RETRIED:
        return _retried(call, answered)
    estimated = UsageSource.ESTIMATED
    lost = replace(answered, usage_source=estimated, usage_raw="", status=None, error="lost")
    return replace(call, outcome=Outcome.LOST, attempts=(lost,))


def _refused(call: CallRecord, code: str) -> CallRecord:
    return replace(
        call,
        status=403 if code == "model_not_allowed" else 429,
        outcome=Outcome.REFUSED,
        refusal=code,
        output_cap=None,
        output_cap_source=CapSource.NONE,
        duration_us=call.overhead_us,
        first_byte_us=None,
        held_nano=0,
        attempts=(),
    )


def _retried(call: CallRecord, answered: AttemptRecord) -> CallRecord:
    lost_us = (answered.first_byte_us or 0) + 300
    again = replace(answered, number=2, started_at_us=answered.started_at_us + lost_us)
    return replace(
        call,
        duration_us=call.duration_us + lost_us,
        first_byte_us=(call.first_byte_us or 0) + lost_us,
        attempts=(_failed(answered, 503), again),
    )


def _failed(answered: AttemptRecord, status: int) -> AttemptRecord:
    """What the answer would have been, had the upstream given one."""
    first_byte_us = answered.first_byte_us or 0
    return AttemptRecord(
        answered.number,
        answered.upstream,
        answered.model,
        answered.started_at_us,
        first_byte_us,
        first_byte_us - 500,
        status,
        error=f"status_{status}",
    )
