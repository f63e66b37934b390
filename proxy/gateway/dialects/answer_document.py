"""An answer that is passed on as it comes, and kept where it is a small document that says something."""

from typing import Final

from proxy.gateway.dialects.base import RequestFacts, Scanner, Watch
from proxy.gateway.dialects.notes import parse
from proxy.gateway.dialects.unmetered import PassThrough, Unmetered
from proxy.gateway.dialects.usage import Json

_MOST_KEPT: Final = 1024 * 1024  # bytes: a list of a hundred batches is a tenth of it


class AnswerDocument(PassThrough):
    """Passes every byte, and keeps a document."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        super().__init__()
        self._kept: bytearray | None = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The same bytes."""
        if self._kept is not None:
            if len(self._kept) + len(data) > _MOST_KEPT:
                self._kept = None
            else:
                self._kept += data
        return data

    def finish(self) -> bytes:
        """Nothing was held back."""
        if not self.scan.upstream_call_id and type(id_ := self.document.get("id")) is str:
            self.scan.upstream_call_id = id_
        return super().finish()

    @property
    def document(self) -> Json:
        """What it is; empty where it is none, or too long to be of interest."""
        return (parse(bytes(self._kept)) if self._kept else None) or {}


def document_of(scanner: Scanner) -> Json:
    """What the answer says, where it was kept."""
    return scanner.document if isinstance(scanner, AnswerDocument) else {}


class Noted(Unmetered):
    """Passed through; what its short answer says is noted before the client knows of it."""

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """Never: the answer is whole before any of it is passed on."""
        del facts, content_type
        return False

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner that keeps what it says."""
        del facts, watch
        return AnswerDocument()
