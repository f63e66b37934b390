"""Bounds: the most tokens that a call can have, before it is sent, and how many it likely has.

A bound that is too low overruns a budget; one that is too high refuses calls that would have fitted.
So there are two for the input, a cheap one and a close one, and the closer is only worked out where
the cheap one does not fit. Nothing here bounds what the body does not hold: files and pictures by
address, state on the provider's side, searches. The dialects name those, and policy decides.

The constants were measured on some 7,000 recorded requests of 20 providers.
"""

import re
from functools import lru_cache

# A tokenizer that works on bytes never makes more tokens than there are bytes of UTF-8, and JSON
# never writes a text in fewer bytes than it has (an escape such as \n or \u00e9 only makes it
# longer). What wraps a message is 3 to 5 tokens, against 25 bytes and more of JSON around it. So a
# body's bytes bound all that it says, and what is left is what a provider adds in front of it.
#
# Without tools, most was added by Grok (213), a guard model's template (186), reasoning templates of
# open models (64). With tools by Nova 2 (2,661), Gemini 3 (1,081), Claude (780), Llama (644); their
# bodies are longer than their tokens too, so that 2,048 held for 99.96 % of all recorded requests:
# the rest had hidden searches.
_ADDED = 512
_ADDED_WITH_TOOLS = 2_048

# The close bound, from a count: percent of it, and tokens on top, without and with tools.
# - OpenAI's own models are counted with their own vocabulary. It is exact for nearly all text; tools
#   and schemas are off by up to 217.
# - Others have their own. Newer Claude models make 1.42 to 1.53 as many tokens, Mistral up to 1.57,
#   Gemini up to 1.36; and they add what is said above.
_COUNTED_OPENAI = (125, 256, 256 + 768)
_COUNTED_NOVA = (160, 256, 256 + 2_816)
_COUNTED_OTHER = (160, 256, 256 + 1_024)
_OPENAI = re.compile(r"(?:^|[:/.])(?:gpt-(?!oss)|o\d(?:$|-)|chatgpt-|text-embedding-(?:3|ada))")

# The largest answer that a model gives where nobody limits it, by its name: the first pattern that
# is found counts. From the providers' model pages and public price lists.
_MAX_OUTPUT: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(r"(?:^|[:/.@])" + pattern), tokens)
    for pattern, tokens in (
        (r"gpt-(?:5|5\.\d)-pro", 272_000),
        (r"gpt-5(?:[.\d]*)-chat", 16_384),
        (r"gpt-realtime-2", 32_768),
        (r"(?:gpt-realtime|gpt-4o(?:-mini)?-realtime)", 4_096),
        (r"gpt-oss", 131_072),
        (r"gpt-[5-9]", 128_000),
        (r"gpt-4\.1", 32_768),
        (r"gpt-4\.5", 16_384),
        (r"(?:chatgpt-|gpt-)4o-2024-05-13", 4_096),
        (r"(?:chatgpt-|gpt-)4o", 16_384),
        (r"gpt-4-32k", 32_768),
        (r"gpt-4(?:$|-(?:0314|0613))", 8_192),
        (r"gpt-(?:4|3\.?5)", 4_096),
        (r"o1-preview", 32_768),
        (r"o1-mini", 65_536),
        (r"o[134](?:$|-)", 100_000),
        (r"claude-3-(?:opus|sonnet|haiku)", 4_096),
        (r"claude-3[.-]5", 8_192),
        (r"claude-3[.-]7", 128_000),
        (r"claude-opus-4(?:-1)?(?:$|[@-]20)", 32_000),
        (r"claude-(?:sonnet-4|haiku-4-5|(?:sonnet|opus)-4[.-]5)(?:$|[@-]20|-v)", 64_000),
        (r"claude", 128_000),
        (r"gemini-(?:1|2\.0)", 8_192),
        (r"gemini", 65_536),
        (r"deepseek-v4", 393_216),
        (r"deepseek", 65_536),
        (r"(?:mistral|ministral|magistral|codestral|devstral|kimi)", 262_144),
        (r"grok", 1_000_000),  # as much as its context holds
        (r"text-embedding|embed|moderation|rerank", 0),
    )
)
UNKNOWN_MAX_OUTPUT = 128_000  # of a model that nobody knows: what the large current ones give

# The most that a realtime session can hold in mind, by its model: the input of one response.
_REALTIME_CONTEXT = (
    (re.compile(r"gpt-4o-mini-realtime"), 16_000),
    (re.compile(r"gpt-4o-realtime|gpt-realtime(?:$|-mini|-1|-20)"), 32_000),
)
_UNKNOWN_CONTEXT = 128_000

# Of a call whose answer was lost, where the policy is to charge an estimate.
_LIKELY_BYTES_PER_TOKEN = 4  # English prose; code and other languages are nearer to 3
_LIKELY_OUTPUT = 512


def input_bound(body_bytes: int, *, has_tools: bool) -> int:
    """The most input tokens that a body of so many bytes can make."""
    return body_bytes + (_ADDED_WITH_TOOLS if has_tools else _ADDED)


def counted_bound(
    tokens: int, *, has_tools: bool, model: str = "", body_bytes: int | None = None
) -> int:
    """The most input tokens where ``tokens`` were counted; never more than the bytes allow."""
    percent, plain, with_tools = _counted(model.lower())
    bound = -(-tokens * percent // 100) + (with_tools if has_tools else plain)
    return bound if body_bytes is None else min(bound, input_bound(body_bytes, has_tools=has_tools))


def _counted(model: str) -> tuple[int, int, int]:
    if _OPENAI.search(model):
        return _COUNTED_OPENAI
    return _COUNTED_NOVA if "nova-" in model else _COUNTED_OTHER


@lru_cache(maxsize=4096)
def model_max_output(model: str) -> int | None:
    """The most output tokens that a model makes in one answer; None for a model that nobody knows."""
    name = model.lower()
    return next((tokens for pattern, tokens in _MAX_OUTPUT if pattern.search(name)), None)


def realtime_context(model: str) -> int:
    """The most input tokens of one response of a realtime session."""
    name = model.lower()
    found = (tokens for pattern, tokens in _REALTIME_CONTEXT if pattern.search(name))
    return next(found, _UNKNOWN_CONTEXT)


def output_bound(cap: int | None, model: str, choices: int = 1) -> int:
    """The most output tokens of ``choices`` answers under a cap for each: the model's own where there is none."""
    if cap is None:
        most = model_max_output(model)
        cap = UNKNOWN_MAX_OUTPUT if most is None else most
    return choices * cap


def likely_input(body_bytes: int) -> int:
    """Input tokens that a body of so many bytes usually has, where nothing better is known."""
    return -(-body_bytes // _LIKELY_BYTES_PER_TOKEN)


def likely_output(cap: int | None) -> int:
    """Output tokens that an answer usually has, where nothing better is known."""
    return _LIKELY_OUTPUT if cap is None else min(cap, _LIKELY_OUTPUT)
