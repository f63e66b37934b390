"""One response of a session, or one transcription: what is seen of it, and the row that it becomes."""

import time
from typing import Final

from msgspec.structs import replace

from proxy.core.call import AttemptRecord, Outcome
from proxy.core.usage import Usage
from proxy.gateway.active import ActiveCall, Attempt
from proxy.gateway.config import Upstream
from proxy.gateway.dialects.base import Patch, Scan
from proxy.gateway.meter import Meter
from proxy.gateway.router import Target

_OK: Final = 200
_BYTES_PER_SECOND: Final = (
    48_000  # of sound, in the format that both sides use unless told otherwise
)
_HEARD_PER_SECOND: Final = 10  # tokens that a model makes of what it hears
_SPOKEN_PER_SECOND: Final = 20  # and of what it says


class Part:
    """A part of a session that is billed by itself. It is its own scanner."""

    cut = False

    def __init__(
        self, call: ActiveCall, upstream: Upstream, model: str, served: str, meter: Meter
    ) -> None:
        """It begins now, on the money that was held for it before."""
        self.call = call
        self.scan = Scan(served_model=served)
        self.outcome = Outcome.COMPLETED
        self._meter = meter
        self._count = meter.tokenizer.counter(call.facts.model)
        self._tokens = 0
        self._sound_bytes = 0
        now = time.perf_counter()
        call.started = call.first_sent = now  # the wait before it is not the model's
        call.status = _OK
        call.attempt = Attempt(
            number=1,
            upstream=upstream,
            target=Target(upstream.name, model),
            patch=Patch(),
            started_at_us=time.time_ns() // 1000,
            started=now,
            status=_OK,
        )

    def says(self, text: str) -> None:
        """A piece of the answer."""
        self._begins()
        self._tokens += self._count(text)

    def sounds(self, encoded_bytes: int) -> None:
        """A piece of the answer's sound, in base64."""
        self._begins()
        self._sound_bytes += encoded_bytes * 3 // 4

    def broke_off(self, outcome: Outcome, error: str, context: Usage) -> None:
        """It was not seen to its end: what it used is counted, its input as that of the session so far."""
        self.outcome = outcome
        if outcome is Outcome.UPSTREAM_FAILED:
            self.scan.error = error
        else:
            self.call.given_up = error
        self.count(context)

    def count(self, context: Usage) -> None:
        """Use what was counted where the provider reported nothing."""
        self.scan.counted = replace(
            context, output=self._tokens, audio_output=spoken(self._sound_bytes)
        )

    def measured_now(self) -> AttemptRecord | None:
        """Its row, where the provider said what it used."""
        call = self.call
        assert call.attempt is not None  # noqa: S101 - since the beginning
        return self._meter.reported(call, call.attempt, self, call.given_up)

    async def measured(self) -> AttemptRecord:
        """Its row."""
        call = self.call
        assert call.attempt is not None  # noqa: S101 - since the beginning
        return await self._meter.measure(call, call.attempt, self, call.given_up)

    def _begins(self) -> None:
        attempt = self.call.attempt
        if attempt is not None and attempt.first_byte is None:
            attempt.first_byte = self.call.first_byte = time.perf_counter()

    # What else a scanner has

    def feed(self, data: bytes) -> bytes:
        """Nothing passes here."""
        return data

    def finish(self) -> bytes:
        """Nothing is held back."""
        return b""

    def count_output(self) -> int:
        """Tokens of its text as far as it came."""
        return self._tokens


def heard(encoded_bytes: int) -> int:
    """The tokens of sound that was sent in so many bytes of base64."""
    return encoded_bytes * 3 // 4 * _HEARD_PER_SECOND // _BYTES_PER_SECOND


def spoken(sound_bytes: int) -> int:
    """The tokens of sound that a model made."""
    return sound_bytes * _SPOKEN_PER_SECOND // _BYTES_PER_SECOND
