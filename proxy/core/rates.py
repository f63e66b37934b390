"""Rate limits: how much may pass in a minute. A minute's worth may come at once; then it comes back evenly."""

from dataclasses import dataclass

_MINUTE_S = 60.0
_ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much a team, or a key, may ask for in a minute. None: as much as it likes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def __bool__(self) -> bool:
        return self.requests_per_minute is not None or self.tokens_per_minute is not None


@dataclass(slots=True)
class Pace:
    """What has passed of late, as the moment at which all of it will have come back."""

    back_at_s: float = 0.0

    def wait_s(self, per_minute: int, now_s: float) -> float:
        """How long it takes until there is room for one; 0 where there is."""
        wait = self.back_at_s + _MINUTE_S / per_minute - _MINUTE_S - now_s
        return wait if wait > _ROUNDING_S else 0.0

    def take(self, amount: int, per_minute: int, now_s: float) -> None:
        """So much has passed. It may be more than there was room for: what is over is waited for."""
        self.back_at_s = max(self.back_at_s, now_s) + amount * _MINUTE_S / per_minute
