"""The loads, and what each may cost: in processor time, and as a multiple of what nginx takes."""

from dataclasses import dataclass

from bench.answers import request_body


@dataclass(frozen=True, slots=True)
class Mode:
    """One load: so many clients, each asking for the same answer again and again."""

    name: str
    title: str
    clients: int
    body: bytes
    goal_ms: float | None = None  # processor milliseconds a call
    goal_ratio: float | None = None  # of those to nginx's in the same run
    goal_added_p50_ms: float | None = None  # latency over that of no gateway
    goal_added_p99_ms: float | None = None
    is_extra: bool = False  # run only where it is asked for


MODES = (
    Mode(
        "json64", "JSON, 64 at once", 64, request_body("json"), goal_ms=0.085, goal_ratio=4.5,
    ),
    Mode(
        "json1", "JSON, 1 at a time", 1, request_body("json"), goal_ms=0.20, goal_ratio=4,
        goal_added_p50_ms=0.30, goal_added_p99_ms=2,
    ),
    Mode(
        "stream30", "stream of 30 events, 16 at once", 16, request_body("stream30", stream=True),
        goal_ms=0.10, goal_ratio=3,
    ),
    Mode(
        "stream300", "stream of 300 events, 16 at once", 16, request_body("stream300", stream=True),
        goal_ms=0.35, goal_ratio=2,
    ),
    Mode(
        "prompt16k", "16 kB prompt, JSON, 64 at once", 64, request_body("json", size=16_000),
        goal_ms=0.13,
    ),
    Mode(
        "unasked", "stream of 30, no usage asked for", 16,
        request_body("stream30", stream=True, wants_usage=False), is_extra=True,
    ),
    Mode(
        "counted", "stream of 300, bytes over its cap", 16,
        request_body("stream300", stream=True, max_tokens=1024), is_extra=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SlowStreams:
    """Many streams at once that trickle, as a model writes: what is measured is the delay of each event."""

    streams: int = 256
    events: int = 300
    interval_ms: int = 10
    goal_added_p99_ms: float = 2
    goal_kib_each: float = 40

    @property
    def body(self) -> bytes:
        """The request of each stream."""
        return request_body(f"paced,{self.events},{self.interval_ms}", stream=True)


MOST_MIB_IDLE = 90
MOST_MIB_GROWN = 10
MOST_SECONDS_TO_ANSWER = 1.0
