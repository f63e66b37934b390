"""Rate limits, of a team or of a key."""

from proxy.core.rates import RateLimit
from proxy.settings.budgets import Section
from proxy.settings.fields import Count


class Paced(Section):
    """Whoever may ask for only so much in a minute."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None

    @property
    def rate_limit(self) -> RateLimit:
        """How much of it may pass in a minute."""
        return RateLimit(self.requests_per_minute, self.tokens_per_minute)
