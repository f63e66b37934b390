"""Metrics of several worker processes on one page.

Each worker writes its values to a file of its own, soon after they changed; the one that is asked
for the page waits that long and adds the files up. Counters of a worker that is gone stay in the
sums, else they would go backwards; its gauges go with it.
"""

import asyncio
import os
from pathlib import Path

import orjson

from proxy.observe import catalogue
from proxy.observe.families import Counted, Exemplar, Labels, Value
from proxy.observe.metrics import Metrics

WRITE_EVERY_S = 0.2
_SUFFIX = ".json"
_GAUGES = frozenset(f.name for f in catalogue.FAMILIES if f.kind == "gauge")


class Workers:
    """The other workers' values, through files in a folder that one service owns."""

    def __init__(self, folder: Path, metrics: Metrics, *, pid: int | None = None) -> None:
        self._folder = folder
        self._metrics = metrics
        self._pid = os.getpid() if pid is None else pid
        self._written: tuple[int, ...] = ()

    async def write_forever(self) -> None:
        """Write this worker's values whenever they changed, until cancelled; then once more."""
        try:
            while True:
                self.write()
                await asyncio.sleep(WRITE_EVERY_S)
        finally:
            self.write()

    def write(self) -> None:
        """Write this worker's values if they changed. A reader sees the old file or the new one, never half."""
        state = self._metrics.state()
        if self._written == state:
            return
        self._written = state
        path = self._folder / f"{self._pid}{_SUFFIX}"
        temporary = path.with_suffix(".new")
        temporary.write_bytes(
            _encoded(Counted(self._metrics.snapshot(), self._metrics.exemplars()))
        )
        temporary.replace(path)

    async def others(self) -> list[Counted]:
        """What the other workers counted, up to now."""
        await asyncio.sleep(WRITE_EVERY_S * 1.5)
        return await asyncio.to_thread(self._read_others)

    def _read_others(self) -> list[Counted]:
        found: list[Counted] = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            pid = int(path.stem)
            if pid == self._pid:
                continue
            values, exemplars = _decoded(path.read_bytes())
            if not _runs(pid):
                values = {name: s for name, s in values.items() if name not in _GAUGES}
            found.append(Counted(values, exemplars))
        return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _encoded(counted: Counted) -> bytes:
    values, exemplars = counted
    return orjson.dumps(
        [
            {name: list(series.items()) for name, series in values.items()},
            {
                name: [
                    (labels, [(place, tuple(call)) for place, call in calls.items()])
                    for labels, calls in series.items()
                ]
                for name, series in exemplars.items()
            },
        ]
    )


def _decoded(data: bytes) -> Counted:
    values: dict[str, list[tuple[list[str], Value]]]
    exemplars: dict[str, list[tuple[list[str], list[tuple[int, tuple[str, int, int]]]]]]
    values, exemplars = orjson.loads(data)
    return Counted(
        {name: {_labels(k): v for k, v in series} for name, series in values.items()},
        {
            name: {_labels(k): {p: Exemplar(*c) for p, c in calls} for k, calls in series}
            for name, series in exemplars.items()
        },
    )


def _labels(texts: list[str]) -> Labels:
    return tuple(texts)
