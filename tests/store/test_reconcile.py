"""The ledger beside a provider's export: what is missing, doubled, counted or priced differently."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import insert

from proxy.core.usage import Usage, UsageSource
from proxy.store.engine import Database
from proxy.store.ledger_days import LedgerCounts, ledger_days
from proxy.store.reconcile import Compared, Tolerance, Verdict, compare, days_of, family, nano_of
from proxy.store.schema import adjustments
from proxy.store.usage_export import ALL_MODELS, Counts, ExportRow, UsageExport
from tests.observe.samples import STARTED_US
from tests.store.filled import a_call, fill

DAY = "2026-11-18"
ALL = ("requests", "input_tokens", "cached_tokens", "output_tokens", "cost_usd")
EXACT = Tolerance()


def export(*rows: ExportRow, tells: tuple[str, ...] = ALL, **fields: Any) -> UsageExport:
    """An export of these rows."""
    made = UsageExport(**fields)
    made.add("an export", rows, tells)
    return made


def row(model: str | None = "m", day: str = DAY, **counts: Any) -> ExportRow:
    """One of its rows."""
    return ExportRow(day, model, Counts(**counts))


def ledger(model: str = "m", **counts: int) -> dict[tuple[str, str], LedgerCounts]:
    """What the ledger has of one model."""
    return {(DAY, model): LedgerCounts(**counts)}


def only(found: list[Compared]) -> Compared:
    """The one row."""
    [one] = found
    return one


# What the ledger has

USAGE = Usage(input=1000, cached_input=200, cache_write=34, audio_input=5, output=70, reasoning=30)


async def test_the_ledger_s_attempts_are_added_up_by_day_and_model(database: Database) -> None:
    """Each attempt by itself, at the upstreams that are meant; what was not metered is no request."""
    one = {"usage": USAGE, "cost_nano": 7}
    two = a_call(1, one)
    first = replace(two.attempts[0], number=1, model_served="", cost_nano=100)
    second = replace(two.attempts[0], number=2, upstream="other")
    await fill(
        database,
        [
            a_call(0, one),
            replace(two, attempts=(first, second)),
            a_call(2, {**one, "usage_source": UsageSource.NONE}),
            a_call(20, one),
        ],
    )

    found = await ledger_days(database, {"openai"}, [DAY, "2026-11-19"])

    served = LedgerCounts(1, 1239, 200, 100, 7)
    assert found == {
        (DAY, "gpt-5-mini-2026-08-07"): served,
        (DAY, "gpt-5-mini"): LedgerCounts(1, 1239, 200, 100, 100),
        ("2026-11-19", "gpt-5-mini-2026-08-07"): served,
    }


async def test_adjustments_are_part_of_the_cost(database: Database) -> None:
    call = a_call(0, {"usage": USAGE, "cost_nano": 7})
    await fill(database, [call])
    entry = {"call_id": call.id, "attempt": 1, "created_at_us": 1, "reason": "reprice"}
    entries = [{**entry, "id": str(n), "amount_nano": n} for n in (50, -7)]
    await database.run(lambda c: c.execute(insert(adjustments), entries))

    found = await ledger_days(database, {"openai"}, [DAY])

    assert [counts.cost_nano for counts in found.values()] == [50]


async def test_days_end_at_midnight_of_utc(database: Database) -> None:
    """Also where they are of two months."""
    midnight = STARTED_US - STARTED_US % 86_400_000_000
    moments = (midnight - 1, midnight, midnight + 86_399_999_999, midnight + 13 * 86_400_000_000)
    calls = [a_call(0, id=f"fb-{at}") for at in moments]
    await fill(
        database,
        [
            replace(call, attempts=(replace(call.attempts[0], started_at_us=at),))
            for call, at in zip(calls, moments, strict=True)
        ],
    )

    found = await ledger_days(database, {"openai"}, [DAY, "2026-12-01"])

    assert {day: counts.requests for (day, _), counts in found.items()} == {DAY: 2, "2026-12-01": 1}


# Verdicts


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((3, 30, 5, 9, 700), (3, 30, 5, 9, 700), Verdict.EQUAL),
        ((0, 0, 0, 0, 0), (3, 30, 5, 9, 700), Verdict.NOT_IN_LEDGER),
        ((3, 30, 5, 9, 700), (0, 0, 0, 0, 0), Verdict.NOT_IN_EXPORT),
        ((2, 20, 3, 6, 470), (3, 30, 5, 9, 700), Verdict.MISSING_IN_LEDGER),
        ((3, 30, 5, 9, 700), (2, 20, 3, 6, 470), Verdict.MISSING_IN_EXPORT),
        ((6, 60, 10, 18, 1400), (3, 30, 5, 9, 700), Verdict.DOUBLED_IN_LEDGER),
        ((3, 30, 5, 9, 700), (6, 60, 10, 18, 1400), Verdict.DOUBLED_IN_EXPORT),
        ((3, 30, 5, 9, 700), (3, 30, 5, 9, 701), Verdict.PRICED_DIFFERENTLY),
        ((3, 30, 5, 9, 700), (3, 31, 5, 8, 700), Verdict.COUNTED_DIFFERENTLY),
    ],
)
def test_each_difference_has_a_name(
    ours: tuple[int, ...], theirs: tuple[int, ...], verdict: Verdict
) -> None:
    *counts, nano = theirs
    said: dict[str, Any] = dict(zip(ALL, [*counts, Decimal(nano) / 10**9], strict=True))

    found = only(compare({(DAY, "m"): LedgerCounts(*ours)}, export(row(**said)), {DAY}, EXACT))

    assert found.verdict is verdict
    assert (found.ledger.cost_nano, found.cost_nano) == (ours[-1], nano)


def test_what_an_export_does_not_tell_is_not_compared() -> None:
    """Anthropic's usage has no requests and no costs."""
    told = export(row(input_tokens=30), tells=("input_tokens",))

    found = only(compare(ledger(requests=3, input_tokens=30, cost_nano=9), told, {DAY}, EXACT))

    assert (found.verdict, found.requests, found.cost_nano) == (Verdict.EQUAL, None, None)


@pytest.mark.parametrize(
    ("nano", "verdict"),
    [(700, Verdict.EQUAL), (699, Verdict.PRICED_DIFFERENTLY), (350, Verdict.DOUBLED_IN_LEDGER)],
)
def test_costs_alone_can_be_compared(nano: int, verdict: Verdict) -> None:
    told = export(row(cost_usd=Decimal(nano) / 10**9), tells=("cost_usd",))

    assert only(compare(ledger(cost_nano=700), told, {DAY}, EXACT)).verdict is verdict


def test_a_day_of_which_the_export_says_nothing_is_missing_there() -> None:
    nothing = export(ExportRow(DAY, None, None))

    found = only(compare(ledger(requests=1), nothing, {DAY}, EXACT))

    assert (found.verdict, found.requests, found.cost_nano) == (Verdict.NOT_IN_EXPORT, 0, 0)


def test_other_days_are_not_compared() -> None:
    told = export(row(requests=1), row(day="2026-11-19", requests=1))

    assert only(compare(ledger(requests=1), told, {DAY}, EXACT)).day == DAY


def test_costs_of_all_models_are_compared_with_all_of_the_ledger() -> None:
    """Beside usage that is split by model."""
    told = export(row("a", requests=1), row("b", requests=2), tells=("requests",))
    told.add("costs", [row(None, cost_usd=Decimal("0.000000007"))], ("cost_usd",))
    ours = ledger("a", requests=1, cost_nano=3) | ledger("b", requests=2, cost_nano=4)

    found = compare(ours, told, {DAY}, EXACT)

    assert [(r.model, r.requests, r.cost_nano, r.verdict) for r in found] == [
        (ALL_MODELS, None, 7, Verdict.EQUAL),
        ("a", 1, None, Verdict.EQUAL),
        ("b", 2, None, Verdict.EQUAL),
    ]


def test_a_fee_of_no_model_is_not_in_the_ledger() -> None:
    told = export(
        row(cost_usd=Decimal(1)), row(None, cost_usd=Decimal("0.01")), tells=("cost_usd",)
    )

    found = compare(ledger(cost_nano=10**9), told, {DAY}, EXACT)

    assert [(r.model, r.verdict) for r in found] == [
        ("(no model)", Verdict.NOT_IN_LEDGER),
        ("m", Verdict.EQUAL),
    ]


def test_display_names_are_the_models_of_their_family() -> None:
    """All snapshots of it together, where an export names no snapshot."""
    told = export(row("Claude Haiku 4.5", cost_usd=Decimal(3)), tells=("cost_usd",), by_family=True)
    ours = ledger("claude-haiku-4-5-20251001", cost_nano=10**9) | ledger(
        "claude-haiku-4-5", cost_nano=2 * 10**9
    )

    found = only(compare(ours, told, {DAY}, EXACT))

    assert (found.model, found.verdict) == ("Claude Haiku 4.5", Verdict.EQUAL)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Claude Haiku 4.5", "claude-haiku-4-5-20251001", True),
        ("Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet-20241022", True),
        ("Claude Sonnet 3.5", "claude-3-5-sonnet-20241022", True),
        ("Claude Opus 4", "claude-opus-4-1-20250805", False),
        ("Claude Opus 4.5", "claude-sonnet-4-5", False),
    ],
)
def test_families_are_told_apart(one: str, other: str, *, same: bool) -> None:
    assert (family(one) == family(other)) is same


# Tolerance


@pytest.mark.parametrize(
    ("tolerance", "money", "holds"),
    [
        (Tolerance(), False, False),
        (Tolerance(Fraction(1, 100)), False, True),
        (Tolerance(Fraction(1, 101)), False, False),
        (Tolerance(cost_nano=1), True, True),
        (Tolerance(cost_nano=1), False, False),
    ],
)
def test_how_far_apart_counts_as_equal(tolerance: Tolerance, *, money: bool, holds: bool) -> None:
    """A part of the larger one; an amount is for money alone."""
    assert tolerance.holds(99, 100, money=money) is holds


@given(st.integers(-(10**18), 10**18))
def test_an_export_s_dollars_are_exact(nano: int) -> None:
    """And rounded half to even where they are finer than nano-dollars."""
    exact = Decimal(nano).scaleb(-9)

    assert nano_of(exact) == nano
    assert nano_of(exact + Decimal("0.0000000005")) == nano + nano % 2


# Days


def test_the_export_s_days_are_compared_unless_others_are_asked_for() -> None:
    """From its first to its last, without gaps."""
    told = export(row(day="2026-11-18"), row(day="2026-11-20"))

    assert days_of(told, None, None) == ["2026-11-18", "2026-11-19", "2026-11-20"]
    start, end = datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)
    assert days_of(told, start, end) == ["2026-11-30", "2026-12-01"]
    assert days_of(UsageExport(), None, None) == []
