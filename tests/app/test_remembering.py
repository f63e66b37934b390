"""What calls usually come to outlives the process that learned it."""

import asyncio
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.app import remembering
from proxy.app.remembering import recall, remember
from proxy.gateway.experience import Experience
from tests.gateway.test_experience import learned, output, record


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "_EVERY_S", 0.001)


async def kept(folder: Path, experience: Experience) -> Path:
    """Its file, once it learned one more call."""
    file = folder / "experience.json"
    task = asyncio.get_running_loop().create_task(remember(folder, experience))
    await asyncio.sleep(0)
    experience.learn(record(30), 1, 1_000)
    async with asyncio.timeout(10):
        while not file.exists():  # noqa: ASYNC110 - written by a thread
            await asyncio.sleep(0.001)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return file


async def test_the_next_process_knows_what_the_last_one_knew(tmp_path: Path) -> None:
    """In a folder that need not be there yet, and in a file that only this user can read."""
    file = await kept(tmp_path / "spool", learned(record(30), record(30)))
    found = Experience()

    recall(tmp_path / "spool", found)

    assert output(found) == 30
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_where_nothing_was_kept_it_begins_anew(tmp_path: Path) -> None:
    found = Experience()

    recall(tmp_path / "nowhere", found)

    assert output(found) == 512


@pytest.mark.parametrize("data", [b"", b"[[[]]", b'{"a": 1}', b'[[["search", "m"], {}]]'])
def test_nonsense_is_passed_over(tmp_path: Path, data: bytes) -> None:
    """It serves estimates only, and never keeps a process from starting."""
    (tmp_path / "experience.json").write_bytes(data)
    found = Experience()

    recall(tmp_path, found)

    assert output(found) == 512


def test_a_folder_that_is_none_keeps_nobody_from_starting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = Experience()

    with capture_logs() as said:
        recall(tmp_path / "file" / "spool", found)

    assert output(found) == 512
    assert [entry["event"] for entry in said] == ["experience_not_read"]


async def test_a_folder_that_can_not_be_written_ends_nothing(tmp_path: Path) -> None:
    """It is said, and tried again."""
    blocked = tmp_path / "spool"
    blocked.write_text("a file where the folder should be")
    experience = Experience()
    with capture_logs() as logs:
        task = asyncio.get_running_loop().create_task(remember(blocked, experience))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while len(logs) < 2:
                experience.learn(record(30), 1, 1_000)
                await asyncio.sleep(0.001)
        alive = not task.done()
        task.cancel()

    assert alive
    assert {entry["event"] for entry in logs} == {"experience_not_kept"}
