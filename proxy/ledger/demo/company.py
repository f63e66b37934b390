"""The made-up company: its teams, what each of them uses models for, and how much.

A lane is one use of one model by one team. Its weights are its share of all calls when the time
begins and when it ends; between them it grows or fades evenly, so that models replace each other.
"""

from dataclasses import dataclass
from typing import NamedTuple

ORGANISATION = "acme"
CHAT = "chat.completions"
EMBEDDINGS = "embeddings"
MESSAGES = "messages"

UPSTREAMS = {  # name → the provider by the price book's name; "" has no price
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "local": "",
}


@dataclass(frozen=True, slots=True)
class DemoTeam:
    """A team, its people, and the budget it is given: the share of its limit that is spent by now."""

    name: str
    people: int
    used: float
    on_exceed: str = "block"
    max_output_tokens: int = 4096


TEAMS = (
    DemoTeam("search", 9, 0.62, max_output_tokens=1000),
    DemoTeam("support", 24, 0.86),
    DemoTeam("checkout", 6, 0.31, max_output_tokens=2000),
    DemoTeam("data-platform", 4, 0.48),
    DemoTeam("growth", 11, 1.07, "warn"),
    DemoTeam("research", 7, 0.97, max_output_tokens=16_384),
)


class Size(NamedTuple):
    """How long a lane's calls are: medians of tokens and how far they spread (sigma of the logarithm)."""

    input: int
    input_sigma: float
    output: int
    output_sigma: float
    cached: float = 0.0  # of the input, where the cache is hit at all
    reasoning: int = 0  # median of the tokens of reasoning


@dataclass(frozen=True, slots=True)
class Lane:
    """One use of one model by one team."""

    team: str
    workflow: str
    upstream: str
    model: str
    first: float
    last: float
    size: Size
    endpoint: str = CHAT
    nightly: bool = False
    streamed: float = 0.7
    served: str = ""  # where the answer names a dated version
    first_byte_ms: int = 420
    tokens_s: int = 85


_SHORT = Size(380, 0.6, 60, 0.7)
_REPLY = Size(2600, 0.7, 320, 0.6, cached=0.55)
_LONG = Size(9000, 0.8, 700, 0.7, cached=0.3)
_AGENT = Size(14_000, 0.9, 900, 0.9, cached=0.7, reasoning=350)

LANES = (
    Lane("search", "query-rewrite", "openai", "gpt-4o-mini", 17, 3, _SHORT, streamed=0.05, served="gpt-4o-mini-2024-07-18", first_byte_ms=310),
    Lane("search", "query-rewrite", "openai", "gpt-5-nano", 1, 17, Size(380, 0.6, 40, 0.6, reasoning=30), streamed=0.05, served="gpt-5-nano-2025-08-07", first_byte_ms=380),
    Lane("search", "ranking-notes", "openai", "gpt-5-mini", 4, 7, Size(3100, 0.5, 190, 0.6, 0.5, 60), served="gpt-5-mini-2025-08-07"),
    Lane("search", "catalogue-vectors", "openai", "text-embedding-3-small", 8, 11, Size(520, 0.8, 0, 0.0), EMBEDDINGS, nightly=True, streamed=0.0, first_byte_ms=90),
    Lane("support", "ticket-triage", "anthropic", "claude-haiku-4-5", 9, 13, Size(1500, 0.6, 90, 0.5, 0.6), MESSAGES, streamed=0.1, served="claude-haiku-4-5-20251001", tokens_s=140),
    Lane("support", "reply-draft", "anthropic", "claude-sonnet-4-5", 5, 8, _REPLY, MESSAGES, streamed=0.95, served="claude-sonnet-4-5-20250929", first_byte_ms=780, tokens_s=70),
    Lane("support", "reply-draft", "openai", "gpt-4o", 4, 1, _REPLY, streamed=0.95, served="gpt-4o-2024-08-06"),
    Lane("support", "call-summary", "google", "gemini-2.5-flash", 3, 5, _LONG, streamed=0.0, first_byte_ms=350, tokens_s=160),
    Lane("checkout", "fraud-notes", "openai", "gpt-4.1-mini", 5, 6, Size(1900, 0.5, 140, 0.5, 0.4), streamed=0.0, served="gpt-4.1-mini-2025-04-14"),
    Lane("checkout", "address-repair", "openai", "gpt-5-nano", 6, 8, Size(240, 0.4, 50, 0.4), streamed=0.0, served="gpt-5-nano-2025-08-07"),
    Lane("data-platform", "extract-fields", "google", "gemini-2.5-flash-lite", 7, 12, Size(4200, 0.7, 260, 0.5), nightly=True, streamed=0.0, first_byte_ms=260, tokens_s=210),
    Lane("data-platform", "nightly-enrich", "openai", "gpt-4.1-mini", 6, 4, Size(2200, 0.6, 300, 0.6, 0.35), nightly=True, streamed=0.0, served="gpt-4.1-mini-2025-04-14"),
    Lane("data-platform", "sql-help", "openai", "gpt-5-mini", 1, 2, Size(5200, 0.6, 420, 0.6, 0.5, 300), served="gpt-5-mini-2025-08-07"),
    Lane("growth", "ad-copy", "openai", "gpt-5", 1.2, 4.5, Size(1100, 0.5, 380, 0.6, 0.3, 420), served="gpt-5-2025-08-07", first_byte_ms=1300, tokens_s=65),
    Lane("growth", "localise", "openai", "gpt-4o", 3, 2, Size(900, 0.6, 620, 0.6), served="gpt-4o-2024-08-06"),
    Lane("growth", "localise", "google", "gemini-2.5-flash", 0.5, 3, Size(900, 0.6, 600, 0.6), first_byte_ms=350, tokens_s=160),
    Lane("research", "coding-agent", "anthropic", "claude-opus-4-5", 0.15, 0.9, _AGENT, MESSAGES, streamed=1.0, served="claude-opus-4-5-20251101", first_byte_ms=1500, tokens_s=55),
    Lane("research", "coding-agent", "anthropic", "claude-sonnet-4-5", 1.6, 1.2, _AGENT, MESSAGES, streamed=1.0, served="claude-sonnet-4-5-20250929", first_byte_ms=900, tokens_s=70),
    Lane("research", "eval-suite", "google", "gemini-2.5-pro", 0.8, 1.2, Size(6000, 0.9, 800, 0.8, 0.0, 900), nightly=True, streamed=0.0, first_byte_ms=2200, tokens_s=95),
    Lane("research", "rerank-trial", "local", "acme-rerank-7b", 0.6, 1.1, Size(1700, 0.5, 20, 0.3), streamed=0.0, first_byte_ms=60, tokens_s=45),
)  # fmt: skip
