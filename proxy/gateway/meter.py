"""Meter: what an answer used, as the provider reported it or as we count it, and what that costs."""

import re
import time
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from proxy.core.calibration import calibration
from proxy.core.call import AttemptRecord
from proxy.core.pricing import PROVISIONED, Charge
from proxy.core.rating import NO_CHARGE, Metered, Rated, price_flags, rate
from proxy.core.usage import EMPTY, Usage, UsageSource
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.dialects.base import Scan, Scanner, Watch
from proxy.gateway.dialects.chat_answer import BILLED_UNKNOWN
from proxy.gateway.dialects.document_scan import UNREADABLE
from proxy.gateway.dialects.notes import note_flag
from proxy.gateway.dialects.usage import Json
from proxy.gateway.experience import Experience
from proxy.gateway.ports import Tokenizer

# An attempt's error: we did not wait for the rest.
LEFT = "client_left"
TIMEOUT = "timeout"
STOPPED = "stopped"  # Farebox itself was
DEFECT = "defect"  # of our own
_GIVEN_UP = frozenset((LEFT, TIMEOUT, STOPPED, DEFECT))
_FIRST_ERROR = 400
_AZURE = "azure"  # bills what its content filter refuses, and what takes it too long
_TOO_LONG = 408
_NOT_RATED = Rated(NO_CHARGE, "", "")
_WORD = re.compile(r"[\w.-]{1,40}")  # flags are joined by commas


class Answered(Protocol):
    """Somebody who saw what came of an attempt."""

    def measured_now(self) -> AttemptRecord | None:
        """The attempt's row, where nothing has to be counted for it."""

    async def measured(self) -> AttemptRecord:
        """The attempt's row."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Turns an attempt that is over into its row."""

    tokenizer: Tokenizer
    experience: Experience

    async def measure(
        self, call: ActiveCall, attempt: Attempt, scanner: Scanner, error: str = ""
    ) -> AttemptRecord:
        """The row of an attempt whose answer was seen to its end, or as far as it came."""
        scan = scanner.scan
        usage, source = scan.usage, UsageSource.PROVIDER
        if attempt.upstream.provider == _AZURE and (
            scan.billed_error or attempt.status == _TOO_LONG
        ):
            note_flag(scan, BILLED_UNKNOWN)
            usage, source = Usage(input=await self._count_prompt(call)), UsageSource.ESTIMATED
        elif usage is None or not call.metered:
            usage, source = await self._count(call, attempt, scanner, error)
        elif scan.lacks_input or scan.lacks_output:
            usage, source = await self._complete(call, scanner, usage), UsageSource.COUNTED
        return self._row(call, attempt, scan, usage, source, error)

    def reported(
        self, call: ActiveCall, attempt: Attempt, scanner: Scanner, error: str = ""
    ) -> AttemptRecord | None:
        """The same at once, where the provider reported the usage; else None."""
        scan = scanner.scan
        if scan.usage is None or not call.metered or scan.lacks_input or scan.lacks_output:
            return None
        return self._row(call, attempt, scan, scan.usage, UsageSource.PROVIDER, error)

    def _row(
        self,
        call: ActiveCall,
        attempt: Attempt,
        scan: Scan,
        usage: Usage,
        source: UsageSource,
        error: str,
    ) -> AttemptRecord:
        metered = _metered(call, attempt, scan, usage, source)
        rated = _NOT_RATED
        if source is not UsageSource.NONE:
            rated = rate(call.config.prices, metered, call.started_at_us)
            if source is UsageSource.ESTIMATED:
                rated = rated._replace(charge=_within_hold(call, rated.charge))
        error = error or scan.error
        status = attempt.status
        answered = status is not None and status < _FIRST_ERROR and not error
        return AttemptRecord(
            *_course(attempt),
            scan.served_model or attempt.served_model,
            scan.upstream_call_id or attempt.request_id,
            usage,
            source,
            scan.usage_raw.decode("utf-8", "replace"),
            rated.charge.nano,
            rated.charge.lines,
            rated.source,
            rated.version,
            error,
            _flags(call, scan, metered, answered=answered)
            + (("spilled_over",) if attempt.spilled else ()),
            scan.stated_nano,
            rated.list_nano,
            metered.parts,
        )

    async def unanswered(self, call: ActiveCall, attempt: Attempt, error: str) -> AttemptRecord:
        """The row of an attempt that was given up before its answer: the provider had the prompt."""
        watch = Watch(streamed=True, strip_usage=False, output_cap=None, count=len)
        return await self.measure(call, attempt, call.dialect.scanner(call.facts, watch), error)

    async def passed_over(self, call: ActiveCall, attempt: Attempt) -> AttemptRecord:
        """The row of an attempt whose answer is an error that another upstream makes up for."""
        error = f"status_{attempt.status}"
        if attempt.upstream.provider == _AZURE and attempt.status == _TOO_LONG:
            return await self.unanswered(call, attempt, error)
        return failed_attempt(attempt, error)

    async def _count(
        self, call: ActiveCall, attempt: Attempt, scanner: Scanner, error: str
    ) -> tuple[Usage, UsageSource]:
        if not call.metered or call.facts.outside:
            return EMPTY, UsageSource.NONE
        # Without a status nothing came: either we gave up (and the prompt is billed), or it failed.
        if not (error in _GIVEN_UP if attempt.status is None else _answered(attempt)):
            return EMPTY, UsageSource.NONE
        if scanner.scan.counted is not None:
            return scanner.scan.counted, UsageSource.COUNTED
        # First the prompt: that waits for the vocabulary where it is not there yet, and without one the
        # output would be estimated.
        tokens = await self._count_prompt(call)
        output = scanner.count_output()
        if scanner.scan.error and scanner.scan.finished and not output:
            return EMPTY, UsageSource.NONE  # the whole answer is an error, whatever its status says
        if _billed_whole(call, attempt, error) and not _seen_whole(attempt, scanner.scan):
            return self._likely(call, tokens, output), UsageSource.ESTIMATED
        thought = self._thought(call, output)
        used = Usage(input=tokens, output=output, reasoning=thought)
        return used, UsageSource.ESTIMATED if thought else UsageSource.COUNTED

    def _thought(self, call: ActiveCall, output: int) -> int:
        """The reasoning that is billed and that nobody sees: before the answer begins, half of it."""
        facts = call.facts
        likely = calibration(facts.model).thinks
        if likely is None or not facts.makes_text or _is_told_not_to_think(facts.document):
            return 0
        team = call.principal.key.team.name
        tokens = self.experience.reasoning(team, facts.model, likely, stream=facts.stream)
        tokens *= facts.choices
        return tokens if output else tokens // 2

    def _likely(self, call: ActiveCall, tokens: int, seen: int) -> Usage:
        """The usage of an answer that is billed whole, and was not seen, or not to its end."""
        facts = call.facts
        if not facts.makes_text:
            return Usage(input=tokens, output=seen) + facts.beside
        team = call.principal.key.team.name
        cap = call.cap.tokens
        output = self.experience.output(team, facts.model, cap, stream=facts.stream) * facts.choices
        return Usage(input=tokens, output=max(output, seen)) + facts.beside

    async def _complete(self, call: ActiveCall, scanner: Scanner, usage: Usage) -> Usage:
        """Usage of which the provider reported one side: the other one is counted."""
        if scanner.scan.lacks_input:
            usage = replace(usage, input=await self._count_prompt(call))
        if scanner.scan.lacks_output:
            usage = replace(usage, output=max(scanner.count_output(), usage.output))
        return usage

    async def _count_prompt(self, call: ActiveCall) -> int:
        facts = call.facts
        text = call.dialect.prompt_text(facts)
        tokens = await self.tokenizer.count_prompt(text, facts, facts.model)
        return calibration(facts.model).input(tokens)


def _is_told_not_to_think(document: Json) -> bool:
    asked = document.get("reasoning")
    effort = asked.get("effort") if type(asked) is dict else document.get("reasoning_effort")
    return effort in {"none", "minimal"}


def _answered(attempt: Attempt) -> bool:
    return attempt.status is not None and attempt.status < _FIRST_ERROR


def _billed_whole(call: ActiveCall, attempt: Attempt, error: str) -> bool:
    """Whether the provider bills what we did not wait for."""
    return not call.facts.stream or (attempt.upstream.bills_whole and error in _GIVEN_UP)


def _seen_whole(attempt: Attempt, scan: Scan) -> bool:
    return attempt.status is not None and scan.finished and UNREADABLE not in scan.flags


def _within_hold(call: ActiveCall, charge: Charge) -> Charge:
    """An estimate never charges more than is held for the call."""
    if call.hold is None:
        return charge
    left = call.hold.amount_nano - sum(a.cost_nano for a in call.attempts)
    return charge if charge.nano <= left else Charge(max(left, 0), ())


def _flags(call: ActiveCall, scan: Scan, metered: Metered, *, answered: bool) -> tuple[str, ...]:
    """What is odd about an answer; ``incomplete``: it ended well for HTTP, and not for its format."""
    flags = scan.flags
    if metered.tier or metered.variants:
        flags = (*flags, *price_flags(metered.tier, metered.variants))
    if scan.cut:
        return (*flags, "cut_at_cap" if call.paid_output is None else "cut_at_hold")
    if answered and not scan.finished:
        return (*flags, "incomplete")
    return flags


def _metered(
    call: ActiveCall, attempt: Attempt, scan: Scan, usage: Usage, source: UsageSource
) -> Metered:
    """The price is that of the model, tier and variants that the answer names."""
    upstream = attempt.upstream
    reported = source is UsageSource.PROVIDER
    # An answer that broke off may not have said it yet: then what the request asked for.
    variants = scan.variants or (() if reported else call.facts.variants)
    own = upstream.variants
    if attempt.spilled:
        own = tuple(variant for variant in own if variant != PROVISIONED)
    return Metered(
        upstream.name,
        upstream.provider,
        attempt.target.model,
        scan.served_model or attempt.served_model,
        _word(scan.service_tier) if scan.service_tier else "",
        (*filter(_word, variants), *own) if variants else own,
        usage,
        scan.parts if reported else (),
        scan.stated_nano,
    )


def _word(text: str) -> str:
    """The text where it can be told in a flag, so that the row can be rated again; else nothing."""
    return text if _WORD.fullmatch(text) else ""


def failed_attempt(attempt: Attempt, error: str) -> AttemptRecord:
    """The row of an attempt that brought no answer, or one that was not passed on."""
    return AttemptRecord(
        *_course(attempt),
        upstream_call_id=attempt.request_id,
        error=error,
    )


def _course(attempt: Attempt) -> tuple[int, str, str, int, int, int | None, int | None]:
    """How it went, whatever the answer says: the first fields of its row, in their order."""
    started = attempt.started
    return (
        attempt.number,
        attempt.upstream.name,
        attempt.target.model,
        attempt.started_at_us,
        _micros_since(started),
        _micros(attempt.first_byte, started),
        attempt.status,
    )


def estimated_attempt(call: ActiveCall, attempt: Attempt) -> AttemptRecord:
    """The row of an attempt that can't be measured: what such a call likely costs, as of a lost one."""
    held_nano = call.hold.amount_nano if call.hold else 0
    return replace(
        failed_attempt(attempt, DEFECT),
        usage_source=UsageSource.ESTIMATED,
        cost_nano=min(call.estimate_nano, held_nano),
    )


def _micros_since(moment: float) -> int:
    return int((time.perf_counter() - moment) * 1_000_000)


def _micros(moment: float | None, since: float) -> int | None:
    return None if moment is None else int((moment - since) * 1_000_000)
