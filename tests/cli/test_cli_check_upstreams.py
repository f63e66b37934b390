"""``farebox check`` at upstreams: a wrong key, a wrong address, a wrong dialect, of every provider that has a name."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from proxy.gateway.presets import PRESETS
from tests.cli.conftest import Cli

OPENAI: Final = {"object": "list", "data": [{"id": "m"}]}
MODELS: Final = {"models": [{"name": "models/m"}]}
KEYS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
# What is where. The folders are servers of their own.
THERE: Final[dict[str, Any]] = {
    "/v1/models": OPENAI,
    "/openai/v1/models": OPENAI,
    "/openai/models": OPENAI,
    "/v1beta/openai/models": OPENAI,
    "/compatibility/v1/models": OPENAI,
    "/google/v1beta/models": MODELS,
    "/cohere/v1/models": {"models": [{"name": "m"}]},
    "/ollama/api/tags": {"models": [{"name": "m"}]},
    "/together/models": [{"id": "m"}],
    "/page/models": "<html>",
    "/moved/models": 301,
    "/broken/models": 503,
}


class Provider(http.server.BaseHTTPRequestHandler):
    """Knows one key."""

    def do_GET(self) -> None:
        """What is there, for whoever has the key."""
        found = THERE.get(self.path, 404)
        shown = {self.headers.get(name, "").removeprefix("Bearer ") for name in KEYS}
        if "good" not in shown and not isinstance(found, int):
            found = 401
        status, body = (found, b"") if isinstance(found, int) else (200, _written(found))
        self.send_response(status)
        if status == 301:
            self.send_header("location", "https://example.com/v1/models")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Not here."""


def _written(found: Any) -> bytes:
    return found.encode() if isinstance(found, str) else json.dumps(found).encode()


class Server(http.server.ThreadingHTTPServer):
    """Takes as many connections at once as there are upstreams."""

    request_queue_size = 256


@pytest.fixture(scope="module")
def there() -> Iterator[str]:
    """The provider's address."""
    with Server(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def checked(cli: Cli, upstreams: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Verdict and detail of each, by one run."""
    with cli.config.open("a") as config:
        config.write(json.dumps({"upstreams": upstreams})[1:-1] + "\n")
    rows = cli("check", "--format", "json").rows
    found = {row["what"]: (row["verdict"], row["detail"]) for row in rows}
    return {name: found[f"upstream {name}"] for name in upstreams}


# The bare host, for those whose own SDKs have it so.
BARE: Final = ("azure", "cohere", "ollama", "anthropic")


def test_every_provider_that_has_a_name_is_asked(cli: Cli, there: str) -> None:
    """With the good key each lists its models, but for those that tell none; a bad one is a problem."""
    upstreams = {}
    for name in PRESETS:
        base = there if name in BARE else f"{there}/v1beta" if name == "gemini" else f"{there}/v1"
        for key in ("good", "bad"):
            upstreams[f"{name}-{key}"] = {"preset": name, "base_url": base, "api_key": key}
    found = checked(cli, upstreams)

    for name, preset in PRESETS.items():
        (good, said), (bad, why) = found[f"{name}-good"], found[f"{name}-bad"]
        if preset.lists:
            assert (name, good, said.rpartition("; ")[2]) == (name, "ok", "lists 1 model")
            assert (name, bad, why) == (name, "problem", "refuses the api_key (status 401)")
        else:
            assert (name, good, bad) == (name, "ok", "ok")
            assert "it tells no models" in said


CASES: Final = {
    "anthropic": ("anthropic", "", "ok", "lists 1 model"),
    "anthropic-v1": ("anthropic", "/v1", "ok", "lists 1 model"),
    "gemini": ("gemini", "/google", "ok", "lists 1 model"),
    "gemini-v1beta": ("gemini", "/google/v1beta", "ok", "lists 1 model"),
    "cohere": ("cohere", "/cohere", "ok", "lists 1 model"),
    "ollama": ("ollama", "/ollama", "ok", "lists 1 model"),
    "bare-list": ("openai", "/together", "ok", "lists 1 model"),
    # a wrong address
    "no-v1": ("openai", "", "problem", "at /v1/models: perhaps base_url ends with {there}/v1"),
    "path-of-a-call": ("openai", "/v1/chat/completions", "problem", "perhaps base_url ends with"),
    "nowhere": ("openai", "/x", "note", "are base_url and dialect right?"),
    "page": ("openai", "/page", "problem", "what it answers at /page/models is no list of models"),
    "moved": ("openai", "/moved", "problem", "leads on to https://example.com/v1/models"),
    "broken": ("openai", "/broken", "problem", "fails with status 503"),
    # a wrong dialect
    "is-ollama": ("openai", "/ollama", "problem", "perhaps it is Ollama's own API"),
    "is-gemini": ("openai", "/google", "problem", "perhaps it is Gemini's API"),
    "is-cohere": ("anthropic", "/cohere", "problem", "is not one of the dialect 'anthropic'"),
    "is-openai": ("cohere", "", "problem", "is not one of the dialect 'cohere'"),
}  # fmt: skip


def test_what_is_wrong_is_told(cli: Cli, there: str) -> None:
    """So that one knows what to write instead."""
    found = checked(
        cli,
        {
            name: {"dialect": dialect, "base_url": there + path, "api_key": "good"}
            for name, (dialect, path, _, _) in CASES.items()
        },
    )

    for name, (_, _, verdict, detail) in CASES.items():
        assert (name, found[name][0]) == (name, verdict), found[name]
        assert detail.format(there=there) in found[name][1]
