"""*Budgets*: limit, spent, held, left, how fast it goes, and how long it will last."""

from boards.frame import SOURCES, page
from boards.panels import Bars, Figure, Numbers, Table
from boards.queries import Query, Sql

BY = "budget, scope, subject, team, window, on_exceed"
WHERE = '{team=~"$team|"}'
NAMED = "{{budget}} ({{subject}})"
USD = "currencyUSD"


def of(word: str) -> str:
    """A gauge of budgets, the same in every replica."""
    return f"farebox_budget_{word}{WHERE}"


def top(expression: str, by: str = BY) -> str:
    """Once for each budget, however many replicas tell of it."""
    return f"max by ({by}) ({expression})"


LEFT = f"{of('limit_usd')} - {of('spent_usd')} - {of('held_usd')}"
USED = f"({of('spent_usd')} + {of('held_usd')}) / ({of('limit_usd')} > 0)"
BURN = f"3600 * rate({of('spent_usd')}[1h])"
ELAPSED = (
    f"(time() - {of('start_timestamp_seconds')})"
    f" / ({of('reset_timestamp_seconds')} - {of('start_timestamp_seconds')})"
)
FORECAST = f"{of('spent_usd')} / ({ELAPSED} > 0)"
DAYS_LEFT = f"{top(LEFT)} / (24 * {top(BURN)} > 0)"
WINDOWS = """SELECT w.budget_id AS "Budget", w.subject AS "Subject",
  CASE WHEN w.starts_at > 0 THEN to_timestamp(w.starts_at) END AS "From",
  b.limit_nano / 1e9 AS "Limit", w.spent_nano / 1e9 AS "Spent", w.held_nano / 1e9 AS "Held",
  (b.limit_nano - w.spent_nano - w.held_nano) / 1e9 AS "Left", w.overdraft_nano / 1e9 AS "Overdraft"
FROM budget_windows AS w JOIN budgets AS b ON b.id = w.budget_id
WHERE (w.starts_at = 0 OR w.starts_at BETWEEN $__unixEpochFrom() - 2678400 AND $__unixEpochTo())
  AND CASE b.scope WHEN 'team' THEN w.subject ELSE b.team END ~ $q$^(${team:regex}|)$$q$
ORDER BY w.starts_at DESC, w.spent_nano DESC, w.budget_id, w.subject
LIMIT 500"""


def board() -> str:
    """The dashboard's JSON."""
    return page(
        "budgets",
        "Farebox budgets",
        "Limit, spent, held and left of each budget, and how long it will last.",
        {
            "": (
                SOURCES,
                Numbers("Budgets", "short", "How many there are, and how many of them are spent by 80 % or whole.", (
                    Query(f"count({top(of('limit_usd'))})", "budgets", instant=True),
                    Query(f"count({top(USED)} >= 0.8) or vector(0)", "80 % used", instant=True),
                    Query(f"count({top(USED)} >= 1) or vector(0)", "used up", instant=True),
                    Query(f"count({top(FORECAST)} > {top(of('limit_usd'))}) or vector(0)", "will break", instant=True),
                )),
            ),
            "Now, as the ledger said at the scrape": (
                Bars("Used of each budget", "percentunit", "Spent and held, as a share of the limit of the present window.", (
                    Query(top(USED, "budget, subject"), NAMED, instant=True),
                )),
                Table("All budgets", USD, "Forecast: at the pace of the window so far. Days to the limit: at the pace of the last hour. Budgets on people are one row for each kind: the one nearest to its limit.", (
                    Query(top(of("limit_usd")), instant=True),
                    Query(top(of("spent_usd")), instant=True),
                    Query(top(of("held_usd")), instant=True),
                    Query(top(LEFT), instant=True),
                    Query(top(BURN), instant=True),
                    Query(top(FORECAST), instant=True),
                    Query(DAYS_LEFT, instant=True),
                    Query(top(f"1000 * {of('reset_timestamp_seconds')}"), instant=True),
                ),
                columns=("Limit", "Spent", "Held", "Left", "Per hour", "Forecast", "Days to the limit", "Resets"),
                units=(("Days to the limit", "none"), ("Resets", "dateTimeFromNow")),
                width=16, height=8),
            ),
            "Over time": (
                Figure("Limit, spent and held", USD, "As the ledger said at the scrape.", tuple(
                    Query(top(of(f"{word}_usd"), "budget, subject"), f"{NAMED} {word}") for word in ("limit", "spent", "held")
                )),
                Figure("Left", USD, "Of the limit, after what is spent and held.", (Query(top(LEFT, "budget, subject"), NAMED),)),
                Figure("Burn rate", USD, "Dollars an hour, over the last hour.", (Query(top(BURN, "budget, subject"), NAMED),)),
                Figure("Days to the limit", "none", "At the pace of the last hour; absent where nothing is spent.", (Query(DAYS_LEFT, NAMED),)),
                Figure("Forecast for the window's end", USD, "At the pace of the window so far.", (Query(top(FORECAST, "budget, subject"), NAMED),)),
                Figure("Overdraft", USD, "What was charged and did not fit a blocking budget.", (Query(top(of("overdraft_usd"), "budget, subject"), NAMED),)),
                Figure("Refused for a budget", "reqps", "Calls that were answered 429 budget_exceeded.", (
                    Query('sum by (team) (rate(farebox_refusals_total{reason="budget_exceeded", team=~"$team"}[$__rate_interval]))', "{{team}}"),
                )),
                Figure("Over a budget that warns", "reqps", "Calls that went on over the limit of a budget with on_exceed: warn.", (
                    Query('sum by (team) (rate(farebox_budget_warnings_total{team=~"$team"}[$__rate_interval]))', "{{team}}"),
                )),
            ),
            "From the ledger": (
                Table("Windows", USD, "The windows of the time shown and of the month before, as they are or ended, by today's limits.", (Sql(WINDOWS),), units=(("From", "dateTimeAsIso"),)),
            ),
        },
        variables=("team",),
        since="now-7d",
    )  # fmt: skip
