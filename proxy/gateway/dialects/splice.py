"""Byte-level edits of one JSON object: find a member, replace its value, insert or remove one.

Every byte outside the edited spans stays as it came, so a body keeps its white space, its escapes
and the order of its members. The text must be valid JSON; whoever calls has parsed it before.
"""

import re
from typing import NamedTuple

import orjson

_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LITERAL = re.compile(rb'[^ \t\n\r",:\[\]{}]++')  # a number, true, false or null
# Steps over strings, so that a bracket inside one is not taken for structure.
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)

_S = rb"[ \t\n\r]*+"
_SCALAR = rb'(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^ \t\n\r",:\[\]{}]++)'
_MEMBER = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"' + _S + rb":" + _S + _SCALAR + _S
_FLAT_HEAD = re.compile(
    rb"[ \t\n\r]*+\{" + _S + rb"(?:" + _MEMBER + rb"," + _S + rb")*+", re.DOTALL
)
_SCALAR_VALUE = re.compile(_S + rb":" + _S + rb"(" + _SCALAR + rb")", re.DOTALL)
_SCALARS_TO_END = re.compile(
    _SCALAR_VALUE.pattern + _S + rb"(?:," + _S + _MEMBER + rb")*+\}[ \t\n\r]*+\Z",
    re.DOTALL,
)
_ESCAPED_LETTER = re.compile(rb"\\u00[567][0-9a-fA-F]")  # could spell a letter or _ of a name


Span = tuple[int, int]  # where a value stands: text[start:end]
Edit = tuple[int, int, bytes]  # put these bytes in the place of text[start:end]


class Member(NamedTuple):
    """One ``"name": value`` of an object. ``start`` is at the name's opening quote."""

    name: str
    start: int
    value: Span


class RepeatedMember(ValueError):
    """The object has the same name twice: two readers of it could disagree about its value."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def members(text: bytes, start: int = 0) -> list[Member]:
    """The members of the object that begins at ``start`` (after white space), nested ones left out.

    Raises ValueError where there is no whole object.
    """
    at = _skip_space(text, start)
    if text[at : at + 1] != b"{":
        raise ValueError("there is no object here")
    at = _skip_space(text, at + 1)
    found: list[Member] = []
    while text[at : at + 1] != b"}":
        if found:
            at = _skip_space(text, _expect(text, at, b","))
        name = _STRING.match(text, at)
        if name is None:
            raise ValueError("a name was expected")
        value = _skip_space(text, _expect(text, _skip_space(text, name.end()), b":"))
        end = value_end(text, value)
        found.append(Member(_decoded(name.group()), at, (value, end)))
        at = _skip_space(text, end)
    return found


class Object:
    """Finds the top-level members of one object; walks over it only where a quick look does not do.

    The quick look sees the last of two members with the same name, the walk raises RepeatedMember.
    """

    __slots__ = ("_quick", "_text", "_walked")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._quick = not spells_letters(text)
        self._walked: list[Member] | None = None

    def locate(self, name: bytes) -> Span | None:
        """Where the member's value stands; None where there is none. The name has only letters and _."""
        if self._quick:
            quoted = b'"' + name + b'"'
            last = self._text.rfind(quoted)
            if last < 0:
                return None
            span = _plain_span(self._text, last, last + len(quoted))
            if span is not None:
                return span
        if self._walked is None:
            self._walked = members(self._text)
        return _unique(self._walked, name.decode())


def spells_letters(text: bytes) -> bool:
    r"""Whether a name could be written with escapes, like ``"mod\u0065l"``."""
    if text.find(b"\\") < 0:  # one byte is found many times faster than two
        return False
    return text.rfind(b"\\u00") >= 0 and _ESCAPED_LETTER.search(text) is not None


def insertion(text: bytes, addition: bytes, span: Span | None = None) -> Edit:
    """The edit that adds ``addition`` (``"name":value``) as the last member of an object.

    Without a span the object is the whole text.
    """
    close = text.rindex(b"}", *span) if span else text.rindex(b"}")
    comma = b"" if text[_before(text, close)] in b"{" else b","
    return close, close, comma + addition


def removal(text: bytes, found: list[Member], index: int) -> Edit:
    """The edit that takes one member away, with one comma and the white space after that."""
    _, start, (_, end) = found[index]
    if index:
        return text.index(b",", found[index - 1].value[1]), end, b""
    return start, found[1].start if len(found) > 1 else end, b""


def apply(text: bytes, edits: list[Edit]) -> bytes:
    """The text after all edits, which don't overlap; the same object where there are none."""
    if not edits:
        return text
    pieces: list[bytes] = []
    at = 0
    for start, end, new in sorted(edits):
        pieces += (text[at:start], new)
        at = end
    pieces.append(text[at:])
    return b"".join(pieces)


def value_end(text: bytes, at: int) -> int:
    """Where the value that begins at ``at`` ends. Raises ValueError where it does not."""
    head = text[at : at + 1]
    if head in (b"{", b"["):
        return _container_end(text, at)
    scalar = (_STRING if head == b'"' else _LITERAL).match(text, at)
    if scalar is None:
        raise ValueError("a value was expected")
    return scalar.end()


def _plain_span(text: bytes, start: int, end: int) -> Span | None:
    """The value's span, where a quick look proves that the name at [start, end) is a top-level one.

    The proof: the object that it is in ends with the text, with nothing but scalars in between, or
    begins with it likewise. A quote after ``{`` or ``,`` opens a string, and is never inside one.
    """
    if text[_before(text, start)] not in b"{,":
        return None
    if last := _SCALARS_TO_END.match(text, end):
        return last.span(1)
    if (value := _SCALAR_VALUE.match(text, end)) and _FLAT_HEAD.fullmatch(text, 0, start):
        return value.span(1)
    return None


def _decoded(name: bytes) -> str:
    try:
        return str(orjson.loads(name))
    except orjson.JSONDecodeError:  # half a surrogate pair: no name that anybody looks for
        return name.decode("utf-8", "replace")


def _unique(found: list[Member], name: str) -> Span | None:
    spans = [m.value for m in found if m.name == name]
    if len(spans) > 1:
        raise RepeatedMember(name)
    return spans[0] if spans else None


def _container_end(text: bytes, at: int) -> int:
    depth = 0
    while True:
        match = _TO_BRACKET.match(text, at)
        at = match.end() if match else at
        bracket = text[at : at + 1]
        if not bracket or bracket == b'"':
            raise ValueError("the text ends inside a value")
        depth += 1 if bracket in b"{[" else -1
        at += 1
        if depth == 0:
            return at


def _before(text: bytes, at: int) -> int:
    """The place of the last byte before ``at`` that is not white space."""
    at -= 1
    while text[at] in b" \t\n\r":
        at -= 1
    return at


def _skip_space(text: bytes, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: bytes, at: int, what: bytes) -> int:
    if text[at : at + 1] != what:
        raise ValueError(f"{what.decode()} was expected")
    return at + 1
