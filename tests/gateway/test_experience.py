"""What calls usually come to, learned from those whose usage the provider reported."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.experience import Experience


def learned(*outputs: int, team: str = "search") -> Experience:
    found = Experience()
    for tokens in outputs:
        found.learn(team, "gpt-5", body_bytes=1_000, tokens_in=200, tokens_out=tokens)
    return found


def test_without_experience_the_table_is_asked() -> None:
    found = Experience()

    assert (found.output("search", "gpt-5", None), found.output("search", "gpt-5", 90)) == (512, 90)
    assert found.input("search", "gpt-5", 4_000) == 1_000


def test_the_mean_of_what_the_team_had_from_the_model() -> None:
    found = learned(10, 20, 60)

    assert found.output("search", "gpt-5", None) == 30
    assert found.input("search", "gpt-5", 4_000) == 797  # 204 of 1,024 a byte


def test_no_more_than_the_cap() -> None:
    assert learned(500).output("search", "gpt-5", 40) == 40


def test_another_team_is_judged_by_the_model() -> None:
    found = learned(30, team="ads")

    assert found.output("search", "gpt-5", None) == 30
    assert found.output("search", "gpt-4o", None) == 512


def test_what_is_long_ago_is_forgotten() -> None:
    assert 95 <= learned(*[1_000] * 200, *[100] * 600).output("search", "gpt-5", None) <= 105


def test_it_is_bounded() -> None:
    found = Experience()
    for number in range(10_000):
        found.learn("search", f"model-{number}", body_bytes=10, tokens_in=2, tokens_out=7)

    assert len(found._means) <= 4_096
    assert found.output("search", "model-9999", None) == 7


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=100))
def test_a_mean_lies_between_the_least_and_the_most(outputs: list[int]) -> None:
    assert min(outputs) - 1 <= learned(*outputs).output("search", "gpt-5", None) <= max(outputs)
