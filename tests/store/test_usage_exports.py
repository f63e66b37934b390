"""Usage exports are read in each form that providers document, and what is wrong is named."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.export_forms import FORMS, read_export
from proxy.store.usage_export import (
    ALL_MODELS,
    NO_MODEL,
    Counts,
    UnreadableExport,
    UsageExport,
    amount_of,
    count_of,
    day_of,
)
from tests.store import export_samples as samples

MINI, HAIKU = "gpt-5-mini-2026-08-07", "claude-haiku-4-5-20251001"
DAY, NEXT_DAY = "2026-11-18", "2026-11-19"


def read(path: Path, text: str | bytes, provider: str = "openai") -> UsageExport:
    """Read an export with this text."""
    file = path / "export"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_export(provider, [file])


@pytest.mark.parametrize(
    ("provider", "text", "expected"),
    [
        ("openai", samples.OPENAI_USAGE, {(DAY, MINI): Counts(3, 3000, 300, 300), (DAY, "gpt-4o-2024-08-06"): Counts(1, 50, 0, 5)}),
        ("openai", samples.OPENAI_USAGE_PAGES, {(DAY, MINI): Counts(3, 3000, 300, 300)}),
        ("openai", samples.OPENAI_COSTS, {(DAY, MINI): Counts(cost_usd=Decimal("1.0000000000000001")), (DAY, "gpt-image-1"): Counts(cost_usd=Decimal("0.02"))}),
        ("openai", samples.OPENAI_COSTS_PAGES, {(DAY, MINI): Counts(cost_usd=Decimal("0.06"))}),
        ("openai", samples.OPENAI_DAILY_COSTS, {(DAY, ALL_MODELS): Counts(cost_usd=Decimal("1.5"))}),
        ("openai", samples.OPENAI_EMPTY, {}),
        ("anthropic", samples.ANTHROPIC_USAGE, {(DAY, HAIKU): Counts(None, 5123, 4000, 55)}),
        ("anthropic", samples.ANTHROPIC_USAGE_PAGES, {(DAY, HAIKU): Counts(None, 3200, 200, 500)}),
        ("anthropic", samples.ANTHROPIC_COSTS, {(DAY, "Claude Haiku 4.5"): Counts(cost_usd=Decimal("0.07")), (DAY, NO_MODEL): Counts(cost_usd=Decimal("0.01"))}),
        ("anthropic", samples.ANTHROPIC_COSTS_PAGES, {(DAY, HAIKU): Counts(cost_usd=Decimal("1.2378912"))}),
    ],
)  # fmt: skip
def test_each_form_is_read(
    tmp_path: Path, provider: str, text: str, expected: dict[tuple[str, str], Counts]
) -> None:
    """By its columns, not by its name; rows of one day and model are added up."""
    assert read(tmp_path, text, provider).rows == expected


def test_a_bucket_without_usage_is_a_day_that_is_told_of(tmp_path: Path) -> None:
    assert read(tmp_path, samples.OPENAI_USAGE).days == {DAY, NEXT_DAY}
    assert read(tmp_path, samples.OPENAI_EMPTY).days == {DAY}
    empty = json.dumps(samples.anthropic_page())
    assert read(tmp_path, empty, "anthropic").days == {DAY}


def test_pages_are_read_one_after_the_other_or_as_a_list(tmp_path: Path) -> None:
    """A page a line, indented pages, or an array of them."""
    first, second = (samples.openai_page(_usage(n), day=n) for n in (1, 2))
    lines = f"\n{json.dumps(first)}\n{json.dumps(second, indent=2)}\n"

    expected = {("2026-11-19", "m"): Counts(1, 1, 0, 0), ("2026-11-20", "m"): Counts(2, 2, 0, 0)}

    assert read(tmp_path, lines).rows == expected
    assert read(tmp_path, json.dumps([first, second])).rows == expected


def _usage(requests: int) -> dict[str, object]:
    return {"num_model_requests": requests, "input_tokens": requests, "model": "m"}


def test_files_add_up(tmp_path: Path) -> None:
    """Usage and costs beside each other; two of a kind are added."""
    paths = []
    for name in ("OPENAI_USAGE", "OPENAI_COSTS", "OPENAI_USAGE_PAGES"):
        path = tmp_path / name
        path.write_text(getattr(samples, name))
        paths.append(path)

    export = read_export("openai", paths)

    assert export.rows[DAY, MINI] == Counts(6, 6000, 600, 600, Decimal("1.0000000000000001"))
    assert export.tells == {
        "requests", "input_tokens", "cached_tokens", "output_tokens", "cost_usd",
    }  # fmt: skip


def test_a_byte_order_mark_and_semicolons_are_taken(tmp_path: Path) -> None:
    """A spreadsheet may have saved it."""
    text = samples.OPENAI_USAGE.replace(",", ";")

    assert read(tmp_path, b"\xef\xbb\xbf" + text.encode()).rows[DAY, MINI].requests == 3


@pytest.mark.parametrize(
    ("provider", "text", "problem"),
    [
        ("openai", "a,b\n1,2\n", "is no usage export that is understood.\nThese are understood, by these columns:\n  OpenAI's usage (CSV, or pages of the API): start_time or start_time_iso, num_model_requests"),
        ("openai", "", "is empty"),
        ("openai", "model,num_model_requests\nm,1\n", "looks like OpenAI's usage (CSV, or pages of the API), but has no column start_time or start_time_iso"),
        ("openai", "start_time,amount_currency\n1,usd\n", "looks like OpenAI's costs (CSV), but has no column amount_value"),
        ("anthropic", "usage_date_utc,model_version\n2026-11-18,m\n", "has no column usage_input_tokens_no_cache, usage_output_tokens"),
        ("openai", samples.ANTHROPIC_USAGE, "is Anthropic's usage (CSV): ask for --provider anthropic"),
        ("anthropic", samples.OPENAI_COSTS_PAGES, "is OpenAI's costs (pages of the API): ask for --provider openai"),
        ("openai", "start_time,num_model_requests\n1794960000,many\n", "line 2: 'many' is no number"),
        ("openai", "start_time,num_model_requests\n\n1794960000,1.5\n", "line 3: '1.5' is no whole number"),
        ("openai", "start_time,num_model_requests\nyesterday,1\n", "line 2: Invalid isoformat string: 'yesterday'"),
        ("openai", samples.OPENAI_DAILY_COSTS.replace("usd,", "eur,"), "line 2: the amount is in eur, not in US dollars"),
        ("openai", '{"data": [1]}', "has no pages of buckets"),
        ("openai", '{"data": [', "can't be read: Expecting value"),
        ("openai", b"start_time,num_model_requests\n\xff\xfe,1\n", "can't decode byte 0xff"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    tmp_path: Path, provider: str, text: str | bytes, problem: str
) -> None:
    with pytest.raises(UnreadableExport) as raised:
        read(tmp_path, text, provider)

    assert problem in str(raised.value)


def test_each_form_is_told_of_where_none_fits(tmp_path: Path) -> None:
    """With what it can't do without."""
    with pytest.raises(UnreadableExport) as raised:
        read(tmp_path, "a\n1\n")

    told = str(raised.value)
    assert all(form.title in told for form in FORMS if "empty" not in form.title)


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        (1_794_960_000, DAY),
        ("1794960000", DAY),
        ("1794960000.0", DAY),
        ("2026-11-18", DAY),
        ("2026-11-18T23:59:59Z", DAY),
        ("2026-11-18T23:00:00-02:00", NEXT_DAY),
    ],
)
def test_days_are_those_of_utc(cell: object, day: str) -> None:
    assert day_of(cell) == day


@given(st.integers(0, 10**15))
def test_counts_are_read_however_they_are_written(count: int) -> None:
    assert {count_of(count), count_of(f"{count}.0"), count_of(f"{count:,}")} == {count}


@given(st.decimals(-(10**9), 10**9, places=16))
def test_amounts_are_exact(amount: Decimal) -> None:
    assert amount_of(f"{amount:f}") == amount
