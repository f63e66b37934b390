"""A file is there whole or not at all."""

from pathlib import Path

import pytest

from proxy.store.whole_file import READABLE, write_whole


def test_the_folder_is_made_and_the_file_is_the_owners(tmp_path: Path) -> None:
    """Nobody else may read it unless that is said; a file that was there is replaced."""
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, b"first")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"first", 0o600)
    write_whole(path, b"second", READABLE)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"second", 0o644)


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    """Where it can't take its place, what was there stays, and nothing else does."""
    path = tmp_path / "taken"
    (path / "by a folder").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_whole(path, b"data")
    assert [one.name for one in tmp_path.iterdir()] == ["taken"]
