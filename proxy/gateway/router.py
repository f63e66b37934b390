"""Plan: a public model name becomes the upstreams to try, in order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from proxy.core.errors import ModelNotAllowed, ModelNotFound, NotFound

_COMMON = "openai"
_SAME_SERVERS = {"vertex": "gemini"}  # a dialect of its own name is not asked for


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream to try, and the name the model has there."""

    upstream: str
    model: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A public name, or a glob over names, and where it leads.

    A target's model "" is the name that the client asked for.
    """

    pattern: str
    targets: tuple[Target, ...]
    exact: bool = False  # a name of our own, shown in GET /v1/models
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a call may go, in order, and what the model's rule says of it."""

    model: str
    targets: tuple[Target, ...]
    max_output_tokens: int | None = None


class Router:
    """The rules of ``models``: a name of our own first, then globs in the file's order.

    A call speaks one API, and goes to upstreams that speak it, where a rule leads to any: of the
    rules that cover its model the first that has one, and of that rule's targets only those. Where
    none has, the first rule counts: its server may speak more than it is known for.
    """

    def __init__(
        self, rules: Iterable[Rule], speaks: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        """``speaks`` says which families of paths each upstream understands."""
        self.rules = tuple(rules)
        self._speaks = speaks or {}
        self._exact = {r.pattern: r for r in self.rules if r.exact}
        self._globs = tuple(r for r in self.rules if not r.exact)
        self._plan = lru_cache(maxsize=4096)(self._find)

    def plan(self, model: str, family: str = "openai") -> Plan:
        """The targets of a model. Raises ModelNotFound."""
        plan = self._plan(model, family)
        if plan is None:
            raise ModelNotFound(
                f"No rule leads the model {model!r} to an upstream. "
                "Use one of GET /v1/models, or add a rule under `models:` in the configuration.",
                param="model",
            )
        return plan

    def default(self, model: str, family: str = "openai") -> Plan:
        """Where a request goes that is only passed through: by its model, else by the last glob.

        Raises ModelNotFound where there is no rule at all.
        """
        if model:
            plan = self.plan(model, family)
            self._check_spoken(plan.targets, family)
            return plan
        if not self._globs:
            raise ModelNotFound(
                "This request names no model, so that nothing says which upstream it is for. "
                'Add a rule like `{match: "*", upstream: openai}` under `models:`.'
            )
        last = next((r for r in reversed(self._globs) if self._fitting(r, family)), self._globs[-1])
        targets = self._fitting(last, family) or last.targets
        self._check_spoken(targets, family)
        return Plan("", (Target(targets[0].upstream, ""),))

    def _check_spoken(self, targets: tuple[Target, ...], family: str) -> None:
        """What is not metered goes to no server that may read its path as something else.

        OpenAI's own paths are the exception: everybody has some like them. Raises NotFound.
        """
        spoken = frozenset((family, _SAME_SERVERS.get(family, family)))
        if family != _COMMON and all(
            spoken.isdisjoint(self._speaks.get(t.upstream, ())) for t in targets
        ):
            raise NotFound(
                f"No upstream here speaks {family}'s API, which this path belongs to. "
                "Add one under `upstreams:`, or check the path: OpenAI's begin with /v1/."
            )

    @staticmethod
    def direct(model: str, upstream: str) -> Plan:
        """Straight to one upstream: for a client that brought that provider's own key."""
        return Plan(model, (Target(upstream, model),))

    def _find(self, model: str, family: str) -> Plan | None:
        exact = self._exact.get(model)
        rules = [exact] if exact else [r for r in self._globs if fnmatchcase(model, r.pattern)]
        if not rules:
            return None
        rule = next((r for r in rules if self._fitting(r, family)), rules[0])
        fitting = self._fitting(rule, family) or rule.targets
        targets = tuple(Target(t.upstream, t.model or model) for t in fitting)
        return Plan(model, targets, rule.max_output_tokens)

    def _fitting(self, rule: Rule, family: str) -> tuple[Target, ...]:
        """The targets that speak the family's API."""
        return tuple(t for t in rule.targets if family in self._speaks.get(t.upstream, ()))


@lru_cache(maxsize=16384)
def allowed(model: str, globs: tuple[str, ...]) -> bool:
    """Whether a list of globs lets a model through."""
    return any(fnmatchcase(model, glob) for glob in globs)


def check_allowed(model: str, team: str, *lists: tuple[str, ...]) -> None:
    """Every list (the team's, the key's) must let the model through. Raises ModelNotAllowed."""
    for globs in lists:
        if not allowed(model, globs):
            raise ModelNotAllowed(
                f"Team {team!r} may not use the model {model!r}; it may use: {', '.join(globs)}. "
                "Ask for it to be added to the team's `models`.",
                param="model",
            )
