"""*Spend*: what was spent, on what, by whom, and what it will come to."""

from boards.frame import SOURCES, page
from boards.panels import Figure, Numbers, Table
from boards.queries import (
    ANSWERED,
    DAYS,
    HOURS,
    MOMENTS,
    NEWEST,
    Query,
    Sql,
    chosen,
    chosen_rows,
    rate,
)

# Epoch seconds of this day's and month's beginnings, in UTC.
CLOCK = """WITH utc AS (SELECT now() AT TIME ZONE 'UTC' AS moment), clock AS (
  SELECT extract(epoch FROM moment)::bigint AS now,
    extract(epoch FROM date_trunc('day', moment))::bigint AS today,
    extract(epoch FROM date_trunc('month', moment) - interval '1 month')::bigint AS last_month,
    extract(epoch FROM date_trunc('month', moment))::bigint AS month,
    extract(epoch FROM date_trunc('month', moment) + interval '1 month')::bigint AS next_month
  FROM utc
)"""
TOTALS = f"""{CLOCK}
SELECT coalesce(sum(cost_nano) FILTER (WHERE hour >= today), 0) / 1e9 AS "Today",
  coalesce(sum(cost_nano) FILTER (WHERE hour >= today - 86400 AND hour < today), 0) / 1e9 AS "Yesterday",
  coalesce(sum(cost_nano) FILTER (WHERE hour >= month), 0) / 1e9 AS "This month",
  coalesce(sum(cost_nano) FILTER (WHERE hour >= last_month AND hour < month), 0) / 1e9 AS "Last month",
  coalesce(sum(unpriced) FILTER (WHERE hour >= month), 0) AS "Unpriced calls this month"
FROM rollups, clock
WHERE hour >= (SELECT last_month FROM clock)
  AND {chosen_rows()}"""
# Each day to come, and what is left of today, costs what its weekday did on the average of four weeks.
FORECAST = f"""{CLOCK}, days AS (
  SELECT hour - hour % 86400 AS day, sum(cost_nano) AS nano
  FROM rollups
  WHERE hour >= (SELECT least(month, today - 28 * 86400) FROM clock)
    AND {chosen_rows()}
  GROUP BY 1
), begun AS (
  SELECT min(day) AS first FROM days WHERE nano > 0
), past AS (
  SELECT date AS day, coalesce(nano, 0) AS nano
  FROM clock CROSS JOIN begun
    CROSS JOIN generate_series(greatest(first, today - 28 * 86400), today - 86400, 86400) AS date
    LEFT JOIN days ON days.day = date
), ahead AS (
  SELECT coalesce((SELECT avg(nano) FROM past WHERE (date - past.day) % 604800 = 0),
      (SELECT avg(nano) FROM past WHERE past.day >= today - 604800))
    * CASE date WHEN today THEN (today + 86400 - now) / 86400.0 ELSE 1 END AS nano
  FROM clock CROSS JOIN generate_series(today, next_month - 86400, 86400) AS date
)
SELECT ((SELECT sum(nano) FROM days, clock WHERE day >= month) + (SELECT sum(nano) FROM ahead)) / 1e9
  AS "Forecast for this month"
FROM clock, begun
WHERE today - first >= 3 * 86400"""
RANGE = f"""SELECT coalesce(sum(cost_nano), 0) / 1e9 AS "Spent",
  coalesce(sum(calls), 0) AS "Calls",
  coalesce(sum(cost_nano) / 1e9 / nullif(sum(calls) FILTER (WHERE outcome <> 'refused'), 0), 0)
    AS "Mean per call",
  coalesce(sum(unpriced), 0) AS "Unpriced calls"
FROM rollups
WHERE {HOURS}
  AND {chosen_rows()}"""
SOURCES_OF_COST = f"""SELECT team AS "Team", model AS "Model", upstream AS "Upstream",
  sum(calls) AS "Calls",
  sum(input_tokens) AS "Input tokens",
  coalesce(sum(cached_tokens) / nullif(sum(input_tokens), 0), 0) AS "Cached",
  sum(output_tokens) AS "Output tokens",
  sum(cost_nano) / 1e9 AS "Cost",
  coalesce(sum(cost_nano) / 1e9 / nullif(sum(calls) FILTER (WHERE outcome <> 'refused'), 0), 0)
    AS "Per call",
  coalesce(sum(cost_nano) / nullif(sum(sum(cost_nano)) OVER (), 0), 0) AS "Share"
FROM rollups
WHERE {HOURS}
  AND {chosen_rows()}
GROUP BY team, model, upstream
ORDER BY sum(cost_nano) DESC, team, model, upstream
LIMIT 200"""
WORKFLOWS = f"""SELECT team AS "Team", workflow AS "Workflow", sum(calls) AS "Calls",
  sum(input_tokens) AS "Input tokens", sum(output_tokens) AS "Output tokens",
  sum(cost_nano) / 1e9 AS "Cost"
FROM rollups_by_principal
WHERE {DAYS}
  AND {chosen("team", "team")}
GROUP BY team, workflow
ORDER BY sum(cost_nano) DESC, team, workflow
LIMIT 200"""
MODEL_OF_CALL = "coalesce(nullif(model_served, ''), model_requested)"
PER_CALL = f"""WITH priced AS (
  SELECT model, cost_nano + coalesce(added, 0) AS nano
  FROM (
    SELECT id, {MODEL_OF_CALL} AS model, cost_nano FROM calls
    WHERE {MOMENTS}
      AND outcome <> 'refused'
      AND {chosen_rows(MODEL_OF_CALL)}
    {NEWEST}
  ) AS shown LEFT JOIN
    (SELECT call_id, sum(amount_nano) AS added FROM adjustments GROUP BY call_id) AS corrected
    ON corrected.call_id = shown.id
)
SELECT model AS "Model", count(*) AS "Calls",
  percentile_disc(0.5) WITHIN GROUP (ORDER BY nano) / 1e9 AS "p50",
  percentile_disc(0.95) WITHIN GROUP (ORDER BY nano) / 1e9 AS "p95",
  max(nano) / 1e9 AS "Dearest",
  sum(nano) / 1e9 AS "Cost"
FROM priced
GROUP BY model
ORDER BY sum(nano) DESC, model
LIMIT 100"""
UNPRICED = f"""SELECT model AS "Model", upstream AS "Upstream", team AS "Team",
  sum(unpriced) AS "Unpriced calls", sum(input_tokens) AS "Input tokens",
  sum(output_tokens) AS "Output tokens"
FROM rollups
WHERE {HOURS}
  AND {chosen_rows()}
GROUP BY model, upstream, team
HAVING sum(unpriced) > 0
ORDER BY sum(unpriced) DESC, model, upstream, team
LIMIT 100"""
USD = "currencyUSD"


def by_day(column: str) -> tuple[Sql, ...]:
    """Spend of each day, by a column."""
    return (
        Sql(
            f"""SELECT to_timestamp(hour - hour % 86400) AS time, {column} AS metric,
  sum(cost_nano) / 1e9 AS value
FROM rollups
WHERE {HOURS}
  AND {chosen_rows()}
GROUP BY time, metric
ORDER BY time, metric""",
            over_time=True,
        ),
    )


def per_hour(label: str) -> tuple[Query, ...]:
    """Dollars an hour at the present rate, by a label."""
    return (Query(f"3600 * {rate('farebox_cost_usd_total', label)}", f"{{{{{label}}}}}"),)


SUMS = (
    SOURCES,
    Numbers(
        "Spend",
        USD,
        "Calendar days and months. Forecast: each day to come is taken to cost what its weekday did on the "
        "average of the last four weeks; there is none before the third day.",
        (Sql(TOTALS), Sql(FORECAST)),
        units=(("Unpriced calls this month", "short"),),
    ),
    Numbers(
        "In the time shown",
        USD,
        "A call that was refused costs nothing and is not in the mean.",
        (Sql(RANGE),),
        units=(("Calls", "short"), ("Unpriced calls", "short")),
    ),
)
DAYS_OF = (
    Figure("By team", USD, "Days.", by_day("team"), stacked=True),
    Figure("By model", USD, "Days, by the model that served.", by_day("model"), stacked=True),
    Figure("By upstream", USD, "Days.", by_day("upstream"), stacked=True),
)  # fmt: skip
CAUSES = (
    Table(
        "By team, model and upstream",
        "short",
        "The dearest first.",
        (Sql(SOURCES_OF_COST),),
        units=(("Cost", USD), ("Per call", USD), ("Cached", "percentunit"), ("Share", "percentunit")),
    ),
    Table(
        "By workflow",
        "short",
        "Whole days: workflows are kept by the day. Models and upstreams that are chosen above do not matter here.",
        (Sql(WORKFLOWS),),
        units=(("Cost", USD),),
        width=12,
    ),
    Table(
        "Cost per call",
        "short",
        "Over the newest 500,000 calls at most, with corrections; what was refused is left out.",
        (Sql(PER_CALL),),
        units=(("p50", USD), ("p95", USD), ("Dearest", USD), ("Cost", USD)),
        width=12,
    ),
    Table(
        "Unpriced",
        "short",
        "Calls that nothing gives a price for: add one to the configuration, then farebox reprice.",
        (Sql(UNPRICED),),
        width=12,
        height=8,
    ),
    Figure(
        "Unpriced calls",
        "reqps",
        "As they come.",
        (Query(rate("farebox_unpriced_calls_total", "model"), "{{model}}"),),
        width=12,
    ),
)  # fmt: skip
RATES = (
    Figure("By team, now", USD, "From Prometheus: a rate, not a sum.", per_hour("team"), stacked=True),
    Figure("By model, now", USD, "From Prometheus: a rate, not a sum.", per_hour("model"), stacked=True),
    Figure(
        "Mean cost per call",
        USD,
        "From Prometheus: over the calls that were not refused, by model.",
        (
            Query(
                f"{rate('farebox_cost_usd_total', 'model')} / "
                f"{rate('farebox_calls_total', 'model', ANSWERED)}",
                "{{model}}",
            ),
        ),
    ),
)  # fmt: skip


def board() -> str:
    """The dashboard's JSON."""
    return page(
        "spend",
        "Farebox spend",
        "What was spent, on what, by whom, and what the month will come to.",
        {
            "": SUMS,
            "Spend by day": DAYS_OF,
            "Where the money comes from": CAUSES,
            "Spend per hour, at the present rate": RATES,
        },
        since="now-30d",
        refresh="5m",
    )
