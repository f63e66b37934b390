"""Models side by side: what a call costs, what a thousand tokens of answer cost, how long, how often wrong."""

import asyncio
from dataclasses import dataclass

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from proxy.core.money import round_half_even
from proxy.store.latency import Latency
from proxy.store.reports import GroupBy
from proxy.ui import charts, words
from proxy.ui.rendering import render
from proxy.ui.sight import Sight, Spent
from proxy.ui.spans import NAMES, read_span

SORTS = {
    "spend": lambda line: -line.nano,
    "calls": lambda line: -line.calls,
    "call": lambda line: -line.by_call,
    "output": lambda line: -(line.by_output or 0),
    "p95": lambda line: -(line.latency.p95_us if line.latency else 0),
    "errors": lambda line: -line.errors / max(1, line.calls),
}
_LEAST = 20  # sampled calls, for a percentile to mean anything


@dataclass(frozen=True, slots=True)
class ModelLine:
    """One model at one upstream."""

    model: str
    upstream: str
    calls: int
    errors: int
    unpriced: int
    nano: int
    input_tokens: int
    output_tokens: int
    latency: Latency | None
    share: Markup

    @property
    def by_call(self) -> int:
        """What a call costs on the average."""
        return round_half_even(self.nano, self.calls) if self.calls else 0

    @property
    def by_output(self) -> int | None:
        """What a thousand tokens of output cost, input and all; None where there is no output."""
        return round_half_even(self.nano * 1000, self.output_tokens) if self.output_tokens else None

    @property
    def error_rate(self) -> str:
        """Of all calls."""
        return words.percent(self.errors, self.calls, 2)


async def show(request: Request, sight: Sight) -> Response:
    """The page."""
    await sight.settled()
    asked = request.query_params
    span = read_span(
        asked.get("range", ""), asked.get("from", ""), asked.get("to", ""), sight.now_s()
    )
    team = asked.get("team", "") or None
    sort = asked.get("sort", "")
    sort = sort if sort in SORTS else "spend"
    spent, latencies = await asyncio.gather(
        sight.spend((GroupBy.MODEL, GroupBy.UPSTREAM), span, team=team),
        sight.latencies(span, team),
    )
    lines = sorted(_lines(spent, latencies), key=SORTS[sort])
    return render(
        request,
        "models.html",
        viewer=sight.viewer,
        form_token=request.state.form_token,
        span=span,
        spans=NAMES,
        sort=sort,
        team=team if sight.viewer.is_admin else None,
        teams=sight.teams(),
        models=lines,
        sampled=sum(latency.sampled for latency in latencies.values()),
        total=sum(line.nano for line in lines),
    )


def _lines(spent: list[Spent], latencies: dict[str, Latency]) -> list[ModelLine]:
    sent = [row for row in spent if row.group["model"] and row.group["upstream"]]
    failed = {id(row): _served_as(row, sent) for row in sent}
    most = max((row.nano for row in sent), default=0)
    lines = []
    for row in sent:
        if failed[id(row)] is not None:
            continue
        unserved = [other for other in sent if failed[id(other)] is row]
        latency = latencies.get(row.group["model"])
        lines.append(
            ModelLine(
                row.group["model"],
                row.group["upstream"],
                row.calls + sum(other.calls for other in unserved),
                row.errors + sum(other.errors for other in unserved),
                row.unpriced,
                row.nano,
                row.input_tokens,
                row.output_tokens,
                latency if latency and latency.sampled >= _LEAST else None,
                charts.share_bar(row.nano, most),
            )
        )
    return lines


def _served_as(row: Spent, sent: list[Spent]) -> Spent | None:
    """The dated model (gpt-4o-2024-08-06) of calls of which every one failed, and none has more than a name.

    Where no answer came, the ledger has the model that was asked for. Without this, a model that
    fails would stand beside one that never does.
    """
    if row.nano or row.output_tokens or row.errors < row.calls:
        return None
    prefix = row.group["model"] + "-"
    dated = [
        other
        for other in sent
        if other.group["upstream"] == row.group["upstream"]
        and other.group["model"].startswith(prefix)
        and other.group["model"][len(prefix) :].replace("-", "").isdigit()
    ]
    return dated[0] if len(dated) == 1 else None
