"""How many tokens a model's own vocabulary makes of a text that was counted with OpenAI's.

For answers whose usage never came: a client or an upstream that left in the middle. A count is then
all there is, and other makers' models need more tokens for the same text. Measured on recorded
answers that had their usage; the median of billed ÷ counted, without hidden reasoning, which nothing
shows. Not for bounds: those are made in ``estimate``.
"""

import re
from functools import lru_cache
from typing import NamedTuple


class Calibration(NamedTuple):
    """What is billed of an answer, by what is counted of it."""

    percent: int = 100  # of the tokens counted
    answer: int = 0  # tokens that open and close an answer
    tool_call: int = 0  # tokens that wrap a call of a tool
    prompt: int = 100  # percent of the tokens counted of a prompt

    def output(self, tokens: int, tool_calls: int = 0) -> int:
        """The output that is likely billed; nothing where nothing was said."""
        if not tokens and not tool_calls:
            return 0
        return -(-tokens * self.percent // 100) + self.answer + tool_calls * self.tool_call

    def input(self, tokens: int) -> int:
        """The input that is likely billed."""
        return -(-tokens * self.prompt // 100)

    def counted(self, billed: int) -> int:
        """How many tokens we count where at most so many are billed."""
        return billed * 100 // self.percent


AS_COUNTED = Calibration()

# By the model's name: the first pattern that is found counts.
_MODELS: tuple[tuple[re.Pattern[str], Calibration], ...] = tuple(
    (re.compile(r"(?:^|[:/.@])" + pattern), calibration)
    for pattern, calibration in (
        # 120 answers of Claude to 4.6; 24 of newer ones, which have another vocabulary.
        (
            r"claude-(?:instant|[123]|(?:opus|sonnet)-4(?:$|[@-]\d{8}|-[0-6])|haiku-4)",
            (115, 3, 38, 112),
        ),
        (r"claude", (147, 4, 24, 147)),
        (r"(?:mistral|ministral|magistral|codestral|devstral)", (126, 0, 0)),
        (r"(?:meta-)?llama|nova-", (105, 0, 0)),
        (r"(?:c4ai-)?command|c4ai-aya", (102, 0, 0)),
    )
    for calibration in (Calibration(*calibration),)
)


@lru_cache(maxsize=4096)
def calibration(model: str) -> Calibration:
    """The calibration of a model; as counted where nothing is known of it."""
    name = model.lower()
    return next((found for pattern, found in _MODELS if pattern.search(name)), AS_COUNTED)
