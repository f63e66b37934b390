"""The configuration is read anew when it changed, when it is whole, and until it could be applied."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.app import reload
from proxy.app.reload import watch_file
from tests.e2e.running import eventually


class Reader:
    """What ``watch_file`` calls; remembers what stood in the file each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: list[str] = []
        self.failures = 0

    async def __call__(self) -> bool:
        """Read it; whether that is done."""
        self.read.append(self.path.read_text())
        self.failures -= 1
        return self.failures < 0

    async def has_read(self, count: int) -> None:
        """Wait until it was read so many times."""

        async def enough() -> bool:
            return len(self.read) >= count

        await eventually(enough)


@pytest.fixture
async def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    """A file under watch, looked at often."""
    monkeypatch.setattr(reload, "_EVERY_S", 0.01)
    monkeypatch.setattr(reload, "_WRITTEN_S", 0.05)
    path = tmp_path / "farebox.yaml"
    path.write_text("first")
    reader = Reader(path)
    task = asyncio.create_task(watch_file(path, reader))
    await asyncio.sleep(0)
    yield reader
    task.cancel()
    await asyncio.wait((task,))


async def test_a_changed_file_is_read_once(reader: Reader) -> None:
    reader.path.write_text("second")

    await reader.has_read(1)

    reader.path.write_text("third, longer")
    await reader.has_read(2)
    assert reader.read == ["second", "third, longer"]


async def test_a_file_that_is_being_written_is_left_alone(reader: Reader) -> None:
    """Half a configuration can be a valid one: with half the keys."""
    with reader.path.open("w") as file:
        for part in range(8):
            file.write(f"{part} ")
            file.flush()
            await asyncio.sleep(0.02)

    await reader.has_read(1)
    assert reader.read == ["0 1 2 3 4 5 6 7 "]


async def test_an_empty_file_is_no_configuration(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    """An editor on a full disk leaves one; every default would revoke every key."""
    reader.path.write_text("")

    async def said(found: Callable[[], str] = lambda: capsys.readouterr().out) -> bool:
        return "is empty" in found()

    await eventually(said)
    os.kill(os.getpid(), signal.SIGHUP)
    await eventually(said)
    reader.path.write_text("again")
    await reader.has_read(1)
    assert reader.read == ["again"]


async def test_what_could_not_be_applied_is_tried_again(reader: Reader) -> None:
    """The database was away just then: the file will not change again for that."""
    reader.failures = 3

    reader.path.write_text("second")

    await reader.has_read(4)
    assert set(reader.read) == {"second"}


async def test_sighup_reads_a_file_that_did_not_change(reader: Reader) -> None:
    os.kill(os.getpid(), signal.SIGHUP)

    await reader.has_read(1)
    assert reader.read == ["first"]
