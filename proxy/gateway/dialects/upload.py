"""A file on its way to a provider: where it is made for a batch, its lines are looked at as they pass."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from proxy.core.errors import InvalidRequest
from proxy.core.objects import Bounded
from proxy.gateway.dialects.answer_document import Noted
from proxy.gateway.dialects.form import boundary_of
from proxy.gateway.dialects.long_lines import LongLines
from proxy.gateway.dialects.notes import parse
from proxy.gateway.dialects.usage import Json

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_BATCH: Final = b"batch"
_PURPOSE: Final = "purpose"
_FILE: Final = "file"
_LONGEST_PURPOSE: Final = 64  # bytes
_BOM: Final = b"\xef\xbb\xbf"


class Upload(Noted):
    """``POST /v1/files``, whose answer has the file's id."""

    name = "openai_upload"


class UploadWatch:
    """Looks at a form that is passed on: sans-I/O, and no more kept of it than a line.

    ``line`` is called with each line of the file; None stands for one that is no object. ``bounded``
    says what all of them can cost.
    """

    def __init__(
        self,
        content_type: str,
        line: Callable[[Json | None], None],
        bounded: Callable[[], Bounded],
    ) -> None:
        self.bounded = bounded
        self._line = line
        self._purpose: bytes | None = None
        self._files = 0
        self._name = ""
        self._header = [b"", b""]
        self._lines = LongLines()
        self._ended = False
        self._broken = False
        self._parser: MultipartParser | None = None
        try:
            self._parser = MultipartParser(boundary_of(content_type), self._callbacks())
        except (FormParserError, InvalidRequest):
            self._broken = True

    @property
    def whole(self) -> bool:
        """Whether it was a file for a batch, and all of it was seen."""
        return self._ended and not self._broken and self._files == 1 and self._purpose == _BATCH

    def feed(self, data: bytes) -> None:
        """The next bytes of the form."""
        if self._parser is None or self._broken:
            return
        try:
            self._parser.write(data)
        except FormParserError:
            self._broken = True

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._value,
            "on_header_end": self._end_header,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._name = ""
        # A file for something else is of no interest.
        self._broken |= self._purpose not in {None, _BATCH}

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _end_header(self) -> None:
        (field, value), self._header = self._header, [b"", b""]
        if field.strip().lower() != b"content-disposition":
            return
        _, options = parse_options_header(value)
        # Given twice, a server may take the first or the last.
        self._broken |= bool(self._name)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == _PURPOSE:
            self._broken |= self._purpose is not None
            self._purpose = b""
        elif self._name == _FILE:
            self._files += 1

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == _PURPOSE and self._purpose is not None:
            self._purpose += data[start:end]
            self._broken |= len(self._purpose) > _LONGEST_PURPOSE
        elif self._name == _FILE and not self._broken:
            for line in self._lines.feed(data[start:end]):
                self._take(line)

    def _take(self, line: bytes | None) -> None:
        text = None if line is None else line.removeprefix(_BOM).strip()
        if text != b"":
            self._line(None if text is None else parse(text))

    def _end_part(self) -> None:
        if self._name == _FILE:
            self._take(self._lines.end())
        self._name = ""

    def _end(self) -> None:
        self._ended = True
