"""What a provider keeps for its clients, as Farebox knows it: a file, a batch, a stored answer."""

from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """What it is."""

    FILE = "file"  # requests for a batch, and the most that they can cost
    BATCH = "batch"
    RESULTS = "results"  # the file with a batch's answers
    ANSWER = "answer"  # made in the background, after its call was answered
    OTHER = "other"  # only where it is


class Known(Struct, frozen=True):
    """One of them, by the provider's own id. ``data`` is whatever who noted it has to say of it."""

    id: str
    upstream: str
    kind: Kind
    created_at_us: int
    data: str = ""
    next_at_us: int | None = None  # when its provider is to be asked how it goes
    tries: int = 0


class Bounded(Struct, frozen=True):
    """The most that the requests of a batch can cost together, as far as it is known before it is made."""

    requests: int = 0
    amount_nano: int = 0
    estimate_nano: int = 0  # what it will likely cost
    models: tuple[str, ...] = ()
    unpriced: bool = False  # nothing says what one of them costs
    unbounded: tuple[str, ...] = ()  # why it can't be bounded, if so

    @property
    def model(self) -> str:
        """The model, where there is one for all."""
        return self.models[0] if len(self.models) == 1 else ""
