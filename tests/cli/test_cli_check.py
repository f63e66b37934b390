"""``farebox check``: what it finds before a service is started."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import Cli

MODELS = b'{"object":"list","data":[{"id":"gpt-4o"},{"id":"gpt-4o-mini"}]}'


class Provider(http.server.BaseHTTPRequestHandler):
    """Knows one key, and two models."""

    def do_GET(self) -> None:
        """The models, for whoever has the key."""
        known = self.headers.get("authorization") == "Bearer good"
        good = known and self.path == "/v1/models"
        self.send_response(200 if good else 401)
        self.send_header("content-length", str(len(MODELS) if good else 0))
        self.end_headers()
        if good:
            self.wfile.write(MODELS)

    def log_message(self, *_: Any) -> None:
        """Not here."""


@pytest.fixture
def provider() -> Iterator[str]:
    """A provider on a socket."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def verdict(cli: Cli, what: str) -> tuple[str, str, int]:
    done = cli("check", "--format", "json")
    [row] = [row for row in done.rows if row["what"].startswith(what)]
    return row["verdict"], row["detail"], done.code


def configure(cli: Cli, text: str) -> None:
    with cli.config.open("a") as config:
        config.write(text)


@pytest.mark.parametrize(
    ("key", "expected", "detail"),
    [
        ("good", "ok", "reached in"),
        ("bad", "problem", "refuses the api_key"),
        ("", "note", "no api_key"),
    ],
)
def test_an_upstream_is_asked_with_its_key(
    cli: Cli, provider: str, key: str, expected: str, detail: str
) -> None:
    """A key that the provider refuses is a problem; that none is set may be meant."""
    configure(cli, f'upstreams: {{main: {{base_url: "{provider}", api_key: "{key}"}}}}\n')

    found, told, code = verdict(cli, "upstream main")

    assert (found, code) == (expected, int(expected == "problem"))
    assert detail in told


def test_an_upstream_that_is_not_there_is_a_problem(cli: Cli) -> None:
    configure(
        cli,
        'upstreams: {gone: {base_url: "http://127.0.0.1:1/v1", api_key: "sk-secret-0123456789"}}\n',
    )

    found, told, code = verdict(cli, "upstream gone")

    assert (found, code) == ("problem", 1)
    assert "127.0.0.1:1 can't be reached" in told
    assert "sk-secret" not in told


def test_models_without_a_price_are_named(cli: Cli, provider: str) -> None:
    """They would be refused under a blocking budget."""
    configure(
        cli,
        f'upstreams: {{main: {{base_url: "{provider}", api_key: good, price_provider: openai}}}}\n',
    )
    configure(cli, "models: [{name: fast, targets: [main/gpt-5-mini, main/my-model]}]\n")

    found, told, _ = verdict(cli, "prices")

    assert (found, told) == ("note", "nothing gives a price for main/my-model")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ("note", "main: no list prices at this address, and none under `prices:`; ")),
        ('prices: [{upstream: "m*", input_per_mtok: 1}]', ("ok", "genai-prices")),
    ],
)
def test_an_upstream_without_any_price_is_told(
    more: str, expected: tuple[str, str], cli: Cli, provider: str
) -> None:
    """A blocking budget refuses all of its calls: better heard before the first one."""
    configure(cli, f'upstreams: {{main: {{base_url: "{provider}"}}}}\n')
    configure(cli, 'models: [{match: "*", upstream: main}]\n')
    configure(cli, more + "\n")

    found, told, _ = verdict(cli, "prices")

    assert (found, told[: len(expected[1])]) == expected


@pytest.mark.parametrize(("upstream", "expected"), [("openai", "ok"), ("main", "note")])
def test_prices_are_looked_for_as_calls_do(
    upstream: str, expected: str, cli: Cli, provider: str
) -> None:
    """At an address that nobody knows an upstream's name says whose prices hold, or nothing does."""
    configure(cli, f'upstreams: {{{upstream}: {{base_url: "{provider}", api_key: good}}}}\n')
    configure(cli, f"models: [{{name: fast, targets: [{upstream}/gpt-5-mini]}}]\n")

    assert verdict(cli, "prices")[0] == expected


def test_a_database_that_is_behind_is_noted(cli: Cli) -> None:
    """``serve`` brings it up to date by itself."""
    cli("db", "upgrade")

    assert verdict(cli, "database")[0] == "ok"


def test_a_database_that_does_not_answer_is_a_problem(cli: Cli) -> None:
    cli.config.write_text('database: "postgresql://user:secret@127.0.0.1:1/farebox"\n')

    found, _, code = verdict(cli, "database")
    done = cli("check")

    assert (found, code) == ("problem", 1)
    assert "secret" not in done.out


def test_a_table_is_the_form_for_people(cli: Cli) -> None:
    done = cli("check")

    assert done.code == 0
    assert "vocabulary o200k_base" in done.out


@pytest.mark.parametrize(
    ("model", "expected", "detail"),
    [("gpt-4o", "ok", "lists 2 models"), ("gpt-9", "note", "lists 2 models, but not gpt-9")],
)
def test_models_that_an_upstream_does_not_list_are_told(
    cli: Cli, provider: str, model: str, expected: str, detail: str
) -> None:
    """It may serve them all the same; a misspelt name is found before a client finds it."""
    configure(
        cli,
        f"upstreams: {{main: {{base_url: '{provider}', api_key: good}}}}\n"
        f"models: [{{name: fast, targets: [main/{model}]}}]\n",
    )

    found, said, _ = verdict(cli, "upstream main")
    assert found == expected
    assert said.endswith(detail)


def test_an_admin_token_that_can_be_guessed_is_told_of(cli: Cli) -> None:
    """Tries are not counted at the admin API: its token has to be long."""
    configure(cli, "admin_token: hunter2\n")

    found, told, code = verdict(cli, "admin API")

    assert (found, code) == ("note", 0)
    assert "openssl rand" in told
    assert "hunter2" not in told


def test_a_long_admin_token_is_nothing_to_tell_of(cli: Cli) -> None:
    configure(cli, "admin_token: 0123456789abcdef\n")

    rows = cli("check", "--format", "json").rows

    assert [row for row in rows if row["what"] == "admin API"] == []
