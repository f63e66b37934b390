"""Counts the tokens of text that arrives in pieces: exact at the end, bounded at any time, flat in memory."""

import re
from collections.abc import Callable

from proxy.core.calibration import Calibration

_LAST_WORD_END = re.compile(r"(?s).*[^\W_](?=[ ,.;:!?。，、；：！？])")  # noqa: RUF001 - punctuation of Chinese text
_LOOK_BACK = 512  # characters in which a place to cut is looked for
_MOST_KEPT = 65_536  # characters of one run that are kept uncounted
_UNSETTLED = 2  # tokens by which a word in pieces can be more than the whole one
_MOST_RUNS = 4_096  # an answer has a few; what has more is counted and forgotten
_MOST_RECOUNTED = 8_192  # characters that are counted again and again, for want of a place to fold


class OutputCount:
    """Tokens of the output so far, by the model's own tokenizer.

    ``place`` keeps apart what the model wrote apart: choices, content, arguments of each tool call.
    Text is folded into a number after a word, where no token of OpenAI's vocabularies goes on, so
    that the sum of the counts is the count of the sum.
    """

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._counted = 0  # tokens of the text that was folded
        self._loose = 0  # folds that were not between words: each may have split a token
        self._runs: dict[str, list[str]] = {}
        self._kept: dict[str, int] = {}  # characters of each run
        self._calls = 0  # runs that are calls of tools
        self._most = 0  # tokens of the text that is kept, at most

    def copy(self) -> "OutputCount":
        """The same count, to come back to."""
        twin = OutputCount(self._count)
        twin._counted, twin._loose, twin._most = self._counted, self._loose, self._most
        twin._calls = self._calls
        twin._runs = {place: list(run) for place, run in self._runs.items()}
        twin._kept = dict(self._kept)
        return twin

    @property
    def at_most(self) -> int:
        """No fewer than the tokens so far, without counting: a token is at least one byte."""
        return self._counted + self._most

    def add(self, place: str, text: str, most_bytes: int | None = None) -> None:
        """Take more text. ``most_bytes`` saves the work where the caller knows a bound of its size."""
        run = self._runs.get(place)
        if run is None:
            if len(self._runs) >= _MOST_RUNS:
                self._forget()
            self._calls += place.startswith("tool") or place.endswith(".name")
            self._runs[place] = [text]
            self._kept[place] = len(text)
        else:
            run.append(text)
            self._kept[place] += len(text)
        if most_bytes is None:
            most_bytes = len(text) if text.isascii() else 4 * len(text)
        self._most += most_bytes
        if self._kept[place] > _MOST_KEPT:
            self._fold(place, at_any_place=True)
            self._most = sum(map(_bytes, self._runs.values()))

    def tokens(self) -> int:
        """The tokens so far. Folds what it counts, so that counting often does not count twice."""
        for place in list(self._runs):
            self._fold(place, at_any_place=self._kept[place] > _MOST_RECOUNTED)
        self._most = kept = 0
        for run in self._runs.values():
            # In one piece: what has no place to fold is counted again, but not joined again.
            run[:] = ["".join(run)]
            tokens = self._count(run[0])
            kept += tokens
            self._most += min(tokens + _UNSETTLED, _bytes(run))
        return self._counted + kept

    def billed(self, calibration: Calibration) -> int:
        """The tokens that the model's own vocabulary likely made of it.

        A place whose name begins with ``tool`` is a call of one, and so is one where its name stands.
        """
        return calibration.output(self.tokens(), self._calls)

    def at_least(self) -> int:
        """No more than the tokens that the text will have with whatever follows it.

        The last word may still grow, and then be fewer tokens than it is now ("hel" two, "hello" one);
        the words before it are as they are.
        """
        tokens = self.tokens()
        open_words = sum(1 for run in self._runs.values() if "".join(run).strip())
        return max(self._counted + open_words, tokens - _UNSETTLED) - _UNSETTLED * self._loose

    def _fold(self, place: str, *, at_any_place: bool) -> None:
        text = "".join(self._runs[place])
        end = _last_word_end(text)
        if not end and at_any_place:
            end = len(text)
            self._loose += 1
        if end:
            self._counted += self._count(text[:end])
        self._runs[place] = [text[end:]]
        self._kept[place] = len(text) - end

    def _forget(self) -> None:
        """Count all that is kept, and keep nothing."""
        self._counted += sum(self._count("".join(run)) for run in self._runs.values())
        self._loose += len(self._runs)
        self._runs.clear()
        self._kept.clear()
        self._most = 0


def _bytes(run: list[str]) -> int:
    return sum(len(piece.encode("utf-8", "surrogatepass")) for piece in run)


def _last_word_end(text: str) -> int:
    """Where the last word that is surely whole ends; 0 where there is none near the end."""
    match = _LAST_WORD_END.match(text, max(0, len(text) - _LOOK_BACK))
    return match.end() if match else 0
