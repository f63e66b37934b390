"""Every metric of Farebox, declared once.

Labels are bounded: team, model, upstream and endpoint, never a key, a user or a run. In token
counts, as in rows and reports, input is all input and output is all output.
"""

from proxy.core.money import NANO_PER_USD
from proxy.observe.families import MICROSECONDS, Family

BY_CALL = ("team", "model", "upstream", "endpoint")
BY_BUDGET = ("budget", "scope", "subject", "team", "window", "on_exceed")
CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300, 600)
TOKEN_COUNTS = (16, 64, 256, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_000_000)  # fmt: skip
SHORT_SECONDS = (
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    10,
)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

CALLS = Family(
    "farebox_calls_total",
    "counter",
    "Calls that ended, by how they ended and the class of the status that the client was told.",
    (*BY_CALL, "outcome", "status"),
)
TOKENS = Family(
    "farebox_tokens_total",
    "counter",
    "Tokens by kind; cached and cache_write are part of input, reasoning is part of output.",
    (*BY_CALL, "kind"),
)
COST = Family(
    "farebox_cost_usd_total", "counter", "What attempts cost, in US dollars.", BY_CALL, NANO_PER_USD
)
DURATION = Family(
    "farebox_call_duration_seconds",
    "histogram",
    "From the arrival of a call to the end of its answer.",
    BY_CALL,
    MICROSECONDS,
    CALL_SECONDS,
)
FIRST_BYTE = Family(
    "farebox_time_to_first_byte_seconds",
    "histogram",
    "From the arrival of a call to the first byte of its answer.",
    BY_CALL,
    MICROSECONDS,
    CALL_SECONDS,
)
OVERHEAD = Family(
    "farebox_overhead_seconds",
    "histogram",
    "Time in Farebox before the first attempt was sent.",
    ("endpoint",),
    MICROSECONDS,
    SHORT_SECONDS,
)
INPUT = Family(
    "farebox_input_tokens",
    "histogram",
    "Length of prompts: all input tokens of an attempt that was metered.",
    BY_CALL,
    1,
    TOKEN_COUNTS,
)
OUTPUT = Family(
    "farebox_output_tokens",
    "histogram",
    "Length of answers: all output tokens of an attempt that was metered.",
    BY_CALL,
    1,
    TOKEN_COUNTS,
)
BUDGET_LIMIT = Family(
    "farebox_budget_limit_usd", "gauge", "Limit of a budget's window.", BY_BUDGET, NANO_PER_USD
)
BUDGET_SPENT = Family(
    "farebox_budget_spent_usd",
    "gauge",
    "Spent in a budget's current window, as the ledger says at the scrape.",
    BY_BUDGET,
    NANO_PER_USD,
)
BUDGET_HELD = Family(
    "farebox_budget_held_usd",
    "gauge",
    "Held in a budget's current window for calls that are under way.",
    BY_BUDGET,
    NANO_PER_USD,
)
BUDGET_OVERDRAFT = Family(
    "farebox_budget_overdraft_usd",
    "gauge",
    "Part of what was charged that did not fit a blocking budget.",
    BY_BUDGET,
    NANO_PER_USD,
)
BUDGET_START = Family(
    "farebox_budget_start_timestamp_seconds",
    "gauge",
    "When a budget's current window began, in Unix time; absent for a budget without an end.",
    BY_BUDGET,
)
BUDGET_RESET = Family(
    "farebox_budget_reset_timestamp_seconds",
    "gauge",
    "When a budget's current window ends, in Unix time; absent for a budget without an end.",
    BY_BUDGET,
)
BUDGET_WARNINGS = Family(
    "farebox_budget_warnings_total",
    "counter",
    "Calls that went on over the limit of a budget that only warns.",
    ("team",),
)
REFUSALS = Family(
    "farebox_refusals_total",
    "counter",
    "Calls that Farebox refused, by the error code it answered.",
    (*BY_CALL, "reason"),
)
CAPPED = Family(
    "farebox_output_capped_total",
    "counter",
    "Calls whose output cap was set by other than the client.",
    (*BY_CALL, "source"),
)
USAGE_SOURCE = Family(
    "farebox_usage_source_total",
    "counter",
    "Attempts by where their token counts come from.",
    (*BY_CALL, "source"),
)
UNPRICED = Family(
    "farebox_unpriced_calls_total",
    "counter",
    "Calls with an attempt that nothing gives a price for.",
    BY_CALL,
)
IN_FLIGHT = Family("farebox_calls_in_flight", "gauge", "Calls that are under way.")
UPSTREAM_ERRORS = Family(
    "farebox_upstream_errors_total",
    "counter",
    "Attempts that failed at an upstream, by a short word for why.",
    (*BY_CALL, "reason"),
)
COMMIT = Family(
    "farebox_ledger_commit_seconds",
    "histogram",
    "Time of one transaction of the ledger's writer.",
    (),
    MICROSECONDS,
    SHORT_SECONDS,
)
BATCH = Family(
    "farebox_ledger_batch_size",
    "histogram",
    "Holds and settlements that one transaction of the ledger carried.",
    (),
    1,
    BATCHES,
)
SPOOL = Family(
    "farebox_spool_rows", "gauge", "Settlements in the spool file that wait for the database."
)
UNWRITTEN = Family(
    "farebox_ledger_unwritten",
    "gauge",
    "Settlements that neither the database nor the spool takes; they are tried again.",
)
TROUBLES = Family(
    "farebox_ledger_troubles_total",
    "counter",
    "What went wrong between Farebox and its ledger, by kind.",
    ("kind",),
)
LABELS_FULL = Family(
    "farebox_label_overflow_total",
    "counter",
    'Label values counted as "other" because the places for them were taken.',
)
INFO = Family(
    "farebox_info",
    "gauge",
    "Always 1: the version, and the database that the ledger is in (sqlite or postgresql).",
    ("version", "database"),
)

FAMILIES: tuple[Family, ...] = (
    CALLS,
    TOKENS,
    COST,
    DURATION,
    FIRST_BYTE,
    OVERHEAD,
    INPUT,
    OUTPUT,
    BUDGET_LIMIT,
    BUDGET_SPENT,
    BUDGET_HELD,
    BUDGET_OVERDRAFT,
    BUDGET_START,
    BUDGET_RESET,
    BUDGET_WARNINGS,
    REFUSALS,
    CAPPED,
    USAGE_SOURCE,
    UNPRICED,
    IN_FLIGHT,
    UPSTREAM_ERRORS,
    COMMIT,
    BATCH,
    SPOOL,
    UNWRITTEN,
    TROUBLES,
    LABELS_FULL,
    INFO,
)
