"""What is likely billed of a text that we counted."""

import pytest

from proxy.core.calibration import AS_COUNTED, calibration


@pytest.mark.parametrize(
    ("model", "billed"),
    [
        ("gpt-4o", 100),
        ("claude-haiku-4-5-20251001", 118),
        ("claude-sonnet-4-20250514", 118),
        ("anthropic.claude-opus-4-6-v1:0", 118),
        ("claude-3-opus-20240229", 118),
        ("claude-sonnet-5", 151),
        ("claude-opus-4-7", 151),
        ("mistral-large-latest", 126),
        ("command-a-03-2025", 102),
        ("nobody-knows", 100),
    ],
)
def test_other_vocabularies_need_more_tokens(model: str, billed: int) -> None:
    assert billed == calibration(model).output(100)


def test_a_call_of_a_tool_is_wrapped() -> None:
    """Even one without arguments; but an answer of which nothing came costs nothing."""
    claude = calibration("claude-sonnet-4-6")

    assert claude.output(0, tool_calls=1) == 3 + 38
    assert claude.output(0) == 0


@pytest.mark.parametrize("model", ["gpt-4o", "claude-opus-5"])
def test_what_is_counted_at_most_is_billed_at_most(model: str) -> None:
    """A hold that pays for so many tokens is not overrun by text that is cut at what they count."""
    for billed in (0, 1, 99, 1000):
        assert calibration(model).counted(billed) * calibration(model).percent <= billed * 100


def test_a_prompt_is_scaled_too() -> None:
    assert (AS_COUNTED.input(100), calibration("claude-opus-5").input(100)) == (100, 147)


def test_calls_that_are_made_together_are_wrapped_again() -> None:
    """OpenAI's models write a call of a tool that makes them all."""
    gpt = calibration("gpt-4o-mini-2024-07-18")

    assert [gpt.output(20, calls) for calls in (0, 1, 2)] == [20, 27, 51]


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("gpt-5-nano", 192),
        ("gpt-5", 192),
        ("o4-mini", 128),
        ("grok-4.3", 96),
        ("gpt-5.4", 0),
        ("gemini-2.5-flash", 0),
        ("gpt-5-chat-latest", None),
        ("gpt-4o", None),
        ("grok-4-1-fast-non-reasoning", None),
        ("deepseek-reasoner", None),
    ],
)
def test_what_a_model_likely_thinks_unseen(model: str, thinks: int | None) -> None:
    """None: nothing, or it is shown and counted. 0: that is for experience to say."""
    assert thinks == calibration(model).thinks
