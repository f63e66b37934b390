"""Answers that nobody should send go through as they came, and no scanner raises."""

import random

import pytest

from bench.fuzz import Sample, broken, samples, scanned
from proxy.gateway.dialects.registry import ROUTES

NO_UTF8 = (
    b'data: {"object":"chat.completion.chunk","model":"\xff","usage":{"prompt_tokens":1}}\n\n',
    b'data: {"choices":[],"usage":{"\xc6":1,"prompt_tokens":1,"service_tier":"\xff"}}\n\n',
    b'{"model":"\xff","usage":{"prompt_tokens":1,"completion_tokens":1}}',
    b'{"object":"list","model":"\xff","data":[],"usage":{"prompt_tokens":1}}',
    b'{"created":1,"id":"\xff","data":[],"usage":{"input_tokens":1,"\xff":"\xff"}}',
)


@pytest.mark.parametrize("body", NO_UTF8)
def test_bytes_that_are_no_text_are_passed_on(body: bytes) -> None:
    """By every dialect, streamed or not."""
    for route in ROUTES:
        for kind, streamed in (("text/event-stream", True), ("application/json", False)):
            sample = Sample(route.dialect, streamed, kind, body)
            for seed in range(2):
                scanned(sample, body, random.Random(seed), cut=False)


def test_broken_answers_are_passed_on() -> None:
    """A little of what ``make fuzz`` does for longer."""
    known = samples(recorded=False)
    for number in range(300):
        dice = random.Random(number)
        sample = dice.choice(known)
        body = broken(sample.body, dice.choice(known).body, dice)
        scanned(sample, body, dice, cut=number % 3 == 0)
