"""Write the dashboards of ``dashboards/``: they are code, and the JSON beside is what it makes.

Every panel here reads Prometheus: rates, latencies, and what the ledger said about budgets at the
scrape. A counter's increase is never money to the cent; for that ask the ledger.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableRefresh,
    VariableSort,
)

FOLDER = Path(__file__).parent / "dashboards"
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="farebox-prometheus")
CALLS = 'team=~"$team", model=~"$model", upstream=~"$upstream"'
ANSWERED = f'{CALLS}, outcome!="refused"'
WIDTH, HEIGHT = 8, 8  # three panels side by side on Grafana's grid of 24 columns


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and how its series are named."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A panel over time."""

    title: str
    unit: str
    help: str
    queries: tuple[Query, ...]
    stacked: bool = False


def rate(metric: str, by: str = "", where: str = CALLS) -> str:
    """The sum of a counter's rates per second, by some labels."""
    grouped = f" by ({by})" if by else ""
    selected = f"{metric}{{{where}}}" if where else metric
    return f"sum{grouped} (rate({selected}[$__rate_interval]))"


def per_label(metric: str, by: str, where: str = CALLS) -> tuple[Query, ...]:
    """One series for each set of the labels."""
    legend = " · ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return (Query(rate(metric, by, where), legend),)


def percentiles(metric: str, where: str = CALLS) -> tuple[Query, ...]:
    """The median and the slow tail of a histogram."""
    buckets = rate(f"{metric}_bucket", "le", where)
    return tuple(
        Query(f"histogram_quantile({share}, {buckets})", legend)
        for share, legend in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


TRAFFIC = (
    Figure(
        "Calls",
        "reqps",
        "Calls that ended, by team.",
        per_label("farebox_calls_total", "team"),
        stacked=True,
    ),
    Figure(
        "Calls by outcome and status",
        "reqps",
        "How calls ended, and what the client was told.",
        per_label("farebox_calls_total", "outcome, status"),
        stacked=True,
    ),
    Figure("Calls under way", "short", "", (Query("sum(farebox_calls_in_flight)", "under way"),)),
)
MONEY = (
    Figure(
        "Spend per hour by team",
        "currencyUSD",
        "At the present rate. The ledger has the exact sums.",
        (Query(f"3600 * {rate('farebox_cost_usd_total', 'team')}", "{{team}}"),),
        stacked=True,
    ),
    Figure(
        "Spend per hour by model",
        "currencyUSD",
        "At the present rate, by the model that served the call.",
        (Query(f"3600 * {rate('farebox_cost_usd_total', 'model')}", "{{model}}"),),
        stacked=True,
    ),
    Figure(
        "Cost per call",
        "currencyUSD",
        "Mean over the calls that were not refused, by model.",
        (
            Query(
                f"{rate('farebox_cost_usd_total', 'model')} / "
                f"{rate('farebox_calls_total', 'model', ANSWERED)}",
                "{{model}}",
            ),
        ),
    ),
)
LATENCY = (
    Figure(
        "Duration of calls",
        "s",
        "From a call's arrival to the end of its answer.",
        percentiles("farebox_call_duration_seconds"),
    ),
    Figure(
        "Time to first byte",
        "s",
        "From a call's arrival to the first byte of its answer.",
        percentiles("farebox_time_to_first_byte_seconds"),
    ),
    Figure(
        "Added by Farebox",
        "s",
        "Before the first attempt was sent: keys, caps, the hold in the ledger.",
        percentiles("farebox_overhead_seconds", ""),
    ),
)
TOKENS = (
    Figure(
        "Tokens per second",
        "short",
        "cached and cache_write are part of input, reasoning is part of output.",
        per_label("farebox_tokens_total", "kind"),
    ),
    Figure(
        "Prompt length", "short", "Input tokens of one call.", percentiles("farebox_input_tokens")
    ),
    Figure(
        "Answer length", "short", "Output tokens of one call.", percentiles("farebox_output_tokens")
    ),
)
TROUBLE = (
    Figure(
        "Refusals",
        "reqps",
        "Calls that Farebox refused, by the error code it answered.",
        per_label("farebox_refusals_total", "reason"),
        stacked=True,
    ),
    Figure(
        "Upstream errors",
        "reqps",
        "Attempts that failed, by upstream and reason.",
        per_label("farebox_upstream_errors_total", "upstream, reason"),
        stacked=True,
    ),
    Figure(
        "Output caps set",
        "reqps",
        "Calls whose output cap was set by other than the client.",
        per_label("farebox_output_capped_total", "source"),
        stacked=True,
    ),
    Figure(
        "Where counts come from",
        "reqps",
        "provider: reported in the answer. counted: by Farebox, because the answer had none.",
        per_label("farebox_usage_source_total", "source"),
        stacked=True,
    ),
    Figure(
        "Unpriced calls",
        "reqps",
        "Calls that nothing gives a price for: add one to the configuration.",
        per_label("farebox_unpriced_calls_total", "model"),
    ),
    Figure(
        "Over a budget that warns",
        "reqps",
        "Calls that went on over the limit of a budget with on_exceed: warn.",
        per_label("farebox_budget_warnings_total", "team", 'team=~"$team"'),
    ),
)
LEDGER = (
    Figure("Commit time", "s", "One transaction of a ledger's writer.", percentiles("farebox_ledger_commit_seconds", "")),
    Figure("Operations per commit", "short", "Holds and settlements that one transaction carried.", percentiles("farebox_ledger_batch_size", "")),
    Figure("Waiting in the spool", "short", "Settlements that wait for the database to answer.", (Query("sum(farebox_spool_rows)", "rows"),)),
)  # fmt: skip
BUDGETS = (
    Figure(
        "Limit, spent and held", "currencyUSD", "As the ledger said at the scrape.",
        tuple(
            Query(f'max by (budget, subject) (farebox_budget_{word}_usd{{team=~"$team|"}})', f"{{{{budget}}}} ({{{{subject}}}}) {word}")
            for word in ("limit", "spent", "held")
        ),
    ),
    Figure(
        "Overdraft", "currencyUSD", "What came in over the limit of a blocking budget: 0, but for calls that can't be bounded.",
        (Query('max by (budget, subject) (farebox_budget_overdraft_usd{team=~"$team|"})', "{{budget}} ({{subject}})"),),
    ),
)  # fmt: skip
SHARE_USED = Query(
    "max by (budget, subject) ("
    '(farebox_budget_spent_usd{team=~"$team|"} + farebox_budget_held_usd{team=~"$team|"})'
    ' / farebox_budget_limit_usd{team=~"$team|"})',
    "{{budget}} ({{subject}})",
)
CHAPTERS = {
    "Money": MONEY,
    "Traffic": TRAFFIC,
    "Latency": LATENCY,
    "Tokens": TOKENS,
    "Refusals, errors and how sure the counts are": TROUBLE,
    "Ledger": LEDGER,
}


def dashboards() -> dict[str, str]:
    """The JSON of each dashboard, by file name."""
    return {"farebox.json": _json(overview())}


def overview() -> dashboard.Dashboard:
    """Everything on one page: money and budgets first."""
    page = (
        dashboard.Dashboard("Farebox")
        .uid("farebox")
        .description("Spend, budgets, latency and errors of the metering proxy.")
        .tags(["farebox"])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
    )
    for label in ("team", "model", "upstream"):
        page.with_variable(_variable(label))
    page.with_row(dashboard.Row("Budgets"))
    page.with_panel(_budget_bars())
    for figure in BUDGETS:
        page.with_panel(_over_time(figure))
    for title, figures in CHAPTERS.items():
        page.with_row(dashboard.Row(title))
        for figure in figures:
            page.with_panel(_over_time(figure))
    return page


def _variable(label: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(label)
        .label(label.capitalize())
        .hide(VariableHide.DONT_HIDE)
        .datasource(PROMETHEUS)
        .query(f"label_values(farebox_calls_total, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _over_time(figure: Figure) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(figure.title)
        .description(figure.help)
        .datasource(PROMETHEUS)
        .unit(figure.unit)
        .min(0)
        .span(WIDTH)
        .height(HEIGHT)
        .fill_opacity(25 if figure.stacked else 0)
        .show_points(kinds.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
    )
    if figure.stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    return panel.targets(list(_targets(figure.queries)))


def _budget_bars() -> bargauge.Panel:
    thresholds = (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(None, "green"), Threshold(0.8, "orange"), Threshold(1, "red")])
    )
    return (
        bargauge.Panel()
        .title("Used of each budget")
        .description("Spent and held, as a share of the limit of the present window.")
        .datasource(PROMETHEUS)
        .unit("percentunit")
        .min(0)
        .max(1)
        .span(WIDTH)
        .height(HEIGHT)
        .thresholds(thresholds)
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([target.instant() for target in _targets((SHARE_USED,))])
    )


def _targets(queries: Iterable[Query]) -> Iterable[prometheus.Dataquery]:
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        yield (
            prometheus.Dataquery()
            .ref_id(letter)
            .datasource(PROMETHEUS)
            .expr(query.expr)
            .legend_format(query.legend)
        )


def _json(page: dashboard.Dashboard) -> str:
    built = page.build()
    for number, panel in enumerate(built.panels or (), start=1):
        panel.id_val = (
            number  # else Grafana gives new ones at each start, and links to panels break
        )
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write every dashboard."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
