"""The spool: what it says is safe is safe, and what was half-written is not taken for whole."""

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.ledger.spool import Spool, SpoolError, left_behind

LIMIT = 1_000_000


def payloads(spool: Spool) -> list[bytes]:
    return [entry.payload for entry in spool.read()]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An open spool."""
    made = Spool(tmp_path / "folder" / "one.spool", LIMIT)
    assert made.open()
    return made


def test_entries_come_back_in_their_order(spool: Spool) -> None:
    """Whatever bytes they are made of, and however they were batched."""
    spool.append([b"one", b""])
    spool.append([b"FBX1\0\0\0\0two"])

    assert payloads(spool) == [b"one", b"", b"FBX1\0\0\0\0two"]
    spool.close()


def test_only_its_owner_may_read_it(spool: Spool) -> None:
    """It has what users called and when."""
    spool.append([b"x"])

    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600
    spool.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_a_half_written_end_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, entries: list[bytes], data: st.DataObject
) -> None:
    """Cut anywhere, it gives the entries before the cut, and takes new ones after them."""
    path = tmp_path_factory.mktemp("spool") / "one.spool"
    written = Spool(path, LIMIT)
    written.append(entries)
    ends = [entry.end for entry in written.read()]
    written.close()
    cut = data.draw(st.integers(0, ends[-1]))
    path.write_bytes(path.read_bytes()[:cut])

    again = Spool(path, LIMIT)
    again.open()
    whole = [e for e, end in zip(entries, ends, strict=True) if end <= cut]
    assert payloads(again) == whole
    again.append([b"next"])
    assert payloads(again) == [*whole, b"next"]
    again.close()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.data())
def test_a_damaged_entry_does_not_hide_the_others(
    tmp_path_factory: pytest.TempPathFactory, which: int, data: st.DataObject
) -> None:
    """A flipped byte costs the entry it is in, and is counted."""
    path = tmp_path_factory.mktemp("spool") / "one.spool"
    entries = [b"first entry", b"second entry", b"third entry"]
    written = Spool(path, LIMIT)
    written.append(entries)
    ends = [0, *(entry.end for entry in written.read())]
    written.close()
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(ends[which], ends[which + 1] - 1))] ^= 0x41
    path.write_bytes(raw)

    again = Spool(path, LIMIT)
    again.open()

    assert payloads(again) == [e for i, e in enumerate(entries) if i != which]
    assert again.damaged == ends[which + 1] - ends[which]
    again.close()


def test_a_full_spool_says_so_and_stays_whole(tmp_path: Path) -> None:
    """Bounded: an entry that does not fit leaves nothing behind."""
    spool = Spool(tmp_path / "one.spool", limit_bytes=64)
    spool.append([b"a" * 30])

    with pytest.raises(SpoolError, match="full"):
        spool.append([b"b" * 30])

    assert payloads(spool) == [b"a" * 30]
    spool.close()


def test_a_disk_that_takes_half_leaves_no_half(spool: Spool) -> None:
    """What was cut short by a full disk is taken back, so that the next entry is found."""
    import resource  # noqa: PLC0415 - only here

    spool.append([b"kept"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal  # noqa: PLC0415 - only here

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.size + 40, hard))
    try:
        with pytest.raises(SpoolError):
            spool.append([b"x" * 100])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    spool.append([b"next"])
    assert payloads(spool) == [b"kept", b"next"]
    spool.close()


def test_a_spool_in_use_is_not_taken_over(spool: Spool) -> None:
    """Its lock tells the living from the dead."""
    spool.append([b"mine"])

    assert list(left_behind(spool.path.parent, LIMIT)) == []
    spool.close()
    (found,) = left_behind(spool.path.parent, LIMIT)
    assert payloads(found) == [b"mine"]
    found.clear()
    found.close(remove=True)
    assert list(spool.path.parent.iterdir()) == []
