"""Every recorded stream, broken off after each of its events, through a running Farebox: ``make e2e-cuts``."""

import asyncio
import sys
import tempfile
from pathlib import Path

from proxy.store import migrate
from proxy.store.engine import Database
from tests.e2e.replay.cutting import CutReport, cut_streams
from tests.recorded import exchanges


async def _run() -> CutReport:
    with tempfile.TemporaryDirectory(prefix="farebox-cuts-") as temporary:
        folder = Path(temporary)
        database = Database(f"sqlite:///{folder}/template.db")
        await migrate.upgrade(database)
        await database.close()
        return await cut_streams(folder, folder / "template.db", exchanges(), list)


def main() -> int:
    """Print the table; 1 where anything was wrong."""
    report = asyncio.run(_run())
    print(report.table(), *report.wrong[:50], sep="\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
