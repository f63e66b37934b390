"""How long pages and reports take on a big ledger: ``python -m bench.pages [--calls 2000000]``.

Fills a new SQLite file (or the empty database of ``--database postgresql://…``) with ``farebox demo-data``
and serves it; with ``--keep FOLDER`` the ledger stays there, and is measured again the next time. Of each
page and report the quickest of some tries is shown, from the request (or the start of the command) to
the last byte, and the processor time that Farebox itself took; of reports both the answer of the admin API
and the whole command, which starts Python first. Exits with 1 where a page takes longer than 0.3 s, or a
report longer than 1 s.
"""

import argparse
import contextlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from bench.gateways import ADMIN_TOKEN
from bench.programs import await_port, free_port, running

PAGE_S, REPORT_S = 0.3, 1.0
_CLOCK = os.sysconf("SC_CLK_TCK")
FAREBOX = str(Path(sys.executable).with_name("farebox"))
PAGES = {
    "Overview, 30 days": "/ui",
    "Overview, 24 hours": "/ui?range=24h",
    "Overview, 90 days": "/ui?range=90d",
    "Overview, 90 days by model": "/ui?range=90d&by=model",
    "Overview, 90 days by workflow": "/ui?range=90d&by=workflow",
    "Budgets": "/ui/budgets",
    "Calls, the newest": "/ui/calls",
    "Calls of a team": "/ui/calls?team=support",
    "Calls of one user, 90 days": "/ui/calls?range=90d&user=growth-03",
    "Calls with a rare outcome, 90 days": "/ui/calls?range=90d&outcome=lost",
    "One call": "",  # found on the page of calls
    "Models, 30 days": "/ui/models",
    "Models, 90 days": "/ui/models?range=90d",
    "Models, 90 days of one team": "/ui/models?range=90d&team=support",
    "Keys": "/ui/keys",
}
# The same query as the reports', without the start of a command.
ANSWERS = {
    "spend by team and model, month": "group_by=team,model",
    "spend by day and model, 90 days": "group_by=day,model&window=total",
    "spend by user, 90 days": "group_by=user&window=total",
    "spend by workflow, 90 days": "group_by=workflow&window=total",
    "spend by tag, today": "group_by=tag&window=day",
}
COMMANDS = {
    "(start of a command)": ("prices", "show", "gpt-5"),
    "farebox report spend": ("report", "spend"),
    "farebox report spend --by day,model": (
        "report",
        "spend",
        "--by",
        "day,model",
        "--window",
        "total",
    ),
    "farebox report spend --by user": ("report", "spend", "--by", "user", "--window", "total"),
    "farebox report spend --by workflow": (
        "report",
        "spend",
        "--by",
        "workflow",
        "--window",
        "total",
    ),
    "farebox report spend --by tag, this day": (
        "report",
        "spend",
        "--by",
        "tag",
        "--window",
        "day",
    ),
    "farebox report top": ("report", "top"),
    "farebox report budgets": ("report", "budgets"),
    "farebox report call": (),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """What one page or report took."""

    name: str
    quickest_s: float
    median_s: float
    processor_s: float
    most_s: float

    @property
    def is_late(self) -> bool:
        """Whether not even the quickest try was quick enough."""
        return self.quickest_s > self.most_s


@dataclass(frozen=True, slots=True)
class Site:
    """A server with somebody logged in."""

    port: int
    pid: int
    cookie: str

    def get(self, path: str) -> bytes:
        """The page. Raises RuntimeError where there is none."""
        headers = {"cookie": self.cookie, "authorization": f"Bearer {ADMIN_TOKEN}"}
        status, body, _ = _ask(self.port, "GET", path, headers)
        if status != HTTPStatus.OK:
            raise RuntimeError(f"{path} was answered {status}")
        return body

    def processor_s(self) -> float:
        """What the server used up to now."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK


def main() -> int:
    """The exit code."""
    options = _parser().parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True, parents=True)
        _keep_bytecode(folder)
        config = folder / "farebox.yaml"
        if not config.exists():
            _seed(options, folder, config)
        site = stack.enter_context(_serving(folder, config))
        figures = _pages(site, options.tries)
        figures += _answers(site, options.tries) + _commands(site, config, options.tries)
    _show(figures)
    late = [figure.name for figure in figures if figure.is_late]
    for name in late:
        print(f"too slow: {name}", file=sys.stderr)
    return 1 if late else 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--calls", type=int, default=2_000_000, help="of 90 days (2000000)")
    made.add_argument("--tries", type=int, default=12, help="of each (12)")
    made.add_argument("--database", help="an empty one, as postgresql://… (default: a new SQLite)")
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the ledger there")
    return made


def _keep_bytecode(folder: Path) -> None:
    """A command that compiles every module first is not what anybody installs."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder.resolve() / "bytecode")


def _seed(options: argparse.Namespace, folder: Path, config: Path) -> None:
    database = options.database or f"sqlite:///{folder.resolve()}/farebox.db"
    start = time.monotonic()
    command = [FAREBOX, "demo-data", "--days", "90", "--calls", str(options.calls)]
    command += ["--database", database, "--write-config", str(config)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    spent = os.times()
    print(
        f"{options.calls:,} calls made in {time.monotonic() - start:.0f} s"
        f" ({spent.children_user + spent.children_system:.0f} s of processor time of Farebox),"
        f" {_load()}\n"
    )


def _load() -> str:
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


# The server


@contextlib.contextmanager
def _serving(folder: Path, config: Path) -> Iterator[Site]:
    port, log = free_port(), folder / "server.log"
    log.write_text("")
    environment = {**os.environ, "FAREBOX_ADMIN_TOKEN": ADMIN_TOKEN}
    command = [FAREBOX, "serve", "--config", str(config), "--host", "127.0.0.1", "--port"]
    with running([*command, str(port)], cpu=None, log=log, environment=environment) as process:
        await_port(process, port, log)
        yield Site(port, process.pid, _log_in(port))


def _log_in(port: int) -> str:
    _, form, cookie = _ask(port, "GET", "/ui/login", {})
    token = re.search(rb'name="form_token" value="([^"]+)"', form)
    if token is None:
        raise RuntimeError("the login is no form")
    body = urlencode({"secret": ADMIN_TOKEN, "form_token": token[1].decode()})
    headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
    status, _, cookie = _ask(port, "POST", "/ui/login", headers, body)
    if status != HTTPStatus.SEE_OTHER:
        raise RuntimeError(f"the login was answered {status}")
    return cookie


def _ask(
    port: int, method: str, path: str, headers: dict[str, str], body: str | None = None
) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), _cookie(response)
    finally:
        connection.close()


def _cookie(response: http.client.HTTPResponse) -> str:
    return (response.getheader("set-cookie") or "").partition(";")[0]


# What is measured


def _pages(site: Site, tries: int) -> list[Figure]:
    newest = _newest_call(site)
    return [
        _timed(
            name,
            partial(site.get, path or f"/ui/calls/{newest}"),
            site.processor_s,
            tries,
            PAGE_S,
        )
        for name, path in PAGES.items()
    ]


def _answers(site: Site, tries: int) -> list[Figure]:
    return [
        _timed(
            name,
            partial(site.get, f"/admin/v1/spend?limit=500&{query}"),
            site.processor_s,
            tries,
            REPORT_S,
        )
        for name, query in ANSWERS.items()
    ]


def _commands(site: Site, config: Path, tries: int) -> list[Figure]:
    newest = _newest_call(site)

    def report(words: tuple[str, ...]) -> None:
        command = [FAREBOX, *(words or ("report", "call", newest)), "--config", str(config)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def processor_s() -> float:
        spent = os.times()
        return spent.children_user + spent.children_system

    return [
        _timed(
            name,
            partial(report, words),
            processor_s,
            tries,
            REPORT_S,
        )
        for name, words in COMMANDS.items()
    ]


def _newest_call(site: Site) -> str:
    found = re.search(rb"/ui/calls/(fb-[0-9a-f]+)", site.get("/ui/calls?range=90d"))
    if found is None:
        raise RuntimeError("the ledger has no calls")
    return found[1].decode()


def _timed(
    name: str, work: Callable[[], object], processor_s: Callable[[], float], tries: int, most: float
) -> Figure:
    work()  # once for what is opened and compiled at first
    taken = []
    before = processor_s()
    for _ in range(tries):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    spent = (processor_s() - before) / tries
    return Figure(name, min(taken), sorted(taken)[len(taken) // 2], spent, most)


def _show(figures: list[Figure]) -> None:
    print(f"{_load()}; milliseconds\n")
    print("| | quickest | median | processor |\n|---|---|---|---|")
    for figure in figures:
        times = (figure.quickest_s, figure.median_s, figure.processor_s)
        print(f"| {figure.name} | {' | '.join(f'{1000 * taken:.0f}' for taken in times)} |")


if __name__ == "__main__":
    sys.exit(main())
