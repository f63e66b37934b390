"""Where a session is held: an upstream, the model's name there, and what its parts can cost."""

from typing import Final

from msgspec import Struct

from proxy.core import estimate
from proxy.core.pricing import PriceQuery, Rates
from proxy.core.usage import Usage
from proxy.gateway.config import GatewayConfig, Upstream
from proxy.gateway.router import Target

_UNKNOWN_MAX_OUTPUT: Final = 32_768
_LIKELY: Final = Usage(audio_input=1_000, audio_output=300)
_MS_PER_TOKEN: Final = 100  # of what a model hears


class Place(Struct, frozen=True):
    """One upstream that a session may go to."""

    upstream: Upstream
    target: Target


class Bound(Struct, frozen=True):
    """The most, and the likely, cost of a part that has not begun. None: nothing says what it costs."""

    most_nano: int | None
    likely_nano: int = 0


def response_bound(config: GatewayConfig, places: tuple[Place, ...], at_us: int) -> Bound:
    """Of a response: all that the model can hold in mind, and its longest answer, at the dearest price.

    What was said before stays with the provider, so that no frame bounds it.
    """
    found = []
    for place in places:
        model = place.target.model
        rates = _rates(config, place, model, at_us)
        if rates is None:
            return Bound(None)
        most_output = estimate.model_max_output(model) or _UNKNOWN_MAX_OUTPUT
        found.append(_bound(rates, estimate.realtime_context(model), most_output))
    return max(found, key=_most)


def transcription_bound(
    config: GatewayConfig, places: tuple[Place, ...], model: str, at_us: int
) -> Bound:
    """Of a transcription: of as much sound as the session's model can hold in mind."""
    found = []
    for place in places:
        rates = _rates(config, place, model, at_us)
        if rates is None:
            return Bound(None)
        tokens = estimate.realtime_context(place.target.model)
        sound = Usage(audio_input=tokens, milliseconds=tokens * _MS_PER_TOKEN)
        found.append(Bound(rates.most_nano(0, tokens, sound), _likely(rates)))
    return max(found, key=_most)


def _bound(rates: Rates, context: int, output: int) -> Bound:
    # Input is a mixture of these; the dearest alone is more than any.
    mixtures = (
        Usage(audio_input=context),
        Usage(image_input=context),
        Usage(cached_audio_input=context),
        Usage(cached_image_input=context),
    )
    most = max(rates.most_nano(context, output), *(rates.most_nano(0, output, m) for m in mixtures))
    return Bound(most, _likely(rates))


def _likely(rates: Rates) -> int:
    return rates.charge(_LIKELY).nano


def _most(bound: Bound) -> int:
    return bound.most_nano or 0


def _rates(config: GatewayConfig, place: Place, model: str, at_us: int) -> Rates | None:
    upstream = place.upstream
    query = PriceQuery(upstream.name, upstream.provider, model, upstream.variants)
    return config.prices.bound(query, at_us)
