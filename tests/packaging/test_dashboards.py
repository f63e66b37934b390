"""Dashboards are what their generator makes, and ask only for what Farebox exports."""

import json
import re
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from proxy.observe import catalogue
from proxy.observe.families import Family

GRAFANA = Path("config/grafana")
Known = dict[str, tuple[Family, set[str]]]
FILL_IN = {"$__rate_interval": "1m", "$team": ".*", "$model": ".*", "$upstream": ".*"}
NOT_SHOWN = {catalogue.INFO}
UP = Family(
    "up", "gauge", "Prometheus' own: whether the last scrape went well.", ("job", "instance")
)


@cache
def exported(root: Path) -> dict[str, tuple[Family, set[str]]]:
    """Every series name that can be asked for, with its family and labels: /metrics', and recorded ones."""
    found: dict[str, tuple[Family, set[str]]] = {"up": (UP, set(UP.labels))}
    for family in catalogue.FAMILIES:
        labels = set(family.labels)
        if family.kind == "histogram":
            found[f"{family.name}_bucket"] = family, {*labels, "le"}
            found[f"{family.name}_sum"] = found[f"{family.name}_count"] = family, labels
        else:
            found[family.name] = family, labels
    for rule in rules(root):
        if name := rule.get("record"):
            labels = grouped_by(promql.parse(rule["expr"]), found)
            found[name] = Family(name, "gauge", ""), labels
    return found


def rules(root: Path) -> Iterator[dict[str, Any]]:
    """Every rule for Prometheus, those that record first."""
    for path in sorted((root / "config/prometheus").glob("*.rules.yml"), reverse=True):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def panels(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel with queries, with a name to find it by."""
    for path in sorted((root / GRAFANA / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] != "row":
                yield f"{path.stem}: {panel['title']}", panel


def queries(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every query of a panel that reads Prometheus."""
    for name, panel in panels(root):
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                yield f"{name}, {target['refId']}", target


def expressions(root: Path) -> Iterator[tuple[str, str]]:
    """Every PromQL expression: of panels, and of rules for Prometheus."""
    for name, target in queries(root):
        yield name, target["expr"]
    for rule in rules(root):
        yield f"rule {rule.get('alert') or rule['record']}", rule["expr"]


def test_the_committed_files_are_what_the_generator_makes(root: Path) -> None:
    made = runpy.run_path(str(root / GRAFANA / "generate.py"))["dashboards"]()
    committed = {p.name: p.read_text() for p in (root / GRAFANA / "dashboards").glob("*.json")}

    assert committed == made


def test_each_query_asks_for_what_is_exported(root: Path) -> None:
    wrong = {
        name: problems
        for name, text in expressions(root)
        if (problems := list(unknown(promql.parse(filled_in(text)), set(), exported(root))))
    }

    assert wrong == {}


def test_an_alert_tells_only_labels_that_it_has(root: Path) -> None:
    for rule in rules(root):
        text = " ".join(rule.get("annotations", {}).values())
        kept = grouped_by(promql.parse(rule["expr"]), exported(root))

        assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept, rule


def test_each_metric_is_shown(root: Path) -> None:
    known = exported(root)
    shown = {
        known[selector.name][0].name
        for _, text in expressions(root)
        for selector in selectors(promql.parse(filled_in(text)))
        if selector.name in known
    }

    assert {f.name for f in catalogue.FAMILIES} - {f.name for f in NOT_SHOWN} - shown == set()


def test_each_panel_reads_a_database_that_is_provisioned(root: Path) -> None:
    document = yaml.safe_load(
        (root / GRAFANA / "provisioning/datasources/farebox.yaml").read_text()
    )
    known = {(source["uid"], source["type"]) for source in document["datasources"]}

    for name, panel in panels(root):
        for part in (panel, *panel["targets"]):
            assert (part["datasource"]["uid"], part["datasource"]["type"]) in known, name


def test_each_query_of_a_panel_has_its_own_letter(root: Path) -> None:
    for name, panel in panels(root):
        letters = [target["refId"] for target in panel["targets"]]

        assert all(letters), name
        assert len(letters) == len(set(letters)), name


def test_a_legend_names_only_labels_that_are_left(root: Path) -> None:
    for name, target in queries(root):
        legend = target.get("legendFormat", "")
        named = {part.partition("}}")[0] for part in legend.split("{{")[1:]}
        kept = grouped_by(promql.parse(filled_in(target["expr"])), exported(root))

        assert named <= kept, name


def test_each_panel_says_what_it_shows_in_a_unit(root: Path) -> None:
    for name, panel in panels(root):
        assert panel["fieldConfig"]["defaults"]["unit"], name


# The checks themselves


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rate(farebox_call_total[1m])", "no metric farebox_call_total"),
        ("sum(farebox_call_duration_seconds)", "no metric farebox_call_duration_seconds"),
        ('farebox_spool_rows{team="a"}', "farebox_spool_rows has no label team"),
        ("sum by (key) (rate(farebox_calls_total[1m]))", "farebox_calls_total has no label key"),
    ],
)
def test_a_wrong_query_is_found(root: Path, text: str, problem: str) -> None:
    assert [problem] == list(unknown(promql.parse(text), set(), exported(root)))


def filled_in(text: str) -> str:
    """The expression as Grafana sends it."""
    for name, value in FILL_IN.items():
        text = text.replace(name, value)
    return text


def selectors(expression: promql.Expr) -> list[promql.VectorSelector]:
    """Every choice of series in an expression."""
    found: list[promql.VectorSelector] = []

    def visit(node: promql.Expr) -> bool:
        if isinstance(node, promql.VectorSelector):
            found.append(node)
        elif isinstance(node, promql.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql.walk(expression, visit)
    return list({id(node): node for node in found}.values())


def unknown(expression: promql.Expr, grouped: set[str], known: Known) -> Iterator[str]:
    """Names and labels that nobody exports, here and in what is aggregated here."""
    if isinstance(expression, promql.AggregateExpr):
        inner = set(expression.modifier.labels) if expression.modifier else set()
        yield from unknown(expression.expr, grouped | inner, known)
        return
    for child in children(expression):
        yield from unknown(child, grouped, known)
    if isinstance(expression, promql.VectorSelector):
        if expression.name not in known:
            yield f"no metric {expression.name}"
            return
        asked = {matcher.name for matcher in expression.matchers.matchers} | grouped
        for label in sorted(asked - known[expression.name][1]):
            yield f"{expression.name} has no label {label}"


def children(expression: promql.Expr) -> list[promql.Expr]:
    """The parts of an expression."""
    if isinstance(expression, promql.MatrixSelector):
        return [expression.vector_selector]
    if isinstance(expression, promql.Call):
        return list(expression.args)
    if isinstance(expression, promql.BinaryExpr):
        return [expression.lhs, expression.rhs]
    if isinstance(expression, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return [expression.expr]
    return []


def grouped_by(expression: promql.Expr, known: Known) -> set[str]:
    """The labels that an expression's series have after its outermost aggregations."""
    if isinstance(expression, promql.AggregateExpr):
        return set(expression.modifier.labels) if expression.modifier else set()
    if isinstance(expression, promql.VectorSelector):
        return (
            known[expression.name][1] | {"instance", "job"} if expression.name in known else set()
        )
    return set().union(*(grouped_by(child, known) for child in children(expression)))
