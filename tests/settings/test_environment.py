"""The environment wins over the file, and a misspelt variable does not pass unnoticed."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from proxy.core.errors import ConfigurationError
from proxy.settings import Reserve, Settings, load_settings
from proxy.settings.environment import variables

Load = Callable[..., Settings]
Refused = Callable[..., list[str]]


def test_without_a_file_the_environment_is_enough() -> None:
    found = load_settings(None, {"FAREBOX_DATABASE": "sqlite:///x.db", "FAREBOX_SERVER__PORT": "0"})

    assert found.database == "sqlite:///x.db"
    assert found.server.port == 0
    assert load_settings(None, {"PATH": "/bin", "HOME": "/"}) == Settings()


def test_the_environment_wins(load: Load) -> None:
    text = "database: sqlite:///a.db\nledger: {unavailable: reject, lease_s: 5}"

    found = load(
        text, {"FAREBOX_LEDGER__UNAVAILABLE": "allow", "FAREBOX_DATABASE": "sqlite:///b.db"}
    )

    assert found.database == "sqlite:///b.db"
    assert (found.ledger.unavailable, found.ledger.lease_s) == ("allow", 5)


def test_it_wins_over_a_missing_variable(load: Load) -> None:
    assert load("admin_token: ${TOKEN}", {"FAREBOX_ADMIN_TOKEN": "abc"}).admin_token == "abc"


def test_it_wins_over_a_name_with_nothing_after_it(load: Load) -> None:
    assert load("ledger:", {"FAREBOX_LEDGER__LEASE_S": "5"}).ledger.lease_s == 5


def test_an_empty_variable_is_not_set(load: Load) -> None:
    """Orchestrators pass an unset variable on as an empty one."""
    env = {"FAREBOX_DATABASE": "", "FAREBOX_NONSENSE": ""}

    assert load("database: sqlite:///a.db", env).database == "sqlite:///a.db"


def test_values_are_taken_as_they_are(load: Load) -> None:
    env = {"FAREBOX_ADMIN_TOKEN": "a$$b${C}"}

    assert load("", env).admin_token == "a$$b${C}"


def test_an_upstream_is_found_by_its_name_in_capitals(load: Load) -> None:
    text = "upstreams: {Azure-eu.1: {base_url: http://a}}"
    env = {"FAREBOX_UPSTREAMS__AZURE_EU_1__API_KEY": "abc"}

    assert load(text, env).upstreams["Azure-eu.1"].api_key == "abc"


def test_an_upstream_may_come_from_the_environment_alone(load: Load) -> None:
    env = {"FAREBOX_UPSTREAMS__OPENAI__BASE_URL": "https://api.openai.com/v1"}
    text = 'models: [{match: "*", upstream: openai}]'

    assert load(text, env).upstreams["openai"].base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize("text", ["", "defaults: {unbounded: reject}"])
def test_a_policy_may_become_an_amount(load: Load, text: str) -> None:
    env = {"FAREBOX_DEFAULTS__UNBOUNDED__RESERVE_USD": "0.5"}

    assert load(text, env).defaults.unbounded == Reserve(reserve_usd=Decimal("0.5"))


@pytest.mark.parametrize(
    "env",
    [
        {"FAREBOX_CONFIG": "farebox.yaml"},
        {"FAREBOX_EXCHANGES": "/x"},
        {"FAREBOX_TEST_POSTGRES": "x"},
        {"FAREBOX_BENCH_SECONDS": "5"},
        {"FAREBOX_SERVICE_HOST": "10.0.0.7", "FAREBOX_SERVICE_PORT": "8080"},
        {"FAREBOX_SERVICE_PORT_HTTP": "8080", "FAREBOX_PORT": "tcp://10.0.0.7:8080"},
        {"FAREBOX_PORT_8080_TCP": "tcp://10.0.0.7:8080", "FAREBOX_PORT_8080_TCP_ADDR": "10.0.0.7"},
        {"OPENAI_API_KEY": "x", "farebox_database": "x"},
    ],
)
def test_what_others_read_is_left_alone(load: Load, env: Mapping[str, str]) -> None:
    """Also what Kubernetes tells every pod of a service that is called farebox."""
    assert load("", env) == Settings()


def test_a_variable_that_the_file_names_is_left_alone(load: Load) -> None:
    text = "teams: [{name: a, organisation: '${FAREBOX_ORGANISATION}'}]"

    assert load(text, {"FAREBOX_ORGANISATION": "acme"}).teams[0].organisation == "acme"


REFUSED = {
    "FAREBOX_DATABSE": "sets nothing; did you mean FAREBOX_DATABASE?",
    "FAREBOX_PORT": "sets nothing; did you mean FAREBOX_SERVER__PORT?",
    "FAREBOX_LEDGER_UNAVAILABLE": "sets nothing; did you mean FAREBOX_LEDGER__UNAVAILABLE?",
    "FAREBOX_LEDGER__LEASE": "sets nothing; did you mean FAREBOX_LEDGER__LEASE_S?",
    "FAREBOX_UPSTREAMS__OPENAI__KEY": (
        "sets nothing; did you mean FAREBOX_UPSTREAMS__OPENAI__API_KEY?"
    ),
    "FAREBOX_QQQQ": "sets nothing; correct its name, or remove it",
    "FAREBOX_TEAMS": "can't set teams, which is a list; write it in the file",
    "FAREBOX_SERVER": "names a group of settings; set one of it, like FAREBOX_SERVER__HOST",
    "FAREBOX_UPSTREAMS": (
        "names a group of settings; set one of it, like FAREBOX_UPSTREAMS__OPENAI__API_KEY"
    ),
    "FAREBOX_UPSTREAMS__OPENAI": (
        "names a group of settings; set one of it, like FAREBOX_UPSTREAMS__OPENAI__DIALECT"
    ),
    "FAREBOX_SERVER__PORT": "server.port: expected a port number like 8080, got 'x'",
    "FAREBOX_SERVER__PORT__X": "sets nothing; did you mean FAREBOX_SERVER__PORT?",
    "FAREBOX_DATABASE": "database: the value (not shown) is no database that Farebox knows;",
}


@pytest.mark.parametrize(("name", "message"), REFUSED.items())
def test_refused(refused: Refused, name: str, message: str) -> None:
    text = "upstreams: {openai: {base_url: https://api.openai.com/v1}}"

    (problem,) = refused(text, {name: "x"})

    assert problem.startswith(f"environment variable {name}: {message}")


def test_a_mistake_of_the_file_is_not_hidden_by_the_environment(refused: Refused) -> None:
    assert refused("ledger: [1]", {"FAREBOX_LEDGER__LEASE_S": "5"}) == [
        "farebox.yaml:1: ledger: expected a group of settings (lines of 'name: value'), got a list"
    ]


def test_without_a_file_the_variable_is_named() -> None:
    with pytest.raises(ConfigurationError) as error:
        load_settings(None, {"FAREBOX_UPSTREAMS__A__API_KEY": "x"})

    assert str(error.value) == (
        "the configuration: upstreams.a.base_url: is missing; "
        "write base_url: https://api.openai.com/v1"
    )


def test_every_setting_outside_of_lists_has_its_variable() -> None:
    """A sample of each kind; docs/configuration.md states the rule."""
    assert {
        "FAREBOX_DATABASE",
        "FAREBOX_ADMIN_TOKEN",
        "FAREBOX_LEDGER__UNAVAILABLE",
        "FAREBOX_DEFAULTS__UNBOUNDED",
        "FAREBOX_LOGGING__LEVEL",
    } <= set(variables())
    assert not {"FAREBOX_TEAMS", "FAREBOX_UPSTREAMS", "FAREBOX_LEDGER"} & set(variables())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.yaml", "none.yaml: there is no such file; name one with --config or FAREBOX_CONFIG"),
        (".", ".: can't be read: Is a directory"),
    ],
)
def test_a_file_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError) as error:
        load_settings(Path(name), {})

    assert str(error.value) == message
