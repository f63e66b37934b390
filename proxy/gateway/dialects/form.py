"""A multipart form that lies in a file: where its parts are, the values of its fields, and edits of them.

Only what all servers read alike is taken. A form that two of them could read differently (a field given
twice, in other letters, as a file) could mean one thing here and another upstream.
"""

from collections.abc import AsyncIterator, Collection, Iterator
from typing import IO, Final, NamedTuple

from python_multipart.multipart import parse_options_header

from proxy.core.errors import InvalidRequest
from proxy.gateway.dialects.chat_body import Json
from proxy.gateway.dialects.splice import Edit

_BLOCK: Final = 64 * 1024
_LONGEST_HEAD: Final = 16 * 1024  # bytes of a part's headers
_LONGEST_FIELD: Final = 1024 * 1024  # bytes
_MOST_PARTS: Final = 256
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False, "": False}

FormEdits = tuple[Edit, ...]


class Part(NamedTuple):
    """One part; its content is the file's bytes from ``start`` to ``end``."""

    name: str
    filename: str | None  # None: a field
    start: int
    end: int


class Form:
    """A multipart body. ``close`` it when the call is over."""

    def __init__(self, file: IO[bytes], size: int, boundary: bytes) -> None:
        """Find the parts. Raises InvalidRequest where this is no form, or a doubtful one."""
        self.size = size
        self._file = file
        self._boundary = boundary
        self.parts = list(self._split())

    def read(self, start: int, length: int) -> bytes:
        """Some of its bytes."""
        self._file.seek(start)
        return self._file.read(max(0, min(length, self.size - start)))

    def document(self, names: Collection[str], numbers: Collection[str] = ()) -> Json:
        """The fields with these names, as a JSON body would have them. Raises InvalidRequest."""
        found: Json = {}
        for part in self.parts:
            name = part.name
            if name not in names:
                if (ours := name.casefold()) in names:
                    raise InvalidRequest(f"'{name[:64]}' must be written '{ours}'.", param=ours)
                continue
            if name in found or part.filename is not None:
                raise InvalidRequest(f"'{name}' must be one field of the form.", param=name)
            found[name] = self._value(part, number=name in numbers)
        return found

    def file(self, name: str) -> Part | None:
        """The file of this name, the only one. Raises InvalidRequest."""
        files = [part for part in self.parts if part.name == name and part.filename is not None]
        if len(files) > 1:
            raise InvalidRequest(f"'{name}' is given twice; give it once.", param=name)
        return files[0] if files else None

    def renamed(self, model: str | None) -> FormEdits:
        """The edit that writes another model's name."""
        if model is None:
            return ()
        return tuple(
            (part.start, part.end, model.encode()) for part in self.parts if part.name == "model"
        )

    def length(self, edits: FormEdits) -> int:
        """Its size after edits."""
        return self.size + sum(len(new) - (end - start) for start, end, new in edits)

    async def chunks(self, edits: FormEdits) -> AsyncIterator[bytes]:
        """Its bytes after edits; can be asked for again."""
        at = 0
        for start, end, new in (*sorted(edits), (self.size, self.size, b"")):
            while at < start:
                block = self.read(at, min(_BLOCK, start - at))
                at += len(block)
                yield block
            if new:
                yield new
            at = end

    def close(self) -> None:
        """Give up the file."""
        self._file.close()

    def _value(self, part: Part, *, number: bool) -> str | int | bool:
        if part.end - part.start > _LONGEST_FIELD:
            raise InvalidRequest(f"'{part.name}' is too long.", param=part.name)
        try:
            text = self.read(part.start, part.end - part.start).decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"'{part.name}' is not UTF-8.", param=part.name) from None
        if number:
            if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004
                raise InvalidRequest(f"'{part.name}' must be a whole number.", param=part.name)
            return int(text)
        if part.name == "stream":
            if text.lower() not in _FLAGS:
                raise InvalidRequest("'stream' must be true or false.", param="stream")
            return _FLAGS[text.lower()]
        return text

    def _split(self) -> Iterator[Part]:
        marks = list(self._marks())
        if not marks or marks[0] != 0:
            raise _malformed("it does not begin with its boundary")
        if len(marks) > _MOST_PARTS:
            raise _malformed(f"it has more than {_MOST_PARTS} parts")
        width = len(self._boundary) + 2
        for number, mark in enumerate(marks):
            after = mark + width + (2 if number else 0)
            tail = self.read(after, 2)
            if tail == b"--" and number + 1 == len(marks):
                return
            if tail != b"\r\n" or number + 1 == len(marks):
                raise _malformed("a boundary is not followed by a line end, or the last one by --")
            yield self._part(after + 2, marks[number + 1])

    def _part(self, start: int, end: int) -> Part:
        head = self.read(start, min(_LONGEST_HEAD, end - start))
        length = head.find(b"\r\n\r\n")
        if length < 0:
            raise _malformed("a part has no headers, or too long ones")
        dispositions = [
            line.partition(b":")[2]
            for line in head[:length].split(b"\r\n")
            if line.partition(b":")[0].strip().lower() == b"content-disposition"
        ]
        if len(dispositions) != 1:
            raise _malformed("a part has no Content-Disposition, or two")
        kind, options = parse_options_header(dispositions[0])
        name, filename = options.get(b"name"), options.get(b"filename")
        if kind != b"form-data" or name is None:
            raise _malformed("a part has no name")
        return Part(
            name.decode("utf-8", "replace"),
            None if filename is None else filename.decode("utf-8", "replace"),
            start + length + 4,
            end,
        )

    def _marks(self) -> Iterator[int]:
        """Where the boundaries begin, with the line end before them; the first one has none."""
        mark = b"\r\n--" + self._boundary
        if self.read(0, len(mark) - 2) == mark[2:]:
            yield 0
        at, kept = 0, b""
        while block := self.read(at, _BLOCK):
            data = kept + block
            began = at - len(kept)
            found = data.find(mark)
            while found >= 0:
                yield began + found
                found = data.find(mark, found + len(mark))
            at += len(block)
            kept = data[-(len(mark) - 1) :]


def boundary_of(content_type: str) -> bytes:
    """The boundary that a content type names. Raises InvalidRequest."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:  # noqa: PLR2004
        raise _malformed("its content type names no boundary")
    return boundary


def _malformed(why: str) -> InvalidRequest:
    return InvalidRequest(f"The body is not a multipart form: {why}.")
