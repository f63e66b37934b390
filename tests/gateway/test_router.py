"""Plan: names of our own first, then globs in the file's order."""

import pytest

from proxy.core.errors import ModelNotAllowed, ModelNotFound, NotFound
from proxy.gateway.router import Plan, Router, Rule, Target, check_allowed

ROUTER = Router(
    [
        Rule("gpt-*", (Target("openai", ""),), max_output_tokens=10),
        Rule("fast", (Target("openai", "gpt-5-mini"), Target("local", "qwen3")), exact=True),
        Rule("gpt-4*", (Target("azure", ""),)),
    ]
)


def test_the_first_glob_that_fits_leads() -> None:
    """Rules are read from the top; a later, narrower glob does not overtake."""
    expected = Plan("gpt-4o", (Target("openai", "gpt-4o"),), 10)
    assert ROUTER.plan("gpt-4o") == expected


def test_a_name_of_our_own_has_targets_in_order() -> None:
    """An alias leads to its targets under the names that they have there."""
    assert ROUTER.plan("fast").targets == (Target("openai", "gpt-5-mini"), Target("local", "qwen3"))


def test_an_unknown_model_is_refused_with_what_to_do() -> None:
    """No rule, no upstream: the error says where to look and what to add."""
    with pytest.raises(ModelNotFound, match="GET /v1/models"):
        ROUTER.plan("claude-opus")


def test_a_request_without_a_model_goes_where_the_last_glob_leads() -> None:
    """Files, batches and the like belong to the catch-all's upstream."""
    assert ROUTER.default("") == Plan("", (Target("azure", ""),))
    with pytest.raises(ModelNotFound, match="names no model"):
        Router([]).default("")


def test_every_list_must_allow_a_model() -> None:
    """The team's list and the key's list both count; the error names the list that refuses."""
    check_allowed("gpt-5", "search", ("gpt-*",), ("*",))
    with pytest.raises(ModelNotAllowed, match="may use: gpt-4\\*"):
        check_allowed("gpt-5", "search", ("gpt-*",), ("gpt-4*",))


SPEAKS = {
    "openai": frozenset(("openai",)),
    "anthropic": frozenset(("anthropic",)),
    "local": frozenset(("openai", "ollama")),
}


def test_a_call_goes_where_its_api_is_spoken() -> None:
    """The first rule with such an upstream; without one, the first rule."""
    router = Router(
        [
            Rule("both", (Target("openai", ""), Target("anthropic", "")), exact=True),
            Rule("*", (Target("openai", ""),)),
            Rule("claude-*", (Target("anthropic", ""),)),
        ],
        SPEAKS,
    )

    assert router.plan("claude-3", "anthropic").targets == (Target("anthropic", "claude-3"),)
    assert router.plan("claude-3").targets == (Target("openai", "claude-3"),)
    assert router.plan("both", "anthropic").targets == (Target("anthropic", "both"),)
    assert router.default("", "anthropic").targets == (Target("anthropic", ""),)
    assert router.plan("gpt-4o", "gemini").targets == (Target("openai", "gpt-4o"),)


def test_what_is_not_metered_goes_to_no_server_of_another_api() -> None:
    """It could read the path as one that costs something."""
    router = Router([Rule("*", (Target("openai", ""),))], SPEAKS)

    for model in ("", "gpt-4o"):
        assert router.default(model).targets[0].upstream == "openai"
        with pytest.raises(NotFound, match="speaks cohere's API"):
            router.default(model, "cohere")
