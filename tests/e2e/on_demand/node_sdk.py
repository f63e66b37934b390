"""OpenAI's package for Node gets through Farebox what it gets without it.

    make e2e-node

Needs node and npm; the package is installed into a folder below ``build``.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from proxy.store import migrate
from proxy.store.engine import Database
from tests.e2e.running import KEY, SIMULATED, running

_CLIENT = Path(__file__).with_name("node_client.mjs")
_DIFFERENT = ("models",)  # Farebox lists what its key may use


def main(folder: str) -> int:
    """``folder`` has node_modules in it."""
    return asyncio.run(_run(Path(folder)))


async def _run(modules: Path) -> int:
    client = modules / _CLIENT.name
    client.write_text(_CLIENT.read_text())
    with tempfile.TemporaryDirectory(prefix="farebox-node-") as temporary:
        template = Path(temporary) / "template.db"
        database = Database(f"sqlite:///{template}")
        await migrate.upgrade(database)
        await database.close()
        async with running(Path(temporary), template) as run:
            direct = await _got(client, f"{run.upstream}/v1", SIMULATED)
            through = await _got(client, f"{run.url}/v1", KEY)
            calls = await run.calls()
            problems = await run.verify()
    for name in direct:
        same = name in _DIFFERENT or direct[name] == through.get(name)
        print(f"{'ok  ' if same else 'FAIL'} {name}: {through.get(name)!r}"[:200])
        problems += [] if same else [name]
    print(f"{len(calls)} calls in the ledger")
    return 1 if problems else 0


async def _got(client: Path, base_url: str, key: str) -> dict[str, Any]:
    node = await asyncio.create_subprocess_exec(
        "node", str(client), base_url, key, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await node.communicate()
    if node.returncode:
        raise SystemExit(f"node failed with {node.returncode}")
    got: dict[str, Any] = json.loads(out)
    return got


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
