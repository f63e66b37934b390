"""The calls of an hour, in the order of time, as the data path would have recorded them."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallRecord, CapSource, Outcome
from proxy.core.pricing import PriceBook
from proxy.core.usage import UsageSource
from proxy.ledger.demo import tempo
from proxy.ledger.demo.company import LANES, ORGANISATION, TEAMS, DemoTeam, Lane
from proxy.ledger.demo.samples import Sample, Samples

_HOUR_US = 3_600_000_000
_REFUSED, _FAILED, _LEFT, _RETRIED, _LOST = 0.0035, 0.0095, 0.0150, 0.0205, 0.0208
_KINDS = ("batch", "interactive", "backfill")
_RUNAWAY_DAY = 9  # so many days before the end, an agent of "research" ran in circles
_RUNAWAY = 14.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call: one key of a team, and perhaps a person."""

    key_id: str
    key: str
    user: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the company does between two times. An hour is the same whoever makes it, and when."""

    start_us: int
    end_us: int
    seed: int
    callers: Mapping[str, Sequence[Caller]]
    samples: Sequence[Samples]

    def hour(self, start_us: int, count: int, until_us: int) -> Iterator[tuple[str, CallRecord]]:
        """``count`` calls of the hour that begins then, each with the model that was asked for."""
        rng = random.Random(f"{self.seed} {start_us}")
        pools = [samples.at(start_us) for samples in self.samples]
        weights = list(accumulate(self._weights(start_us)))
        numbers = rng.choices(range(len(LANES)), cum_weights=weights, k=count)
        times = sorted(rng.randrange(start_us, until_us) for _ in range(count))
        for at_us, number in zip(times, numbers, strict=True):
            lane = LANES[number]
            sample = rng.choice(pools[number])
            caller = rng.choice(self.callers[lane.team])
            yield lane.model, _call(rng, lane, caller, sample, at_us)

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
        found += [Caller(key_ids[prod], prod, user)] * (1 + 2 * team.people // (n + 1))
    found.append(Caller(key_ids[staging], staging, f"{team.name}-{team.people:02}"))
    return found


def _call(rng: random.Random, lane: Lane, caller: Caller, sample: Sample, at_us: int) -> CallRecord:
    luck = rng.random()
    call_id = f"fb-{at_us // 1000:012x}{rng.getrandbits(80):020x}"
    stream = luck * 1000 % 1 < lane.streamed
    overhead_us = 900 + int(luck * 1e6) % 1700
    attempt = _attempt(lane, sample, at_us + overhead_us, call_id)
    call = CallRecord(
        call_id,
        at_us,
        lane.team,
        ORGANISATION,
        caller.key_id,
        caller.key,
        caller.user,
        lane.workflow,
        "",
        (("kind", _KINDS[int(luck * 1e5) % 3]),) if lane.nightly else (),
        lane.endpoint,
        lane.model,
        stream,
        200,
        Outcome.COMPLETED,
        _CAPS[lane.team] if sample.usage.output_tokens else None,
        CapSource.TEAM if sample.usage.output_tokens else CapSource.NONE,
        sample.duration_us + overhead_us,
        (sample.first_byte_us if stream else sample.duration_us) + overhead_us,
        overhead_us,
        "",
        sample.cost_nano * 2,
        (attempt,),
    )
    return _gone_wrong(rng, call, luck) if luck < _LOST else call


_CAPS = {team.name: team.max_output_tokens for team in TEAMS}


def _attempt(
    lane: Lane, sample: Sample, at_us: int, call_id: str, number: int = 1
) -> AttemptRecord:
    return AttemptRecord(
        number,
        lane.upstream,
        lane.model,
        at_us,
        sample.duration_us,
        sample.first_byte_us,
        200,
        lane.served or lane.model,
        f"req_{call_id[-16:]}",
        sample.usage,
        UsageSource.PROVIDER,
        sample.raw,
        sample.cost_nano,
        sample.charge,
        sample.price_source,
        sample.price_version,
    )


# What goes wrong


def _gone_wrong(rng: random.Random, call: CallRecord, luck: float) -> CallRecord:
    answered = call.attempts[0]
    if luck < _REFUSED:
        return _refused(rng, call)
    if luck < _FAILED:
        status = rng.choice((429, 500, 503, 529))
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


def _refused(rng: random.Random, call: CallRecord) -> CallRecord:
    code = rng.choice(("budget_exceeded", "budget_exceeded", "model_not_allowed"))
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
