"""What the simulator sells, and its own price list, written by hand from the public list prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

_NANO_PER_USD_PER_MTOK: Final = 1000  # 1 USD per million tokens is 1,000 nano-dollars per token


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens."""

    prompt: Decimal
    cached: Decimal
    completion: Decimal

    def nano(self, *, prompt: int, cached: int, completion: int) -> int:
        """What these tokens cost in nano-dollars, rounded once, half to even. ``cached`` is part of ``prompt``."""
        exact = (
            (prompt - cached) * self.prompt + cached * self.cached + completion * self.completion
        ) * _NANO_PER_USD_PER_MTOK
        return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class Model:
    """A model on offer: ``served`` is the name that its answers carry."""

    name: str
    served: str
    created: int
    rates: Mapping[str, Rate]
    max_output: int | None = None
    reasons: bool = False
    embeds: bool = False

    def tier(self, asked: str | None) -> str:
        """The tier that serves a request: the one asked for where it is on offer, else ``default``."""
        return asked if asked is not None and asked in self.rates else "default"


def _rate(prompt: str, cached: str, completion: str) -> Rate:
    return Rate(Decimal(prompt), Decimal(cached), Decimal(completion))


_CHAT = (
    Model(
        "gpt-4o",
        "gpt-4o-2024-08-06",
        1_715_367_049,
        {"default": _rate("2.50", "1.25", "10.00"), "priority": _rate("4.25", "2.125", "17.00")},
        max_output=16_384,
    ),
    Model(
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        1_721_172_741,
        {"default": _rate("0.15", "0.075", "0.60"), "priority": _rate("0.25", "0.125", "1.00")},
        max_output=16_384,
    ),
    Model(
        "gpt-4.1",
        "gpt-4.1-2025-04-14",
        1_744_316_542,
        {"default": _rate("2.00", "0.50", "8.00"), "priority": _rate("3.50", "0.875", "14.00")},
        max_output=32_768,
    ),
    Model(
        "gpt-4.1-mini",
        "gpt-4.1-mini-2025-04-14",
        1_744_318_173,
        {"default": _rate("0.40", "0.10", "1.60"), "priority": _rate("0.70", "0.175", "2.80")},
        max_output=32_768,
    ),
    Model(
        "gpt-5",
        "gpt-5-2025-08-07",
        1_754_425_777,
        {
            "default": _rate("1.25", "0.125", "10.00"),
            "flex": _rate("0.625", "0.0625", "5.00"),
            "priority": _rate("2.50", "0.25", "20.00"),
        },
        max_output=128_000,
        reasons=True,
    ),
    Model(
        "gpt-5-mini",
        "gpt-5-mini-2025-08-07",
        1_754_425_928,
        {
            "default": _rate("0.25", "0.025", "2.00"),
            "flex": _rate("0.125", "0.0125", "1.00"),
            "priority": _rate("0.45", "0.045", "3.60"),
        },
        max_output=128_000,
        reasons=True,
    ),
    Model(
        "o4-mini",
        "o4-mini-2025-04-16",
        1_744_225_351,
        {
            "default": _rate("1.10", "0.275", "4.40"),
            "flex": _rate("0.55", "0.138", "2.20"),
            "priority": _rate("2.00", "0.50", "8.00"),
        },
        max_output=100_000,
        reasons=True,
    ),
)
_EMBEDDINGS = (
    Model(
        "text-embedding-3-small",
        "text-embedding-3-small",
        1_705_948_997,
        {"default": _rate("0.02", "0.02", "0")},
        embeds=True,
    ),
)
_SIMULATED_RATES: Final = {"default": _rate("1.00", "0.10", "4.00")}
_SIMULATED_CREATED: Final = 1_700_000_000

SIMULATED: Final = "sim-"
ON_OFFER: Final = (*_CHAT, *_EMBEDDINGS)
_BY_NAME: Final = {name: model for model in ON_OFFER for name in (model.name, model.served)}


def find(name: str) -> Model | None:
    """The model of this name or snapshot; every name that begins with ``sim-`` is a model too."""
    if name.startswith(SIMULATED):
        return simulated(name)
    return _BY_NAME.get(name)


def simulated(name: str) -> Model:
    """A simulated model of this name, for the list of models."""
    return Model(name, name, _SIMULATED_CREATED, _SIMULATED_RATES)
