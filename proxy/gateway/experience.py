"""What calls usually come to, by what this process has seen: for calls whose end nobody sees.

A rolling mean for each team and model, and one for each model. Plain integers in a bounded table: it
is read and written for every call.
"""

from typing import Final

from msgspec import Struct

from proxy.core import estimate

_KEPT: Final = 4096  # means; then it begins anew
_SCALE: Final = 1024  # of a mean
_REMEMBERS: Final = 64  # calls, about: an older one hardly counts


class _Mean(Struct):
    calls: int = 0
    output: int = 0  # tokens of one choice, scaled
    input: int = 0  # tokens for a byte of the body, scaled

    def add(self, output: int, per_byte: int) -> None:
        if self.calls < _REMEMBERS:
            self.calls += 1
        self.output += (output * _SCALE - self.output) // self.calls
        self.input += (per_byte - self.input) // self.calls


class Experience:
    """Learns from answers whose usage the provider reported."""

    def __init__(self) -> None:
        self._means: dict[tuple[str, str], _Mean] = {}

    def learn(
        self, team: str, model: str, *, body_bytes: int, tokens_in: int, tokens_out: int
    ) -> None:
        """Take an answer into account. ``tokens_out`` are those of one choice."""
        per_byte = tokens_in * _SCALE // body_bytes if body_bytes else 0
        means = self._means
        for key in ((team, model), ("", model)):
            mean = means.get(key)
            if mean is None:
                if len(means) >= _KEPT:
                    means.clear()
                mean = means[key] = _Mean()
            mean.add(tokens_out, per_byte)

    def output(self, team: str, model: str, cap: int | None) -> int:
        """How many tokens one choice of an answer likely has."""
        mean = self._mean(team, model)
        if mean is None:
            return estimate.likely_output(cap)
        tokens = (mean.output + _SCALE // 2) // _SCALE
        return tokens if cap is None else min(tokens, cap)

    def input(self, team: str, model: str, body_bytes: int) -> int:
        """How many tokens a body of so many bytes likely makes."""
        mean = self._mean(team, model)
        if mean is None or not mean.input:
            return estimate.likely_input(body_bytes)
        return min(-(-body_bytes * mean.input // _SCALE), body_bytes)

    def _mean(self, team: str, model: str) -> _Mean | None:
        means = self._means
        return means.get((team, model)) or means.get(("", model))
