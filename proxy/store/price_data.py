r"""The committed price data: dated list prices of many providers, one JSON object a line.

``prices.jsonl`` is text so that a change of prices can be read as a diff. Its first line says where
it comes from; then, for each provider in the order of the alphabet, one line about the provider and
one for each model, in the order of its ids:

    {"provider":"openai","api":"https://api\\.openai\\.com"}
    {"provider":"openai","id":"gpt-4o","match":{…},"prices":[{"usd":{"input_mtok":"2.5",…}}],"variants":[…]}

- ``match``: see price_match.py. The first model in the file that matches is it.
- ``prices``: the last entry whose condition holds is the price, else the first. Conditions are
  ``from`` (a UTC date) and ``daily`` (UTC times of day, the second excluded; may run past midnight).
- ``variants``: prices that replace single keys where the call's variants have every value of
  ``when``; the first that gives a key wins.
- ``usd``: price by unit, as text because floats can't hold prices. An object instead of a text gives
  the price above so many input tokens: ``{"0":"2.5","272000":"5"}``; the whole request is priced by it.
- ``fallback``, of a provider: others whose models it serves at their prices.

Parsed a provider at a time, on its first use.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from proxy.store.price_match import Matcher, exact_names, matcher, names

DATA_FILE = Path(__file__).with_name("prices.jsonl")
FORMAT = 1

# Names under which presets, dialects and other tools know the providers of the data.
ALIASES: Mapping[str, str] = {
    "amazon-bedrock": "aws",
    "aws-bedrock": "aws",
    "azure-openai": "azure",
    "bedrock": "aws",
    "copilot": "github-copilot",
    "fireworks-ai": "fireworks",
    "gemini": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "moonshot": "moonshotai",
    "together-ai": "together",
    "togetherai": "together",
    "vertex": "google",
    "voyage": "voyageai",
    "xai": "x-ai",
    "z-ai": "zai",
    "zhipu": "zhipuai",
}


@dataclass(frozen=True, slots=True)
class ListPrice:
    """One model's line."""

    provider: str
    id: str
    matches: Matcher
    prices: tuple[Mapping[str, Any], ...]
    variants: tuple[Mapping[str, Any], ...]
    context_window: int | None
    minimum_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """A model in the data; ``exact`` is false where only its name without a snapshot's date was."""

    model: ListPrice
    exact: bool


@dataclass(frozen=True, slots=True)
class _Provider:
    id: str
    api: re.Pattern[str] | None
    fallback: tuple[str, ...]


class PriceData:
    """The price data, and what models it knows."""

    def __init__(self, text: bytes) -> None:
        """Take the file's text apart, by provider. Raises ValueError where it is no price data."""
        head, _, body = text.partition(b"\n")
        header = orjson.loads(head)
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ValueError(f"not price data of format {FORMAT}")
        # The hash is of what is priced, not of when it was imported.
        self.version = f"{header['source']}+{hashlib.sha256(body).hexdigest()[:8]}"
        self._unparsed: dict[str, list[bytes]] = {}
        self._providers: dict[str, _Provider] = {}
        self._models: dict[str, tuple[ListPrice, ...]] = {}
        for line in body.splitlines():
            provider = line[13 : line.index(b'"', 13)].decode()  # {"provider":"…"
            lines = self._unparsed.get(provider)
            if lines is None:
                self._unparsed[provider] = []
                self._providers[provider] = _provider(orjson.loads(line))
            else:
                lines.append(line)

    @classmethod
    def load(cls, path: Path = DATA_FILE) -> "PriceData":
        """Read a file of price data. Raises OSError, or ValueError where it is none."""
        try:
            return cls(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that the data knows."""
        return tuple(self._providers)

    def provider_id(self, name: str) -> str | None:
        """The data's own id of a provider, by one of its names."""
        name = name.strip().lower()
        dashed = name.replace("_", "-")
        spellings = (name, ALIASES.get(dashed, dashed))
        return next((known for known in spellings if known in self._providers), None)

    def provider_at(self, base_url: str) -> str | None:
        """The provider whose API is at this address; None for one's own servers."""
        # OpenAI's regional hosts (eu.api.openai.com) are not in its pattern.
        url = re.sub(r"^(https?://)(?:us|eu)\.(?=api\.openai\.com)", r"\1", base_url)
        for provider in self._providers.values():
            if provider.api and provider.api.match(url):
                return provider.id
        return None

    def models(self, provider: str) -> tuple[ListPrice, ...]:
        """Every model of a provider, in the order in which they are tried."""
        known = self._models.get(provider)
        if known is None:
            lines = self._unparsed.pop(provider, [])
            known = self._models[provider] = tuple(_model(orjson.loads(line)) for line in lines)
        return known

    def find(self, provider: str, model: str) -> Found | None:
        """The model of this name, at the provider or at those whose models it serves."""
        known = self.provider_id(provider)
        if known is None:
            return None
        sellers = (known, *self._providers[known].fallback)
        exact = set(exact_names(model))
        for name in names(model):
            for listed in self._candidates(sellers):
                if listed.matches(name):
                    return Found(listed, exact=name in exact)
        return None

    def _candidates(self, sellers: tuple[str, ...]) -> Iterator[ListPrice]:
        for seller in sellers:
            yield from self.models(seller)


def _provider(line: dict[str, Any]) -> _Provider:
    api = line.get("api")
    return _Provider(
        line["provider"], re.compile(api) if api else None, tuple(line.get("fallback", ()))
    )


def _model(line: dict[str, Any]) -> ListPrice:
    return ListPrice(
        provider=line["provider"],
        id=line["id"],
        matches=matcher(line["match"]),
        prices=tuple(line["prices"]),
        variants=tuple(line.get("variants", ())),
        context_window=line.get("context"),
        minimum_ms=line.get("minimum_ms", 0),
    )
