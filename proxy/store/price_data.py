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
- ``fallback``, of a provider: others whose models it serves at their prices. (``api`` is for who reads
  the file: the provider of an upstream is named by its preset, or by the configuration.)

``supplement.jsonl`` has what that source lacks, in the same format, with a source of its own (and
``source`` and ``checked`` at each line: where a price was read, and when). Its models are tried before
those of ``prices.jsonl``, and replace the ones with the same id. Besides, it amends:

    {"provider":"anthropic","amend":{…},"variants":[{"when":{"inference_geo":"us"},"times":"1.1"}]}

- ``amend``: a clause on the ids of models, of all that the provider sells; ``{}`` is for all of them.
  What the line says is added where the model says nothing: keys of ``usd`` in every price, ``variants``
  after its own, but for conditions that it has itself.
- ``times``, of a variant: a factor on the prices of tokens, after all that is replaced. Of several with
  the same key in ``when`` the first counts; of different keys, all.
- ``search_once``: however often one answer searched, it is billed once.

Parsed a provider at a time, on its first use.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from proxy.store.price_match import Matcher, exact_names, matcher, names

DATA_FILE = Path(__file__).with_name("prices.jsonl")
SUPPLEMENT_FILE = DATA_FILE.with_name("supplement.jsonl")
FORMAT = 1

# Names under which presets, dialects and other tools know the providers of the data.
ALIASES: Mapping[str, str] = {
    "amazon-bedrock": "aws",
    "aws-bedrock": "aws",
    "azure-openai": "azure",
    "bedrock": "aws",
    "copilot": "github-copilot",
    "dashscope": "alibaba",
    "doubao": "ark",
    "fireworks-ai": "fireworks",
    "gemini": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "moonshot": "moonshotai",
    "together-ai": "together",
    "togetherai": "together",
    "vertex": "google",
    "volcengine": "ark",
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
    search_once: bool = False
    source: str = ""  # where it was read, of a line of the supplement


@dataclass(frozen=True, slots=True)
class Found:
    """A model in the data; ``exact`` is false where only its name without a snapshot's date was."""

    model: ListPrice
    exact: bool


@dataclass(frozen=True, slots=True)
class _Amendment:
    """What the supplement adds to models of a provider."""

    concerns: Matcher
    usd: Mapping[str, Any]
    variants: tuple[Mapping[str, Any], ...]
    search_once: bool
    minimum_ms: int

    def amend(self, model: ListPrice) -> ListPrice:
        """The model with what it does not say itself."""
        said = [variant["when"] for variant in model.variants]
        more = [variant for variant in self.variants if variant["when"] not in said]
        return replace(
            model,
            prices=tuple({**price, "usd": {**self.usd, **price["usd"]}} for price in model.prices),
            variants=(*model.variants, *more),
            minimum_ms=model.minimum_ms or self.minimum_ms,
            search_once=model.search_once or self.search_once,
        )


class PriceData:
    """The price data, and what models it knows."""

    def __init__(self, text: bytes, supplement: bytes = b"") -> None:
        """Take the files' texts apart, by provider. Raises ValueError where one is no price data."""
        self._unparsed: dict[str, list[bytes]] = {}
        self._providers: dict[str, tuple[str, ...]] = {}  # and those whose models it serves
        self._models: dict[str, tuple[ListPrice, ...]] = {}
        self._amendments: dict[str, tuple[_Amendment, ...]] = {}
        self._amended: dict[tuple[str, str, str], ListPrice] = {}
        self._supplied: dict[str, list[bytes]] = {}
        self.version, body = _opened(text)
        for line in body.splitlines():
            provider = line[13 : line.index(b'"', 13)].decode()  # {"provider":"…"
            lines = self._unparsed.get(provider)
            if lines is None:
                self._unparsed[provider] = []
                self._providers[provider] = _fallback(orjson.loads(line))
            else:
                lines.append(line)
        if supplement:
            self._supply(supplement)

    def _supply(self, supplement: bytes) -> None:
        version, body = _opened(supplement)
        self.version += f"&{version}"
        for line in body.splitlines():
            provider = line[13 : line.index(b'"', 13)].decode()
            self._supplied.setdefault(provider, []).append(line)
            if provider not in self._providers:
                self._providers[provider] = _fallback(orjson.loads(line))

    @classmethod
    def load(cls, path: Path = DATA_FILE, supplement: Path | None = SUPPLEMENT_FILE) -> "PriceData":
        """Read files of price data. Raises OSError, or ValueError where one is none."""
        try:
            data = cls(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if supplement is not None:
            try:
                data._supply(supplement.read_bytes())
            except ValueError as error:
                raise ValueError(f"{supplement}: {error}") from error
        return data

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

    def models(self, provider: str) -> tuple[ListPrice, ...]:
        """Every model of a provider, in the order in which they are tried, as it is sold there."""
        return tuple(self._as_sold(provider, model) for model in self._own_models(provider))

    def find(self, provider: str, model: str) -> Found | None:
        """The model of this name, at the provider or at those whose models it serves."""
        known = self.provider_id(provider)
        if known is None:
            return None
        sellers = (known, *self._providers[known])
        exact = set(exact_names(model))
        for name in names(model):
            for listed in self._candidates(sellers):
                if listed.matches(name):
                    return Found(self._as_sold(known, listed), exact=name in exact)
        return None

    def _candidates(self, sellers: tuple[str, ...]) -> Iterator[ListPrice]:
        for seller in sellers:
            yield from self._own_models(seller)

    def _own_models(self, provider: str) -> tuple[ListPrice, ...]:
        known = self._models.get(provider)
        if known is None:
            listed = [_model(orjson.loads(line)) for line in self._unparsed.pop(provider, [])]
            supplied = [_model(line) for line in self._lines_supplied(provider) if "id" in line]
            replaced = {model.id for model in supplied}
            listed = [model for model in listed if model.id not in replaced]
            known = self._models[provider] = (*supplied, *listed)
        return known

    def _as_sold(self, seller: str, model: ListPrice) -> ListPrice:
        """The model with what the supplement adds where this provider sells it."""
        key = (seller, model.provider, model.id)
        sold = self._amended.get(key)
        if sold is None:
            sold = model
            for amendment in self._amendments_of(seller):
                if amendment.concerns(model.id.lower()):
                    sold = amendment.amend(sold)
            self._amended[key] = sold
        return sold

    def _amendments_of(self, seller: str) -> tuple[_Amendment, ...]:
        known = self._amendments.get(seller)
        if known is None:
            lines = self._lines_supplied(seller)
            known = tuple(_amendment(line) for line in lines if "amend" in line)
            self._amendments[seller] = known
        return known

    def _lines_supplied(self, provider: str) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self._supplied.get(provider, ())]


def _opened(text: bytes) -> tuple[str, bytes]:
    """A file's version, which is of what is priced and not of when it was imported, and its lines."""
    head, _, body = text.partition(b"\n")
    header = orjson.loads(head)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"not price data of format {FORMAT}")
    return f"{header['source']}+{hashlib.sha256(body).hexdigest()[:8]}", body


def _amendment(line: dict[str, Any]) -> _Amendment:
    return _Amendment(
        concerns=matcher(line["amend"]) if line["amend"] else lambda _: True,
        usd=line.get("usd", {}),
        variants=tuple(line.get("variants", ())),
        search_once=line.get("search_once", False),
        minimum_ms=line.get("minimum_ms", 0),
    )


def _fallback(line: dict[str, Any]) -> tuple[str, ...]:
    return tuple(line.get("fallback", ()))


def _model(line: dict[str, Any]) -> ListPrice:
    return ListPrice(
        provider=line["provider"],
        id=line["id"],
        matches=matcher(line["match"]),
        prices=tuple(line["prices"]),
        variants=tuple(line.get("variants", ())),
        context_window=line.get("context"),
        minimum_ms=line.get("minimum_ms", 0),
        search_once=line.get("search_once", False),
        source=line.get("source", ""),
    )
