"""What calls usually come to, by what this process has seen: for calls whose end nobody sees.

Rolling means for each team, model and kind of answer (streamed or whole), for each model, and over all
of them: a team or a model of which little is known is judged by what is known of others. Kept in a
bounded table, as it is read and written for every call.

A call that is caught under way is not one like any other: a long one is caught more often than a short
one, and a stream was made only in part. So two means are kept of an answer: what it comes to at its end,
and what of it is billed at a moment at which it is under way, each moment counting once.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from msgspec import Struct

from proxy.core import estimate
from proxy.core.call import AttemptRecord, CallRecord, Outcome
from proxy.core.usage import UsageSource

_KEPT: Final = 4096  # means; then it begins anew
_REMEMBERS: Final = 512  # answers, about: an older one hardly counts
_AT_ONCE: Final = 64  # answers of a key, until which each one counts at once;
_TOGETHER: Final = 64  # so many of all keys together, then
_OTHERS: Final = 8  # answers of others that count beside one's own, at most
_SEEN: Final = frozenset((UsageSource.PROVIDER, UsageSource.COUNTED))
_ALL: Final = ("", "", False), ("", "", True)

Key = tuple[str, str, bool]  # team, model, streamed


class Means(Struct):
    """What is known of the answers of one kind. A choice's tokens are meant where it says tokens."""

    answers: int = 0  # that came to their end
    output: float = 0.0  # tokens
    reasoning: float = 0.0  # of those
    tokens_in: float = 0.0
    body_bytes: float = 0.0
    cost_nano: float = 0.0
    plain_nano: float = 0.0  # what the same tokens cost that are neither cached nor of another tier
    flights: int = 0  # all that went under way
    flown_us: float = 0.0
    made: float = 0.0  # tokens x microseconds: billed so far, added up over the flight

    def ended(self, count: int, sums: Sequence[float]) -> None:
        """So many answers that were reported whole, added up as ``Ended`` has it."""
        self.answers = min(self.answers + count, _REMEMBERS)
        share = 1 / self.answers
        output, reasoning, tokens_in, body_bytes, cost_nano, plain_nano = sums
        self.output += (output - count * self.output) * share
        self.reasoning += (reasoning - count * self.reasoning) * share
        self.tokens_in += (tokens_in - count * self.tokens_in) * share
        self.body_bytes += (body_bytes - count * self.body_bytes) * share
        self.cost_nano += (cost_nano - count * self.cost_nano) * share
        self.plain_nano += (plain_nano - count * self.plain_nano) * share

    def flew(self, count: int, sums: Sequence[float]) -> None:
        """So many answers that were under way, however they ended, added up as ``Flown`` has it."""
        self.flights = min(self.flights + count, _REMEMBERS)
        share = 1 / self.flights
        flown_us, made = sums
        self.flown_us += (flown_us - count * self.flown_us) * share
        self.made += (made - count * self.made) * share


Flown = tuple[float, float]  # microseconds; tokens x microseconds
# Tokens of a choice, unseen ones among them; tokens of input, bytes of the body; nano: paid, plain.
Ended = tuple[float, float, float, float, float, float]
Mix = tuple[float, float]  # what is known, and how much what is likely without it counts beside it


class _Likely(NamedTuple):
    """What is likely of a key's calls, by all that is known of them and of others."""

    output: Mix
    under_way: Mix
    per_byte: Mix
    paid: Mix


class Experience:
    """Learns from the answers that were seen."""

    def __init__(self) -> None:
        self._means: dict[Key, Means] = {}
        self._likely: dict[Key, _Likely] = {}
        self._flown: list[tuple[Key, Flown]] = []  # not looked at yet
        self._ended: list[tuple[Key, bool, Ended]] = []  # with: whether others learn from it
        self.learned = 0  # calls

    def means(self) -> dict[Key, Means]:
        """All that is known, to be kept."""
        self._catch_up()
        return self._means

    def take_up(self, means: dict[Key, Means]) -> None:
        """Begin with what was known before."""
        self._means = dict(islice(means.items(), _KEPT))
        self._likely.clear()

    def learn(
        self,
        record: CallRecord,
        choices: int,
        body_bytes: int,
        *,
        makes_text: bool = True,
        plain_nano: int = 0,
    ) -> None:
        """Take a call into account that is over. ``plain_nano``: its last attempt's text at the plain price.

        At once where little is known of such calls; many together otherwise, for it is done for every call.
        """
        self.learned += 1
        key = record.team, record.model_requested, record.stream
        attempts, choices = record.attempts, max(choices, 1)
        for attempt in attempts:
            source = attempt.usage_source
            if source not in _SEEN:
                continue
            usage = attempt.usage
            tokens = usage.output_tokens / choices
            if makes_text:
                made = tokens * _billed_us(attempt, stream=record.stream)
                self._flown.append((key, (attempt.duration_us, made)))
            if source is UsageSource.PROVIDER and attempt is attempts[-1]:
                if record.outcome is not Outcome.COMPLETED:
                    continue
                thought, paid_nano = usage.reasoning / choices, attempt.cost_nano
                ended = tokens, thought, usage.input_tokens, body_bytes, paid_nano, plain_nano
                self._ended.append((key, makes_text, ended))
        known = self._means.get(key)
        waiting = max(len(self._flown), len(self._ended))
        if known is None or known.answers < _AT_ONCE or waiting >= _TOGETHER:
            self._catch_up()

    def _catch_up(self) -> None:
        flown: dict[Key, list[Flown]] = {}
        for key, flight in self._flown:
            flown.setdefault(key, []).append(flight)
        for key, flights in flown.items():
            sums = [*map(sum, zip(*flights, strict=True))]
            for means in self._all_of(key):
                means.flew(len(flights), sums)
        ended: dict[tuple[Key, bool], list[Ended]] = {}
        for key, others_too, end in self._ended:
            ended.setdefault((key, others_too), []).append(end)
        for (key, others_too), ends in ended.items():
            sums = [*map(sum, zip(*ends, strict=True))]
            for means in self._all_of(key, beside_others=others_too):
                means.ended(len(ends), sums)
        self._flown.clear()
        self._ended.clear()
        self._likely.clear()

    def output(self, team: str, model: str, cap: int | None, *, stream: bool) -> int:
        """How many tokens one choice of an answer likely has at its end."""
        known, others = self._of(team, model, stream=stream).output
        return _capped(known + others * estimate.likely_output(cap), cap)

    def under_way(self, team: str, model: str, cap: int | None, *, stream: bool) -> int:
        """How many tokens of one choice are billed where an answer ends at some moment under way."""
        known, others = self._of(team, model, stream=stream).under_way
        likely = estimate.likely_output(cap) / (2 if stream else 1)
        return _capped(known + others * likely, cap)

    def reasoning(self, team: str, model: str, likely: int, *, stream: bool) -> int:
        """How many tokens one choice likely thinks. Other models say nothing about that."""
        self._catch_up()
        for key in reversed(_keys((team, model, stream))[1:]):
            means = self._means.get(key)
            if means is not None and means.answers:
                return round(means.reasoning)
        return likely

    def input(self, team: str, model: str, body_bytes: int, *, stream: bool) -> int:
        """How many tokens a body of so many bytes likely makes."""
        known, others = self._of(team, model, stream=stream).per_byte
        tokens = known * body_bytes + others * estimate.likely_input(body_bytes)
        return min(round(tokens), body_bytes)

    def paid(self, team: str, model: str, *, stream: bool) -> float:
        """How much of the plain price is paid: less for what is cached, more or less in another tier."""
        known, others = self._of(team, model, stream=stream).paid
        return known + others

    def _of(self, team: str, model: str, *, stream: bool) -> _Likely:
        likely = self._likely.get((team, model, stream))
        return likely or self._work_out((team, model, stream))

    def _work_out(self, key: Key) -> _Likely:
        found = [m for name in _keys(key) if (m := self._means.get(name)) is not None]
        likely = _Likely(
            _mixed((m.output, m.answers) for m in found),
            _mixed((m.made / m.flown_us, m.flights) for m in found if m.flown_us),
            _mixed((m.tokens_in / m.body_bytes, m.answers) for m in found if m.body_bytes),
            _mixed((m.cost_nano / m.plain_nano, m.answers) for m in found if m.plain_nano),
        )
        if len(self._likely) >= _KEPT:
            self._likely.clear()
        self._likely[key] = likely
        return likely

    def _all_of(self, key: Key, *, beside_others: bool = True) -> Iterator[Means]:
        keys = _keys(key)
        for name in keys if beside_others else keys[1:]:
            means = self._means.get(name)
            if means is None:
                if len(self._means) >= _KEPT:
                    self._forget()
                means = self._means[name] = Means()
            yield means

    def _forget(self) -> None:
        """Begin anew, but for what is known of all calls."""
        self._means = {key: self._means[key] for key in _ALL if key in self._means}


def _keys(key: Key) -> tuple[Key, Key, Key]:
    """From all calls to these ones."""
    _, model, stream = key
    return ("", "", stream), ("", model, stream), key


def _mixed(known: Iterable[tuple[float, int]]) -> Mix:
    """Means, each of so many answers, from all calls to these ones: what others know counts for a few.

    The same answers are among the others', who are worth no more than those that they have beside.
    """
    before, mean, unknown = 0, 0.0, 1.0
    for own, answers in known:
        if answers:
            others = min(max(before - answers, 0), _OTHERS)
            mean = (answers * own + others * mean) / (answers + others)
            unknown = others * unknown / (answers + others)
            before = answers
    return mean, unknown


def _billed_us(attempt: AttemptRecord, *, stream: bool) -> float:
    """How long all of its tokens would have had to be billed to come to the same over the flight.

    What is not streamed is billed whole, whenever it is given up. A stream grows evenly from its first
    byte to its end.
    """
    if not stream:
        return attempt.duration_us
    if attempt.first_byte_us is None:
        return 0.0
    return max(attempt.duration_us - attempt.first_byte_us, 0) / 2


def _capped(tokens: float, cap: int | None) -> int:
    whole = round(tokens)
    return whole if cap is None else min(whole, cap)
