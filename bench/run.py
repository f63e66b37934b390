"""One run: every load against every gateway in turn, so that a busy moment of the machine hits all alike."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.answers import write_answers
from bench.gateways import (
    FareboxOptions,
    Gateway,
    baseline,
    farebox,
    first_answer_s,
    mock,
    nginx,
)
from bench.load import Figures, Sample, load
from bench.modes import MODES, Mode, SlowStreams
from bench.processor import memory_bytes
from bench.programs import Missing
from bench.slow import Delays, measure

_WARM_UP = Mode("warmup", "", 8, MODES[0].body)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run."""

    gateways: tuple[str, ...]
    modes: tuple[Mode, ...]
    seconds: float
    repetitions: int
    slow: SlowStreams | None
    farebox: FareboxOptions
    others: tuple[Gateway, ...] = ()  # that run already, and forward to the mock
    mock_port: int = 0


@dataclass(slots=True)
class Results:
    """What came out, by gateway."""

    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)  # mode → gateway →
    delays: dict[str, Delays] = field(default_factory=dict)
    idle_mib: dict[str, float] = field(default_factory=dict)
    after_mib: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    first_answer_s: float | None = None  # of Farebox, on a database that is there


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> Results:
    """Start everything, measure, stop everything."""
    results = Results()
    write_answers(folder / "answers")
    with mock(folder, folder / "answers", plan.mock_port) as mock_port:
        if "farebox" in plan.gateways:
            results.first_answer_s = _time_start(plan, folder, mock_port)
        with contextlib.ExitStack() as stack:
            gateways = [*_started(plan, folder, mock_port, stack, say), *plan.others]
            for gateway in gateways:
                load(gateway, _WARM_UP, 1, folder)
                _note_memory(gateway, results.idle_mib)
            _measure_loads(plan, gateways, folder, results, say)
            for gateway in gateways:
                _note_memory(gateway, results.after_mib)
            if plan.slow is not None:
                for gateway in gateways:
                    say(f"{plan.slow.streams} slow streams, {gateway.name}")
                    try:
                        results.delays[gateway.name] = measure(gateway, plan.slow, folder)
                    except RuntimeError as error:
                        if gateway not in plan.others:
                            raise
                        say(
                            f"note: {gateway.name}: {error}"
                        )  # what was measured is shown all the same
    return results


def _started(
    plan: Plan,
    folder: Path,
    mock_port: int,
    stack: contextlib.ExitStack,
    say: Callable[[str], None],
) -> Iterator[Gateway]:
    if "none" in plan.gateways:
        yield stack.enter_context(baseline(mock_port))
    if "nginx" in plan.gateways:
        try:
            yield stack.enter_context(nginx(folder, mock_port))
        except Missing as missing:
            say(f"note: {missing}; there are no ratios without it")
    if "farebox" in plan.gateways:
        yield stack.enter_context(farebox(folder, mock_port, plan.farebox))


def _time_start(plan: Plan, folder: Path, mock_port: int) -> float:
    """Seconds to the first answer; the database was made by a start before, and is used again."""
    with farebox(folder, mock_port, plan.farebox):
        pass
    start = time.monotonic()
    with farebox(folder, mock_port, plan.farebox, ready=False) as gateway:
        return first_answer_s(start, gateway, MODES[0].body)


def _measure_loads(
    plan: Plan,
    gateways: list[Gateway],
    folder: Path,
    results: Results,
    say: Callable[[str], None],
) -> None:
    samples: dict[tuple[str, str], list[Sample]] = {}
    for repetition in range(plan.repetitions):
        for mode in plan.modes:
            say(f"{repetition + 1} of {plan.repetitions}: {mode.title}")
            for gateway in gateways:
                sample = load(gateway, mode, plan.seconds, folder)
                samples.setdefault((mode.name, gateway.name), []).append(sample)
                results.calls[gateway.name] = results.calls.get(gateway.name, 0) + sample.calls
    for (mode_name, name), found in samples.items():
        results.figures.setdefault(mode_name, {})[name] = Figures.of(found)


def _note_memory(gateway: Gateway, into: dict[str, float]) -> None:
    if gateway.pid is not None:
        into[gateway.name] = memory_bytes(gateway.pid) / 2**20
