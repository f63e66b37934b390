"""The committed dashboards as tests read them: panels, queries, and variables filled in as Grafana does."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRAFANA = Path("config/grafana")
ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    board: str
    title: str
    letter: str
    kind: str  # of its data source
    query: str
    raw: Json

    def __str__(self) -> str:
        return f"{self.board}: {self.title}, {self.letter}"


def boards(root: Path = ROOT) -> dict[str, Json]:
    """Every dashboard by its file's name."""
    found = sorted((root / GRAFANA / "dashboards").glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in found}


def panels(root: Path = ROOT) -> Iterator[tuple[str, Json]]:
    """Every panel, with a name to find it by; headings are none."""
    for name, board in boards(root).items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield f"{name}: {panel['title']}", panel


def targets(root: Path = ROOT) -> Iterator[Target]:
    """Every query of every panel."""
    for name, board in boards(root).items():
        for panel in board["panels"]:
            for raw in panel.get("targets", ()):
                kind = raw["datasource"]["type"]
                query = raw["expr"] if kind == "prometheus" else raw["rawSql"]
                yield Target(name, panel["title"], raw["refId"], kind, query, raw)


def promql(root: Path = ROOT) -> Iterator[Target]:
    """Every query to Prometheus."""
    return (target for target in targets(root) if target.kind == "prometheus")


def sql(root: Path = ROOT) -> Iterator[Target]:
    """Every query to the ledger."""
    return (target for target in targets(root) if target.kind == "grafana-postgresql-datasource")


_VARIABLE = re.compile(r"\$\{(?P<braced>\w+)(?::\w+)?\}|\$(?P<bare>[a-z]\w*)\b(?!\$)")
_OWN = {"__rate_interval", "__interval"}


def variables(text: str) -> set[str]:
    """The names of a dashboard's own variables that a text has in it."""
    found = {m["braced"] or m["bare"] for m in _VARIABLE.finditer(text)}
    return {name for name in found if not name.startswith("__")} - {"q"}


def as_promql(text: str, rate_interval: str = "1m") -> str:
    """An expression as Grafana sends it where all of every variable is chosen."""
    text = text.replace("$__rate_interval", rate_interval)
    return _VARIABLE.sub(".*", text)


def as_sql(text: str, from_s: int, to_s: int, **chosen: tuple[str, ...]) -> str:
    """A statement as Grafana sends it: variables in the format ``regex``, then its macros."""

    def value(match: re.Match[str]) -> str:
        name = match["braced"]
        if name is None:
            return match[0]
        assert match[0].endswith(":regex}"), match[0]
        if name not in chosen:
            return ".*"  # a custom value for all goes in as it is
        escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", v) for v in chosen[name]]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    text = _VARIABLE.sub(value, text)
    return text.replace("$__unixEpochFrom()", str(from_s)).replace("$__unixEpochTo()", str(to_s))
