"""How long a sound is, by its container."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway.dialects.audio_length import Length, audio_length, window


def measured(sound: bytes) -> Length:
    return audio_length(lambda start, length: sound[start : start + length], len(sound))


def wav(data_bytes: int, told: int | None = None) -> bytes:
    """16 kHz, 16 bits, one channel: 32,000 bytes a second."""
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    told = data_bytes if told is None else told
    head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + form + b"LIST\x03\0\0\0abc\0"
    return head + b"data" + struct.pack("<I", told) + bytes(data_bytes)


def mp3(frames: int) -> bytes:
    """44.1 kHz, 128 kbit/s: 417 bytes and 1,152 samples a frame."""
    return (b"\xff\xfb\x90\x00" + bytes(413)) * frames


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def m4a(seconds: int, *, version: int = 0) -> bytes:
    if version:
        times = struct.pack(">B3xQQIQ", 1, 0, 0, 1000, seconds * 1000)
    else:
        times = struct.pack(">B3xIIII", 0, 0, 0, 1000, seconds * 1000)
    moov = box(b"moov", box(b"udta", b"x") + box(b"mvhd", times + bytes(80)))
    return box(b"ftyp", b"M4A \0\0\0\0") + box(b"mdat", bytes(100_000)) + moov


def ogg(samples: int) -> bytes:
    def page(position: int, content: bytes) -> bytes:
        return b"OggS\0\0" + struct.pack("<q", position) + bytes(12) + b"\1\1" + content

    head = page(0, b"OpusHead\1\1" + struct.pack("<HI", 312, 48_000) + b"\0\0\0")
    return head + page(960, bytes(70_000)) + page(samples + 312, bytes(100)) + page(-1, b"")


def flac(seconds: int) -> bytes:
    packed = (44_100 << 44) | (1 << 41) | (15 << 36) | (seconds * 44_100)
    return b"fLaC\0\0\0\x22" + bytes(10) + packed.to_bytes(8, "big") + bytes(16)


def element(id_: bytes, content: bytes) -> bytes:
    return id_ + (len(content) | 1 << 56).to_bytes(8, "big") + content


def webm(*, duration: float | None) -> bytes:
    info = element(b"\x2a\xd7\xb1", (1_000_000).to_bytes(3, "big"))
    if duration is not None:
        info += element(b"\x44\x89", struct.pack(">d", duration))
    block = element(b"\xa3", b"\x81" + (700).to_bytes(2, "big") + b"\0" + bytes(50))
    cluster = element(b"\x1f\x43\xb6\x75", element(b"\xe7", (4300).to_bytes(2, "big")) + block)
    body = element(b"\x15\x49\xa9\x66", info) + cluster
    return (
        element(b"\x1a\x45\xdf\xa3", b"")
        + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
        + body
    )


@pytest.mark.parametrize(
    ("sound", "milliseconds"),
    [
        (wav(96_000), 3000),
        (wav(96_000, told=0xFFFFFFFF), 3000),  # streamed: no true size in its header
        (wav(32_016), 1001),
        (mp3(100), 2613),
        (b"ID3\4\0\0\0\0\1\0" + bytes(128) + mp3(100), 2613),
        (mp3(1000), 26_123),
        (m4a(17), 17_000),
        (m4a(17, version=1), 17_000),
        (ogg(48_000 * 5), 5000),
        (flac(9), 9000),
        (webm(duration=4321.0), 4321),
        (webm(duration=None), 5000),
    ],
)
def test_each_container_says_how_long_it_is(sound: bytes, milliseconds: int) -> None:
    assert Length(milliseconds, measured=True) == measured(sound)


def test_an_encoders_count_of_frames_goes_for_all() -> None:
    """The first frame of a file of varying rates holds their number."""
    first = b"\xff\xfb\x90\x00" + bytes(32) + b"Xing\0\0\0\x01" + (1000).to_bytes(4, "big")

    assert measured(first.ljust(417, b"\0") + mp3(3)).milliseconds == 26_123


def test_of_a_long_one_the_ends_are_enough() -> None:
    """As it passes by, only the beginning and the end are kept."""
    sound = wav(3_200_000)
    read = window(sound[:65_536], sound[-65_536:], len(sound))

    assert audio_length(read, len(sound)) == Length(100_000, measured=True)
    steady = mp3(2000)
    read = window(steady[:65_536], steady[-65_536:], len(steady))
    assert audio_length(read, len(steady)).milliseconds == pytest.approx(52_245, rel=0.01)


def test_what_is_no_sound_is_guessed_and_said_to_be() -> None:
    assert measured(bytes(8000)) == Length(2000, measured=False)
    assert measured(b"") == Length(0, measured=False)


@given(
    st.sampled_from(
        [
            b"RIFF\0\0\0\0WAVE",
            b"fLaC",
            b"OggS",
            b"\0\0\0\x08ftyp",
            b"\x1a\x45\xdf\xa3",
            b"ID3",
            b"\xff\xfb",
        ]
    ),
    st.binary(max_size=300),
)
def test_any_bytes_have_a_length(start: bytes, rest: bytes) -> None:
    assert measured(start + rest).milliseconds >= 0


@given(
    st.sampled_from([wav(50), mp3(3), m4a(1), ogg(960), flac(1), webm(duration=1.0)]),
    st.integers(0, 2000),
    st.binary(min_size=1, max_size=8),
)
def test_a_damaged_one_has_a_length(sound: bytes, at: int, damage: bytes) -> None:
    assert measured(sound[:at] + damage + sound[at + len(damage) :]).milliseconds >= 0
