"""The pure parts: amounts as they are written, spans of time, forecasts, charts."""

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.money import MOST_NANO, NANO_PER_USD
from proxy.store.latency import POINTS, RUN, percentile, points
from proxy.ui import charts, words
from proxy.ui.charts import Phase, Series
from proxy.ui.forecast import forecast
from proxy.ui.spans import DAY_S, read_span

GOLDEN = Path(__file__).parent / "golden"
USD = NANO_PER_USD


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (-184_700, "-$0.00018"),
        (100_000, "$0.0001"),
        (5_000_000, "$0.005"),
        (9_999_999, "$0.01"),
        (15_000_000, "$0.02"),
        (1_234_567_890_000_000, "$1,234,567.89"),
        (-1_500_000_000, "-$1.50"),
    ],
)
def test_money_is_written_to_the_cent(nano: int, shown: str) -> None:
    assert words.dollars(nano) == shown


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (12_345, "$0.0000123"),
        (123_456_789, "$0.123"),
        (999_999_999, "$1.00"),
        (1_234_567_890, "$1.23"),
        (-12_345, "-$0.0000123"),
    ],
)
def test_small_amounts_keep_three_digits(nano: int, shown: str) -> None:
    assert words.fine(nano) == shown


@given(st.integers(-MOST_NANO, MOST_NANO))
def test_an_exact_amount_can_be_read_back(nano: int) -> None:
    text = words.exact(nano).replace("$", "").replace(",", "")

    whole, fraction = text.lstrip("-").split(".")
    back = int(whole) * USD + int(fraction.ljust(9, "0"))
    assert back * (-1 if text.startswith("-") else 1) == nano


# Time

NOW = datetime(2026, 11, 25, 13, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("name", "days", "last"),
    [("7d", 7, "2026-11-25"), ("30d", 30, "2026-11-25"), ("month", 25, "2026-11-25"), ("last-month", 31, "2026-10-31")],
)  # fmt: skip
def test_a_span_has_whole_days(name: str, days: int, last: str) -> None:
    span = read_span(name, "", "", NOW)

    assert (span.until_s - span.from_s) / DAY_S == days
    assert span.days[1] == last
    assert len(span.steps) == days


def test_the_last_24_hours_are_shown_by_the_hour() -> None:
    span = read_span("24h", "", "", NOW)

    assert (len(span.steps), span.by_hour) == (24, True)


def test_a_span_that_was_read_from_an_address_makes_the_same_address() -> None:
    span = read_span("", "2026-02-01", "2026-02-28", NOW)

    assert read_span("", span.query["from"], span.query["to"], NOW) == span


# Forecast

FIRST = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
END = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())


def test_days_to_come_cost_what_their_weekday_did() -> None:
    """Four weeks of $10 on weekdays and $1 at weekends, and five days to go."""
    today = FIRST + 25 * DAY_S  # a Thursday, at midnight
    by_day = {
        at: (1 if datetime.fromtimestamp(at, UTC).weekday() > 4 else 10) * USD
        for at in range(today - 28 * DAY_S, today, DAY_S)
    }
    spent = sum(nano for at, nano in by_day.items() if at >= FIRST)

    assert forecast(by_day, FIRST, END, today) == spent + (10 + 10 + 1 + 1 + 10) * USD


def test_a_young_ledger_goes_by_its_mean_and_a_new_one_by_nothing() -> None:
    days = {FIRST + n * DAY_S: 3 * USD for n in range(4)}

    assert forecast(days, FIRST, END, FIRST + 4 * DAY_S) == 30 * 3 * USD
    assert forecast(days, FIRST, END, FIRST + 2 * DAY_S) is None
    assert forecast({}, FIRST, END, FIRST + 2 * DAY_S) is None


@given(st.dictionaries(st.integers(-40, 20), st.integers(0, 10**15)), st.integers(0, 29))
def test_a_forecast_is_never_less_than_what_is_spent(days: dict[int, int], today: int) -> None:
    by_day = {FIRST + n * DAY_S: nano for n, nano in days.items() if n <= today}
    ahead = forecast(by_day, FIRST, END, FIRST + today * DAY_S + 3600)

    spent = sum(nano for at, nano in by_day.items() if at >= FIRST)
    assert ahead is None or ahead >= spent


# Latency


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50))
def test_points_lie_in_the_hours_and_never_ask_for_more_than_is_read(counts: list[int]) -> None:
    hours = [(n * 3600, count) for n, count in enumerate(counts)]
    starts = points(hours)

    assert sum(run for _, run in starts) == POINTS * RUN
    assert all(0 <= at <= len(counts) * 3600 * 10**6 for at, _ in starts)
    assert starts == sorted(starts)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([1, 2, 3, 4], 50) == 2
    assert percentile(list(range(1, 101)), 95) == 95
    assert percentile([7], 95) == 7


# Charts


@given(st.integers(0, 10**15))
def test_an_axis_ends_above_the_highest_value_and_divides_by_four(most: int) -> None:
    top = charts.nice_top(most)

    assert top >= most
    assert top <= 4 * max(most, USD)


def test_an_axis_has_cents_everywhere_or_nowhere() -> None:
    def said(most: int) -> list[str]:
        drawn = ET.fromstring(str(charts.stacked_bars(["1 Nov"], [Series("a", [most])], "")))  # noqa: S314 - our own
        return [node.text or "" for node in drawn[0]]

    assert said(3 * USD) == ["$0", "$0.80", "$1.60", "$2.40", "$3.20"]
    assert said(9 * USD) == ["$0", "$2.50", "$5.00", "$7.50", "$10.00"]
    assert said(30 * USD) == ["$0", "$8", "$16", "$24", "$32"]


@given(st.lists(st.lists(st.integers(0, 10**12), min_size=5, max_size=5), max_size=20))
def test_the_rest_together_loses_nothing(values: list[list[int]]) -> None:
    series = [Series(str(n), row) for n, row in enumerate(values)]
    shown = charts.rest_together(series)

    assert len(shown) <= 8
    assert sum(s.total for s in shown) == sum(s.total for s in series)


DRAWN = {
    "stacked": charts.stacked_bars(
        ["1 Nov, Sun", "2 Nov, Mon", "3 Nov, Tue"],
        [Series("search", [10 * USD, 0, 25 * USD]), Series('a <b> & "c"', [5 * USD, 2 * USD, 0])],
        "Spend by team",
    ),
    "empty": charts.stacked_bars(["1 Nov, Sun"], [], "Nothing"),
    "months": charts.months([USD, 2 * USD], [USD] * 30, 40 * USD, "This month"),
    "spark": charts.spark([1, 5, 3]),
    "budget": charts.budget_bar(40 * USD, 10 * USD, 100 * USD),
    "over": charts.budget_bar(120 * USD, 0, 100 * USD),
    "fall": charts.waterfall([Phase(0, 10, "wait"), Phase(10, 80, "answer")], 100),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_drawn_as_it_was_last_looked_at(name: str) -> None:
    """A change here is to be looked at in a browser; then the golden file is written anew."""
    file = GOLDEN / f"{name}.svg"
    if not file.exists():  # deleted on purpose, to be written anew
        file.parent.mkdir(exist_ok=True)
        file.write_text(str(DRAWN[name]).replace("><", ">\n<") + "\n")

    assert str(DRAWN[name]).replace("><", ">\n<") + "\n" == file.read_text()


@pytest.mark.parametrize("name", DRAWN)
def test_a_chart_is_well_formed_and_has_no_style(name: str) -> None:
    root = ET.fromstring(str(DRAWN[name]))  # noqa: S314 - our own

    assert all("style" not in node.attrib for node in root.iter())
