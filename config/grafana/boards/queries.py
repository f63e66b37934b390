"""What panels ask: PromQL of Prometheus, and SQL of the ledger on PostgreSQL."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="farebox-prometheus")
LEDGER = DataSourceRef(type_val="grafana-postgresql-datasource", uid="farebox-ledger")

CALLS = 'team=~"$team", model=~"$model", upstream=~"$upstream"'
ANSWERED = f'{CALLS}, outcome!="refused"'


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and how its series are named. ``instant``: only what is now."""

    expr: str
    legend: str = ""
    instant: bool = False

    def target(self, letter: str) -> prometheus.Dataquery:
        """As a panel asks it."""
        asked = (
            prometheus.Dataquery()
            .ref_id(letter)
            .datasource(PROMETHEUS)
            .expr(self.expr)
            .legend_format(self.legend)
        )
        if self.instant:
            return asked.instant().format(PromQueryFormat.TABLE)
        return asked.exemplar(exemplar="histogram_quantile" in self.expr)


@dataclass(frozen=True, slots=True)
class Sql:
    """A statement to the ledger. ``over_time``: rows of time, metric and value."""

    text: str
    over_time: bool = False

    def target(self, letter: str) -> "_LedgerQuery":
        """As a panel asks it."""
        return _LedgerQuery(self, letter)


class _LedgerQuery(builder.Builder[variants.Dataquery], variants.Dataquery):
    """The query of Grafana's PostgreSQL data source, for which its SDK has no class."""

    def __init__(self, sql: Sql, letter: str) -> None:
        self._sql = sql
        self._letter = letter

    def build(self) -> variants.Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "datasource": LEDGER,
            "editorMode": "code",
            "format": "time_series" if self._sql.over_time else "table",
            "rawQuery": True,
            "rawSql": self._sql.text,
            "refId": self._letter,
        }


# PromQL


def rate(metric: str, by: str = "", where: str = CALLS) -> str:
    """The sum of a counter's rates per second, by some labels."""
    grouped = f" by ({by})" if by else ""
    selected = f"{metric}{{{where}}}" if where else metric
    return f"sum{grouped} (rate({selected}[$__rate_interval]))"


def per_label(metric: str, by: str, where: str = CALLS) -> tuple[Query, ...]:
    """One series for each set of the labels."""
    legend = " · ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return (Query(rate(metric, by, where), legend),)


def percentiles(
    metric: str, where: str = CALLS, shares: tuple[float, ...] = (0.5, 0.95, 0.99)
) -> tuple[Query, ...]:
    """The median and the slow tail of a histogram."""
    buckets = rate(f"{metric}_bucket", "le", where)
    return tuple(
        Query(f"histogram_quantile({share}, {buckets})", f"p{share * 100:.0f}") for share in shares
    )


def percentile_by(metric: str, share: float, by: str) -> tuple[Query, ...]:
    """One percentile of a histogram for each value of a label."""
    buckets = rate(f"{metric}_bucket", f"{by}, le")
    return (Query(f"histogram_quantile({share}, {buckets})", f"{{{{{by}}}}}"),)


# SQL. Money is nano-dollars in the ledger; 1e9 is an exact number to PostgreSQL. A variable's values
# come as a regular expression, in which Grafana has escaped every $: nothing in them can end the quotes.


def chosen(column: str, variable: str) -> str:
    """Whether a column has one of a variable's values."""
    return f"{column} ~ $q$^(${{{variable}:regex}})$$q$"


def chosen_rows(model: str = "model") -> str:
    """The rows of the teams, models and upstreams that are chosen."""
    return (
        f"{chosen('team', 'team')}\n  AND {chosen(model, 'model')}\n"
        f"  AND {chosen('upstream', 'upstream')}"
    )


HOURS = "hour BETWEEN $__unixEpochFrom() / 3600 * 3600 AND $__unixEpochTo()"
DAYS = "day BETWEEN $__unixEpochFrom() / 86400 * 86400 AND $__unixEpochTo()"
NEWEST = "ORDER BY started_at_us DESC LIMIT 500000"  # what a panel may read of calls within seconds
MOMENTS = (  # 3600000000 is a BIGINT by its size, and so is what it is multiplied with
    "started_at_us >= $__unixEpochFrom() / 3600 * 3600000000\n"
    "  AND started_at_us < ($__unixEpochTo() / 3600 + 1) * 3600000000"
)
