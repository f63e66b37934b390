"""How each maker's models take their limits in InvokeModel, by the model's id."""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Make:
    """One maker's bodies. A path's steps are names, or spellings of one."""

    limit: tuple[tuple[str, ...], ...] = ()  # where the output limit is; none: it has none
    choices: str = ""  # the member that says how many answers are asked for
    text: bool = True  # whether its answers have output tokens
    pictures: tuple[str, str] | None = None  # the object and member that say how many are asked for
    searches: bool = False  # a reranker: billed by the search
    known: bool = True  # whether it is sure that the model obeys the limit


_MAX_TOKENS: Final = (("max_tokens",),)
_OPENAI_LIMIT: Final = (("max_completion_tokens", "max_tokens"),)
UNKNOWN: Final = Make(_MAX_TOKENS, "n", known=False)
COMPLETIONS: Final = Make((("max_tokens_to_sample",),))  # Claude's old format, with a ``prompt``

_MAKES: Final = tuple(
    (re.compile(r"(?:^|[./:])" + pattern), make)
    for pattern, make in (
        (r"anthropic\.", Make(_MAX_TOKENS)),
        (
            r"amazon\.nova-canvas",
            Make(text=False, pictures=("imageGenerationConfig", "numberOfImages")),
        ),
        (r"amazon\.nova-(?:reel|sonic|.*embed)", Make(text=False)),
        (r"amazon\.nova", Make((("inferenceConfig",), ("max_new_tokens", "maxTokens")))),
        (
            r"amazon\.titan-image",
            Make(text=False, pictures=("imageGenerationConfig", "numberOfImages")),
        ),
        (r"amazon\.titan-embed", Make(text=False)),
        (r"amazon\.titan", Make((("textGenerationConfig",), ("maxTokenCount",)))),
        (r"amazon\.rerank|cohere\.rerank", Make(text=False, searches=True)),
        (r"cohere\.embed|twelvelabs\.marengo", Make(text=False)),
        (r"cohere\.command", Make(_MAX_TOKENS, "num_generations")),
        (r"meta\.", Make((("max_gen_len",),))),
        (r"mistral\.", Make(_MAX_TOKENS)),
        (r"ai21\.j2", Make((("maxTokens",),), "numResults")),
        (r"ai21\.", Make(_MAX_TOKENS, "n")),
        (r"stability\.", Make(text=False, pictures=("", "samples"))),
        (
            r"(?:openai|qwen|deepseek|zai|moonshot|moonshotai|minimax|google|nvidia|writer)\.",
            Make(_OPENAI_LIMIT, "n"),
        ),
    )
)


def make_of(model: str, document: dict[str, object]) -> Make:
    """The make of a model; with a guess for one that nobody knows: an imported or fine-tuned one."""
    name = model.lower()
    make = next((found for pattern, found in _MAKES if pattern.search(name)), UNKNOWN)
    if make.limit == _MAX_TOKENS and "prompt" in document and "anthropic." in name:
        return COMPLETIONS
    return make
