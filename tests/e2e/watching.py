"""A real Prometheus that scrapes what a test runs, with the rules as they are shipped."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from tests.e2e.running import eventually
from tests.prometheus import program

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 90  # a machine may be busy; a scrape that is late is no failure
Sample = tuple[dict[str, str], float]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Its HTTP interface."""

    client: httpx.AsyncClient

    async def get(self, path: str, **parameters: str) -> Any:
        """What it answers."""
        answer = await self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def query(self, expr: str) -> list[Sample]:
        """An expression's samples of now."""
        data = await self.get("query", query=expr)
        return [(s["metric"], float(s["value"][1])) for s in data["result"]]

    async def sums(self, expr: str) -> dict[tuple[str, ...], float]:
        """The same, by the values of the labels in the order of their names."""
        return {tuple(v for _, v in sorted(m.items())): n for m, n in await self.query(expr) if n}

    async def has_seen(self, calls: int) -> None:
        """Wait until so many calls are in what it scraped."""

        async def seen() -> bool:
            [(_, count)] = await self.query("sum(farebox_calls_total) or vector(0)")
            return count == calls

        await eventually(seen, within_s=WITHIN_S)

    async def has_scraped_since(self, moment_s: float) -> None:
        """Wait until every address was scraped after that moment: gauges may be older than counters."""

        async def scraped() -> bool:
            [(_, oldest)] = await self.query("min(timestamp(up))")
            return oldest > moment_s

        await eventually(scraped, within_s=WITHIN_S)


@asynccontextmanager
async def watching(folder: Path, urls: Sequence[str]) -> AsyncIterator[Prometheus]:
    """Prometheus, when it has scraped every address once."""
    rules = [str(ROOT / "config/prometheus" / f"{n}.rules.yml") for n in ("recording", "alerting")]
    document = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": rules,
        "scrape_configs": [
            {
                "job_name": "farebox",
                "static_configs": [{"targets": [urlsplit(url).netloc for url in urls]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage",
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
            found = Prometheus(client)

            async def scraped() -> bool:
                assert process.returncode is None, (folder / "prometheus.log").read_text()
                try:
                    ready = (await client.get("/-/ready")).status_code == 200
                    return ready and len(await found.query("up == 1")) == len(urls)
                except httpx.TransportError:
                    return False

            await eventually(scraped, within_s=WITHIN_S)
            yield found
    finally:
        process.terminate()
        await process.wait()
