"""Multipart forms: their fields, and edits that leave every other byte."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects.form import Form, boundary_of

B = b"X-frontier"


def field(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--X-frontier\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes, end: bytes = b"--X-frontier--\r\n") -> Form:
    body = b"".join(parts) + end
    return Form(io.BytesIO(body), len(body), B)


async def sent(made: Form, model: str | None = None) -> bytes:
    edits = made.renamed(model)
    out = b"".join([chunk async for chunk in made.chunks(edits)])
    assert made.length(edits) == len(out)
    return out


FILE = field("file", b"\r\n--X-front\0" * 20_000, '; filename="a.mp3"')


async def test_fields_may_come_after_the_file() -> None:
    made = form(FILE, field("model", b"whisper-1"), field("stream", b"true"), field("n", b"2"))

    assert made.document(("model", "stream", "n"), numbers=("n",)) == {
        "model": "whisper-1",
        "stream": True,
        "n": 2,
    }
    part = made.file("file")
    assert part is not None
    assert made.read(part.start, part.end - part.start) == b"\r\n--X-front\0" * 20_000


async def test_a_rename_leaves_every_other_byte() -> None:
    made = form(FILE, field("model", b"whisper-1"), field("prompt", b"p"))
    renamed = form(FILE, field("model", b"a-longer-name"), field("prompt", b"p"))

    assert await sent(made) == await sent(made)
    assert await sent(made, "a-longer-name") == await sent(renamed)


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ((field("model", b"a"), field("model", b"b")), "model"),
        ((field("Model", b"a"),), "model"),
        ((field("model", b"a", '; filename="m"'),), "model"),
        ((field("model", b"\xff"),), "model"),
        ((field("model", b"a"), field("n", b"-1")), "n"),
        ((field("model", b"a"), field("stream", b"perhaps")), "stream"),
    ],
)
def test_a_doubtful_field_is_refused(parts: tuple[bytes, ...], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        form(*parts).document(("model", "n", "stream"), numbers=("n",))
    assert param == refused.value.param


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ((), b""),
        ((b"preamble\r\n", field("a", b"b")), b"--X-frontier--\r\n"),
        ((field("a", b"b"),), b""),
        ((field("a", b"b"),), b"--X-frontierY\r\n"),
        ((b"--X-frontier\r\nno headers\r\n",), b"--X-frontier--"),
        ((b"--X-frontier\r\nContent-Disposition: form-data\r\n\r\nx\r\n",), b"--X-frontier--"),
    ],
)
def test_what_is_no_form_is_refused(parts: tuple[bytes, ...], end: bytes) -> None:
    with pytest.raises(InvalidRequest):
        form(*parts, end=end)


def test_the_file_is_one() -> None:
    with pytest.raises(InvalidRequest):
        form(FILE, FILE).file("file")
    assert form(field("file", b"x")).file("file") is None


@pytest.mark.parametrize("kind", ["multipart/form-data", "text/plain; boundary=x", ""])
def test_a_form_names_its_boundary(kind: str) -> None:
    with pytest.raises(InvalidRequest):
        boundary_of(kind)
    assert boundary_of('multipart/form-data; boundary="a b"') == b"a b"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(rest: bytes) -> None:
    body = b"--X-frontier\r\n" + rest + b"\r\n--X-frontier--"
    try:
        Form(io.BytesIO(body), len(body), B).document(("model",))
    except InvalidRequest:
        return
