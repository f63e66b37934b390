"""Prometheus' rules: valid, and each alert fires when it should and only then."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.prometheus import promtool

RULES = Path("config/prometheus")
Series = Mapping[str, str]

_BUDGET = 'budget="team:search:month",scope="team",subject="search",team="search"'
BUDGET = f'{_BUDGET},window="month",on_exceed="block"'
HOURLY = f'{_BUDGET},window="hour",on_exceed="block"'
CALL = 'team="search",model="gpt",upstream="openai",endpoint="chat.completions"'
WINDOW_MINUTES = 24 * 60


@dataclass(frozen=True)
class Case:
    """Series from minute 0 on, and whether an alert fires at a moment."""

    alert: str
    title: str
    series: Series
    at: str
    fires: bool
    where: str = ""
    step: str = "1m"


def budget(
    spent: str, labels: str = BUDGET, *, limit: int = 100, minutes: int = WINDOW_MINUTES
) -> Series:
    """A budget whose window began at time 0."""
    return {
        f"farebox_budget_limit_usd{{{labels}}}": f"{limit}x9999",
        f"farebox_budget_spent_usd{{{labels}}}": spent,
        f"farebox_budget_start_timestamp_seconds{{{labels}}}": "0x9999",
        f"farebox_budget_reset_timestamp_seconds{{{labels}}}": f"{minutes * 60}x9999",
    }  # fmt: skip


def slow(name: str, labels: str, at_most: str, too_slow: str) -> Series:
    """A histogram that grows by one observation a minute, all of them in one bucket."""
    labels = f"{labels}," if labels else ""
    counts = {at_most: "0x600", too_slow: "0+1x600", "+Inf": "0+1x600"}
    return {f'{name}_bucket{{{labels}le="{le}"}}': values for le, values in counts.items()}


def attempts(good: int, failed: int) -> Series:
    """Attempts a minute."""
    return {
        f'farebox_usage_source_total{{{CALL},source="provider"}}': f"0+{good}x60",
        f'farebox_usage_source_total{{{CALL},source="none"}}': f"0+{failed}x60",
        f'farebox_upstream_errors_total{{{CALL},reason="status_500"}}': f"0+{failed}x60",
    }


def sources(provider: int, counted: int, none: int = 0) -> Series:
    """Where attempts' usage came from, attempts a minute."""
    counts = {"provider": provider, "counted": counted, "none": none}
    return {
        f'farebox_usage_source_total{{{CALL},source="{source}"}}': f"0+{count}x60"
        for source, count in counts.items()
    }


def lengths(kind: str, before: int, after: int, calls: int = 360) -> Series:
    """What was recorded of tokens, hour by hour: for a week so many, then for twelve hours so many."""
    labels = '{team="search",model="gpt"}'
    return {
        f"farebox:{kind}_tokens:mean6h{labels}": f"{before}x168 {after}x12",
        f"farebox:metered_attempts:increase6h{labels}": f"{calls}x180",
    }


def refused(reason: str, values: str) -> Series:
    """Refusals of a team, by a reason."""
    return {f'farebox_refusals_total{{{CALL},reason="{reason}"}}': values}


UNPRICED = f"farebox_unpriced_calls_total{{{CALL}}}"
SPOOL = 'farebox_spool_rows{instance="a:8080",job="farebox"}'
UNWRITTEN = 'farebox_ledger_unwritten{instance="a:8080",job="farebox"}'
TROUBLES = 'farebox_ledger_troubles_total{instance="a:8080",job="farebox",'
OVERFLOW = 'farebox_label_overflow_total{instance="a:8080",job="farebox"}'
DURATION = "farebox_call_duration_seconds"
FIRST_BYTE = "farebox_time_to_first_byte_seconds"
COMMIT = "farebox_ledger_commit_seconds"
SEARCH = 'budget="team:search:month"'

CASES = [
    Case("FareboxBudgetNearLimit", "80 % spent", budget("80x60"), "5m", True, SEARCH),
    Case("FareboxBudgetNearLimit", "79 % spent", budget("79.9x60"), "5m", False),
    Case("FareboxBudgetNearLimit", "spent whole", budget("100x60"), "5m", False),
    Case("FareboxBudgetNearLimit", "a limit of nothing", budget("0x60", limit=0), "5m", False),
    Case("FareboxBudgetExhausted", "spent whole", budget("100x60"), "5m", True, SEARCH),
    Case("FareboxBudgetExhausted", "a cent is left", budget("99.99x60"), "5m", False),
    Case("FareboxBudgetExhausted", "it began anew", budget("100x10 0x60"), "15m", False),
    Case("FareboxBudgetRefuses", "refusals go on", refused("budget_exceeded", "3+1x60"), "20m", True, 'team="search"'),
    Case("FareboxBudgetRefuses", "the first refusal ever", refused("budget_exceeded", "_x9 1x60"), "10m", True),
    Case("FareboxBudgetRefuses", "refused long ago", refused("budget_exceeded", "0 5x60"), "20m", False),
    Case("FareboxBudgetRefuses", "refused for another reason", refused("model_not_allowed", "0+1x60"), "20m", False),
    # The first fifth of the window has passed.
    Case("FareboxBudgetForecast", "too fast", budget("0+0.08x9999"), "288m", True, SEARCH),
    Case("FareboxBudgetForecast", "just in time", budget("0+0.069x9999"), "288m", False),
    Case("FareboxBudgetForecast", "too early to say", budget("0+1x60"), "1h", False),
    Case("FareboxBudgetForecast", "broken already", budget("110x9999"), "288m", False),
    Case("FareboxBudgetForecast", "an hour is too short", budget("0+3x60", HOURLY, minutes=60), "30m", False),
    Case("FareboxBudgetForecast", "an hour is too short, a day is not", budget("0+2x60", BUDGET, minutes=90), "40m", True),
    Case("FareboxBudgetOverdrawn", "over", {f"farebox_budget_overdraft_usd{{{BUDGET}}}": "0 1x10"}, "5m", True, SEARCH),
    Case("FareboxBudgetOverdrawn", "not over", {f"farebox_budget_overdraft_usd{{{BUDGET}}}": "0x10"}, "5m", False),
    Case("FareboxUnpricedCalls", "more and more", {UNPRICED: "2+1x60"}, "40m", True, 'model="gpt"'),
    Case("FareboxUnpricedCalls", "the first ever", {UNPRICED: "_x9 1x60"}, "11m", True, 'model="gpt"'),
    Case("FareboxUnpricedCalls", "a price was given since", {UNPRICED: "0+1x10 10x60"}, "50m", False),
    Case("FareboxUsageMissing", "one in ten", sources(9, 1), "45m", True, 'upstream="openai"'),
    Case("FareboxUsageMissing", "one in fifty", sources(49, 1), "45m", False),
    Case("FareboxUsageMissing", "failures have none", sources(50, 0, none=50), "45m", False),
    Case("FareboxDown", "down", {'up{job="farebox",instance="a:8080"}': "1 0x10"}, "5m", True, 'instance="a:8080"'),
    Case("FareboxDown", "up", {'up{job="farebox",instance="a:8080"}': "1x10"}, "5m", False),
    Case("FareboxDown", "another one's", {'up{job="prometheus",instance="p:9090"}': "0x10"}, "5m", False),
    Case("FareboxUpstreamErrors", "one in ten", attempts(90, 10), "20m", True, 'upstream="openai"'),
    Case("FareboxUpstreamErrors", "one in a hundred", attempts(99, 1), "20m", False),
    Case("FareboxUpstreamErrors", "one of one, now and then", attempts(0, 1), "20m", False),
    Case("FareboxSlowCalls", "two minutes", slow(DURATION, CALL, "60.0", "120.0"), "30m", True, 'upstream="openai"'),
    Case("FareboxSlowCalls", "half a minute", slow(DURATION, CALL, "20.0", "30.0"), "30m", False),
    Case("FareboxSlowFirstByte", "20 s", slow(FIRST_BYTE, CALL, "13.0", "20.0"), "30m", True, 'upstream="openai"'),
    Case("FareboxSlowFirstByte", "5 s", slow(FIRST_BYTE, CALL, "3.0", "5.0"), "30m", False),
    Case("FareboxLabelsFull", "full", {OVERFLOW: "0+1x60"}, "40m", True, 'instance="a:8080"'),
    Case("FareboxLabelsFull", "once, long ago", {OVERFLOW: "0 1x60"}, "40m", False),
    Case("FareboxLedgerUnavailable", "refused now", refused("ledger_unavailable", "0+1x60"), "20m", True),
    Case("FareboxLedgerUnavailable", "the first refusal ever", refused("ledger_unavailable", "_x9 1x60"), "10m", True),
    Case("FareboxLedgerUnavailable", "long over", refused("ledger_unavailable", "0 9x60"), "20m", False),
    Case("FareboxSpoolGrowing", "growing", {SPOOL: "0x5 1+10x60"}, "20m", True, 'instance="a:8080"'),
    Case("FareboxSpoolGrowing", "shrinking", {SPOOL: "900-10x60"}, "20m", False),
    Case("FareboxSpoolGrowing", "empty now and then", {SPOOL: "5 0 5 0 5 0 5 0 5 0 5 0 5 0"}, "11m", False),
    Case("FareboxSpoolWaiting", "never empty", {SPOOL: "5x60"}, "30m", True, 'instance="a:8080"'),
    Case("FareboxSpoolWaiting", "empty", {SPOOL: "5x10 0 5x60"}, "20m", False),
    Case("FareboxLedgerUnwritten", "one", {UNWRITTEN: "0x5 1x60"}, "10m", True, 'instance="a:8080"'),
    Case("FareboxLedgerUnwritten", "none any more", {UNWRITTEN: "0 1 0x60"}, "10m", False),
    Case("FareboxSettlementSetAside", "one", {TROUBLES + 'kind="set_aside"}': "0x5 1x60"}, "10m", True, 'instance="a:8080"'),
    Case("FareboxSettlementSetAside", "another trouble", {TROUBLES + 'kind="away"}': "0x5 1x60"}, "10m", False),
    Case("FareboxLedgerSlow", "half a second", slow(COMMIT, "", "0.25", "0.5"), "20m", True),
    Case("FareboxLedgerSlow", "10 ms", slow(COMMIT, "", "0.005", "0.01"), "20m", False),
    Case("FareboxPromptsDoubled", "three times", lengths("input", 1000, 3000), "178h", True, 'team="search"', "1h"),
    Case("FareboxPromptsDoubled", "half again", lengths("input", 1000, 1500), "178h", False, step="1h"),
    Case("FareboxPromptsDoubled", "of a few calls", lengths("input", 1000, 3000, calls=12), "178h", False, step="1h"),
    Case("FareboxOutputDrift", "twice", lengths("output", 500, 1000), "178h", True, 'team="search"', "1h"),
    Case("FareboxOutputDrift", "a third", lengths("output", 900, 300), "178h", True, 'team="search"', "1h"),
    Case("FareboxOutputDrift", "as ever", lengths("output", 500, 520), "178h", False, step="1h"),
]  # fmt: skip


def rules(root: Path, name: str) -> dict[str, dict[str, Any]]:
    """The recording or alerting rules by name."""
    document = yaml.safe_load((root / RULES / f"{name}.rules.yml").read_text())
    every = (rule for group in document["groups"] for rule in group["rules"])
    return {rule.get("alert") or rule["record"]: rule for rule in every}


def alerts(root: Path) -> dict[str, dict[str, Any]]:
    """The alerting rules by name."""
    return rules(root, "alerting")


def needed(root: Path, alert: str, step: str) -> list[dict[str, Any]]:
    """An alert after the recording rules that it is made of: all others would take time for nothing."""
    recorded = rules(root, "recording")
    chain = [alerts(root)[alert]]
    if step == "1h":  # a week is too long to record anew: its series say what was recorded
        return chain
    for rule in chain:
        chain += [made for name, made in recorded.items() if name in rule["expr"]]
    return list({id(rule): rule for rule in reversed(chain)}.values())


def test_the_configuration_and_its_rules_are_valid(root: Path) -> None:
    promtool("check", "config", root / RULES / "prometheus.yml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.title}")
def test_an_alert_fires_when_it_should(root: Path, tmp_path: Path, case: Case) -> None:
    expr = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing",{case.where}}})'
    samples = [{"labels": "{}", "value": 1}] if case.fires else []
    test = {
        "interval": case.step,
        "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": case.at, "exp_samples": samples}],
    }
    group = {"name": "needed", "rules": needed(root, case.alert, case.step)}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": case.step,
        "tests": [test],
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump(document))

    promtool("test", "rules", tmp_path / "case.yml")


CALL3 = 'team="search",model="gpt",upstream="openai"'
TWO = 'team="search",model="gpt"'
RECORDED = {
    f"farebox:budget_used:ratio{{{BUDGET}}}": 0.2,
    f"farebox:budget_elapsed:ratio{{{BUDGET}}}": 0.5,
    f"farebox:budget_forecast:ratio{{{BUDGET}}}": 0.4,
    f"farebox:budget_burn_usd:per_hour{{{BUDGET}}}": 1.2,
    f"farebox:calls:rate5m{{{CALL3}}}": 0.1,
    f"farebox:cost_usd:per_hour{{{CALL3}}}": 30,
    'farebox:upstream_errors:ratio5m{upstream="openai"}': 0.2,
    'farebox:call_duration_seconds:p95_5m{upstream="openai"}': 2.95,
    'farebox:time_to_first_byte_seconds:p95_5m{upstream="openai"}': 0.975,
    "farebox:ledger_commit_seconds:p95_5m": 0.00975,
    f"farebox:input_tokens:mean6h{{{TWO}}}": 1500,
    f"farebox:output_tokens:mean6h{{{TWO}}}": 50,
    f"farebox:metered_attempts:increase6h{{{TWO}}}": 720,
}


def test_what_is_recorded(root: Path, tmp_path: Path) -> None:
    """Half a window of a thousand minutes, at a fiftieth of a dollar and six calls a minute."""
    series = {
        **budget("0+0.02x600", limit=50, minutes=1000),
        f'farebox_calls_total{{{CALL},outcome="completed",status="2xx"}}': "0+6x600",
        f"farebox_cost_usd_total{{{CALL}}}": "0+0.5x600",
        **{name: f"{values[:-2]}600" for name, values in attempts(8, 2).items()},
        **slow(DURATION, CALL, "2.0", "3.0"),
        **slow(FIRST_BYTE, CALL, "0.5", "1.0"),
        **slow(COMMIT, "", "0.005", "0.01"),
        f"farebox_input_tokens_sum{{{CALL}}}": "0+3000x600",
        f"farebox_input_tokens_count{{{CALL}}}": "0+2x600",
        f"farebox_output_tokens_sum{{{CALL}}}": "0+100x600",
        f"farebox_output_tokens_count{{{CALL}}}": "0+2x600",
    }
    made = list(rules(root, "recording").values())
    asked = [
        {
            "expr": f"round({name}, 1e-6)",
            "eval_time": "500m",
            "exp_samples": [{"labels": f"{{{name.partition('{')[2] or '}'}", "value": value}],
        }
        for name, value in RECORDED.items()
    ]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "all", "rules": made}]})
    )
    test = {
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in series.items()],
        "promql_expr_test": asked,
    }
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "case.yml").write_text(yaml.safe_dump(document))

    promtool("test", "rules", tmp_path / "case.yml")

    assert {name.partition("{")[0] for name in RECORDED} == set(rules(root, "recording"))


def test_each_alert_has_a_case_that_fires_and_one_that_does_not(root: Path) -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES if case.fires is fires} == set(alerts(root))


def test_each_alert_tells_what_it_is_and_what_to_do(root: Path) -> None:
    """A summary, a description, and a chapter of the runbooks with its three parts."""
    chapters = (root / "docs/runbooks.md").read_text().split("\n## ")[1:]
    runbooks = {chapter.partition("\n")[0]: chapter for chapter in chapters}

    assert set(runbooks) == set(alerts(root))
    for name, rule in alerts(root).items():
        annotations = rule["annotations"]
        assert annotations["summary"], name
        assert annotations["description"], name
        assert annotations["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}, name
        for part in ("**Means.**", "**Look at.**", "**Do.**"):
            assert part in runbooks[name], (name, part)
