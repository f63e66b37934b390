"""The image is what the linters and Kubernetes expect, and its health check tells the truth."""

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    """The Dockerfile, continued lines joined."""
    return (root / "Dockerfile").read_text().replace("\\\n", " ")


def test_hadolint_has_nothing_to_say(root: Path) -> None:
    said = subprocess.run(
        [BIN / "hadolint", root / "Dockerfile"], check=False, capture_output=True, text=True
    )

    assert (said.returncode, said.stdout) == (0, "")


def test_the_image_does_not_run_as_root(dockerfile: str) -> None:
    """By number, so that Kubernetes' runAsNonRoot can tell."""
    *_, last = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)

    assert last == "10001:10001"


def test_what_is_copied_is_there_and_is_sent_to_the_build(root: Path, dockerfile: str) -> None:
    ignored = (root / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}

    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert (root / source).exists()
            assert source.partition("/")[0] in sent


@pytest.mark.parametrize("name", ["requirements.run.lock", "requirements.build.lock"])
def test_what_is_installed_is_checked_by_hash(dockerfile: str, name: str) -> None:
    assert f"--require-hashes -r {name}" in dockerfile


def test_one_port_is_served_exposed_and_checked(dockerfile: str) -> None:
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE)
    (served,) = re.findall(r'"--port", "(\d+)"', dockerfile)

    assert exposed == served
    assert f"'127.0.0.1', {exposed}" in " ".join(health_check(dockerfile))


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_the_health_check_asks_the_server(dockerfile: str, status: int, exit_code: int) -> None:
    for port in answering(status):
        command = [part.replace("8080", str(port)) for part in health_check(dockerfile)]
        done = subprocess.run([sys.executable, *command[1:]], check=False, capture_output=True)

        assert exit_code == done.returncode


def test_the_health_check_fails_where_nothing_answers(dockerfile: str) -> None:
    for port in answering(200):
        free = port  # and closed again when the loop is left
    command = [part.replace("8080", str(free)) for part in health_check(dockerfile)]
    done = subprocess.run([sys.executable, *command[1:]], check=False, capture_output=True)

    assert done.returncode == 1


def health_check(dockerfile: str) -> list[str]:
    """The command of HEALTHCHECK."""
    (found,) = re.findall(r"^HEALTHCHECK .*?CMD (\[.+\])$", dockerfile, re.MULTILINE)
    command: list[str] = json.loads(found)
    return command


def answering(status: int) -> Iterator[int]:
    """The port of a server that answers every GET with a status, once, while the loop runs."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
