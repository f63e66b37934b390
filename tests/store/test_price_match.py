from typing import Any

import pytest

from proxy.store.price_match import exact_names, matcher, names


@pytest.mark.parametrize(
    ("clause", "name", "expected"),
    [
        ({"equals": "GPT-4o"}, "gpt-4o", True),
        ({"equals": "gpt-4o"}, "gpt-4o-mini", False),
        ({"starts_with": "claude-3"}, "claude-3-opus", True),
        ({"ends_with": ".Claude-Opus-5"}, "eu.anthropic.claude-opus-5", True),
        ({"contains": "nova-lite"}, "us.amazon.nova-lite-v1:0", True),
        ({"contains": "nova-lite"}, "us.amazon.nova-pro-v1:0", False),
        ({"regex": r"^gpt-6-\w+-\d{4}$"}, "gpt-6-sol-2026", True),
        ({"regex": r"^gpt-6$"}, "gpt-6-sol", False),
        ({"or": [{"equals": "a"}, {"equals": "b"}]}, "b", True),
        ({"or": []}, "b", False),
        ({"and": [{"starts_with": "a"}, {"ends_with": "c"}]}, "abc", True),
        ({"and": [{"starts_with": "a"}, {"or": [{"equals": "ab"}]}]}, "abc", False),
    ],
)
def test_clauses(clause: dict[str, Any], name: str, expected: bool) -> None:
    assert matcher(clause)(name) is expected


def test_an_unknown_clause_is_refused() -> None:
    with pytest.raises(ValueError, match="sounds_like"):
        matcher({"sounds_like": "gpt"})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("GPT-4o", ["gpt-4o"]),
        ("gpt-4o-2024-08-06", ["gpt-4o-2024-08-06", "gpt-4o"]),
        ("gpt-5.2-20251211", ["gpt-5.2-20251211", "gpt-5.2-2025-12-11", "gpt-5.2"]),
        ("openai/gpt-4o", ["openai/gpt-4o", "gpt-4o"]),
        ("models/gemini-2.0-flash-001", ["models/gemini-2.0-flash-001", "gemini-2.0-flash-001", "gemini-2.0-flash"]),
        (
            "projects/p/locations/eu/publishers/anthropic/models/claude-opus-4@20250514",
            [
                "projects/p/locations/eu/publishers/anthropic/models/claude-opus-4@20250514",
                "claude-opus-4@20250514",
                "claude-opus-4",
            ],
        ),
        (
            "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-lite-v1:0",
            [
                "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-lite-v1:0",
                "eu.amazon.nova-lite-v1:0",
            ],
        ),
        ("gpt-9-20261399", ["gpt-9-20261399", "gpt-9"]),  # no date, but a snapshot's number
        ("-2024-08-06", ["-2024-08-06"]),
        ("", [""]),
    ],
)  # fmt: skip
def test_the_names_of_a_model_from_the_literal_to_its_family(
    model: str, expected: list[str]
) -> None:
    assert list(names(model)) == expected


@pytest.mark.parametrize(
    "model",
    [
        "ft:gpt-4.1-2025-04-14:acme::abc",
        "accounts/acme/models/gpt-4o",
        "arn:aws:bedrock:eu-west-1:1:application-inference-profile/a1b2c3",
    ],
)
def test_what_a_customer_named_himself_is_left_alone(model: str) -> None:
    """A fine-tune costs more than its base, and nobody but he knows what stands behind a name of his."""
    assert list(names(model)) == [model]


def test_exact_names_hold_no_guess() -> None:
    assert list(exact_names("openai/gpt-4o-2024-08-06")) == [
        "openai/gpt-4o-2024-08-06",
        "gpt-4o-2024-08-06",
    ]
