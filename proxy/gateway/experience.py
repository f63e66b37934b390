"""What calls usually come to, by what this process has seen: for calls whose end nobody sees.

Rolling means for each team, model and kind of answer (streamed or whole), for each model, and over all
of them: a team or a model of which little is known is judged by what is known of others. Kept in a
bounded table, as it is read and written for every call.

A call that is caught under way is not one like any other: a long one is caught more often than a short
one, and a stream was made only in part. So two means are kept of an answer: what it comes to at its end,
and what of it is billed at a moment at which it is under way, each moment counting once.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from msgspec import Struct

from proxy.core import estimate
from proxy.core.call import AttemptRecord, CallRecord, Outcome
from proxy.core.usage import UsageSource

_KEPT: Final = 4096  # means; then it begins anew
_REMEMBERS: Final = 512  # answers, about: an older one hardly counts
_OTHERS: Final = 8  # answers of others that count beside one's own, at most
_SEEN: Final = frozenset((UsageSource.PROVIDER, UsageSource.COUNTED))
_ALL: Final = ("", "", False), ("", "", True)

Key = tuple[str, str, bool]  # team, model, streamed


class Means(Struct):
    """What is known of the answers of one kind. A choice's tokens are meant where it says tokens."""

    answers: int = 0  # that came to their end
    output: float = 0.0  # tokens
    tokens_in: float = 0.0
    body_bytes: float = 0.0
    cost_nano: float = 0.0
    plain_nano: float = 0.0  # what the same tokens cost that are neither cached nor of another tier
    flights: int = 0  # all that went under way
    flown_us: float = 0.0
    made: float = 0.0  # tokens x microseconds: billed so far, added up over the flight

    def ended(self, tokens_out: float, tokens_in: int, body_bytes: int) -> None:
        """An answer that was reported whole."""
        if self.answers < _REMEMBERS:
            self.answers += 1
        count = self.answers
        self.output += (tokens_out - self.output) / count
        self.tokens_in += (tokens_in - self.tokens_in) / count
        self.body_bytes += (body_bytes - self.body_bytes) / count

    def cost(self, cost_nano: int, plain_nano: int) -> None:
        """What the same answer cost."""
        self.cost_nano += (cost_nano - self.cost_nano) / self.answers
        self.plain_nano += (plain_nano - self.plain_nano) / self.answers

    def flew(self, flown_us: int, made: float) -> None:
        """An answer that was under way, however it ended."""
        if self.flights < _REMEMBERS:
            self.flights += 1
        count = self.flights
        self.flown_us += (flown_us - self.flown_us) / count
        self.made += (made - self.made) / count


class Experience:
    """Learns from the answers that were seen."""

    def __init__(self) -> None:
        self._means: dict[Key, Means] = {}
        self.learned = 0  # calls

    def means(self) -> dict[Key, Means]:
        """All that is known, to be kept."""
        return self._means

    def take_up(self, means: dict[Key, Means]) -> None:
        """Begin with what was known before."""
        self._means = dict(islice(means.items(), _KEPT))

    def learn(
        self,
        record: CallRecord,
        choices: int,
        body_bytes: int,
        *,
        makes_text: bool = True,
        plain_nano: int = 0,
    ) -> None:
        """Take a call into account that is over. ``plain_nano``: its last attempt's text at the plain price."""
        self.learned += 1
        last = len(record.attempts)
        for number, attempt in enumerate(record.attempts, 1):
            source = attempt.usage_source
            if source not in _SEEN:
                continue
            if makes_text:
                self._learn_flight(record, attempt, max(choices, 1))
            if (
                number == last
                and source is UsageSource.PROVIDER
                and record.outcome is Outcome.COMPLETED
            ):
                tokens = attempt.usage.output_tokens / max(choices, 1)
                for means in self._all_of(record, beside_others=makes_text):
                    means.ended(tokens, attempt.usage.input_tokens, body_bytes)
                    means.cost(attempt.cost_nano, plain_nano)

    def _learn_flight(self, record: CallRecord, attempt: AttemptRecord, choices: int) -> None:
        tokens = attempt.usage.output_tokens / choices
        made = tokens * _billed_us(attempt, stream=record.stream)
        for means in self._all_of(record):
            means.flew(attempt.duration_us, made)

    def output(self, team: str, model: str, cap: int | None, *, stream: bool) -> int:
        """How many tokens one choice of an answer likely has at its end."""
        known = [(m.output, m.answers) for m in self._known_of(team, model, stream=stream)]
        return _capped(_blend(estimate.likely_output(cap), known), cap)

    def under_way(self, team: str, model: str, cap: int | None, *, stream: bool) -> int:
        """How many tokens of one choice are billed where an answer ends at some moment under way."""
        likely = estimate.likely_output(cap) / (2 if stream else 1)
        known = [
            (m.made / m.flown_us, m.flights)
            for m in self._known_of(team, model, stream=stream)
            if m.flown_us
        ]
        return _capped(_blend(likely, known), cap)

    def input(self, team: str, model: str, body_bytes: int, *, stream: bool) -> int:
        """How many tokens a body of so many bytes likely makes."""
        known = [
            (body_bytes * m.tokens_in / m.body_bytes, m.answers)
            for m in self._known_of(team, model, stream=stream)
            if m.body_bytes
        ]
        return min(round(_blend(estimate.likely_input(body_bytes), known)), body_bytes)

    def paid(self, team: str, model: str, *, stream: bool) -> float:
        """How much of the plain price is paid: less for what is cached, more or less in another tier."""
        known = [
            (m.cost_nano / m.plain_nano, m.answers)
            for m in self._known_of(team, model, stream=stream)
            if m.plain_nano
        ]
        return _blend(1.0, known)

    def _known_of(self, team: str, model: str, *, stream: bool) -> Iterator[Means]:
        """From what is known of all calls to what is known of these."""
        found = (self._means.get(key) for key in _keys(team, model, stream=stream))
        return (means for means in found if means is not None)

    def _all_of(self, record: CallRecord, *, beside_others: bool = True) -> Iterator[Means]:
        keys = _keys(record.team, record.model_requested, stream=record.stream)
        for key in keys if beside_others else keys[1:]:
            means = self._means.get(key)
            if means is None:
                if len(self._means) >= _KEPT:
                    self._forget()
                means = self._means[key] = Means()
            yield means

    def _forget(self) -> None:
        """Begin anew, but for what is known of all calls."""
        self._means = {key: self._means[key] for key in _ALL if key in self._means}


def _keys(team: str, model: str, *, stream: bool) -> tuple[Key, Key, Key]:
    return ("", "", stream), ("", model, stream), (team, model, stream)


def _blend(likely: float, known: Iterable[tuple[float, int]]) -> float:
    """Means, each of so many answers, from all calls to these ones: what others know counts for a few.

    The same answers are among the others', who are worth no more than those that they have beside.
    """
    before = 0
    for own, answers in known:
        if answers:
            others = min(max(before - answers, 0), _OTHERS)
            likely = (answers * own + others * likely) / (answers + others)
            before = answers
    return likely


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
