"""Reading a request's body, and setting its messages apart."""

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects import splice
from proxy.gateway.dialects.chat_body import Json, parse, read_body
from tests.gateway.dialects.documents import documents, spelled

LONG = "x" * 2048  # bodies that are shorter are not looked at closely

_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.just("user")},
        optional={
            "content": st.sampled_from(['"messages":[', '"messages": []', "]", '"}]', LONG])
            | st.lists(documents(), max_size=2)
        },
    )
    | documents(),
    max_size=4,
)
_OTHERS = st.lists(
    st.tuples(
        st.sampled_from(["model", "messages", "stop", "tools", "metadata", 'a"messages']),
        _MESSAGES | documents() | st.sampled_from([[], "messages", {"messages": [1]}, None]),
    ),
    max_size=3,
)


def read(body: bytes) -> Json | None:
    try:
        return read_body(body)[0]
    except InvalidRequest:
        return None


def read_plainly(body: bytes) -> Json | None:
    try:
        return parse(body)
    except InvalidRequest:
        return None


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies with messages somewhere, other things that look like messages, and repeated names."""
    members = [
        *draw(_OTHERS),
        ("messages", draw(_MESSAGES)),
        *draw(_OTHERS),
        ("user", draw(st.sampled_from([LONG, "", "]", '"}]']))),
    ]
    order = draw(st.permutations(members))
    random = draw(st.randoms(use_true_random=False))
    written = [_member(name, value, random) for name, value in order]
    return b" " * draw(st.sampled_from([0, 1, 2048])) + b"{" + b",".join(written) + b"}"


def _member(name: str, value: Any, random: Random) -> bytes:
    return spelled({name: value}, random)[1:-1]


@given(body=bodies())
def test_however_it_is_read_a_body_means_the_same(body: bytes) -> None:
    """As if it was parsed at once; and around the messages there is every member, repeated ones too."""
    document, around = read_body(body)

    assert document == orjson.loads(body)
    assert [m.name for m in splice.members(around)] == [m.name for m in splice.members(body)]
    assert {**document, "messages": 0} == {**orjson.loads(around), "messages": 0}


@given(body=bodies(), data=st.data())
def test_what_is_no_json_is_refused_wherever_the_fault_is(body: bytes, data: st.DataObject) -> None:
    """Also where the messages are set apart: no cut makes valid what was not, or the reverse."""
    at = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(at, min(len(body), at + 3)))
    noise = [b"", b"]", b'"', b"[", b"}", b"\\", b",", b"\xff", b'"messages":[', b"\x00", b"[]"]
    broken = body[:at] + data.draw(st.sampled_from(noise)) + body[end:]

    assert read(broken) == read_plainly(broken)


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata":{"messages":[1]},"messages":[],"user":"%b"}',
        b'{"metadata":{"messages":[1]},"messages":"","user":"%b"}',
        b'{"m\\u0065ssages":[],"metadata":{"messages":[1]},"user":"%b"}',
        b'{"messages":[1],"messages":[2],"user":"%b"}',
        b'{"messages":[1],"a\\"messages":[2],"user":"%b"}',
        b'{"a\\"messages":[2],"messages":[1],"user":"%b"}',
        b'{"messages":[{"content":"\xc3\xa9"}],"tools":[{"a":["\xe2\x82\xac"]}],"user":"%b"}',
        b'{"messages":[{"content":"\xc3\xa9"}],"tools":[{"a":"b"}],"user":"%b"}',
        b'{"metadata":{"messages":[1]},"user":"%b"}',
        b'[{"messages":[{"a":"b"}]},"%b"]',
    ],
)
def test_what_could_be_taken_for_the_messages(body: bytes) -> None:
    body %= LONG.encode()

    assert read(body) == read_plainly(body)


def test_long_messages_are_set_apart() -> None:
    """Else nothing was gained by it."""
    for tail in (b"", b', "tools": [{"required": ["a"]}]'):
        body = b'{"model": "m", "messages": [{"content": "%b"}]%b}' % (LONG.encode(), tail)

        assert read_body(body)[1] == b'{"model": "m", "messages": []%b}' % tail
