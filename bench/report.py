"""The table of a run, what it is held against, and the run as JSON."""

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from bench.load import Figures
from bench.modes import MOST_MIB_GROWN, MOST_MIB_IDLE, MOST_SECONDS_TO_ANSWER, Mode
from bench.run import Plan, Results

FAREBOX, NGINX, NONE = "farebox", "nginx", "none"
_ROW = "{:<34} {:<10} {:>9} {:>11} {:>9} {:>9} {:>7} {:>7}  {}"


def table(plan: Plan, results: Results) -> str:
    """The run for people."""
    lines = [
        _ROW.format(
            "", "", "calls/s", "cpu ms/call", "p50 µs", "p99 µs", "errors", "×nginx", "goal"
        )
    ]
    for mode in plan.modes:
        for name, figures in results.figures.get(mode.name, {}).items():
            lines.append(_load_row(mode, name, figures, results))
    lines += _delay_rows(plan, results)
    lines += _memory_rows(plan, results)
    if results.first_answer_s is not None:
        goal = _held(results.first_answer_s, MOST_SECONDS_TO_ANSWER, "s")
        lines.append(f"start to first answer: {results.first_answer_s:.2f} s  {goal}")
    return "\n".join(lines)


def past_ratio(plan: Plan, results: Results) -> list[str]:
    """The loads in which Farebox takes more than its multiple of nginx."""
    return [
        f"{mode.title}: {ratio:.2f} × nginx, at most {mode.goal_ratio} wanted"
        for mode in plan.modes
        if (ratio := _ratio(mode, FAREBOX, results)) is not None
        and mode.goal_ratio is not None
        and ratio > mode.goal_ratio
    ]


def faults(results: Results) -> list[str]:
    """What makes the figures worthless: calls that were not answered well, events that did not come."""
    loads = [
        f"{name}, {mode}: {figures.errors} errors"
        for mode, by_name in results.figures.items()
        for name, figures in by_name.items()
        if figures.errors
    ]
    streams = [
        f"{name}: {delays.missing} events missing"
        for name, delays in results.delays.items()
        if delays.missing
    ]
    return loads + streams


def as_json(plan: Plan, results: Results) -> str:
    """The run for programs."""
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "seconds": plan.seconds,
        "repetitions": plan.repetitions,
        "farebox": asdict(plan.farebox) | {"database": _kind(plan.farebox.database)},
        "loads": {
            mode: {
                name: asdict(figures) | {"ratio_to_nginx": _ratio_of(figures, by_name.get(NGINX))}
                for name, figures in by_name.items()
            }
            for mode, by_name in results.figures.items()
        },
        "slow_streams": {name: asdict(delays) for name, delays in results.delays.items()},
        "memory_mib": {"idle": results.idle_mib, "after": results.after_mib},
        "calls": results.calls,
        "first_answer_s": results.first_answer_s,
    }
    return json.dumps(document, indent=2)


def _kind(database: str | None) -> str:
    """Without the address: it holds a password."""
    return (database or "sqlite").partition(":")[0]


def _load_row(mode: Mode, name: str, figures: Figures, results: Results) -> str:
    ratio = _ratio(mode, name, results)
    return _ROW.format(
        mode.title if name == next(iter(results.figures[mode.name])) else "",
        name,
        f"{figures.calls_per_s:,.0f}",
        f"{figures.processor_ms:.4f}" if figures.processor_ms else "–",
        f"{figures.p50_us:,.0f}",
        f"{figures.p99_us:,.0f}",
        figures.errors,
        f"{ratio:.2f}" if ratio is not None else "–",
        "; ".join(_goals(mode, figures, results)) if name == FAREBOX else "",
    ).rstrip()


def _goals(mode: Mode, figures: Figures, results: Results) -> Iterator[str]:
    if mode.goal_ms is not None:
        yield _held(figures.processor_ms, mode.goal_ms, "ms")
    ratio = _ratio(mode, FAREBOX, results)
    if ratio is not None and mode.goal_ratio is not None:
        yield _held(ratio, mode.goal_ratio, "× nginx")
    none = results.figures[mode.name].get(NONE)
    if none is None:
        return
    for word, added_us, goal_ms in (
        ("p50", figures.p50_us - none.p50_us, mode.goal_added_p50_ms),
        ("p99", figures.p99_us - none.p99_us, mode.goal_added_p99_ms),
    ):
        if goal_ms is not None:
            yield f"{word} +{added_us / 1000:.2f} ms {_held(added_us / 1000, goal_ms, 'ms')}"


def _delay_rows(plan: Plan, results: Results) -> Iterator[str]:
    if plan.slow is None or not results.delays:
        return
    slow = plan.slow
    yield f"{slow.streams} streams at once, an event each {slow.interval_ms} ms: delay of an event"
    none = results.delays.get(NONE)
    for name, delays in results.delays.items():
        row = f"  {name:<10} p50 {delays.p50_ms:.2f} ms, p99 {delays.p99_ms:.2f} ms"
        if none is not None and name != NONE:
            added = delays.p99_ms - none.p99_ms
            row += f", p99 added {added:.2f} ms"
            row += f"  {_held(added, slow.goal_added_p99_ms, 'ms')}" if name == FAREBOX else ""
        if delays.bytes_each is not None:
            each = delays.bytes_each / 1024
            row += f", {each:.0f} KiB a stream"
            row += f"  {_held(each, slow.goal_kib_each, 'KiB')}" if name == FAREBOX else ""
        yield row


def _memory_rows(plan: Plan, results: Results) -> Iterator[str]:
    for name, idle in results.idle_mib.items():
        after = results.after_mib[name]
        row = f"memory of {name}: {idle:.0f} MiB idle, {after - idle:+.1f} MiB after {results.calls[name]:,} calls"
        if name == FAREBOX:
            most = MOST_MIB_IDLE * plan.farebox.workers
            row += f"  {_held(idle, most, 'MiB')}; {_held(after - idle, MOST_MIB_GROWN, 'MiB')}"
        yield row


def _held(value: float, most: float, unit: str) -> str:
    return f"[{'ok' if value <= most else 'OVER'}: ≤ {most:g} {unit}]"


def _ratio(mode: Mode, name: str, results: Results) -> float | None:
    by_name = results.figures.get(mode.name, {})
    return _ratio_of(by_name[name], by_name.get(NGINX)) if name in by_name else None


def _ratio_of(figures: Figures, nginx: Figures | None) -> float | None:
    if nginx is None or not nginx.processor_ms or not figures.processor_ms:
        return None
    return figures.processor_ms / nginx.processor_ms
