"""wrk against a gateway: what came back, and what it cost the gateway."""

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.gateways import Gateway
from bench.modes import Mode
from bench.processor import seconds_used
from bench.programs import LOAD_CPU, pinned, program

_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one load against one gateway."""

    calls: int
    seconds: float
    processor_s: float
    p50_us: float
    p99_us: float
    errors: int

    @property
    def processor_ms(self) -> float:
        """Processor milliseconds of the gateway for each call."""
        return self.processor_s * 1000 / max(self.calls, 1)


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of several samples."""

    calls_per_s: float
    processor_ms: float
    p50_us: float
    p99_us: float
    calls: int
    errors: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Figures":
        """The medians; calls and errors are sums."""
        return cls(
            calls_per_s=statistics.median(s.calls / s.seconds for s in samples),
            processor_ms=statistics.median(s.processor_ms for s in samples),
            p50_us=statistics.median(s.p50_us for s in samples),
            p99_us=statistics.median(s.p99_us for s in samples),
            calls=sum(s.calls for s in samples),
            errors=sum(s.errors for s in samples),
        )


def load(gateway: Gateway, mode: Mode, seconds: float, folder: Path) -> Sample:
    """Run wrk for so many seconds. Raises Missing, and RuntimeError where it says nothing."""
    body = folder / f"{mode.name}.body.json"
    body.write_bytes(mode.body)
    command = [program("wrk"), "--threads", "1", "--connections", str(mode.clients)]
    command += ["--duration", f"{max(1, round(seconds))}s", "--timeout", "20s"]
    command += ["--script", str(_SCRIPT), f"http://127.0.0.1:{gateway.port}"]
    environment = {**os.environ, "BENCH_BODY": str(body), "BENCH_KEY": gateway.key}
    before = seconds_used(gateway.pid) if gateway.pid else 0.0
    done = subprocess.run(
        pinned(command, LOAD_CPU), env=environment, capture_output=True, text=True, check=False
    )
    used = seconds_used(gateway.pid) - before if gateway.pid else 0.0
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise RuntimeError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    found = json.loads(results[0].removeprefix("RESULT "))
    return Sample(
        calls=found["calls"],
        seconds=found["seconds"],
        processor_s=used,
        p50_us=found["p50_us"],
        p99_us=found["p99_us"],
        errors=found["refused"] + found["broken"],
    )
