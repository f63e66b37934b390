"""The results of a batch: a file with the answers, line by line, each with what it used."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson
from msgspec.structs import replace

from proxy.core.errors import Refusal
from proxy.core.pricing import BATCH
from proxy.gateway.dialects import anthropic, completions, embeddings, openai_chat, responses
from proxy.gateway.dialects.base import Dialect, RequestFacts, Scan, Scanner, Watch
from proxy.gateway.dialects.batch_requests import dialect_of
from proxy.gateway.dialects.errors import openai_error
from proxy.gateway.dialects.long_lines import LongLines
from proxy.gateway.dialects.notes import parse
from proxy.gateway.dialects.unmetered import PassThrough, Unmetered
from proxy.gateway.dialects.usage import Json

_OK: Final = 200
_WATCH: Final = Watch(streamed=False, strip_usage=False, output_cap=None, count=len)
_NO_FACTS: Final = RequestFacts(model="")


class Result(NamedTuple):
    """One answer of a batch."""

    id: str  # the provider's, which no other answer has
    created_s: int  # when it was made; 0 where the answer does not say
    endpoint: str
    scan: Scan


class ResultFile(Unmetered):
    """A file of results on its way to the client. Any other file passes likewise, and says nothing."""

    def __init__(
        self,
        name: str,
        read: Callable[[Json], Result | None],
        family: str = "openai",
        error_body: Callable[[Refusal], bytes] = openai_error,
    ) -> None:
        super().__init__(family, error_body)
        self.name = name
        self._read = read

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner that reads the lines of a good answer."""
        del facts
        return Lines(self._read) if watch.status == _OK else PassThrough()


class Lines(PassThrough):
    """Passes every byte, and keeps what each line used."""

    __slots__ = ("_lines", "_read", "results")

    def __init__(self, read: Callable[[Json], Result | None]) -> None:
        super().__init__()
        self.results: list[Result] = []
        self._read = read
        self._lines = LongLines()

    def feed(self, data: bytes) -> bytes:
        """The same bytes."""
        for line in self._lines.feed(data):
            self._take(line)
        return data

    def taken(self) -> list[Result]:
        """What was read so far, and is not kept any longer."""
        results, self.results = self.results, []
        return results

    def finish(self) -> bytes:
        """The last line may have no end of its own."""
        self._take(self._lines.end())
        return super().finish()

    def _take(self, line: bytes | None) -> None:
        if line is None or not line.startswith(b"{") or (document := parse(line)) is None:
            return
        result = self._read(document)
        if result is not None:
            self.results.append(result)


def read_openai(line: Json) -> Result | None:
    """An answer of OpenAI's, and of those who do likewise. None where nothing was billed."""
    response = line.get("response")
    body = response.get("body") if type(response) is dict else None
    if type(response) is not dict or type(body) is not dict or response.get("status_code") != _OK:
        return None
    dialect, endpoint = _BY_OBJECT.get(str(body.get("object")), (None, ""))
    if dialect is None:
        return None
    created = body.get("created", body.get("created_at"))
    return _result(line.get("id"), created, endpoint, dialect, body)


def read_anthropic(line: Json) -> Result | None:
    """An answer of Anthropic's. None where nothing was billed."""
    result = line.get("result")
    message = result.get("message") if type(result) is dict else None
    if type(message) is not dict:
        return None
    return _result(message.get("id"), 0, "messages", _MESSAGES, message)


def _result(id_: Any, created: Any, endpoint: str, dialect: Dialect, body: Json) -> Result | None:
    scanner = dialect.scanner(_NO_FACTS, _WATCH)
    scanner.feed(orjson.dumps(body))
    scanner.finish()
    scan = scanner.scan
    if type(id_) is not str or not id_ or scan.usage is None:
        return None
    if BATCH not in (scan.service_tier, *scan.variants):
        scan = replace(scan, variants=(*scan.variants, BATCH), service_tier="")
    created_s = int(created) if isinstance(created, int | float) else 0
    return Result(id_, created_s, endpoint, scan)


_MESSAGES: Final = dialect_of(anthropic.ROUTES)
_BY_OBJECT: Final[dict[str, tuple[Dialect | None, str]]] = {
    "chat.completion": (dialect_of(openai_chat.ROUTES), "chat.completions"),
    "response": (dialect_of(responses.ROUTES), "responses"),
    "text_completion": (dialect_of(completions.ROUTES), "completions"),
    "list": (dialect_of(embeddings.ROUTES), "embeddings"),
}
