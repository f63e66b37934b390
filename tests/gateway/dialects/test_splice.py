"""Byte-level edits of a JSON object."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.dialects import splice
from tests.gateway.dialects.documents import documents, spelled


def names(text: bytes) -> list[str]:
    return [member.name for member in splice.members(text)]


@given(documents(), st.randoms(use_true_random=False))
def test_members_are_those_of_the_parsed_object(document: dict[str, Any], random: Any) -> None:
    """Name by name and value by value, however the text is spaced and escaped."""
    text = spelled(document, random)

    found = {m.name: json.loads(text[slice(*m.value)]) for m in splice.members(text)}

    assert document == found


@given(documents(), st.randoms(use_true_random=False))
def test_a_member_is_located_where_it_stands(document: dict[str, Any], random: Any) -> None:
    """The quick look and the walk agree, for names that are there and names that are not."""
    document = {**document, "model": "m", "messages": [{"model": 1, "max_tokens": 2}]}
    text = spelled(document, random)
    found = splice.Object(text)

    for name in ("model", "messages", "max_tokens", "n", "stream_options"):
        span = found.locate(name.encode())
        assert (name in document) == (span is not None)
        if span is not None:
            assert document[name] == json.loads(text[slice(*span)])


@pytest.mark.parametrize(
    "text",
    [
        b'{"messages":[{"max_tokens":1}]}',
        b'{"a":"max_tokens"}',
        b'{"a":["max_tokens"]}',
        b'{"a":"\\"max_tokens","b":1}',
        b'{"\\"max_tokens":1}',
        b'{"a":{"b":1,"max_tokens":1}}',
        b'{"a":[{"max_tokens":1}],"b":2}',
        b'{"a":"{,\\"max_tokens\\":1}"}',
    ],
)
def test_what_only_looks_like_a_member_is_none(text: bytes) -> None:
    """A nested name, a value, the end of a string."""
    assert splice.Object(text).locate(b"max_tokens") is None


def test_a_name_may_be_written_with_escapes() -> None:
    text = rb'{"mod\u0065l":"a","n":1}'

    span = splice.Object(text).locate(b"model")

    assert span is not None
    assert text[slice(*span)] == b'"a"'


def test_a_repeated_name_is_noticed() -> None:
    """Where the object has to be walked over anyway, as with one that is escaped."""
    with pytest.raises(splice.RepeatedMember) as caught:
        splice.Object(rb'{"model":"a","mod\u0065l":"b"}').locate(b"model")

    assert caught.value.name == "model"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b'{"a"',
        b'{"a":',
        b'{"a":1',
        b'{"a":1,',
        b'{"a" 1}',
        b'{"a":[1}',
        b'{"a":"',
        b"{1:2}",
    ],
)
def test_half_an_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        splice.members(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a":1}', b'{"a":1,"b":2}'),
        (b"{}", b'{"b":2}'),
        (b"{ \n }", b'{ \n "b":2}'),
        (b' {"a":{}\r\n}\n ', b' {"a":{}\r\n,"b":2}\n '),
    ],
)
def test_a_member_is_added_before_the_closing_brace(text: bytes, expected: bytes) -> None:
    assert expected == splice.apply(text, [splice.insertion(text, b'"b":2')])


@pytest.mark.parametrize(
    ("text", "index", "expected"),
    [
        (b'{"a":1}', 0, b"{}"),
        (b'{ "a" : 1 , "b":2}', 0, b'{ "b":2}'),
        (b'{"a":1 , "b" : 2 , "c":3}', 1, b'{"a":1  , "c":3}'),
        (b'{"a":1,\n "b":[2]\n}', 1, b'{"a":1\n}'),
    ],
)
def test_a_removed_member_takes_one_comma_with_it(text: bytes, index: int, expected: bytes) -> None:
    edit = splice.removal(text, splice.members(text), index)

    assert expected == splice.apply(text, [edit])


def test_without_edits_the_text_is_the_same_object() -> None:
    text = b'{"a":1}'

    assert splice.apply(text, []) is text


def test_a_large_value_is_stepped_over_in_flat_memory() -> None:
    """A string of many escapes, and deep nesting, take no stack and no copies."""
    text = b'{"a":"' + b'\\"x' * 500_000 + b'","b":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    tracemalloc.start()

    found = names(text)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == ["a", "b"]
    assert peak < 100_000
