"""What is measured: Farebox, nginx as the practical limit, no gateway at all, or one that runs already."""

import contextlib
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.programs import GATEWAY_CPU, LOAD_CPU, await_port, free_port, program, running

KEY = "fb-bench-0123456789abcdef0123456789abcdef"
ADMIN_TOKEN = "bench-admin-token"  # noqa: S105 - of a server that lives for the run, on loopback
_POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the load goes. ``pid`` is what its processor time is read from: None is not measured."""

    name: str
    port: int
    pid: int | None
    key: str = KEY


@dataclass(frozen=True, slots=True)
class FareboxOptions:
    """How Farebox is run."""

    database: str | None = None  # None: a new SQLite file
    workers: int = 1
    durability: str = "normal"
    drain: bool = False  # read what a client left to its end: the mock bills it whole
    under: tuple[str, ...] = ()  # a tool that runs it, with its options


@contextlib.contextmanager
def mock(folder: Path, answers: Path, port: int = 0) -> Iterator[int]:
    """The provider's port: the mock in C where gcc is there, else the one in Python."""
    port = port or free_port()
    try:
        command = [str(_compiled_mock(folder)), str(port), str(answers)]
    except FileNotFoundError:
        command = [sys.executable, "-m", "bench.mock", str(port), str(answers)]
    log = folder / "mock.log"
    with running(command, cpu=LOAD_CPU, log=log) as process:
        await_port(process, port, log)
        yield port


def _compiled_mock(folder: Path) -> Path:
    import subprocess  # noqa: PLC0415 - only here

    from bench.programs import Missing  # noqa: PLC0415

    try:
        compiler = program("gcc")
    except Missing as missing:
        print(f"note: {missing}; the mock in Python takes its place, and is slower")
        raise FileNotFoundError from missing
    made = folder / "mock"
    source = Path(__file__).with_name("mock.c")
    subprocess.run([compiler, "-O2", "-o", made, source], check=True)
    return made


@contextlib.contextmanager
def baseline(mock_port: int) -> Iterator[Gateway]:
    """No gateway: what the load and the mock alone take."""
    yield Gateway("none", mock_port, pid=None)


_NGINX = """\
daemon off;
worker_processes 1;
{user}
error_log {folder}/nginx.log;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  upstream mock {{ server 127.0.0.1:{mock_port}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, mock_port: int) -> Iterator[Gateway]:
    """One worker as a plain reverse proxy: nothing is metered. Raises Missing."""
    command = program("nginx")
    port, log = free_port(), folder / "nginx.log"
    log.touch()
    # As root, the worker would change to a user who may not enter the temporary folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, user=user, mock_port=mock_port, port=port))
    arguments = [command, "-e", str(log), "-p", str(folder), "-c", str(config)]
    with running(arguments, cpu=GATEWAY_CPU, log=log, stop=signal.SIGQUIT) as process:
        await_port(process, port, log)
        yield Gateway("nginx", port, process.pid)


def farebox_config(port: int, mock_port: int, database: str, options: FareboxOptions) -> str:
    """Everything on: a key, a blocking budget, prices, a durable ledger, metrics and a log line a call."""
    document = {
        "database": database,
        "ledger": {"durability": options.durability},
        "admin_token": ADMIN_TOKEN,
        "server": {"host": "127.0.0.1", "port": port, "workers": options.workers},
        "defaults": {"max_output_tokens": 8192},
        "upstreams": {
            "mock": {
                "dialect": "openai",
                "base_url": f"http://127.0.0.1:{mock_port}/v1",
                "api_key": "sk-bench-upstream",
                "price_provider": "openai",
                **({"on_client_leave": "drain", "max_draining": 4096} if options.drain else {}),
            }
        },
        "models": [{"match": "*", "upstream": "mock"}],
        "teams": [{"name": "bench", "budgets": [{"limit_usd": 1_000_000, "window": "month"}]}],
        "keys": [{"name": "bench", "team": "bench", "key": KEY}],
    }
    return json.dumps(document, indent=2)  # YAML reads it


@contextlib.contextmanager
def farebox(
    folder: Path, mock_port: int, options: FareboxOptions, *, ready: bool = True
) -> Iterator[Gateway]:
    """``farebox serve`` as it would be run, its log going to a file.

    Not ``ready``: it takes calls, and loads what answers under ``/readyz`` meanwhile.
    """
    port, log = free_port(), folder / "farebox.log"
    log.touch()
    config = folder / "farebox.yaml"
    database = options.database or f"sqlite:///{folder}/farebox.db"
    config.write_text(farebox_config(port, mock_port, database, options))
    command = [str(Path(sys.executable).with_name("farebox")), "serve", "--config", str(config)]
    if options.under:
        command = [*options.under, sys.executable, *command]
    # One worker has one processor; more of them have all.
    cpu = GATEWAY_CPU if options.workers == 1 else None
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
    with running(command, cpu=cpu, log=log, environment=environment) as process:
        await_port(process, port, log, limit_s=120 if options.under else 60)
        if ready:
            _await_ready(port)
        yield Gateway("farebox", port, process.pid)


def _await_ready(port: int, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if get(port, "/readyz")[0] == http.HTTPStatus.OK:
                return
        time.sleep(_POLL_S)
    raise RuntimeError(f"port {port} does not get ready: {get(port, '/readyz')!r}")


def get(port: int, path: str) -> tuple[int, bytes]:
    """The status and the body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def first_answer_s(start: float, gateway: Gateway, body: bytes) -> float:
    """Seconds from ``start`` (monotonic) until a call is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    said = response.read()
    connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"the first call was answered {response.status}: {said!r}")
    return time.monotonic() - start
