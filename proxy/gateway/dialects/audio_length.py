"""How long a sound is, by its container: WAV, MP3, FLAC, Ogg, MP4, WebM, AAC. Bounded work, never raises.

Nothing is decoded. What can't be read is estimated by a rate of bytes, and said to be.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

Read = Callable[[int, int], bytes]  # (start, length): as much of it as there is

_MOST_MS: Final = 48 * 3_600_000
_HEAD: Final = 64 * 1024
_TAIL: Final = 256 * 1024
_MOST_BOXES: Final = 10_000
_MOST_FRAMES: Final = 4_000_000
_GUESSED_BYTES_PER_S: Final = 4_000  # 32 kbit/s: speech, compressed


class Length(NamedTuple):
    """A length in milliseconds. ``measured`` is False where it is a guess by the size."""

    milliseconds: int
    measured: bool


def audio_length(read: Read, size: int) -> Length:
    """The length of ``size`` bytes of sound, of which any part can be read."""
    head = read(0, 16)
    for starts, measure in (
        (head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE", _wav),
        (head[:4] == b"fLaC", _flac),
        (head[:4] == b"OggS", _ogg),
        (head[4:8] in (b"ftyp", b"moov", b"free", b"mdat", b"wide"), _mp4),
        (head[:4] == b"\x1a\x45\xdf\xa3", _webm),
        (head[:3] == b"ID3" or _is_mpeg(head), _mpeg),
    ):
        if starts:
            try:
                found = measure(read, size)
            except (struct.error, IndexError, ZeroDivisionError, OverflowError, ValueError):
                found = None
            if found is not None and 0 <= found <= _MOST_MS:
                return Length(found, measured=True)
            break
    return Length(-(-size * 1000 // _GUESSED_BYTES_PER_S), measured=False)


def window(head: bytes, tail: bytes, size: int) -> Read:
    """Reads a sound of which only the beginning and the end were kept."""

    def read(start: int, length: int) -> bytes:
        if start + length <= len(head) or start < len(head):
            return head[start : start + length]
        first = size - len(tail)
        return tail[start - first : start - first + length] if start >= first else b""

    return read


# WAV


def _wav(read: Read, size: int) -> int | None:
    """By the bytes that are there: streamed files have no true size in their header."""
    at, bytes_per_s = 12, 0
    for _ in range(_MOST_BOXES):
        header = read(at, 8)
        if len(header) < 8:  # noqa: PLR2004
            return None
        length = int.from_bytes(header[4:8], "little")
        if header[:4] == b"fmt ":
            bytes_per_s = int.from_bytes(read(at + 16, 4), "little")
        elif header[:4] == b"data":
            there = min(length, size - at - 8) if length else size - at - 8
            return -(-there * 1000 // bytes_per_s)
        at += 8 + length + length % 2
    return None


# FLAC


def _flac(read: Read, size: int) -> int | None:
    del size
    info = read(8, 18)
    packed = int.from_bytes(info[10:18], "big")
    rate, samples = packed >> 44, packed & 0xFFFFFFFFF
    return -(-samples * 1000 // rate) if samples else None


# Ogg: Opus and Vorbis


def _ogg(read: Read, size: int) -> int | None:
    head = read(0, 4096)
    rate, skipped = 0, 0
    if (at := head.find(b"OpusHead")) >= 0:
        rate, skipped = 48_000, int.from_bytes(head[at + 10 : at + 12], "little")
    elif (at := head.find(b"\x01vorbis")) >= 0:
        rate = int.from_bytes(head[at + 12 : at + 16], "little")
    tail = read(max(0, size - _HEAD - 65_536), _HEAD + 65_536)
    last = tail.rfind(b"OggS")
    while last >= 0:
        position = int.from_bytes(tail[last + 6 : last + 14], "little", signed=True)
        if position > 0 and len(tail) >= last + 14:
            return max(0, -(-(position - skipped) * 1000 // rate))
        last = tail.rfind(b"OggS", 0, last)
    return None


# MP4, M4A


def _mp4(read: Read, size: int) -> int | None:
    moov = _box(read, 0, size, b"moov")
    if moov is None:
        return None
    mvhd = _box(read, moov[0], moov[1], b"mvhd")
    if mvhd is None:
        return None
    body = read(mvhd[0], 32)
    if body[0] == 1:
        scale, duration = struct.unpack(">IQ", body[20:32])
    else:
        scale, duration = struct.unpack(">II", body[12:20])
    return -(-duration * 1000 // scale) or None


def _box(read: Read, start: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    """Where the content of a box begins and ends."""
    at = start
    for _ in range(_MOST_BOXES):
        header = read(at, 16)
        if at >= end or len(header) < 8:  # noqa: PLR2004
            return None
        length, content = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, content = int.from_bytes(header[8:16], "big"), 16
        length = length or end - at
        if length < content:
            return None
        if header[4:8] == wanted:
            return at + content, min(at + length, end)
        at += length
    return None


# WebM, Matroska

_SEGMENT, _INFO, _SCALE, _DURATION = 0x18538067, 0x1549A966, 0x2AD7B1, 0x4489
_CLUSTER: Final = b"\x1f\x43\xb6\x75"
_SIMPLE_BLOCK: Final = 0xA3
_BLOCK_GROUP: Final = 0xA0
_TIMECODE: Final = 0xE7


def _webm(read: Read, size: int) -> int | None:
    """The duration that the file says; recorders say none: then the time of its last block."""
    head = read(0, _HEAD)
    scale, duration = 1_000_000, 0.0
    at = 0
    for _ in range(_MOST_BOXES):
        if at >= len(head):
            break
        id_, length, content = _element(head, at)
        if id_ in (_SEGMENT, _INFO):
            at = content
            continue
        if head[at : at + 4] == _CLUSTER:
            break
        value = head[content : content + (length or 0)]
        if id_ == _SCALE:
            scale = int.from_bytes(value, "big")
        elif id_ == _DURATION:
            (duration,) = struct.unpack(">d" if length == 8 else ">f", value)  # noqa: PLR2004
        at = content + (length or 0)
    if duration > 0:
        return int(duration * scale / 1_000_000 + 0.999)
    tail = read(max(0, size - _TAIL), _TAIL)
    last = tail.rfind(_CLUSTER)
    return None if last < 0 else -(-_last_time(tail, last) * scale // 1_000_000)


def _last_time(data: bytes, at: int) -> int:
    """The time of the last block in a cluster."""
    _, _, at = _element(data, at)
    began = latest = 0
    while at < len(data):
        try:
            id_, length, content = _element(data, at)
        except (IndexError, ValueError):
            break
        if length is None:
            break
        if id_ == _TIMECODE:
            began = int.from_bytes(data[content : content + length], "big")
        elif id_ == _SIMPLE_BLOCK:
            latest = max(
                latest, int.from_bytes(data[content + 1 : content + 3], "big", signed=True)
            )
        at = content if id_ == _BLOCK_GROUP else content + length
    return began + latest


def _element(data: bytes, at: int) -> tuple[int, int | None, int]:
    """Id, length (None: unknown) and where the content begins."""
    width = 9 - data[at].bit_length()
    if width > 4:  # noqa: PLR2004
        raise ValueError("no element")
    id_ = int.from_bytes(data[at : at + width], "big")
    at += width
    wide = 9 - data[at].bit_length()
    if wide > 8:  # noqa: PLR2004
        raise ValueError("no length")
    bits = 7 * wide
    length = int.from_bytes(data[at : at + wide], "big") & ((1 << bits) - 1)
    return id_, None if length == (1 << bits) - 1 else length, at + wide


# MPEG audio: MP3, and AAC with its own frames

_RATES: Final = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_KBPS: Final = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AAC_RATES: Final = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)


class _Frame(NamedTuple):
    samples: int
    rate: int
    size: int


def _is_mpeg(head: bytes) -> bool:
    return len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0  # noqa: PLR2004


def _frame(header: bytes) -> _Frame | None:
    if len(header) < 6 or not _is_mpeg(header):  # noqa: PLR2004
        return None
    if header[1] & 0xF6 == 0xF0:  # noqa: PLR2004
        return _aac_frame(header)
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    which, at = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or which in (0, 15) or at == 3:  # noqa: PLR2004
        return None
    rate = _RATES[version][at]
    newer = 1 if version == 3 else 2  # noqa: PLR2004
    kbps = _KBPS[newer, layer if newer == 1 or layer == 1 else 2][which - 1]
    samples = 384 if layer == 1 else 576 if newer == 2 and layer == 3 else 1152  # noqa: PLR2004
    padding = header[2] >> 1 & 1
    if layer == 1:
        return _Frame(samples, rate, (12 * kbps * 1000 // rate + padding) * 4)
    return _Frame(samples, rate, samples // 8 * kbps * 1000 // rate + padding)


def _aac_frame(header: bytes) -> _Frame | None:
    at = header[2] >> 2 & 0xF
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if at >= len(_AAC_RATES) or size < 7:  # noqa: PLR2004
        return None
    return _Frame(1024, _AAC_RATES[at], size)


def _mpeg(read: Read, size: int) -> int | None:
    """Frame by frame; where not all can be read, as of a steady rate from the first on."""
    start = read(0, 10)
    at = 0
    if start[:3] == b"ID3":
        at = 10 + (start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9])
    first = _frame(read(at, 6))
    if first is None:
        return None
    if counted := _counted_frames(read(at, 200)):
        return -(-counted * first.samples * 1000 // first.rate)
    began, frames, samples = at, 0, 0
    block, block_at = b"", 0
    for _ in range(_MOST_FRAMES):
        if at - block_at + 6 > len(block):
            block, block_at = read(at, _HEAD), at
        frame = _frame(block[at - block_at : at - block_at + 6])
        if frame is None:
            break
        frames += 1
        samples += frame.samples
        at += frame.size
    read_all = at >= size - _HEAD or not frames
    if not read_all:
        samples = samples * (size - began) // max(at - began, 1)
    return -(-samples * 1000 // first.rate)


def _counted_frames(frame: bytes) -> int:
    """The number of frames that an encoder wrote into the first one, if it did."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name)
        if at >= 0 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    at = frame.find(b"VBRI")
    return int.from_bytes(frame[at + 14 : at + 18], "big") if at >= 0 else 0
