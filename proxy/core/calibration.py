"""How many tokens a model's own vocabulary makes of a text that was counted with OpenAI's.

For answers whose usage never came: a client or an upstream that left in the middle. A count is then
all there is, and other makers' models need more tokens for the same text. Measured on recorded
answers that had their usage; the median of billed ÷ counted. Not for bounds: those are made in
``estimate``.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple


class Calibration(NamedTuple):
    """What is billed of an answer, by what is counted of it."""

    percent: int = 100  # of the tokens counted
    answer: int = 0  # tokens that open and close an answer
    tool_call: int = 0  # tokens that wrap a call of a tool
    prompt: int = 100  # percent of the tokens counted of a prompt
    more_calls: int | None = None  # what wraps each call after the first, if not the same
    # Tokens that it likely thinks, unseen, before it answers. None: it doesn't, or what it thinks is shown.
    thinks: int | None = None

    def output(self, tokens: int, tool_calls: int = 0) -> int:
        """The output that is likely billed; nothing where nothing was said."""
        if not tokens and not tool_calls:
            return 0
        wrapped = tool_calls * self.tool_call
        if tool_calls > 1 and self.more_calls is not None:
            wrapped = self.tool_call + (tool_calls - 1) * self.more_calls
        return -(-tokens * self.percent // 100) + self.answer + wrapped

    def input(self, tokens: int) -> int:
        """The input that is likely billed."""
        return -(-tokens * self.prompt // 100)

    def counted(self, billed: int) -> int:
        """How many tokens we count where at most so many are billed."""
        return billed * 100 // self.percent


AS_COUNTED = Calibration()

# By the model's name, what ``Calibration`` has in this order: the first pattern that is found counts.
_NUMBERS: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    # 120 answers of Claude to 4.6; 24 of newer ones, which have another vocabulary.
    (
        r"claude-(?:instant|[123]|(?:opus|sonnet)-4(?:$|[@-]\d{8}|-[0-6])|haiku-4)",
        (115, 3, 38, 112),
    ),
    (r"claude", (147, 4, 24, 147)),
    (r"(?:mistral|ministral|magistral|codestral|devstral)", (126, 0, 0)),
    (r"(?:meta-)?llama|nova-", (105, 0, 0)),
    (r"(?:c4ai-)?command|c4ai-aya", (102, 0, 0)),
    # 130 answers of OpenAI's models, with up to two calls. What wraps two together is more.
    (r"gpt-5(?:\.\d+)?-chat", (100, 3, 7, 100, 24)),
    (r"gpt-5(?!\.)", (100, 3, 7, 100, 24, 192)),
    (r"gpt-(?:[5-9]|\d\d)", (100, 3, 7, 100, 24, 0)),
    (r"o\d(?:$|-)", (100, 3, 7, 100, 24, 128)),
    (r"(?:chatgpt-|gpt-)(?:3|4)", (100, 0, 7, 100, 24)),
    (r"grok-(?!.*non-reasoning)", (100, 0, 0, 100, None, 96)),
    (r"gemini-(?:2\.5|[3-9])", (100, 0, 0, 100, None, 0)),
)
_MODELS: tuple[tuple[re.Pattern[str], Calibration], ...] = tuple(
    (re.compile(r"(?:^|[:/.@])" + pattern), Calibration(*numbers)) for pattern, numbers in _NUMBERS
)


@lru_cache(maxsize=4096)
def calibration(model: str) -> Calibration:
    """The calibration of a model; as counted where nothing is known of it."""
    name = model.lower()
    return next((found for pattern, found in _MODELS if pattern.search(name)), AS_COUNTED)
