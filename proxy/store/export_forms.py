"""The forms of usage exports that are understood, and how a row of each is read.

- OpenAI, usage (dashboard's CSV; pages of ``/v1/organization/usage/…``): ``input_tokens`` has the cached
  ones in it. A bucket without usage is a row with nothing but its times.
- OpenAI, costs (CSV; pages of ``/v1/organization/costs``): dollars; ``line_item`` is
  ``gpt-4o-2024-08-06, input``, where the export was split by it.
- Anthropic, usage (Console's CSV; pages of ``/v1/organizations/usage_report/messages``): input in
  disjoint columns, no number of requests.
- Anthropic, costs (CSV in dollars, with the models' display names; pages of
  ``/v1/organizations/cost_report`` in cents).
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from proxy.store.usage_export import (
    Cells,
    Counts,
    ExportRow,
    Opened,
    UnreadableExport,
    UsageExport,
    amount_of,
    count_of,
    day_of,
    opened,
)

_USAGE = ("requests", "input_tokens", "cached_tokens", "output_tokens")
_CENTS = 100
_KINDS = frozenset(("text", "image", "audio", "video", "batch", "flex", "priority"))


@dataclass(frozen=True, slots=True)
class Form:
    """One form: what gives it away, what it can't do without (one of each), and how a row is read."""

    provider: str
    title: str
    signs: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...]
    read: Callable[[Cells], ExportRow]
    tells: Sequence[str]
    is_json: bool | None = None  # None: either
    by_family: bool = False


def read_export(provider: str, paths: Sequence[Path]) -> UsageExport:
    """What the files say. Raises UnreadableExport, naming what is missing or wrong; OSError."""
    export = UsageExport()
    for path in paths:
        with path.open(encoding="utf-8-sig", newline="") as text:
            found = opened(path, text)
            form = _form(provider, path, found)
            export.by_family |= form.by_family
            export.add(form.title, _rows(form, path, found), form.tells)
    return export


def _form(provider: str, path: Path, found: Opened) -> Form:
    known = [form for form in FORMS if form.is_json in (None, found.is_json)]
    alike = [form for form in known if found.columns & set(form.signs)]
    if not alike:
        raise UnreadableExport(f"{path} is no usage export that is understood.\n{understood()}")
    # Where two have the same signs, how they tell the time decides.
    form = next((form for form in alike if found.columns & set(form.needs[0])), alike[0])
    if form.provider != provider:
        raise UnreadableExport(f"{path} is {form.title}: ask for --provider {form.provider}")
    missing = [" or ".join(names) for names in form.needs if not found.columns & set(names)]
    if missing:
        raise UnreadableExport(
            f"{path} looks like {form.title}, but has no column {', '.join(missing)}"
        )
    return form


def understood() -> str:
    """What there is to choose from, for people."""
    lines = [
        f"  {form.title}: " + ", ".join(" or ".join(names) for names in form.needs)
        for form in FORMS
        if form.signs != form.needs[0]
    ]
    return "These are understood, by these columns:\n" + "\n".join(lines)


def _rows(form: Form, path: Path, found: Opened) -> Iterator[ExportRow]:
    place, where = 1, "result" if found.is_json else "line"
    try:
        for place, cells in found.rows:  # noqa: B007 - told where it goes wrong
            yield form.read(cells)
    except (ValueError, OverflowError, csv.Error) as error:
        raise UnreadableExport(f"{path}, {where} {place}: {error}") from error


# OpenAI


def _openai_day(cells: Cells) -> str:
    return day_of(cells.get("start_time") or cells.get("start_time_iso"))


def _openai_usage(cells: Cells) -> ExportRow:
    day = _openai_day(cells)
    if cells.get("num_model_requests") in (None, ""):
        return ExportRow(day, None, None)
    counts = Counts(
        requests=count_of(cells["num_model_requests"]),
        input_tokens=count_of(cells.get("input_tokens")),
        cached_tokens=count_of(cells.get("input_cached_tokens")),
        output_tokens=count_of(cells.get("output_tokens")),
    )
    return ExportRow(day, cells.get("model"), counts)


def _openai_costs(cells: Cells) -> ExportRow:
    amount = cells.get("amount")
    value, currency = cells.get("amount_value"), cells.get("amount_currency")
    if isinstance(amount, dict):
        value, currency = amount.get("value"), amount.get("currency")
    day = _openai_day(cells)
    if value in (None, ""):
        return ExportRow(day, None, None)
    _in_dollars(currency)
    return ExportRow(day, _model_of(cells.get("line_item")), Counts(cost_usd=amount_of(value)))


def _model_of(line_item: str | None) -> str | None:
    """The model of ``gpt-image-1 image, output``: what stands before the comma and the kind."""
    if not line_item:
        return None
    model, _, kind = line_item.partition(",")[0].strip().rpartition(" ")
    return model if model and kind.lower() in _KINDS else line_item.partition(",")[0].strip()


def _openai_nothing(cells: Cells) -> ExportRow:
    return ExportRow(_openai_day(cells), None, None)


def _in_dollars(currency: str | None) -> None:
    if currency and currency.lower() != "usd":
        raise ValueError(f"the amount is in {currency}, not in US dollars")


# Anthropic


def _anthropic_usage_table(cells: Cells) -> ExportRow:
    read = count_of(cells.get("usage_input_tokens_cache_read"))
    counts = Counts(
        input_tokens=read
        + count_of(cells["usage_input_tokens_no_cache"])
        + count_of(cells.get("usage_input_tokens_cache_write"))
        + count_of(cells.get("usage_input_tokens_cache_write_5m"))
        + count_of(cells.get("usage_input_tokens_cache_write_1h")),
        cached_tokens=read,
        output_tokens=count_of(cells["usage_output_tokens"]),
    )
    return ExportRow(day_of(cells["usage_date_utc"]), cells["model_version"], counts)


def _anthropic_usage_page(cells: Cells) -> ExportRow:
    day = day_of(cells["starting_at"])
    if "uncached_input_tokens" not in cells:
        return ExportRow(day, None, None)
    written = cells.get("cache_creation") or {}
    read = count_of(cells.get("cache_read_input_tokens"))
    counts = Counts(
        input_tokens=read
        + count_of(cells["uncached_input_tokens"])
        + sum(count_of(tokens) for tokens in written.values()),
        cached_tokens=read,
        output_tokens=count_of(cells.get("output_tokens")),
    )
    return ExportRow(day, cells.get("model"), counts)


def _anthropic_costs_table(cells: Cells) -> ExportRow:
    counts = Counts(cost_usd=amount_of(cells["cost_usd"]))
    return ExportRow(day_of(cells["usage_date_utc"]), cells["model"], counts)


def _anthropic_costs_page(cells: Cells) -> ExportRow:
    day = day_of(cells["starting_at"])
    if "amount" not in cells:
        return ExportRow(day, None, None)
    _in_dollars(cells.get("currency"))
    return ExportRow(
        day, cells.get("model"), Counts(cost_usd=amount_of(cells["amount"]) / Decimal(_CENTS))
    )


def _anthropic_nothing(cells: Cells) -> ExportRow:
    return ExportRow(day_of(cells["starting_at"]), None, None)


_TIME = ("start_time", "start_time_iso")
FORMS = (
    Form(
        "openai",
        "OpenAI's usage (CSV, or pages of the API)",
        ("num_model_requests", "input_cached_tokens", "input_uncached_tokens"),
        (_TIME, ("num_model_requests",)),
        _openai_usage,
        _USAGE,
    ),
    Form(
        "openai",
        "OpenAI's costs (CSV)",
        ("amount_value", "amount_currency"),
        (_TIME, ("amount_value",)),
        _openai_costs,
        ("cost_usd",),
        is_json=False,
    ),
    Form(
        "anthropic",
        "Anthropic's costs (CSV)",
        ("cost_usd", "list_price_usd"),
        (("usage_date_utc",), ("model",), ("cost_usd",)),
        _anthropic_costs_table,
        ("cost_usd",),
        is_json=False,
        by_family=True,
    ),
    Form(
        "anthropic",
        "Anthropic's usage (CSV)",
        ("model_version", "usage_input_tokens_no_cache", "usage_date_utc"),
        (
            ("usage_date_utc",),
            ("model_version",),
            ("usage_input_tokens_no_cache",),
            ("usage_output_tokens",),
        ),
        _anthropic_usage_table,
        _USAGE[1:],
        is_json=False,
    ),
    Form(
        "anthropic",
        "Anthropic's usage (pages of the API)",
        ("uncached_input_tokens",),
        (("starting_at",), ("uncached_input_tokens",)),
        _anthropic_usage_page,
        _USAGE[1:],
        is_json=True,
    ),
    Form(
        "anthropic",
        "Anthropic's costs (pages of the API)",
        ("amount",),
        (("starting_at",), ("amount",)),
        _anthropic_costs_page,
        ("cost_usd",),
        is_json=True,
    ),
    Form(
        "openai",
        "OpenAI's costs (pages of the API)",
        ("amount",),
        (_TIME, ("amount",)),
        _openai_costs,
        ("cost_usd",),
        is_json=True,
    ),
    # Exports in which nothing was used have nothing but times.
    Form("openai", "an empty export of OpenAI", _TIME, (_TIME,), _openai_nothing, _USAGE),
    Form(
        "anthropic",
        "an empty report of Anthropic",
        ("starting_at",),
        (("starting_at",),),
        _anthropic_nothing,
        _USAGE[1:],
    ),
)
