"""*Latency and errors*: how long calls take, where, and what fails."""

from boards.frame import page
from boards.panels import Figure
from boards.queries import CALLS, Query, per_label, percentile_by, percentiles, rate

DURATION = "farebox_call_duration_seconds"
FIRST_BYTE = "farebox_time_to_first_byte_seconds"
SENT = f"{DURATION}_count"  # calls that were sent upstream
ATTEMPTS = "farebox_usage_source_total"  # each attempt has one source
ERRORS = "farebox_upstream_errors_total"
OUTPUT = f'{CALLS}, kind="output"'


def board() -> str:
    """The dashboard's JSON."""
    return page(
        "latency",
        "Farebox latency and errors",
        "How long calls take, what Farebox adds, and what fails where.",
        {
            "Traffic": (
                Figure("Calls", "reqps", "Calls that ended, by team.", per_label("farebox_calls_total", "team"), stacked=True),
                Figure("Calls by outcome and status", "reqps", "How calls ended, and what the client was told.", per_label("farebox_calls_total", "outcome, status"), stacked=True),
                Figure("Calls under way", "short", "Over all replicas.", (Query("sum(farebox_calls_in_flight)", "under way"),)),
            ),
            "Latency": (
                Figure("Duration of calls", "s", "From a call's arrival to the end of its answer.", percentiles(DURATION)),
                Figure("Time to first byte", "s", "From a call's arrival to the first byte of its answer.", percentiles(FIRST_BYTE)),
                Figure("Added by Farebox", "s", "Before the first attempt was sent: keys, caps, the hold in the ledger.", percentiles("farebox_overhead_seconds", "")),
                Figure("p95 of duration by upstream", "s", "", percentile_by(DURATION, 0.95, "upstream")),
                Figure("p95 of time to first byte by upstream", "s", "", percentile_by(FIRST_BYTE, 0.95, "upstream")),
                Figure("Tokens per second of an answer", "none", "Output tokens by the seconds that their calls took, by model.", (
                    Query(f"{rate('farebox_tokens_total', 'model', OUTPUT)} / {rate(f'{DURATION}_sum', 'model')}", "{{model}}"),
                )),
                Figure("p95 of duration by model", "s", "", percentile_by(DURATION, 0.95, "model")),
                Figure("p95 of duration by team", "s", "", percentile_by(DURATION, 0.95, "team")),
                Figure("Tokens per second", "none", "Of all calls together, by upstream.", (
                    Query(rate("farebox_tokens_total", "upstream", OUTPUT), "{{upstream}} out"),
                )),
            ),
            "Errors": (
                Figure("Errors by upstream and reason", "reqps", "Attempts that failed.", per_label(ERRORS, "upstream, reason"), stacked=True),
                Figure("Share of attempts that fail", "percentunit", "By upstream.", (
                    Query(f"{rate(ERRORS, 'upstream')} / {rate(ATTEMPTS, 'upstream')}", "{{upstream}}"),
                )),
                Figure("Retries and fallbacks", "reqps", "Attempts beyond the first of their call.", (
                    Query(f"clamp_min({rate(ATTEMPTS)} - {rate(SENT)}, 0)", "attempts beyond the first"),
                )),
                Figure("Refusals", "reqps", "Calls that Farebox refused, by the error code it answered.", per_label("farebox_refusals_total", "reason"), stacked=True),
                Figure("Calls that failed", "percentunit", "Of all calls: the upstream gave no whole answer.", (
                    Query(f"""{rate("farebox_calls_total", "team", f'{CALLS}, outcome="upstream_failed"')} / {rate("farebox_calls_total", "team")}""", "{{team}}"),
                )),
                Figure("Clients that left", "reqps", "Before the end of their answer.", per_label("farebox_calls_total", "team", f'{CALLS}, outcome="client_left"')),
            ),
        },
    )  # fmt: skip
