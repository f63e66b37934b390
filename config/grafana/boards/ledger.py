"""*Ledger health*: whether what is counted is sure, written, and written in time."""

from boards.frame import SOURCES, page
from boards.panels import Figure, Numbers, Table
from boards.queries import HOURS, MOMENTS, Query, Sql, per_label, percentiles, rate

USD = "currencyUSD"
OPEN = """SELECT count(*) AS "Open holds", coalesce(sum(amount_nano), 0) / 1e9 AS "Held",
  coalesce(extract(epoch FROM now()) - min(created_at_us) / 1e6, 0) AS "Oldest hold",
  (SELECT count(*) FROM owners WHERE seen_at_us > (extract(epoch FROM now()) - 60) * 1e6) AS "Processes alive",
  pg_database_size(current_database()) AS "Database"
FROM holds"""
AGREE = f"""SELECT coalesce(
  (SELECT sum(cost_nano) FROM rollups WHERE {HOURS})
  - (SELECT sum(cost_nano) FROM calls WHERE {MOMENTS})
  - (SELECT coalesce(sum(a.amount_nano), 0) FROM adjustments AS a JOIN calls ON calls.id = a.call_id
     WHERE {MOMENTS}), 0) / 1e9 AS "Totals less rows" """.rstrip()
OUTCOMES = f"""SELECT to_timestamp(hour - hour % 86400) AS time, outcome AS metric, sum(calls) AS value
FROM rollups
WHERE {HOURS}
GROUP BY time, metric
ORDER BY time, metric"""
CORRECTIONS = """SELECT to_timestamp(created_at_us / 86400000000 * 86400) AS time, reason AS metric,
  sum(amount_nano) / 1e9 AS value
FROM adjustments
WHERE created_at_us >= $__unixEpochFrom() / 86400 * 86400000000
  AND created_at_us < ($__unixEpochTo() / 3600 + 1) * 3600000000
GROUP BY time, metric
ORDER BY time, metric"""
COUNTS = f"""SELECT usage_source AS "Counts come from", count(*) AS "Calls",
  sum(input_tokens) AS "Input tokens", sum(output_tokens) AS "Output tokens",
  sum(cost_nano) / 1e9 AS "Charged"
FROM calls
WHERE {MOMENTS}
  AND attempts > 0
GROUP BY usage_source
ORDER BY count(*) DESC, usage_source"""


def board() -> str:
    """The dashboard's JSON."""
    return page(
        "ledger",
        "Farebox ledger health",
        "Whether what is counted is sure, written, and written in time.",
        {
            "": (
                SOURCES,
                Numbers("Now", "short", "Holds of calls under way, and the size of the database.", (Sql(OPEN),), units=(("Held", USD), ("Oldest hold", "s"), ("Database", "bytes")), width=16),
                Numbers("Totals against rows", USD, "What the hourly totals say more than the calls and corrections that they were made from: always 0. Only within the time that no call was pruned from.", (Sql(AGREE),), width=8, warn_at=0.000000001),
            ),
            "Writing": (
                Figure("Commit time", "s", "One transaction of a ledger's writer.", percentiles("farebox_ledger_commit_seconds", "")),
                Figure("Operations per commit", "short", "Holds and settlements that one transaction carried.", percentiles("farebox_ledger_batch_size", "")),
                Figure("Commits", "cps", "Transactions per second, over all replicas.", (Query(rate("farebox_ledger_commit_seconds_count", "", ""), "commits"),)),
                Figure("Waiting in the spool", "short", "Settlements that wait for the database to answer.", (Query("sum by (instance) (farebox_spool_rows)", "{{instance}}"), Query("sum by (instance) (farebox_ledger_unwritten)", "{{instance}}: neither there nor in the database"))),
                Figure("Trouble with the database", "cps", "away: it did not answer. retried: it asked for a transaction again. lost_call: of a process that died. set_aside: a settlement that no database takes.", per_label("farebox_ledger_troubles_total", "kind", ""), stacked=True),
                Figure("Refused: the ledger is away", "reqps", "Calls that were answered 503 ledger_unavailable.", (
                    Query('sum(rate(farebox_refusals_total{reason="ledger_unavailable"}[$__rate_interval])) or vector(0)', "refused"),
                )),
                Figure("Held", USD, "Set aside for calls under way, by budget.", (Query("max by (budget, subject) (farebox_budget_held_usd)", "{{budget}} ({{subject}})"),)),
            ),
            "How sure the counts are": (
                Figure("Where counts come from", "reqps", "provider: reported in the answer. counted: by Farebox, because the answer had none. none: the attempt failed, or is not metered.", per_label("farebox_usage_source_total", "source", ""), stacked=True),
                Figure("Unpriced calls", "reqps", "Calls that nothing gives a price for.", (Query(rate("farebox_unpriced_calls_total", "model", ""), "{{model}}"),)),
                Figure("Label values counted as other", "cps", "More teams, models or paths than metrics.max_label_sets has places for: the metrics get coarser, the ledger does not.", (Query(rate("farebox_label_overflow_total", "", ""), "other"),)),
                Table("Counts by their source", "short", "Of the last attempt of each call; corrections are not in it.", (Sql(COUNTS),), units=(("Charged", USD),), width=8, height=8),
                Figure("Calls by outcome", "short", "Days. lost: the process that had the call died; it was charged by policy.", (Sql(OUTCOMES, over_time=True),), stacked=True),
                Figure("Corrections", USD, "What repricing added to, or took from, earlier charges, by the day it was done.", (Sql(CORRECTIONS, over_time=True),)),
            ),
            "Processes": (
                Figure("Answering", "short", "Replicas that answered the last scrape.", (Query('sum(up{job="farebox"})', "up"), Query('count(up{job="farebox"})', "known"))),
                Figure("Versions", "short", "Replicas by version and by where their ledger is.", (Query("sum by (version, database) (farebox_info)", "{{version}} on {{database}}"),)),
                Figure("Memory", "bytes", "Of each replica with one worker.", (Query('process_resident_memory_bytes{job="farebox"}', "{{instance}}"),)),
            ),
        },
        variables=(),
        since="now-24h",
    )  # fmt: skip
