"""Where settlements wait for the database: a file of this process, append-only and flushed to disk.

Each entry is framed by a mark, its length and its checksum. What a crash left half-written at the
end is dropped when it is read, as nobody was told that it is safe; what is damaged in the middle is
skipped and counted. A process holds a lock on its file, so that another can tell one that is left
behind, and take it over.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".spool"
_MARK = b"FBX1"
_HEAD = struct.Struct("<4sII")  # mark, length, checksum
_LONGEST = 16 * 1024 * 1024  # a longer entry is none: its length is damaged


class SpoolError(Exception):
    """The entry can't be kept: the spool is full, or the disk does not take it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was read; ``end`` is where the next one starts, in bytes."""

    payload: bytes
    end: int


class Spool:
    """One file. Blocking: to be used in a thread, by one at a time."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self._limit = limit_bytes
        self._file: int | None = None
        self.size = 0
        self.damaged = 0  # bytes skipped when it was last read

    @property
    def is_open(self) -> bool:
        """Whether this process has the file."""
        return self._file is not None

    def open(self, *, wait: bool = False) -> bool:
        """Take the file, made where it is missing; False where another has it, unless to ``wait``."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            os.close(file)
            return False
        self._file = file
        self.size = os.fstat(file).st_size
        return True

    def append(self, payloads: Sequence[bytes]) -> None:
        """Keep the entries: all of them, safe on disk when this returns; or none, with a SpoolError."""
        if self._file is None and not self.open():
            raise SpoolError(f"{self.path} belongs to another process")
        file = self._file
        assert file is not None  # noqa: S101 - opened above
        data = b"".join(_HEAD.pack(_MARK, len(p), zlib.crc32(p)) + p for p in payloads)
        if self.size + len(data) > self._limit:
            raise SpoolError(f"{self.path} is full: {self.size} of {self._limit} bytes")
        try:
            written = 0
            while written < len(data):
                written += os.write(file, data[written:])
            os.fsync(file)
        except OSError as error:
            os.ftruncate(file, self.size)  # else what follows would stand behind half an entry
            raise SpoolError(f"{self.path}: {error.strerror}") from error
        self.size += len(data)

    def read(self, start: int = 0) -> Iterator[Entry]:
        """The entries from a byte on, in the order they came."""
        if self._file is None:
            return
        self.damaged = 0
        position = start
        while position + _HEAD.size <= self.size:
            payload = self._entry(position)
            if payload is None:
                found = self._next_mark(position + 1)
                self.damaged += found - position
                position = found
                continue
            position += _HEAD.size + len(payload)
            yield Entry(payload, position)

    def _entry(self, position: int) -> bytes | None:
        assert self._file is not None  # noqa: S101 - asked by read()
        mark, length, checksum = _HEAD.unpack(os.pread(self._file, _HEAD.size, position))
        if mark != _MARK or length > _LONGEST:
            return None
        payload = os.pread(self._file, length, position + _HEAD.size)
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return None
        return payload

    def _next_mark(self, position: int) -> int:
        assert self._file is not None  # noqa: S101 - asked by read()
        while position < self.size:
            block = os.pread(self._file, 65_536, position)
            found = block.find(_MARK)
            if found >= 0:
                return position + found
            position += max(len(block) - len(_MARK) + 1, 1)
        return self.size

    def clear(self) -> None:
        """Forget every entry: all are in the database."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            self.size = 0

    def close(self, *, remove: bool = False) -> None:
        """Let the file go; ``remove`` it where nothing waits in it."""
        if self._file is not None:
            if remove and self.size == 0:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


def left_behind(folder: Path, limit_bytes: int) -> Iterator[Spool]:
    """The spools of processes that are gone, taken over one by one."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        spool = Spool(path, limit_bytes)
        if spool.open():
            if path.exists():  # its owner may have removed it just before
                yield spool
            else:
                spool.close()
