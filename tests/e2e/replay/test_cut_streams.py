"""Every recorded stream is broken off at several of its events: each time one row, marked, and estimated."""

from pathlib import Path

import pytest

from tests.e2e.replay.cutting import cut_streams
from tests.recorded import exchanges


def some(ends: list[int]) -> list[int]:
    """One in the middle, another for each stream, and the last but one, where usage is near."""
    return sorted({ends[sum(ends) % len(ends)], ends[-2:][0]}) if ends else []


async def test_every_stream_is_cut(
    tmp_path: Path, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row for each, whatever had come; its client sees that it broke. `make e2e-cuts`: at all events."""
    report = await cut_streams(tmp_path, migrated, exchanges(), some)
    with capsys.disabled():
        print("", report.table(), sep="\n")  # noqa: T201 - the table is the point

    assert report.wrong == []
