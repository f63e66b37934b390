"""Which provider each configured upstream is, by the price book's names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from proxy.settings import Settings


def providers(settings: "Settings") -> Mapping[str, str]:
    """The provider of each upstream, as the data path prices its calls."""
    from proxy.gateway.presets import provider_of  # noqa: PLC0415 - slow; ``--help`` does without

    return {
        name: upstream.price_provider
        or provider_of(
            name, upstream.preset, urlsplit(upstream.base_url).hostname or "", upstream.dialect
        )
        for name, upstream in settings.upstreams.items()
    }
