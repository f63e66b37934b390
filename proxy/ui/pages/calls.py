"""Calls: found by anything that is known of them, and one call with everything about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from proxy.core.call import Outcome
from proxy.core.money import nano_from_usd
from proxy.store.call_filter import CallFilter
from proxy.store.reports import GroupBy
from proxy.store.rows import AttemptRow, CallDetail, ChargeRow
from proxy.ui import charts
from proxy.ui.charts import Phase
from proxy.ui.problems import Problem
from proxy.ui.rendering import address, render
from proxy.ui.sight import Sight
from proxy.ui.spans import NAMES, Span, read_span

PAGE = 50
_US = 1_000_000
_SUGGESTED = 50
TEXTS = (
    "team",
    "model",
    "key",
    "user",
    "workflow",
    "run",
    "tag",
    "upstream",
    "endpoint",
    "organisation",
)


async def show(request: Request, sight: Sight) -> Response:
    """A page of calls, the newest first."""
    await sight.settled()
    asked = request.query_params
    span = read_span(
        asked.get("range", ""), asked.get("from", ""), asked.get("to", ""), sight.now_s(), "7d"
    )
    chosen, problem = _chosen(asked)
    found = await sight.calls(_filter(chosen, span), PAGE, asked.get("before") or None)
    models = await sight.spend((GroupBy.MODEL,), span, _SUGGESTED)
    there = {name: value for name, value in chosen.items() if value}
    older = address("/calls", there, _query(span), before=found.next_cursor)
    return render(
        request,
        "calls.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        span=span,
        spans=NAMES,
        form=chosen,
        used=len(there),
        problem=problem,
        calls=[(call, nano_from_usd(call.cost_usd)) for call in found.items],
        older=older if found.next_cursor else "",
        newest=address("/calls", there, _query(span)) if asked.get("before") else "",
        models=[row.group["model"] for row in models],
        teams=sight.teams(),
        outcomes=[str(outcome) for outcome in Outcome],
    )


def _query(span: Span) -> dict[str, str]:
    return {"range": span.name} if span.name else span.query


def _chosen(asked: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """What the form has, and what of it can't be understood."""
    chosen = {name: asked.get(name, "").strip() for name in (*TEXTS, "outcome", "status")}
    problem = ""
    if chosen["status"] and not (chosen["status"].isascii() and chosen["status"].isdigit()):
        problem = f"Status {chosen['status']!r} is no number; it is left out."
        chosen["status"] = ""
    if chosen["outcome"] and chosen["outcome"] not in set(Outcome):
        problem = f"There is no outcome {chosen['outcome']!r}; it is left out."
        chosen["outcome"] = ""
    return chosen, problem


def _filter(chosen: Mapping[str, str], span: Span) -> CallFilter:
    given = {name: chosen[name] or None for name in (*TEXTS, "outcome")}
    status = int(chosen["status"][:4]) if chosen["status"] else None
    return CallFilter(**given, status=status, from_us=span.from_s * _US, to_us=span.until_s * _US)


# One call


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a charge with its amount. Lines add up to the charge before it is rounded, once."""

    what: str
    quantity: int
    price: str  # of a million, or of one
    amount: str


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """An attempt, its charge line by line, and its place in time."""

    row: AttemptRow
    nano: int
    lines: list[Line]
    bar: Markup
    waited_ms: float
    answered_ms: float


async def show_one(request: Request, sight: Sight) -> Response:
    """One call: who, what, how long, and how its cost comes about."""
    await sight.settled()
    call_id = request.path_params["call_id"]
    call = await sight.call(call_id)
    if call is None:
        raise Problem(
            404,
            f"There is no call {call_id}. Its row is written when it ends; its id is in the answer's "
            "header x-farebox-call-id.",
        )
    attempts = [_attempt(call, row) for row in call.attempt_rows]
    before_ms = min((_offset_ms(call, row) for row in call.attempt_rows), default=call.duration_ms)
    own = charts.waterfall([Phase(0, before_ms, "own")], call.duration_ms)
    return render(
        request,
        "call.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        call=call,
        nano=nano_from_usd(call.cost_usd),
        held=nano_from_usd(call.held_usd),
        adjusted=nano_from_usd(call.adjusted_usd),
        attempts=attempts,
        own=own,
        own_ms=before_ms,
        adjustments=[
            (row, nano_from_usd(row.amount_usd), [_line(line) for line in row.charge])
            for row in call.adjustments
        ],
    )


def _attempt(call: CallDetail, row: AttemptRow) -> AttemptLine:
    start = _offset_ms(call, row)
    first = row.time_to_first_byte_ms
    answered = start + (row.duration_ms if first is None else min(first, row.duration_ms))
    end = start + row.duration_ms
    phases = [Phase(start, answered, "wait"), Phase(answered, end, "answer")]
    if row.error:
        phases = [Phase(start, end, "failed")]
    return AttemptLine(
        row,
        nano_from_usd(row.cost_usd),
        [_line(line) for line in row.charge],
        charts.waterfall(phases, max(call.duration_ms, end)),
        answered - start,
        end - answered,
    )


def _offset_ms(call: CallDetail, row: AttemptRow) -> float:
    began = datetime.fromisoformat(call.started_at)
    return max(0.0, (datetime.fromisoformat(row.started_at) - began).total_seconds() * 1000)


def _line(line: ChargeRow) -> Line:
    price = Fraction(line.price_nano_usd)
    amount = price * line.quantity / 1_000_000_000
    if line.what.endswith(_BY_THE_PIECE):
        shown = f"{_decimal(price / 1_000_000_000)} each"
    else:
        shown = f"{_decimal(price / 1000)} / 1M"
    what = line.what.replace("_", " ") + (f" ({line.model})" if line.model else "")
    return Line(what, line.quantity, shown, _decimal(amount))


_BY_THE_PIECE = ("request", "images", "searches", "milliseconds", "characters")


def _decimal(amount: Fraction) -> str:
    value = Decimal(amount.numerator) / Decimal(amount.denominator)
    text = f"{value:.9f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"${whole}.{fraction.ljust(2, '0')}"
