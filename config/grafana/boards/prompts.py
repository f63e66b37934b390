"""*Prompt economics*: how long prompts and answers are, what is cached, and what caps cut."""

from boards.frame import SOURCES, page
from boards.panels import Figure, Table
from boards.queries import (
    CALLS,
    HOURS,
    MOMENTS,
    NEWEST,
    Query,
    Sql,
    chosen_rows,
    per_label,
    percentile_by,
    percentiles,
    rate,
)
from boards.spend import MODEL_OF_CALL, USD

TOKENS = "farebox_tokens_total"
INPUT, CACHED = f'{CALLS}, kind="input"', f'{CALLS}, kind="cached"'
SHARES = (0.5, 0.95)
MODELS = f"""SELECT model AS "Model", sum(calls) FILTER (WHERE outcome <> 'refused') AS "Calls",
  sum(input_tokens) AS "Input tokens",
  coalesce(sum(cached_tokens) / nullif(sum(input_tokens), 0), 0) AS "Cached",
  sum(output_tokens) AS "Output tokens",
  coalesce(sum(reasoning_tokens) / nullif(sum(output_tokens), 0), 0) AS "Reasoning",
  sum(cost_nano) / 1e9 AS "Cost",
  coalesce(sum(cost_nano) / 1e9 / nullif(sum(output_tokens), 0) * 1000, 0) AS "Per 1,000 output tokens"
FROM rollups
WHERE {HOURS}
  AND {chosen_rows()}
GROUP BY model
HAVING sum(input_tokens) + sum(output_tokens) > 0
ORDER BY sum(cost_nano) DESC, model
LIMIT 100"""
CAPS = f"""SELECT output_cap_source AS "Set by", team AS "Team", model AS "Model",
  count(*) AS "Calls",
  count(*) FILTER (WHERE output_tokens >= output_cap) AS "Reached the cap",
  avg((output_tokens >= output_cap)::int) AS "Share",
  min(output_cap) AS "Lowest cap", max(output_cap) AS "Highest cap"
FROM (
  SELECT output_cap_source, team, {MODEL_OF_CALL} AS model, output_tokens, output_cap FROM calls
  WHERE {MOMENTS}
    AND output_cap IS NOT NULL AND output_tokens > 0
    AND {chosen_rows(MODEL_OF_CALL)}
  {NEWEST}
) AS shown
GROUP BY output_cap_source, team, model
ORDER BY "Reached the cap" DESC, "Calls" DESC, output_cap_source, team, "Model"
LIMIT 200"""


def board() -> str:
    """The dashboard's JSON."""
    return page(
        "prompts",
        "Farebox prompt economics",
        "How long prompts and answers are, how much is read from caches, and what caps cut.",
        {
            "": (SOURCES,),
            "Lengths": (
                Figure("Input tokens per call", "short", "Length of prompts.", percentiles("farebox_input_tokens", CALLS, SHARES)),
                Figure("p95 of input tokens by model", "short", "", percentile_by("farebox_input_tokens", 0.95, "model")),
                Figure("p95 of input tokens by team", "short", "", percentile_by("farebox_input_tokens", 0.95, "team")),
                Figure("Output tokens per call", "short", "Length of answers.", percentiles("farebox_output_tokens", CALLS, SHARES)),
                Figure("p95 of output tokens by model", "short", "", percentile_by("farebox_output_tokens", 0.95, "model")),
                Figure("p95 of output tokens by team", "short", "", percentile_by("farebox_output_tokens", 0.95, "team")),
            ),
            "Tokens and caches": (
                Figure("Tokens by kind", "short", "Per second. cached and cache_write are part of input, reasoning is part of output.", per_label(TOKENS, "kind")),
                Figure("Cached share of the input", "percentunit", "Read from the provider's cache, by model.", (
                    Query(f"{rate(TOKENS, 'model', CACHED)} / {rate(TOKENS, 'model', INPUT)}", "{{model}}"),
                )),
                Figure("Output caps set", "reqps", "Calls whose output cap was set by other than the client, by whom.", per_label("farebox_output_capped_total", "source"), stacked=True),
            ),
            "From the ledger": (
                Table("Models", "short", "What a model's tokens cost.", (Sql(MODELS),), units=(("Cost", USD), ("Per 1,000 output tokens", USD), ("Cached", "percentunit"), ("Reasoning", "percentunit")), width=12),
                Table("Answers that reached their cap", "short", "Of the newest 500,000 calls with a cap at most, how many answers were as long as it allowed, and who had set it. Several answers to one call count together.", (Sql(CAPS),), units=(("Share", "percentunit"),), width=12),
            ),
        },
        since="now-24h",
    )  # fmt: skip
