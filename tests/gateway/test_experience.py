"""What calls usually come to, learned from those that were seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.core.call import AttemptRecord, CallRecord, Outcome
from proxy.core.usage import Usage, UsageSource
from proxy.gateway.experience import Experience

BODY_BYTES = 1_000
SECOND_US = 1_000_000


def record(
    tokens: int,
    *,
    team: str = "search",
    model: str = "gpt-5",
    stream: bool = False,
    seconds: float = 1.0,
    first_byte_s: float | None = 0.0,
    source: UsageSource = UsageSource.PROVIDER,
    outcome: Outcome = Outcome.COMPLETED,
    cost_nano: int = 0,
) -> CallRecord:
    attempt = AttemptRecord(
        1,
        "openai",
        model,
        0,
        round(seconds * SECOND_US),
        None if first_byte_s is None else round(first_byte_s * SECOND_US),
        200,
        usage=Usage(input=200, output=tokens),
        usage_source=source,
        cost_nano=cost_nano,
    )
    who = (team, "", "", "", "", "", "", ())
    return CallRecord(
        "fb-1", 0, *who, "chat.completions", model, stream, 200, outcome, attempts=(attempt,)
    )


def learned(*records: CallRecord) -> Experience:
    found = Experience()
    for one in records:
        found.learn(one, 1, BODY_BYTES)
    return found


def output(found: Experience, model: str = "gpt-5", cap: int | None = None) -> int:
    return found.output("search", model, cap, stream=False)


def under_way(found: Experience, *, stream: bool, cap: int | None = None) -> int:
    return found.under_way("search", "gpt-5", cap, stream=stream)


def test_without_experience_the_table_is_asked() -> None:
    found = Experience()

    assert (output(found), output(found, cap=90)) == (512, 90)
    assert (under_way(found, stream=False), under_way(found, stream=True)) == (512, 256)
    assert found.input("search", "gpt-5", 4_000, stream=False) == 1_000
    assert found.paid("search", "gpt-5", stream=False) == 1.0


def test_the_mean_of_what_the_team_had_from_the_model() -> None:
    found = learned(record(10), record(20), record(60))

    assert output(found) == 30
    assert found.input("search", "gpt-5", 4_000, stream=False) == 800


def test_no_more_than_the_cap_and_the_body() -> None:
    found = learned(record(500))

    assert (output(found, cap=40), under_way(found, stream=False, cap=40)) == (40, 40)
    assert found.input("search", "gpt-5", 0, stream=False) == 0


def test_a_team_of_which_nothing_is_known_is_judged_by_the_others() -> None:
    found = learned(*[record(30, team="ads")] * 3, record(90, team="ads", model="gpt-4o"))

    # 30 of the model, three times, and the one more that all have beside: 45 on average.
    assert output(found) == 34
    assert output(found, "o3") == 45


def test_a_team_of_which_little_is_known_is_judged_by_the_others_as_well() -> None:
    found = learned(*[record(100, team="ads")] * 100, record(10))

    assert output(found) == 89  # eight times what all have beside: 99.1, and once 10


def test_streams_are_not_judged_by_what_was_not_streamed() -> None:
    found = learned(record(30), record(70, stream=True))

    assert output(found) == 30
    assert found.output("search", "gpt-5", None, stream=True) == 70


def test_what_did_not_end_well_says_nothing_of_whole_answers() -> None:
    found = learned(
        record(40, stream=True),
        record(4, stream=True, outcome=Outcome.CLIENT_LEFT, source=UsageSource.COUNTED),
        record(0, stream=True, outcome=Outcome.UPSTREAM_FAILED, source=UsageSource.NONE),
    )

    assert found.output("search", "gpt-5", None, stream=True) == 40


def test_a_long_answer_is_caught_under_way_more_often() -> None:
    """Not streamed: billed whole. Nine of ten moments fall into the long one."""
    found = learned(record(10, seconds=1), record(90, seconds=9))

    assert under_way(found, stream=False) == 82


def test_a_stream_is_made_half_by_the_middle_of_it() -> None:
    """Nothing before its first byte, then evenly: four seconds of eight, with 40 of 80 on average."""
    found = learned(record(80, stream=True, seconds=8, first_byte_s=4))

    assert under_way(found, stream=True) == 20


def test_a_stream_that_never_began_counts_with_the_time_that_was_waited_for_it() -> None:
    left = {"outcome": Outcome.UPSTREAM_FAILED, "source": UsageSource.COUNTED}
    found = learned(
        record(80, stream=True, seconds=1),
        record(0, stream=True, seconds=9, first_byte_s=None, **left),  # type: ignore[arg-type]
    )

    assert under_way(found, stream=True) == 4


def test_an_estimate_teaches_nothing() -> None:
    found = learned(record(10), record(1_000, source=UsageSource.ESTIMATED))

    assert (output(found), under_way(found, stream=False)) == (10, 10)


def test_what_is_paid_of_the_plain_price() -> None:
    """A team whose prompts are mostly cached, or that is served in another tier."""
    found = Experience()
    for cost_nano in (400, 600):
        found.learn(record(10, cost_nano=cost_nano), 1, BODY_BYTES, plain_nano=1_000)

    assert found.paid("search", "gpt-5", stream=False) == pytest.approx(0.5)


def test_an_answer_of_several_choices_is_shared_among_them() -> None:
    found = Experience()
    found.learn(record(90), 3, BODY_BYTES)

    assert (output(found), under_way(found, stream=False)) == (30, 30)


def test_what_makes_no_text_says_nothing_of_text() -> None:
    found = Experience()
    found.learn(record(0, model="text-embedding-3-small"), 1, BODY_BYTES, makes_text=False)

    assert output(found) == 512
    assert found.input("search", "text-embedding-3-small", 4_000, stream=False) == 800


def test_what_is_long_ago_is_forgotten() -> None:
    found = learned(*[record(1_000)] * 600, *[record(100)] * 3_000)

    assert 100 <= output(found) <= 105


def test_it_is_bounded() -> None:
    found = learned(*(record(7, model=f"model-{number}") for number in range(5_000)))

    assert len(found._means) <= 4_096
    assert output(found, "model-4999") == 7
    assert output(found, "model-0") == 7  # as all of them


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=100))
def test_a_mean_lies_between_the_least_and_the_most(outputs: list[int]) -> None:
    found = output(learned(*(record(tokens) for tokens in outputs)))

    assert min(outputs) - 1 <= found <= max(outputs) + 1


def test_learning_many_at_once_comes_to_the_same_as_one_by_one() -> None:
    """Where much is known already, calls are taken into account together: none is forgotten."""
    one_by_one, together = Experience(), Experience()
    for number in range(500):
        call = record(100 + number % 7, seconds=1 + number % 3, cost_nano=900)
        one_by_one.learn(call, 1, BODY_BYTES, plain_nano=1_000)
        one_by_one.means()  # looks at what waits
        together.learn(call, 1, BODY_BYTES, plain_nano=1_000)

    (_, _, means), (_, _, others) = one_by_one.means().values(), together.means().values()
    assert means.answers == others.answers == 500
    assert means.output == pytest.approx(others.output)
    assert means.made / means.flown_us == pytest.approx(others.made / others.flown_us)
    assert means.cost_nano / means.plain_nano == pytest.approx(0.9)


def test_reasoning_is_learned_by_model_alone() -> None:
    """A rule counts until there is experience; other models say nothing."""
    known = Experience()
    before = known.reasoning("search", "gpt-5", 192, stream=False)
    for thought in (100, 300):
        answer = record(400)
        used = replace(answer.attempts[0].usage, output=400 - thought, reasoning=thought)
        attempt = replace(answer.attempts[0], usage=used)
        known.learn(replace(answer, attempts=(attempt,)), 1, BODY_BYTES)

    assert before == 192
    assert known.reasoning("search", "gpt-5", 192, stream=False) == 200
    assert known.reasoning("other", "gpt-5", 192, stream=False) == 200
    assert known.reasoning("search", "o4-mini", 128, stream=False) == 128
