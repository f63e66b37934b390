"""What a usage object itself says that the call cost, and how deep it searched.

- xAI: ``cost_in_usd_ticks``, ten billionths of a dollar. Azure's Grok says 0, which is no price.
- OpenRouter: ``cost``, in dollars. With a provider's key of one's own (``is_byok``) that is
  OpenRouter's own fee, often 0, and ``cost_details.upstream_inference_cost`` is what the provider bills.
- Perplexity: ``cost.total_cost``, in dollars, and ``search_context_size``, which makes its fee.
"""

from decimal import Decimal
from typing import Any, Final

Json = dict[str, Any]

_KEYS: Final = frozenset(("cost", "cost_in_usd_ticks", "search_context_size"))
_NANO_PER_USD: Final = 1_000_000_000
_TICKS_PER_NANO: Final = 10
_MOST_USD: Final = 1_000_000  # what is more is no cost of a call


def says_something(usage: Json) -> bool:
    """Whether there is anything to be read: nearly never."""
    return not _KEYS.isdisjoint(usage)


def stated_nano(usage: Json) -> int | None:
    """The cost in nano-dollars, rounded once, half to even; None where none is stated."""
    if "cost_in_usd_ticks" in usage:
        ticks = _amount(usage["cost_in_usd_ticks"])
        return _nano(ticks / _TICKS_PER_NANO) if ticks else None
    cost = usage.get("cost")
    if isinstance(cost, dict):
        return _from_usd(_amount(cost.get("total_cost")))
    stated = _amount(cost)
    if usage.get("is_byok") is True and stated is not None:
        details = usage.get("cost_details")
        upstream = (
            _amount(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
        )
        return None if upstream is None else _from_usd(stated + upstream)
    return _from_usd(stated)


def search_context(usage: Json) -> str:
    """How much a search brought into the prompt: low, medium or high; "" where that is not said."""
    size = usage.get("search_context_size")
    return size if isinstance(size, str) and size in {"low", "medium", "high"} else ""


def _amount(value: object) -> Decimal | None:
    """A number as it is written: a float's shortest text is what the provider sent."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - not a number
        return None
    return Decimal(str(value))


def _from_usd(usd: Decimal | None) -> int | None:
    return None if usd is None or not 0 <= usd <= _MOST_USD else _nano(usd * _NANO_PER_USD)


def _nano(nano: Decimal) -> int | None:
    return int(nano.to_integral_value()) if 0 <= nano <= _MOST_USD * _NANO_PER_USD else None
