"""The kinds of values that a configuration holds, each with the words to explain it."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.core.money import nano_from_usd
from proxy.settings.suggest import closest

PRESETS = (
    "openai", "azure", "mistral", "deepseek", "groq", "xai", "openrouter", "together", "fireworks",
    "perplexity", "cerebras", "cohere", "gemini", "vertex", "dashscope", "ark", "qianfan", "hunyuan",
    "moonshot", "zai", "minimax", "tgi", "vllm", "ollama", "lmstudio", "mlx", "llamacpp", "sglang",
    "tensorrt", "triton", "bedrock", "anthropic",
)  # fmt: skip

PRICE_DECIMALS = 12
NANO_DECIMALS = 9
LARGEST_USD = 9_000_000_000  # nano-dollars are kept in 64 bits


@dataclass(frozen=True, slots=True)
class Expected:
    """What a field takes, for messages: "expected {what} like {example}". A secret is never shown."""

    what: str
    example: str = ""
    secret: bool = False

    def __str__(self) -> str:
        return f"{self.what} like {self.example}" if self.example else self.what


# Numbers...


def _no_truth(value: object) -> object:
    """YAML's ``yes`` and ``on`` are no numbers, though Python takes True for 1."""
    if isinstance(value, bool):
        raise ValueError(BAD_TYPE)  # noqa: TRY004 -- pydantic reports a ValueError, not a TypeError
    return value


BAD_TYPE = "bad type"  # the message of a validator that has nothing to add to Expected
_number = BeforeValidator(_no_truth)
_MOST = 2**53

Tokens = Annotated[int, _number, Field(gt=0, le=_MOST), Expected("a number of tokens", "1000")]
Count = Annotated[int, _number, Field(gt=0, le=_MOST), Expected("a whole number above 0", "4")]
Quantity = Annotated[
    int, _number, Field(ge=0, le=_MOST), Expected("a whole number, 0 or more,", "256")
]
Places = Annotated[
    int, _number, Field(ge=50, le=100_000), Expected("a whole number from 50 to 100000", "1000")
]
Bytes = Annotated[
    int, _number, Field(gt=0, le=_MOST), Expected("a number of bytes", "33554432 (32 MiB)")
]
Port = Annotated[int, _number, Field(ge=0, le=65535), Expected("a port number", "8080")]
Seconds = Annotated[
    float,
    _number,
    Field(gt=0, allow_inf_nan=False),
    Expected("a number of seconds above 0", "30"),
]
Wait = Annotated[
    float,
    _number,
    Field(ge=0, allow_inf_nan=False),
    Expected("a number of seconds, 0 or more,", "1.5"),
]
Flag = Annotated[bool, Expected("true or false")]


# Money...


def _whole_nano(value: Decimal) -> Decimal:
    try:
        nano_from_usd(value)
    except ValueError:
        raise ValueError(f"has more than {NANO_DECIMALS} decimal places; round it") from None
    return value


def _few_decimals(value: Decimal) -> Decimal:
    exponent = value.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > PRICE_DECIMALS:
        raise ValueError(f"has {-exponent} decimal places; write at most {PRICE_DECIMALS}")
    return value


Usd = Annotated[
    Decimal,
    _number,
    Field(ge=0, le=LARGEST_USD, allow_inf_nan=False),
    AfterValidator(_whole_nano),
    Expected("an amount in US dollars from 0 to 9000000000", "25.50"),
]
Price = Annotated[
    Decimal,
    _number,
    Field(ge=0, le=LARGEST_USD, allow_inf_nan=False),
    AfterValidator(_few_decimals),
    Expected("a price in US dollars, 0 or more,", "0.42"),
]
Factor = Annotated[
    Decimal,
    _number,
    Field(ge=0, le=1000, allow_inf_nan=False),
    AfterValidator(_few_decimals),
    Expected("a factor from 0 to 1000", "0.85"),
]


# Text...


def _tidy(value: str) -> str:
    if value != value.strip() or not value.isprintable():
        raise ValueError("has spaces at an end, or control characters; remove them")
    return value


def _upstream_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError(
            "is no name for an upstream; use letters, digits, '_', '.' and '-', "
            "because targets are written upstream/model"
        )
    return value


def _glob(value: str) -> str:
    """A pattern of ``fnmatch``: ``*``, ``?``, ``[abc]``; case matters.

    A bracket that is never closed would match itself, which its writer hardly meant.
    """
    if re.search(r"\s", value):
        raise ValueError("has spaces in it; a pattern is one word like gpt-*")
    if "[" in re.sub(r"\[!?[^]]+\]", "", value):
        raise ValueError("has a '[' without its ']'; write a pattern like gpt-* or gpt-[45]*")
    return value


def _secret(value: str) -> str:
    """Files and secret stores like to end a key with a line break: harmless, and dropped."""
    value = value.strip()
    if not re.fullmatch(r"[\x21-\x7e]*", value):
        raise ValueError("has spaces, line breaks or non-ASCII characters inside; check the secret")
    return value


def _empty_is_none(value: object) -> object:
    """``${VAR:-}`` of a variable that is not set means: none."""
    return None if isinstance(value, str) and not value.strip() else value


Text = Annotated[str, Field(max_length=1000), AfterValidator(_tidy), Expected("text", "'a name'")]
Name = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(_tidy), Expected("a name", "search")
]
UpstreamName = Annotated[
    str,
    Field(min_length=1, max_length=64),
    AfterValidator(_upstream_name),
    Expected("the name of an upstream", "openai"),
]
Glob = Annotated[
    str,
    Field(min_length=1, max_length=200),
    AfterValidator(_glob),
    Expected("a model's name or a pattern", "gpt-*"),
]
Secret = Annotated[
    str, Field(max_length=10_000), AfterValidator(_secret), Expected("a key", '"${MY_KEY}"', True)
]
MaybeSecret = Annotated[Secret | None, BeforeValidator(_empty_is_none)]
MaybeText = Annotated[Text | None, BeforeValidator(_empty_is_none)]


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        meant = closest(value, _zones()) or "UTC"
        raise ValueError(f"is no time zone; write a name like {meant}")
    return value


Timezone = Annotated[
    str, AfterValidator(_zone), Expected("the name of a time zone", "UTC or Europe/Berlin")
]


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("is no SHA-256; write 64 hexadecimal digits")
    return value.lower()


Sha256 = Annotated[
    str, AfterValidator(_sha256), Expected("a SHA-256 of 64 hexadecimal digits", "", True)
]


def _iso_date(value: object) -> object:
    """Pydantic would also take 20260131 for a number of seconds since 1970."""
    if isinstance(value, date) or (
        isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value)
    ):
        return value
    raise ValueError(BAD_TYPE)


Day = Annotated[date, BeforeValidator(_iso_date), Expected("a date", "2026-01-31")]


# Addresses...


def _base_url(value: str) -> str:
    """An http or https URL: a host, perhaps a port and a path; nothing that could hold a credential."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is no valid URL; write one like https://api.openai.com/v1") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no http or https URL; write one like https://api.openai.com/v1")
    if parts.query or "?" in value:
        raise ValueError(
            "has a query ('?…'); leave it out: the client's own is passed on, "
            "and a credential belongs in api_key or headers"
        )
    if "#" in value:
        raise ValueError("has a fragment ('#…'); leave it out")
    if parts.username is not None:
        raise ValueError("has a user name in it; put the credential into api_key or headers")
    if not re.fullmatch(r"[\x21-\x7e]+", value) or port == 0:
        raise ValueError("is no valid URL; write one like https://api.openai.com/v1")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_base_url), Expected("a URL", "https://api.openai.com/v1")]

_DRIVERS = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "postgresql+asyncpg": "postgresql",
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
}
_DATABASES = (
    "write sqlite:///data/farebox.db (a file below the working directory), "
    "sqlite:////var/lib/farebox/farebox.db, or postgresql://user:password@host/name"
)


def _database(value: str) -> str:
    """A file or a PostgreSQL database, written without the driver: that is the store's choice."""
    scheme, separator, rest = value.strip().partition("://")
    kind = _DRIVERS.get(scheme.lower())
    if kind is None or not separator:
        raise ValueError(f"is no database that Farebox knows; {_DATABASES}")
    if kind == "sqlite" and (not re.fullmatch(r"/[^?#]*[^/?#]", rest) or rest == "/:memory:"):
        raise ValueError(f"names no file; {_DATABASES}")
    if kind == "postgresql":
        _check_postgres(rest)
    return f"{kind}://{rest}"


def _check_postgres(rest: str) -> None:
    try:
        parts = urlsplit(f"postgresql://{rest}")
        named = parts.port != 0 and len(parts.path) > 1
    except ValueError:
        # urlsplit quotes a piece of the URL, which may be a piece of the password.
        raise ValueError(
            "is no valid URL; percent-encode special characters of the password ('@' as %40, "
            "'/' as %2F, '#' as %23)"
        ) from None
    if not named:
        raise ValueError(f"names no database; {_DATABASES}")


DatabaseUrl = Annotated[
    str,
    AfterValidator(_database),
    Expected("a database", "sqlite:///data/farebox.db", True),
]


# Headers...

_SET_BY_FAREBOX = (
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer",
    "upgrade", "accept-encoding", "proxy-authorization", "proxy-connection", "expect",
)  # fmt: skip


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        raise ValueError("is no name of an HTTP header; write one like x-organization")
    if value.lower() in _SET_BY_FAREBOX:
        raise ValueError("is a header that Farebox sets itself; remove it")
    return value.lower()


def _header_value(value: str) -> str:
    value = value.strip()
    if not re.fullmatch(r"[\x20-\x7e\t]*", value):
        raise ValueError("has line breaks or non-ASCII characters, which no HTTP header may have")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name), Expected("a header's name")]
HeaderValue = Annotated[
    str, AfterValidator(_header_value), Expected("a header's value", '"text in quotes"', True)
]

# Choices...

OnOverCap = Literal["clamp", "reject"]
Policy = Literal["reject", "allow"]
DialectName = Literal["openai", "anthropic", "gemini", "bedrock", "cohere", "ollama"]
WindowName = Literal["hour", "day", "week", "month", "total"]
ScopeName = Literal["organisation", "team", "key", "user", "workflow", "run", "model", "tag"]
