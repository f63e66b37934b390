"""A gigabyte through each framing, in flat memory: ``python -m bench.endless --megabytes 1024``.

Text that nobody reports the usage of, under a cap that it never reaches: the scanner has to count it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.scanners import Stream, scanner_of, streams

_MB = 2**20
_READ = 65_536
_TEXT = "The harbour lies where the river ends, and boats go there by day. " * 12
_FRAMINGS = {"anthropic": "server-sent events", "ollama": "lines", "bedrock converse": "AWS's events",
             "gemini, array": "an array of JSON"}  # fmt: skip


def resident_bytes() -> int:
    """What this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def reads(stream: Stream, size: int) -> Iterator[bytes]:
    """Its text, again and again, in large reads."""
    text = b"".join(stream.events[2:200])
    block = text * (_READ // len(text) + 1)
    yield b"".join(stream.events[:2])
    for _ in range(size // len(block)):
        yield block


def run(stream: Stream, size: int, count: Callable[[str], int]) -> tuple[int, int, float]:
    """Bytes that went through, bytes that memory grew by after the first tenth, and seconds."""
    scanner = scanner_of(stream, cap=10**12, count=count)
    began, through, first, most = time.process_time(), 0, 0, 0
    for data in reads(stream, size):
        if scanner.feed(data) is not data:
            raise RuntimeError("the bytes did not go through")
        through += len(data)
        if through < size // 10:
            first = resident_bytes()
        most = max(most, resident_bytes())
    scanner.finish()
    return through, max(0, most - first), time.process_time() - began


def main() -> int:
    """Print a line a framing; 1 where memory grew."""
    parser = argparse.ArgumentParser(prog="python -m bench.endless", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--most-growth", type=int, default=8, help="megabytes that are allowed (8)")
    options = parser.parse_args()
    grew = []
    for stream in streams([_TEXT] * 200):
        if stream.name in _FRAMINGS:
            through, more, seconds = run(stream, options.megabytes * _MB, lambda t: len(t) // 4)
            grew.append(more)
            line = f"{_FRAMINGS[stream.name]:20} {through // _MB:6} MB  {seconds:7.1f} s"
            print(f"{line}  memory grew by {more / _MB:.1f} MB", flush=True)
    print(json.dumps({"most_growth_bytes": max(grew)}))
    return int(max(grew) > options.most_growth * _MB)


if __name__ == "__main__":
    sys.exit(main())
