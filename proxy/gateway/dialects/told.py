"""What can't be bounded, and whose answer may tell all the same what it used, in OpenAI's words.

Agents and contexts that a provider keeps, pictures that become vectors, classifiers. A blocking budget's
policy decides about them as about everything outside; where the answer counts tokens, its row has them.
"""

from msgspec.structs import replace

from proxy.gateway.dialects.base import RequestFacts, Scan, Scanner, Watch, comes_in_events
from proxy.gateway.dialects.chat_answer import ChatAnswer
from proxy.gateway.dialects.chat_stream import StreamScanner
from proxy.gateway.dialects.document_scan import DocumentScanner
from proxy.gateway.dialects.notes import note_flag
from proxy.gateway.dialects.outside import OUTSIDE, Outside


class Told(Outside):
    """Reads the model of the request, and the usage of the answer."""

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """As its type says."""
        del facts
        return comes_in_events(content_type)

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner that passes everything."""
        if not facts.unbounded:
            return super().scanner(facts, watch)
        return _Told(facts, replace(watch, output_cap=None, paid_output=None))


class _Told:
    """Passes every byte. What no usage says stays outside."""

    cut = False

    def __init__(self, facts: RequestFacts, watch: Watch) -> None:
        self._inner: Scanner = (
            StreamScanner(facts, watch) if watch.streamed else DocumentScanner(ChatAnswer(), watch)
        )

    @property
    def scan(self) -> Scan:
        """What was learned so far."""
        return self._inner.scan

    def feed(self, data: bytes) -> bytes:
        """The same bytes."""
        return self._inner.feed(data)

    def finish(self) -> bytes:
        """What was held back."""
        out = self._inner.finish()
        if self.scan.usage is None:
            note_flag(self.scan, OUTSIDE)
        return out

    def count_output(self) -> int:
        """Nothing is counted."""
        return 0
