"""Answers that nobody sends, to every scanner: ``python -m bench.fuzz --seconds 600``.

Streams and documents of every dialect, real ones where recordings are at hand, are broken at random:
bytes changed, left out, said twice, spliced with another's, cut in odd pieces. Whatever comes: no
exception, no byte changed on its way, and no more memory than a bound. With ``atheris`` installed
(``pip install atheris``, not among the requirements) it chooses what is tried by what it reaches.

Exits with 1 at the first failure, and writes what was fed to a file.
"""

import argparse
import base64
import contextlib
import gzip
import importlib
import inspect
import itertools
import json
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.scanners import streams
from proxy.gateway.dialects.base import Dialect, RequestFacts, Watch
from proxy.gateway.dialects.registry import ROUTES
from proxy.gateway.paths import find_way

_BESIDE = Path(__file__).parents[2] / "shared" / "exchanges"
RECORDED = Path(os.environ.get("FAREBOX_EXCHANGES", str(_BESIDE))) / "replay.jsonl.gz"
_LONGEST = 200_000  # bytes of a sample: longer ones take long and reach no more
_MOST_BYTES = 16 * 2**20  # that one small answer may take
_MEASURED = 500  # one in so many is watched for its memory
_TYPES = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream",
          "application/json", "")  # fmt: skip


class Sample(NamedTuple):
    """An answer, and who reads it."""

    dialect: Dialect
    streamed: bool
    content_type: str
    body: bytes


def samples(*, recorded: bool = True) -> list[Sample]:
    """An answer of each kind; recorded ones, too."""
    found = []
    for stream in streams():
        for route in ROUTES:
            if route.endpoint == stream.endpoint and route.dialect.family == stream.family:
                body = b"".join(stream.events[:3] + stream.events[-4:])
                found.append(Sample(route.dialect, True, stream.content_type, body))
                break
    return found + (list(_recorded()) if recorded else [])


def _recorded() -> Iterator[Sample]:
    if not RECORDED.exists():
        return
    with gzip.open(RECORDED) as lines:
        for exchange in map(json.loads, lines):
            body = (exchange.get("response_text") or "").encode()
            if exchange.get("response_b64"):
                body = base64.b64decode(exchange["response_b64"])
            way = find_way(exchange["method"], exchange["path"].encode(), {})
            if way is None or not way.metered or not 0 < len(body) < _LONGEST:
                continue
            kind = (exchange["content_type"] or "").partition(";")[0].strip().lower()
            stream = bool(exchange["stream"])
            streamed = way.dialect.streamed(RequestFacts("m", stream=stream), kind)
            yield Sample(way.dialect, streamed, kind, body)


def broken(body: bytes, other: bytes, dice: random.Random) -> bytes:
    """The answer with some things done to it."""
    made = bytearray(body)
    for _ in range(dice.randrange(4)):
        at, end = sorted((dice.randrange(len(made) + 1), dice.randrange(len(made) + 1)))
        end = min(end, at + dice.choice((1, 8, 300)))
        match dice.randrange(6):
            case 0:
                made[at:end] = dice.randbytes(end - at)
            case 1:
                del made[at:end]
            case 2:
                made[at:at] = made[at:end] * dice.choice((1, 2, 50))
            case 3:
                start = dice.randrange(len(other) + 1)
                made[at:end] = other[start : start + dice.choice((4, 40, 4000))]
            case 4:
                made[at:end] = dice.choice((b"\r\n", b"\r", b"\n\n", b"null", b"1e999", b"-1", b'"', b"[[[{",
                                            b"\xef\xbb\xbf", b"\x00", b"\xff", b"99999999999999999999"))  # fmt: skip
            case _:
                made = made.replace(b"\n", dice.choice((b"\r\n", b"\r")), dice.choice((1, -1)))
    return bytes(made)


def pieces(body: bytes, dice: random.Random) -> Iterator[bytes]:
    """The bytes in pieces of any size."""
    largest = dice.choice((1, 7, 100, 4096, 100_000))
    if len(body) // largest > 5000:  # noqa: PLR2004 - it would take a second
        largest = 4096
    at = 0
    while at < len(body):
        size = dice.randint(1, largest)
        yield body[at : at + size]
        at += size


def scanned(sample: Sample, body: bytes, dice: random.Random, *, cut: bool) -> None:
    """Put an answer through its scanner. Raises where a byte changed that should not have."""
    watch = Watch(
        streamed=sample.streamed,
        strip_usage=False,
        output_cap=dice.choice((1, 20, 400)) if cut else None,
        paid_output=dice.choice((None, 1, 60)) if cut else None,
        count=_words,
        content_type=sample.content_type,
    )
    scanner = sample.dialect.scanner(RequestFacts("gpt-4o", stream=sample.streamed), watch)
    out = [scanner.feed(piece) for piece in pieces(body, dice)]
    out.append(scanner.finish())
    scan = scanner.scan
    if scan.usage is None or dice.random() < 0.1:  # noqa: PLR2004
        scanner.count_output()
    if not scanner.cut and b"".join(out) != body:
        raise AssertionError("bytes changed on their way")
    if scan.usage is not None and min(scan.usage.nonzero().values(), default=0) < 0:
        raise AssertionError("fewer than no tokens")


def _words(text: str) -> int:
    return text.count(" ") + bool(text)


def _memory_of(run: Callable[[], None]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def at_random(seconds: float, seed: int) -> int:
    """Try one after another for so long; how many were tried."""
    known = samples()
    until = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > until:
            return number
        dice = random.Random(f"{seed}/{number}")
        sample = dice.choice(known)
        if dice.random() < 0.1:  # noqa: PLR2004 - to another's reader
            sample = sample._replace(dialect=dice.choice(known).dialect)
        body = broken(sample.body, dice.choice(known).body, dice)
        _try(sample, body, dice, f"{seed}/{number}", measured=number % _MEASURED == 0)
    return 0


def _try(sample: Sample, body: bytes, dice: random.Random, name: str, *, measured: bool) -> None:
    cut = dice.random() < 0.3  # noqa: PLR2004
    try:
        if not measured:
            scanned(sample, body, dice, cut=cut)
            return
        taken = _memory_of(lambda: scanned(sample, body, dice, cut=cut))
        if taken > _MOST_BYTES + 40 * len(body):
            raise AssertionError(f"{taken} bytes of memory for {len(body)}")  # noqa: TRY301
    except BaseException:  # whatever it is: it is raised again, with what was fed kept
        kept = Path(f"fuzz-{name.replace('/', '-')}.bin")
        kept.write_bytes(body)
        kind = "stream" if sample.streamed else "document"
        print(f"{name}: {sample.dialect.name}, {sample.content_type} {kind}; see {kept}")
        raise


def _functions(package: str) -> Iterator[Callable[..., object]]:
    """The functions and methods of a package."""
    for name, module in list(sys.modules.items()):
        if name.startswith(package):
            owners = [module, *(v for v in vars(module).values() if inspect.isclass(v))]
            for found in (value for owner in owners for value in vars(owner).values()):
                if inspect.isfunction(found) and found.__module__ == name:
                    yield found


def by_coverage(seconds: float, atheris: Any) -> int:
    """Let atheris choose the bytes; the first two choose who reads them, and how they are cut."""
    known = samples()
    for function in _functions("proxy.gateway.dialects"):
        atheris.instrument_func(function)

    def one(data: bytes) -> None:
        if len(data) > 3:  # noqa: PLR2004
            dice = random.Random(data[:3])
            sample = known[int.from_bytes(data[:2], "big") % len(known)]
            _try(sample, data[3:], dice, "atheris", measured=False)

    corpus = Path("/tmp/farebox-fuzz")  # noqa: S108 - a corpus, to go on from
    corpus.mkdir(exist_ok=True)
    for number, sample in enumerate(known):
        head = number.to_bytes(2, "big") + b"\0"
        (corpus / f"seed-{number}").write_bytes(head + sample.body)
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}", str(corpus)], one)
    atheris.Fuzz()
    return 0


def main() -> int:
    """Fuzz for some time."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="without atheris, if it is there")
    options = parser.parse_args()
    if not options.random:
        with contextlib.suppress(ImportError):
            atheris = importlib.import_module("atheris")

            return by_coverage(options.seconds, atheris)
    tried = at_random(options.seconds, options.seed)
    print(f"{tried} broken answers in {options.seconds:.0f} s: no exception, no byte changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
