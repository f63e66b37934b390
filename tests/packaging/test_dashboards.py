"""Dashboards are what their generator makes, and ask only for what Farebox exports."""

import copy
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
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, RowPanel

from proxy.observe import catalogue
from proxy.observe.families import Family
from tests.packaging import boards

Known = dict[str, tuple[Family, set[str]]]
SCRAPED = {"instance", "job"}  # what Prometheus adds to every series
KINDS = {"timeseries", "stat", "table", "bargauge", "text"}
OTHERS = ("up", "process_resident_memory_bytes")  # not of Farebox' own making


@cache
def exported(root: Path) -> dict[str, tuple[Family, set[str]]]:
    """Every series name that can be asked for, with its family and labels: /metrics', and recorded ones."""
    found: Known = {name: (Family(name, "gauge", ""), SCRAPED) for name in OTHERS}
    for family in catalogue.FAMILIES:
        labels = {*family.labels, *SCRAPED}
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


def expressions(root: Path) -> Iterator[tuple[str, str]]:
    """Every PromQL expression: of panels, and of rules for Prometheus."""
    for target in boards.promql(root):
        yield str(target), target.query
    for rule in rules(root):
        yield f"rule {rule.get('alert') or rule['record']}", rule["expr"]


def test_the_committed_files_are_what_the_generator_makes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dashboard of runbooks among them, so that it says what docs/runbooks.md says."""
    monkeypatch.syspath_prepend(str(root / boards.GRAFANA))
    made = runpy.run_path(str(root / boards.GRAFANA / "generate.py"))["dashboards"]()
    committed = (root / boards.GRAFANA / "dashboards").glob("*.json")

    assert {path.name: path.read_text() for path in committed} == made


def test_grafanas_own_schema_reads_each_dashboard_back(root: Path) -> None:
    """Nothing is in them that the classes of Grafana's SDK do not know, or would write otherwise."""
    register_default_plugins()
    for name, board in boards.boards(root).items():
        read = Dashboard.from_json(copy.deepcopy(board))
        for panel in read.panels or ():
            assert isinstance(panel, RowPanel) or panel.type_val in KINDS, name

        assert json.loads(json.dumps(read, cls=JSONEncoder)) == board, name


def test_each_variable_is_declared(root: Path) -> None:
    for name, board in boards.boards(root).items():
        declared = {variable["name"] for variable in board["templating"]["list"]}
        links = {**board, "templating": None}

        assert boards.variables(json.dumps(links)) <= declared, name


def test_each_variable_asks_for_what_is_exported(root: Path) -> None:
    known = exported(root)
    for board in boards.boards(root).values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(
                    r"label_values\((\w+), (\w+)\)", variable["query"]
                ).groups()  # type: ignore[union-attr]
                assert label in known[metric][1]


def test_panels_lie_side_by_side(root: Path) -> None:
    """None over another, none off the grid of 24 columns."""
    for name, board in boards.boards(root).items():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            x, y, w, h = (panel["gridPos"][side] for side in "xywh")
            cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
            assert x + w <= 24, name
            assert not cells & taken, (name, panel["title"])
            taken |= cells


def test_each_dashboard_leads_to_the_others_to_the_runbooks_and_to_farebox(root: Path) -> None:
    found = boards.boards(root)
    uids = {board["uid"] for board in found.values()}

    for board in found.values():
        links = {link["title"]: link for link in board["links"]}
        assert links["Dashboards"]["tags"] == board["tags"] == ["farebox"]
        assert links["Runbooks"]["url"].removeprefix("/d/") in uids
        assert links["Farebox"]["url"] == "${farebox}/ui"


def test_each_dashboard_with_money_of_the_ledger_says_so(root: Path) -> None:
    """And what is to be done where the ledger is a file that Grafana can't read."""
    for name in {target.board for target in boards.sql(root)}:
        notes = [p for p in boards.boards(root)[name]["panels"] if p["type"] == "text"]
        assert any("sqlite" in n["options"]["content"] for n in notes), name


def test_each_query_asks_for_what_is_exported(root: Path) -> None:
    wrong = {
        name: problems
        for name, text in expressions(root)
        if (problems := list(unknown(promql.parse(boards.as_promql(text)), set(), exported(root))))
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
        for selector in selectors(promql.parse(boards.as_promql(text)))
        if selector.name in known
    }

    assert {f.name for f in catalogue.FAMILIES} - shown == set()


def test_each_panel_reads_a_database_that_is_provisioned(root: Path) -> None:
    folder = root / boards.GRAFANA / "provisioning/datasources"
    documents = [yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")]
    known = {(s["uid"], s["type"]) for document in documents for s in document["datasources"]}

    for name, panel in boards.panels(root):
        for part in (panel, *panel.get("targets", ())):
            if part.get("type") != "text":
                assert (part["datasource"]["uid"], part["datasource"]["type"]) in known, name


def test_each_query_of_a_panel_has_its_own_letter(root: Path) -> None:
    for name, panel in boards.panels(root):
        letters = [target["refId"] for target in panel.get("targets", ())]

        assert all(letters), name
        assert len(letters) == len(set(letters)), name


def test_a_legend_names_only_labels_that_are_left(root: Path) -> None:
    for target in boards.promql(root):
        legend = target.raw.get("legendFormat", "")
        named = {part.partition("}}")[0] for part in legend.split("{{")[1:]}
        kept = grouped_by(promql.parse(boards.as_promql(target.query)), exported(root))

        assert named <= kept, str(target)


def test_each_panel_says_what_it_shows_in_a_unit(root: Path) -> None:
    for name, panel in boards.panels(root):
        if panel["type"] != "text":
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
        return known[expression.name][1] if expression.name in known else set()
    return set().union(*(grouped_by(child, known) for child in children(expression)))
