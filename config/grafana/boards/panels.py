"""Panels: what each shows, and how Grafana is told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.text import TextMode

from boards.queries import LEDGER, PROMETHEUS, Query, Sql

WIDTH, HEIGHT = 8, 8  # three panels side by side on Grafana's grid of 24 columns
FULL = 24
FROM_LEDGER = " From the ledger: exact. Whole hours, in UTC."


@dataclass(frozen=True, slots=True)
class Figure:
    """Something over time."""

    title: str
    unit: str
    help: str
    queries: tuple[Query | Sql, ...]
    stacked: bool = False
    width: int = WIDTH

    def panel(self) -> Any:
        """As Grafana is told."""
        source = _source(self.queries)
        panel = (
            timeseries.Panel()
            .title(self.title)
            .description(_described(self.help, source))
            .datasource(source)
            .unit(self.unit)
            .min(0)
            .span(self.width)
            .height(HEIGHT)
            .fill_opacity(25 if self.stacked else 0)
            .show_points(kinds.VisibilityMode.NEVER)
            .legend(_legend())
            .tooltip(
                common.VizTooltipOptions()
                .mode(kinds.TooltipDisplayMode.MULTI)
                .sort(kinds.SortOrder.DESCENDING)
            )
            .targets(_targets(self.queries))
        )
        if self.stacked:
            panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
        if source is LEDGER:  # sums of whole days or hours: bars, each as wide as its time
            panel.draw_style(kinds.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
        else:
            panel.data_links([_call_link()])
        return panel


@dataclass(frozen=True, slots=True)
class Numbers:
    """A few figures as of now, or over the time that is shown."""

    title: str
    unit: str
    help: str
    queries: tuple[Query | Sql, ...]
    units: tuple[tuple[str, str], ...] = ()  # of fields that have another
    width: int = FULL
    warn_at: float | None = None  # red from here on

    def panel(self) -> Any:
        """As Grafana is told."""
        source = _source(self.queries)
        panel = (
            stat.Panel()
            .title(self.title)
            .description(_described(self.help, source))
            .datasource(source)
            .unit(self.unit)
            .span(self.width)
            .height(4)
            .color_mode(kinds.BigValueColorMode.VALUE)
            .graph_mode(kinds.BigValueGraphMode.NONE)
            .text_mode(kinds.BigValueTextMode.VALUE_AND_NAME)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .thresholds(_thresholds(("green", None), ("red", self.warn_at)))
            .targets(_targets(self.queries))
        )
        for field, unit in self.units:
            panel.override_by_name(field, [DynamicConfigValue("unit", unit)])
        return panel


@dataclass(frozen=True, slots=True)
class Table:
    """Rows. Columns of Prometheus' queries are joined by their labels, and named in their order."""

    title: str
    unit: str
    help: str
    queries: tuple[Query | Sql, ...]
    units: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    width: int = FULL
    height: int = 10

    def panel(self) -> Any:
        """As Grafana is told."""
        source = _source(self.queries)
        panel = (
            table.Panel()
            .title(self.title)
            .description(_described(self.help, source))
            .datasource(source)
            .unit(self.unit)
            .span(self.width)
            .height(self.height)
            .filterable(filterable=True)
            .targets(_targets(self.queries))
        )
        if self.columns:
            panel.with_transformation(DataTransformerConfig("merge", options={}))
            named = {
                f"Value #{letter}": name
                for letter, name in zip(_LETTERS, self.columns, strict=False)
            }
            hidden = {"Time": True}
            panel.with_transformation(
                DataTransformerConfig(
                    "organize", options={"renameByName": named, "excludeByName": hidden}
                )
            )
        for field, unit in self.units:
            panel.override_by_name(field, [DynamicConfigValue("unit", unit)])
        return panel


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of a whole, as bars that turn orange and red."""

    title: str
    unit: str
    help: str
    queries: tuple[Query | Sql, ...]
    width: int = WIDTH

    def panel(self) -> Any:
        """As Grafana is told."""
        source = _source(self.queries)
        return (
            bargauge.Panel()
            .title(self.title)
            .description(_described(self.help, source))
            .datasource(source)
            .unit(self.unit)
            .min(0)
            .max(1)
            .span(self.width)
            .height(HEIGHT)
            .thresholds(_thresholds(("green", None), ("orange", 0.8), ("red", 1)))
            .orientation(kinds.VizOrientation.HORIZONTAL)
            .display_mode(kinds.BarGaugeDisplayMode.BASIC)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .targets(_targets(self.queries))
        )


@dataclass(frozen=True, slots=True)
class Note:
    """Words."""

    title: str
    markdown: str
    width: int = FULL
    height: int = 3

    def panel(self) -> Any:
        """As Grafana is told."""
        return (
            text.Panel()
            .title(self.title)
            .mode(TextMode.MARKDOWN)
            .content(self.markdown)
            .span(self.width)
            .height(self.height)
        )


Panel = Figure | Numbers | Table | Bars | Note
_LETTERS = "ABCDEFGHIJ"


def _source(queries: Sequence[Query | Sql]) -> DataSourceRef:
    return LEDGER if isinstance(queries[0], Sql) else PROMETHEUS


def _described(words: str, source: DataSourceRef) -> str:
    return words + FROM_LEDGER if source is LEDGER else words


def _targets(queries: Iterable[Query | Sql]) -> list[Any]:
    return [query.target(letter) for letter, query in zip(_LETTERS, queries, strict=False)]


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.LIST)
        .placement(kinds.LegendPlacement.BOTTOM)
    )


def _thresholds(*steps: tuple[str, float | None]) -> dashboard.ThresholdsConfig:
    first, *others = steps
    reached = [Threshold(value, color) for color, value in others if value is not None]
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(None, first[0]), *reached])
    )


def _call_link() -> dashboard.DashboardLink:
    """From an exemplar to its call."""
    return (
        dashboard.DashboardLink("Farebox")
        .type(DashboardLinkType.LINK)
        .url("${farebox}/ui")
        .target_blank(True)
    )
