"""What is passed through and not metered: every endpoint that has no dialect of its own here."""

import re
from collections.abc import Callable
from typing import Final

from proxy.core.errors import Refusal
from proxy.gateway.dialects.base import Address, Patch, RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.errors import openai_error

_BEGINNING: Final = 512  # bytes
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,256})"')


class Unmetered:
    """Reads nothing, changes nothing, learns nothing."""

    name = "unmetered"

    def __init__(
        self, family: str = "openai", error_body: Callable[[Refusal], bytes] = openai_error
    ) -> None:
        self.family = family
        self._error_body = error_body

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Nothing is read: the body may be anything."""
        del body
        return RequestFacts(model=address.model)

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """The same body."""
        del patch
        return body

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """Nothing is kept."""
        del facts, content_type
        return True

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner that passes everything, and learns of what it is an answer about."""
        del facts, watch
        return Beginning()

    def prompt_text(self, facts: RequestFacts) -> str:
        """None is known."""
        del facts
        return ""

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in the shape of the API that was called."""
        return self._error_body(refusal)


class PassThrough:
    """Passes every byte; the answer counts as finished when it ends."""

    __slots__ = ("scan",)

    cut = False

    def __init__(self) -> None:
        self.scan = Scan()

    def feed(self, data: bytes) -> bytes:
        """The same bytes."""
        return data

    def finish(self) -> bytes:
        """Nothing was held back."""
        self.scan.finished = True
        return b""

    def count_output(self) -> int:
        """Nothing is counted."""
        return 0


class Beginning(PassThrough):
    """Passes every byte, and takes the first id that it names: something is there that has it."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        super().__init__()
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """The same bytes."""
        if len(self._kept) < _BEGINNING:
            self._kept += data[:_BEGINNING]
        return data

    def finish(self) -> bytes:
        """Nothing was held back."""
        if self._kept.lstrip()[:1] == b"{" and (found := _ID.search(self._kept)):
            self.scan.upstream_call_id = found[1].decode("utf-8", "replace")
        return super().finish()
