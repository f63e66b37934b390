"""Every recorded exchange goes through a running Farebox: its bytes stay, its usage is in the ledger."""

from pathlib import Path
from zlib import crc32

import pytest

from tests.e2e.replay.place import Exchange
from tests.e2e.replay.replaying import Report, by_kind, replay
from tests.e2e.replay.upstream import SPLITS, answer_body
from tests.recorded import exchanges

_MOST_IN_SMALL_PIECES = (
    20_000  # bytes: a longer answer in pieces of 1 or 7 takes long, and shows no more
)

# Recordings that no provider made so, by id: why.
NOT_REAL = {
    "8958326010dd69b0": "an invented answer of xAI's, with a cost of 123456 ticks",
}
# Usage that is not this call's own: by method and endpoint, why.
ELSEWHERE = {
    "GET batches": "a batch tells its sum; what is billed are the lines of its output file",
    "POST threads": "the Assistants API, which OpenAI has shut down",
    "GET threads": "the same",
    "GET responses": "a response that was metered when it was made",
}


def split_of(exchange: Exchange) -> str:
    """Each exchange has its own split, and each split has many exchanges."""
    names = list(SPLITS)
    if len(answer_body(exchange)) > _MOST_IN_SMALL_PIECES:
        names = [name for name in names if not name.isdigit()]
    return names[crc32(exchange["id"].encode()) % len(names)]


async def test_every_exchange(
    tmp_path: Path, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Client bytes equal recorded bytes; recorded usage equals the ledger's, bucket by bucket."""
    report = Report()
    for number, (kind, wanted) in enumerate(by_kind(exchanges()).items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with replay(folder, migrated, kind, [e for e, _ in wanted]) as running:
            for exchange, where in wanted:
                endpoint, problems = await running.exchange(exchange, where, split_of(exchange))
                if f"{exchange['method']} {endpoint}" in ELSEWHERE:
                    problems = [p for p in problems if not p.startswith("not metered")]
                if exchange["id"] not in NOT_REAL:
                    report.note(exchange, endpoint, problems)
    with capsys.disabled():
        print("", report.table(), *report.wrong, sep="\n")  # noqa: T201 - the table is the point

    assert len(report.wrong) == 0
