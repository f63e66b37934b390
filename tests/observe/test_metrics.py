"""What is counted, and under which labels."""

from dataclasses import dataclass

import pytest
import structlog
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from proxy.core.budgets import Budget, OnExceed, Scope, Window
from proxy.core.call import CallFinished, CapSource, Outcome
from proxy.core.usage import EMPTY, UsageSource
from proxy.ledger.base import Stats
from proxy.observe import catalogue
from proxy.observe.budget_gauges import BudgetWindows
from proxy.observe.exposition import exposition
from proxy.observe.families import Family, Snapshot, merged
from proxy.observe.metrics import Metrics
from tests.observe.samples import ATTEMPT, RECORD, REFUSED, finished

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
CALL = {
    "team": "search",
    "model": "gpt-5-mini-2026-08-07",
    "upstream": "openai",
    "endpoint": "chat.completions",
}


def scraped(*snapshots: Snapshot) -> Samples:
    """The page as Prometheus reads it."""
    text = exposition(catalogue.FAMILIES, merged(snapshots)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def counted(*events: CallFinished) -> Samples:
    metrics = Metrics()
    for event in events:
        metrics.call_finished(event)
    return scraped(metrics.snapshot())


def test_a_call_is_counted_once_under_its_labels() -> None:
    """A call counts by team, served model, upstream, endpoint, outcome and class of status."""
    samples = counted(finished(), finished())

    assert value(samples, "farebox_calls_total", **CALL, outcome="completed", status="2xx") == 2


def test_cost_is_exact() -> None:
    """Nano-dollars add up as integers: no call's money is lost in floating point."""
    metrics = Metrics()
    for _ in range(3):
        metrics.call_finished(finished({"cost_nano": 100_000_001}))
    page = exposition(catalogue.FAMILIES, metrics.snapshot()).decode()

    assert 'endpoint="chat.completions"} 0.300000003' in page


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("input", 1234), ("cached", 200), ("cache_write", 34), ("output", 100), ("reasoning", 30)],
)
def test_token_kinds_are_those_of_the_rows(kind: str, expected: int) -> None:
    """Input is all input and output is all output, as in rows and reports."""
    assert value(counted(finished()), "farebox_tokens_total", **CALL, kind=kind) == expected


def test_histograms_say_how_long_and_how_large() -> None:
    """Durations and lengths fall into buckets with their sums in seconds and tokens."""
    samples = counted(finished())

    assert value(samples, "farebox_call_duration_seconds_sum", **CALL) == 2.0005
    assert value(samples, "farebox_call_duration_seconds_bucket", **CALL, le="2.0") == 0
    assert value(samples, "farebox_call_duration_seconds_bucket", **CALL, le="3.0") == 1
    assert value(samples, "farebox_time_to_first_byte_seconds_sum", **CALL) == 0.4503
    assert value(samples, "farebox_input_tokens_sum", **CALL) == 1234
    assert value(samples, "farebox_output_tokens_bucket", **CALL, le="256.0") == 1
    assert value(samples, "farebox_output_tokens_count", **CALL) == 1
    assert value(samples, "farebox_overhead_seconds_sum", endpoint="chat.completions") == 0.0003


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    """Prometheus' buckets are "less or equal"."""
    samples = counted(finished(duration_us=2_000_000))

    assert value(samples, "farebox_call_duration_seconds_bucket", **CALL, le="2.0") == 1


def test_a_refused_call_counts_as_refused_only() -> None:
    """What never went upstream has no duration, no tokens and no cost."""
    samples = counted(CallFinished(REFUSED))

    labels = {**CALL, "model": "gpt-5-mini", "upstream": ""}
    assert value(samples, "farebox_refusals_total", **labels, reason="budget_exceeded") == 1
    assert value(samples, "farebox_calls_total", **labels, outcome="refused", status="4xx") == 1
    assert value(samples, "farebox_call_duration_seconds_count", **labels) is None
    assert value(samples, "farebox_cost_usd_total", **labels) is None


def test_a_call_without_a_known_key_counts_as_refusal() -> None:
    """It has no row, but whoever watches for attacks wants to see it."""
    metrics = Metrics()
    metrics.refused("invalid_api_key", "chat.completions")
    labels = {"team": "", "model": "", "upstream": "", "endpoint": "chat.completions"}

    samples = scraped(metrics.snapshot())

    assert value(samples, "farebox_refusals_total", **labels, reason="invalid_api_key") == 1


def test_each_attempt_counts_at_its_own_upstream() -> None:
    """A fallback's tokens and money go to the upstream that answered, the error to the one that failed."""
    failed = replace(
        ATTEMPT,
        upstream="azure",
        model_served="",
        error="status_500",
        usage=EMPTY,
        usage_source=UsageSource.NONE,
        cost_nano=0,
    )
    answered = replace(ATTEMPT, number=2)
    samples = counted(CallFinished(replace(RECORD, attempts=(failed, answered))))

    first = {**CALL, "model": "gpt-5-mini", "upstream": "azure"}
    assert value(samples, "farebox_upstream_errors_total", **first, reason="status_500") == 1
    assert value(samples, "farebox_tokens_total", **first, kind="input") is None
    assert value(samples, "farebox_cost_usd_total", **CALL) == 0.001234567
    assert value(samples, "farebox_calls_total", **CALL, outcome="completed", status="2xx") == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [(CapSource.TEAM, 1), (CapSource.BUDGET, 1), (CapSource.CLIENT, None), (CapSource.NONE, None)],
)
def test_a_cap_that_the_client_set_is_not_counted(
    source: CapSource, expected: float | None
) -> None:
    """Only caps by others are worth a look."""
    samples = counted(finished(output_cap_source=source))

    assert value(samples, "farebox_output_capped_total", **CALL, source=source) == expected


def test_unpriced_calls_and_usage_sources_are_counted() -> None:
    samples = counted(finished({"price_source": "unpriced", "usage_source": UsageSource.COUNTED}))

    assert value(samples, "farebox_unpriced_calls_total", **CALL) == 1
    assert value(samples, "farebox_usage_source_total", **CALL, source="counted") == 1


def test_warn_budgets_over_their_limit_are_counted() -> None:
    event = CallFinished(RECORD, warnings=("team:search:day:warn",))

    assert value(counted(event), "farebox_budget_warnings_total", team="search") == 1


def test_gauges_are_read_when_they_are_shown() -> None:
    metrics = Metrics()
    stats = Stats(spool_rows=2, unwritten=1, outages=4, swept=7, refusals_dropped=9)
    metrics.watch(in_flight=lambda: 3, ledger=lambda: stats)
    metrics.ledger_committed(5, 0.0015)

    samples = scraped(metrics.snapshot())

    assert value(samples, "farebox_calls_in_flight") == 3
    assert value(samples, "farebox_spool_rows") == 2
    assert value(samples, "farebox_ledger_unwritten") == 1
    for kind, count in {"away": 4, "lost_call": 7, "refusal_not_recorded": 9}.items():
        assert value(samples, "farebox_ledger_troubles_total", kind=kind) == count
    assert value(samples, "farebox_ledger_batch_size_bucket", le="8.0") == 1
    assert value(samples, "farebox_ledger_commit_seconds_sum") == 0.0015


# Bounds


def test_label_sets_are_bounded_and_the_rest_is_other() -> None:
    """However many models there are, the page stops growing; nothing goes uncounted."""
    metrics = Metrics(max_label_sets=8)
    with structlog.testing.capture_logs() as logs:
        for number in range(100):
            metrics.call_finished(finished({"model_served": f"model-{number}"}))

    calls = {
        labels: n
        for (name, labels), n in scraped(metrics.snapshot()).items()
        if name == "farebox_calls_total"
    }
    assert sum(calls.values()) == 100
    assert len(calls) <= 9
    assert [line["event"] for line in logs] == ["metric_labels_full"]


def test_made_up_model_names_do_not_push_real_ones_out() -> None:
    """A client that tries names at random fills its own quarter, no more."""
    metrics = Metrics(max_label_sets=40)
    for number in range(100):
        metrics.call_finished(CallFinished(replace(REFUSED, model_requested=f"made-up-{number}")))
    metrics.call_finished(finished())

    samples = scraped(metrics.snapshot())

    assert value(samples, "farebox_calls_total", **CALL, outcome="completed", status="2xx") == 1


def test_paths_are_cut_before_their_ids() -> None:
    """What is passed through has the id of a thing in its path; the label has not."""
    samples = counted(
        finished(endpoint="/v1/files/file-1"), finished(endpoint="/v1/files/file-2?x=1")
    )

    labels = {**CALL, "endpoint": "/v1/files"}
    assert value(samples, "farebox_calls_total", **labels, outcome="completed", status="2xx") == 2


@pytest.mark.parametrize("teams", [3, 300])
def test_no_metric_has_more_sets_of_labels_than_the_bound(teams: int) -> None:
    """With however many teams, models, upstreams and endpoints; of what is left, teams stay known longest."""
    metrics = Metrics(max_label_sets=60)
    warned = ("team:x:day:warn",)
    for number in range(3000):
        team = f"team-{number % teams}"
        record = finished(
            {"upstream": f"up-{number % 4}", "price_source": "unpriced"},
            team=team,
            endpoint=f"/v1/path-{number % 11}",
        ).record
        metrics.call_finished(CallFinished(record, warnings=warned))
    snapshot = metrics.snapshot()

    sets = {name: {labels[:4] for labels in series} for name, series in snapshot.items()}
    assert {name for name, found in sets.items() if len(found) > 60} == set()
    for name in ("farebox_calls_total", "farebox_budget_warnings_total"):
        assert sum(n for n in snapshot[name].values() if isinstance(n, int)) == 3000
    assert (("other",) * 4 in sets["farebox_calls_total"]) == (teams == 300)


def test_what_comes_late_counts_under_its_team() -> None:
    """A full page still says whose calls they are, and at which upstream."""
    metrics = Metrics(max_label_sets=60)
    for number in range(100):
        metrics.call_finished(finished({"model_served": f"model-{number}"}))
    metrics.call_finished(finished(team="late"))
    samples = scraped(metrics.snapshot())

    late = {"team": "late", "model": "other", "upstream": "openai", "endpoint": "other"}
    assert value(samples, "farebox_calls_total", **late, outcome="completed", status="2xx") == 1
    assert (value(samples, "farebox_label_overflow_total") or 0) > 1


def test_reasons_are_bounded_too() -> None:
    """A provider may put any word into an error."""
    metrics = Metrics()
    for number in range(500):
        metrics.call_finished(finished({"error": f"word-{number}"}))
    snapshot = metrics.snapshot()

    reasons = snapshot["farebox_upstream_errors_total"]
    assert len(reasons) <= 64
    assert sum(n for n in reasons.values() if isinstance(n, int)) == 500


@pytest.mark.parametrize("family", catalogue.FAMILIES, ids=lambda family: family.name)
def test_no_metric_has_a_key_a_user_or_a_run(family: Family) -> None:
    """Those are unbounded, and people."""
    assert not {"key", "user", "run", "workflow", "tag"} & set(family.labels)


# Budgets


@dataclass(frozen=True)
class FakeWindow:
    """A window as the ledger shows it."""

    subject: str
    spent_nano: int
    held_nano: int = 0
    overdraft_nano: int = 0
    starts_at: int = 1_793_491_200  # 2026-11-01
    resets_at: int | None = 1_796_083_200  # 2026-12-01


@dataclass(frozen=True)
class FakeView:
    """A budget as the ledger shows it."""

    budget: Budget
    windows: tuple[FakeWindow, ...]


def shown(*views: BudgetWindows, max_label_sets: int = 1000) -> Samples:
    return scraped(Metrics(max_label_sets=max_label_sets).budgets(views))


def budget(scope: Scope, subject: str, **fields: str) -> Budget:
    return Budget(f"{scope}:{subject}:month", scope, subject, 5_000_000_000, Window.MONTH, **fields)  # type: ignore[arg-type]


def test_a_teams_budget_is_shown_under_the_teams_name() -> None:
    view = FakeView(budget(Scope.TEAM, "search"), (FakeWindow("search", 1_500_000_000, 7),))
    labels = {
        "budget": "team:search:month",
        "scope": "team",
        "subject": "search",
        "team": "search",
        "window": "month",
        "on_exceed": OnExceed.BLOCK.value,
    }

    samples = shown(view)

    assert value(samples, "farebox_budget_limit_usd", **labels) == 5
    assert value(samples, "farebox_budget_spent_usd", **labels) == 1.5
    assert value(samples, "farebox_budget_held_usd", **labels) == 7e-9
    assert value(samples, "farebox_budget_overdraft_usd", **labels) == 0
    assert value(samples, "farebox_budget_start_timestamp_seconds", **labels) == 1_793_491_200
    assert value(samples, "farebox_budget_reset_timestamp_seconds", **labels) == 1_796_083_200


def test_a_budget_without_an_end_shows_none() -> None:
    """A forecast needs an end; without one there is no series, and no alert by mistake."""
    view = FakeView(budget(Scope.TEAM, "search"), (FakeWindow("search", 1, 0, 0, 0, None),))

    names = {name for name, _ in shown(view)}

    assert "farebox_budget_spent_usd" in names
    assert not {name for name in names if name.endswith("timestamp_seconds")}


def test_of_budgets_beyond_the_bound_the_one_nearest_its_limit_is_shown() -> None:
    """Ten thousand teams do not make a page of ten thousand budgets; the one that breaks first is on it."""
    windows = tuple(FakeWindow(f"team-{n}", n * 100_000) for n in range(10_000))

    samples = shown(FakeView(budget(Scope.TEAM, "*"), windows), max_label_sets=60)

    spent = {dict(labels)["budget"]: n for (name, labels), n in samples.items() if "spent" in name}
    assert len([name for name, _ in samples if name == "farebox_budget_spent_usd"]) <= 60
    assert spent["other"] == 0.9999


def test_of_budgets_on_people_the_one_nearest_its_limit_is_shown() -> None:
    """A user's name never becomes a label, named budget or not."""
    each = FakeView(
        budget(Scope.USER, "*"),
        (FakeWindow("alice", 1_000_000_000), FakeWindow("bob", 4_000_000_000)),
    )
    named = FakeView(budget(Scope.USER, "carol"), (FakeWindow("carol", 2_000_000_000),))

    samples = shown(each, named)

    assert "alice" not in str(samples)
    assert "carol" not in str(samples)
    spent = [n for (name, _), n in samples.items() if name == "farebox_budget_spent_usd"]
    assert spent == [4]


def test_outcomes_have_their_own_series() -> None:
    samples = counted(finished(), finished(outcome=Outcome.CLIENT_LEFT))

    assert value(samples, "farebox_calls_total", **CALL, outcome="client_left", status="2xx") == 1
