"""What all dashboards have in common: variables, links, the note on where money comes from."""

import json
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableRefresh,
    VariableSort,
)

from boards.panels import Note, Panel
from boards.queries import PROMETHEUS

TAG = "farebox"
FAREBOX = "http://127.0.0.1:8080"

SOURCES = Note(
    "Where the figures come from",
    "**Money** is read from the ledger in PostgreSQL, to the nano-dollar; **rates** come from Prometheus. "
    "The ledger of this Farebox is in **${ledger}**. Where that says *sqlite*, Grafana can't read it: "
    "panels of the ledger stay empty here, and the same figures are on [Farebox's own page](${farebox}/ui) "
    "and in `farebox report`.",
)


def page(
    name: str,
    title: str,
    description: str,
    chapters: Mapping[str, Sequence[Panel]],
    *,
    variables: Sequence[str] = ("team", "model", "upstream"),
    since: str = "now-6h",
    refresh: str = "1m",
) -> str:
    """A dashboard as JSON: its panels by chapter; a chapter without a name has no heading."""
    made = (
        dashboard.Dashboard(title)
        .uid(f"farebox-{name}")
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .refresh(refresh)
        .time(since, "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .links([_others(), _runbooks(), _farebox()])
    )
    for label in variables:
        made.with_variable(_variable(label, "farebox_calls_total", label.capitalize()))
    made.with_variable(_ledger())
    made.with_variable(
        dashboard.TextBoxVariable("farebox").label("Address of Farebox").default_value(FAREBOX)
    )
    for heading, panels in chapters.items():
        if heading:
            made.with_row(dashboard.Row(heading))
        for panel in panels:
            made.with_panel(panel.panel())
    return _json(made)


def _variable(label: str, metric: str, title: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(label)
        .label(title)
        .hide(VariableHide.DONT_HIDE)
        .datasource(PROMETHEUS)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _ledger() -> dashboard.QueryVariable:
    """Where the ledger is, for the note."""
    return (
        dashboard.QueryVariable("ledger")
        .hide(VariableHide.HIDE_VARIABLE)
        .datasource(PROMETHEUS)
        .query("label_values(farebox_info, database)")
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
    )


def _others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Dashboards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _runbooks() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Runbooks")
        .type(DashboardLinkType.LINK)
        .icon("doc")
        .tooltip("What to do when an alert fires")
        .url("/d/farebox-runbooks")
    )


def _farebox() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Farebox")
        .type(DashboardLinkType.LINK)
        .icon("external link")
        .tooltip("Calls, budgets and keys on Farebox's own page")
        .url("${farebox}/ui")
        .target_blank(True)
    )


def _json(made: dashboard.Dashboard) -> str:
    built = made.build()
    for number, panel in enumerate(built.panels or (), start=1):
        panel.id_val = (
            number  # else Grafana gives new ones at each start, and links to panels break
        )
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
