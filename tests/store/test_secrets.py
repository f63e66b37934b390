"""Secrets that Farebox issues."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.secret import digest, new_secret, visible_prefix, well_formed


def test_a_secret_is_long_random_and_well_formed() -> None:
    made = {new_secret() for _ in range(200)}

    assert len(made) == 200
    assert {len(secret) for secret in made} == {55}
    assert all(well_formed(secret) for secret in made)
    assert all(secret.isascii() and secret[6:].isalnum() for secret in made)


@given(st.integers(0, 54), st.sampled_from("0aZ-"))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    """So that a key that was copied badly never asks the database."""
    secret = new_secret()
    changed = secret[:place] + character + secret[place + 1 :]

    assert well_formed(changed) == (changed == secret)


@pytest.mark.parametrize("text", ["", "fb-sk-", "fb-sk-short", "sk-other", "fb-sk-" + "0" * 48])
def test_what_was_not_issued_is_not_well_formed(text: str) -> None:
    assert not well_formed(text)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("fb-sk-ab12cdefghijklmnopqrst", "fb-sk-ab12…"),
        ("my-own-configured-key-123", "my-own…"),
        ("short", "…"),
    ],
)
def test_of_a_secret_little_is_shown(secret: str, shown: str) -> None:
    """Of a short one, nothing."""
    assert visible_prefix(secret) == shown


def test_what_is_stored_is_the_sha256() -> None:
    assert digest("x") == sha256(b"x").hexdigest()
