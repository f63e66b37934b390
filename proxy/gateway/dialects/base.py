"""The shape of a dialect: inspect the body, patch it, scan the answer. Sans-I/O.

A dialect knows one wire format. What differs between providers of that format is data (``Quirks``).
Most scanners are an ``AnswerReader`` (answer_reader.py), which says what an answer's documents mean,
under a scanner that is the same for all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct

from proxy.core.errors import Refusal
from proxy.core.usage import EMPTY, Usage
from proxy.core.usage import UsagePart as UsagePart  # noqa: PLC0414 - handed on to dialects

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a provider of an OpenAI-compatible API differs from OpenAI."""

    include_usage: bool = True  # takes stream_options.include_usage
    cap_parameter: str | None = (
        None  # max_tokens | max_completion_tokens; None: what the client sent, else by model
    )


class Address(Struct, frozen=True):
    """Where a request went, as far as its path and head say what it is about."""

    path: bytes
    query: bytes = b""
    content_type: str = ""
    model: str = ""  # unescaped; "" where the path names none
    action: str = (
        ""  # what is asked of the model, where the path says so: generateContent, converse …
    )


NOWHERE = Address(b"")


class RequestFacts(Struct, frozen=True):
    """What the path of a call needs to know of a body; nothing more is read."""

    model: str
    stream: bool = False
    output_limit: int | None = None  # what the client asked for, per choice
    output_limit_name: str = ""  # the parameter it was in
    choices: int = 1  # n
    wants_usage: bool = False  # stream_options.include_usage is true
    service_tier: str = ""
    user: str = ""  # attribution fields of the body; read, never rewritten
    metadata: dict[str, str] = {}
    has_tools: bool = False
    background: bool = False  # it may be made after it was answered (see ``Scan.follow``)
    unbounded: tuple[
        str, ...
    ] = ()  # why the cost can't be bounded from the body: "image_url", "server tool web_search" …
    outside: bool = False  # what it uses is not seen here: its model's price decides nothing
    makes_text: bool = True  # the answer has output tokens, to which the output cap applies
    text_bytes: int | None = None  # of the body that can become input tokens; None: all of it
    prompt_tokens: int = 0  # of the prompt that come as numbers, beside its text
    beside: Usage = (
        EMPTY  # counts that the request itself gives: pictures asked for, characters to speak
    )
    variants: tuple[str, ...] = ()  # what else of the request decides the price: "fast", "us" …
    more_input: int = 0  # input tokens at most that the body's bytes do not bound: of its pictures
    openai_chat: bool = False  # the document is in that format, for counting
    document: dict[str, Any] = {}  # the parsed body, for counting


class Patch(Struct, frozen=True):
    """The changes that Farebox makes to a body; everything else goes on byte for byte."""

    model: str | None = None  # the upstream's own name for it
    output_cap: int | None = None
    cap_parameter: str = ""  # where to write it, in a format that has two parameters for it
    limit_name: str = ""  # where the dialect found the client's limit, or would have
    include_usage: bool = False


class Scan(Struct):
    """What a scanner learned of one answer so far."""

    usage: Usage | None = None  # None: the provider reported none
    # The usage is only of the other side, or no more than a placeholder: this one is to be counted.
    lacks_input: bool = False
    lacks_output: bool = False
    usage_raw: bytes = b""
    parts: tuple[UsagePart, ...] = ()  # where it is billed in parts: they add up to ``usage``
    counted: Usage | None = None  # what we counted, where the provider reports nothing
    stated_nano: int | None = None  # what the provider itself says that it cost, in nano-dollars
    # The provider goes on after this answer: what is asked for, below the request's own path, to learn
    # how it ended.
    follow: str = ""
    served_model: str = ""
    service_tier: str = ""
    variants: tuple[str, ...] = ()  # what else decides the price: "batch", "fast", "us" …
    upstream_call_id: str = ""
    finished: bool = False  # the dialect's own end was seen ([DONE], or a whole JSON document)
    error: str = ""  # an error inside a 200
    billed_error: bool = False  # the answer is an error that is billed all the same
    flags: tuple[str, ...] = ()
    cut: bool = False  # the output ran past its cap and was ended by us


def _always() -> bool:
    return True


class Watch(Struct, frozen=True):
    """How one answer is to be watched."""

    streamed: bool  # the answer comes in events, as ``Dialect.streamed`` says
    strip_usage: bool  # we asked for usage and the client did not: hide it again
    output_cap: int | None  # tokens, all choices together; cut a stream past it; None: never
    count: Callable[[str], int]  # tokens of a text in the model's vocabulary
    # Cut a stream that runs past what its hold pays for, also where the cap can't be watched.
    paid_output: int | None = None
    ready: Callable[[], bool] = _always  # whether it counts by now, and does not estimate
    status: int = 200
    content_type: str = ""  # in lower case, without parameters
    headers: Headers = []  # the answer's, names in lower case: some count there


class Scanner(Protocol):
    """Watches one answer on its way to the client. Bounded memory, incremental, never raises on any bytes.

    ``feed`` each piece, then ``finish`` once the answer ended, however it did: at the upstream's
    end, when it broke, when the client left. Reading ``scan`` before that is right, but costs a look
    at what has come so far; in a loop, ask only ``cut``.
    """

    @property
    def scan(self) -> Scan:
        """What was learned so far."""

    @property
    def cut(self) -> bool:
        """The output ran past its cap: what ``feed`` just returned ends the answer. Costs nothing."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the upstream; return the bytes for the client (often the same object)."""

    def finish(self) -> bytes:
        """The answer has ended: the bytes still held back. A second call gives none."""

    def count_output(self) -> int:
        """Tokens of the answer as far as it was relayed, by the tokenizer handed in at construction.

        For answers without usage. Text beyond a bound was counted as it came, so that this is cheap.
        """


class Dialect(Protocol):
    """One wire format at one kind of endpoint. Has no state: one object serves all calls."""

    name: str
    family: str  # whose API it is: the ``dialect`` of the upstreams that speak it

    def inspect(self, body: bytes, address: Address) -> RequestFacts:
        """Read what is needed. Raises InvalidRequest with the parameter's name."""

    def patch(self, body: bytes, patch: Patch) -> bytes:
        """Splice the changes into the body; the same object where there are none."""

    def streamed(self, facts: RequestFacts, content_type: str) -> bool:
        """Whether a good answer of this type comes in events, or is too long to be kept.

        Where not, it is one document, which is read whole before its head goes to the client.
        """

    def scanner(self, facts: RequestFacts, watch: Watch) -> Scanner:
        """A scanner for one answer to this request."""

    def prompt_text(self, facts: RequestFacts) -> str:
        """All text of the request that the provider tokenizes, for counting."""

    def error_body(self, refusal: Refusal) -> bytes:
        """The refusal in the shape that this dialect's SDKs understand."""


_EVENTS = frozenset(
    (
        "text/event-stream",
        "application/x-ndjson",
        "application/stream+json",  # Cohere's, which is the same
        "application/vnd.amazon.eventstream",
    )
)


def comes_in_events(content_type: str) -> bool:
    """Whether a content type (in lower case, without parameters) is that of a stream of events."""
    return content_type in _EVENTS


def answers_in_events(facts: RequestFacts, content_type: str) -> bool:
    """The same of a good answer. Servers that do not say so send the stream that was asked for, too."""
    return content_type in _EVENTS or (facts.stream and not content_type.endswith("json"))
