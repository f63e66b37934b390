"""What no single field can tell: that names lead somewhere, and that nothing is there twice.

Works on the tree as written, so that these problems are told together with those of single fields.
"""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from proxy.settings.budgets import Covers, budget_id
from proxy.settings.document import Document, Path, dotted
from proxy.settings.suggest import did_you_mean

Entry = tuple[Path, dict[str, Any]]


def check(document: Document) -> None:
    """Note every name that leads nowhere and everything that is there twice."""
    _Check(document).all()


class _Check:
    def __init__(self, document: Document) -> None:
        self._document = document
        tree = document.tree
        upstreams = tree.get("upstreams")
        self._upstreams = list(upstreams) if isinstance(upstreams, dict) else []
        self._teams = self._names("teams")
        self._keys = self._names("keys")
        self._organisations = self._names("organisations")

    def all(self) -> None:
        for section, field in (
            ("models", "name"),
            ("models", "match"),
            ("organisations", "name"),
            ("teams", "name"),
            ("keys", "name"),
        ):
            self._refuse_repeated(section, field)
        self._models()
        self._people()
        self._repeated_keys()
        self._prices()
        self._scoped_budgets()
        self._repeated_budgets()

    # Models and prices...

    def _models(self) -> None:
        for path, rule in self._entries("models"):
            self._refers(path, rule, "upstream", "upstream", self._upstreams)
            targets = rule.get("targets")
            for i, target in enumerate(targets if isinstance(targets, list) else ()):
                if isinstance(target, str):
                    self._target((*path, "targets", i), target)

    def _target(self, path: Path, target: str) -> None:
        upstream, slash, model = target.partition("/")
        if not upstream or not model:
            example = self._upstreams[0] if self._upstreams else "openai"
            name = (upstream if not slash else model) or "gpt-5-mini"
            shown = self._document.shown(path, target)
            if path in self._document.variables:
                name = "gpt-5-mini"
            self._document.refuse(
                path, f"{shown} is no target; write upstream/model, like {example}/{name}"
            )
        else:
            self._known(path, upstream, "upstream", self._upstreams)

    def _prices(self) -> None:
        for path, price in self._entries("prices"):
            upstream = price.get("upstream")
            if isinstance(upstream, str) and upstream != "*":
                matched = any(fnmatchcase(name, upstream) for name in self._upstreams)
                if not matched:
                    self._known((*path, "upstream"), upstream, "upstream", self._upstreams)

    # People...

    def _people(self) -> None:
        for path, key in self._entries("keys"):
            self._refers(path, key, "team", "team", self._teams)
        for path, accepted in self._entries("accept_provider_keys"):
            self._refers(path, accepted, "upstream", "upstream", self._upstreams)
            self._refers(path, accepted, "team", "team", self._teams)
        if self._organisations:
            for path, team in self._entries("teams"):
                if team.get("organisation"):
                    self._refers(path, team, "organisation", "organisation", self._organisations)

    def _repeated_keys(self) -> None:
        seen: dict[str, Path] = {}
        for path, entry in self._entries("keys"):
            key = entry.get("key")
            if isinstance(key, str) and key.strip():
                first = seen.setdefault(key.strip(), path)
                if first != path:
                    self._document.refuse(
                        (*path, "key"),
                        f"is the same key as that of {dotted(first)}; a key belongs to one entry",
                    )
        accepted: dict[tuple[str, ...], Path] = {}
        for path, entry in self._entries("accept_provider_keys"):
            which = tuple(str(entry.get(f) or "") for f in ("upstream", "prefix", "sha256"))
            first = accepted.setdefault(which, path)
            if first != path:
                self._document.refuse(
                    path,
                    f"accepts the same keys as {dotted(first)}; tell them apart by prefix or sha256",
                )

    # Budgets...

    def _scoped_budgets(self) -> None:
        teams = self._entries("teams")
        organisations = {str(t.get("organisation")) for _, t in teams if t.get("organisation")}
        known = {
            "team": self._teams,
            "key": self._keys,
            "organisation": sorted(organisations.union(self._organisations)),
        }
        for path, budget in self._entries("budgets"):
            scope, subject = budget.get("scope"), budget.get("subject")
            if budget.get("team"):
                self._refers(path, budget, "team", "team", self._teams)
            if isinstance(scope, str) and scope in known and subject != "*":
                self._refers(path, budget, "subject", scope, known[scope])

    def _repeated_budgets(self) -> None:
        seen: dict[str, Path] = {}
        for path, covers, budget in self._budgets():
            window = budget.get("window") or "month"
            on_exceed = budget.get("on_exceed") or "block"
            name = budget_id(covers, str(window), str(on_exceed))
            first = seen.setdefault(name, path)
            if first != path:
                self._document.refuse(
                    path,
                    f"is the same budget as {dotted(first)} ({name}); keep one, or give it "
                    "another window or on_exceed",
                )

    def _budgets(self) -> Iterator[tuple[Path, Covers, dict[str, Any]]]:
        for section, scope in (
            ("organisations", "organisation"),
            ("teams", "team"),
            ("keys", "key"),
        ):
            for above, owner in self._entries(section):
                covers = Covers(scope, str(owner.get("name")))
                for path, budget in _items((*above, "budgets"), owner.get("budgets")):
                    yield path, covers, budget
        for path, budget in self._entries("budgets"):
            subject, team = budget.get("subject") or "*", budget.get("team") or ""
            yield path, Covers(str(budget.get("scope")), str(subject), str(team)), budget

    # What they share...

    def _entries(self, section: str) -> list[Entry]:
        return list(_items((section,), self._document.tree.get(section)))

    def _names(self, section: str) -> list[str]:
        return [str(entry["name"]) for _, entry in self._entries(section) if "name" in entry]

    def _refers(
        self, path: Path, entry: dict[str, Any], field: str, what: str, known: Iterable[str]
    ) -> None:
        if isinstance(name := entry.get(field), str):
            self._known((*path, field), name, what, known)

    def _known(self, path: Path, name: str, what: str, known: Iterable[str]) -> None:
        if name in (known := list(known)):
            return
        if path in self._document.variables:
            shown, hint = self._document.shown(path, name), did_you_mean("", known)
        else:
            shown, hint = repr(name), did_you_mean(name, known)
        hint = hint or f"add it under {what}s"
        self._document.refuse(path, f"there is no {what} {shown}; {hint}")

    def _refuse_repeated(self, section: str, field: str) -> None:
        seen: dict[str, Path] = {}
        for path, entry in self._entries(section):
            name = entry.get(field)
            if isinstance(name, str):
                first = seen.setdefault(name, path)
                if first != path:
                    shown = self._document.shown((*path, field), name)
                    self._document.refuse(
                        (*path, field),
                        f"{shown} is taken by {dotted(first)}; each needs its own {field}",
                    )


def _items(path: Path, value: object) -> Iterator[Entry]:
    for i, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield (*path, i), item
