"""Variables in the file: filled in after parsing, never shown, never missing without a word."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings import Settings
from proxy.settings.reading import read

Load = Callable[..., Settings]
Refused = Callable[..., list[str]]

TEXT = "teams: [{name: a, organisation: '%s'}]"


@pytest.mark.parametrize(
    ("written", "env", "read_as"),
    [
        ("${ORG}", {"ORG": "acme"}, "acme"),
        ("${ORG:-other}", {"ORG": "acme"}, "acme"),
        ("${ORG:-other}", {}, "other"),
        ("${ORG:-other}", {"ORG": ""}, "other"),
        ("${ORG:-}", {}, ""),
        ("${ORG:-a:-b}", {}, "a:-b"),
        ("a-${ORG}-${UNIT}", {"ORG": "b", "UNIT": "c"}, "a-b-c"),
        ("$$", {}, "$"),
        ("$${ORG}", {"ORG": "acme"}, "${ORG}"),
        ("$$$${ORG}", {"ORG": "acme"}, "$${ORG}"),
        ("$ORG costs $5", {"ORG": "acme"}, "$ORG costs $5"),
        ("${ORG}", {"ORG": "${UNIT} $$"}, "${UNIT} $$"),
    ],
)
def test_what_is_filled_in(load: Load, written: str, env: dict[str, str], read_as: str) -> None:
    (team,) = load(TEXT % written, env).teams

    assert team.organisation == read_as


def test_numbers_and_switches_may_come_from_variables(load: Load) -> None:
    text = """\
        server: {port: "${PORT}", workers: "${WORKERS:-2}"}
        upstreams: {a: {base_url: "http://${HOST}:${PORT}/v1", verify_tls: "${VERIFY}"}}
        teams: [{name: a, budgets: [{limit_usd: "${LIMIT}"}]}]
    """

    found = load(text, {"PORT": "81", "HOST": "h", "VERIFY": "false", "LIMIT": "0.05"})

    assert (found.server.port, found.server.workers) == (81, 2)
    assert found.upstreams["a"].base_url == "http://h:81/v1"
    assert found.upstreams["a"].verify_tls is False
    assert found.core_budgets()[0].limit_nano == 50_000_000


@given(value=st.text(min_size=1))
def test_a_variable_is_one_value_whatever_it_holds(value: str) -> None:
    """Line breaks, quotes, colons and brackets in it add no structure."""
    document = read("f", b"teams: [{name: '${NAME}', organisation: x}]", {"NAME": value})

    assert document.tree == {"teams": [{"name": value, "organisation": "x"}]}


def test_variables_are_not_filled_into_names(refused: Refused) -> None:
    assert refused("ledger: {'${NAME}': 1}", {"NAME": "lease_s"})[0].startswith(
        "farebox.yaml:1: ledger.${NAME}: there is no such field;"
    )


@pytest.mark.parametrize("env", [{}, {"OPENAI_API_KEY": ""}])
def test_a_missing_variable_is_refused(refused: Refused, env: dict[str, str]) -> None:
    """Also for an upstream that no rule leads to; a variable that is set but empty is missing."""
    text = """\
        upstreams:
          openai:
            base_url: https://api.openai.com/v1
            api_key: "${OPENAI_API_KEY}"
    """

    assert refused(text, env) == [
        (
            "farebox.yaml:4: upstreams.openai.api_key: the environment variable OPENAI_API_KEY is not "
            "set; set it, or write ${OPENAI_API_KEY:-a default}, or ${OPENAI_API_KEY:-} to go without"
        )
    ]


def test_all_missing_variables_of_a_value_are_told(refused: Refused) -> None:
    assert refused("admin_token: ${ONE}${TWO}") == [
        (
            "farebox.yaml:1: admin_token: the environment variables ONE, TWO are not set; set them, or "
            "write ${ONE:-a default}, or ${ONE:-} to go without"
        )
    ]


@pytest.mark.parametrize("written", ["${", "${}", "${A-b}", "${A B}", "${1A}", "${A:-${B}}", "${A"])
def test_what_is_no_variable_is_refused(refused: Refused, written: str) -> None:
    assert refused(TEXT % written) == [
        (
            "farebox.yaml:1: teams[0].organisation: has a '${' that starts no variable; write ${NAME} or "
            "${NAME:-default}, without braces in the default, and $$ for a plain $"
        )
    ]


def test_a_credential_may_be_absent_on_purpose(load: Load) -> None:
    text = """\
        admin_token: ${FAREBOX_ADMIN_TOKEN:-}
        upstreams: {openai: {base_url: https://api.openai.com/v1, api_key: "${OPENAI_API_KEY:-}"}}
    """

    found = load(text)

    assert found.admin_token is None
    assert found.upstreams["openai"].api_key is None


@pytest.mark.parametrize("key", ["${PROD_KEY:-}", "", "  "])
def test_an_empty_key_is_not_in_use(load: Load, key: str) -> None:
    """A caller who shows an empty key must find nobody there; the budget of the key goes with it."""
    found = load(
        f"teams: [{{name: a}}]\n"
        f"keys: [{{name: prod, team: a, key: '{key}', budgets: [{{limit_usd: 1}}]}}]"
    )

    assert found.keys == []
    assert found.core_budgets() == ()


def test_a_line_break_at_the_end_of_a_secret_is_dropped(load: Load) -> None:
    """Files and secret stores add one, and a header can't hold it."""
    found = load("admin_token: ${TOKEN}", {"TOKEN": "abc\r\n"})

    assert found.admin_token == "abc"


# Nothing secret is told

HUNTER2 = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "server: {port: '${SECRET}'}",
        "defaults: {on_over_cap: '${SECRET}'}",
        "upstreams: {a: {base_url: '${SECRET}'}}",
        "upstreams: {a: {base_url: 'http://me:${SECRET}@h'}}",
        "upstreams: {a: {base_url: http://h, preset: '${SECRET}'}}",
        "upstreams: {a: {base_url: http://h, api_key: '${SECRET} x'}}",
        "upstreams: {a: {base_url: http://h, headers: {x: 'é${SECRET}'}}}",
        "database: 'mysql://root:${SECRET}@h/db'",
        "database: 'postgresql://root:${SECRET}[@h/db'",
        "models: [{match: a, upstream: '${SECRET}'}]",
        "models: [{name: a, targets: ['${SECRET}']}]",
        "models: [{name: a, targets: ['${SECRET}/x']}]",
        "teams: [{name: '${SECRET}'}, {name: '${SECRET}'}]",
        "teams: [{name: a, models: '${SECRET}'}]",
        "teams: [{name: a, budgets: [{limit_usd: '${SECRET}'}]}]",
        "teams: [{name: a, budgets: [{limit_usd: 1, timezone: '${SECRET}'}]}]",
        "keys: [{name: a, team: '${SECRET}', key: x}]",
        "keys: [{name: a, team: b, key: '${SECRET}'}, {name: b, team: b, key: '${SECRET}'}]",
        "logging: '${SECRET}'",
        "'${SECRET}'",
    ],
)
def test_no_value_of_a_variable_is_shown(refused: Refused, text: str) -> None:
    """The wrong variable in the wrong place may be a key."""
    (first, *_) = problems = refused(text, {"SECRET": HUNTER2})

    assert HUNTER2 not in "\n".join(problems)
    assert first.startswith("farebox.yaml:1: ")


@pytest.mark.parametrize(
    "text",
    [
        f"admin_token: [{HUNTER2}]",
        f"admin_token: '{HUNTER2} x'",
        f"admin_tokn: {HUNTER2}",
        f"admin_token: *{HUNTER2}",
        f"admin_token: !{HUNTER2}",
        f"admin_token: !{HUNTER2}! x",
        f"admin_token: %{HUNTER2}",
        f'admin_token: "{HUNTER2}',
        f"admin_token: {{{HUNTER2}",
        HUNTER2,
        f"admin_token: {HUNTER2}: x",
        f"admin_token: {HUNTER2}\n  x: y",
        f"admin_token: {HUNTER2}\nadmin_token: {HUNTER2}",
        f"upstreams: {{a: {{base_url: 'http://me:{HUNTER2}@h/v1'}}}}",
        f"upstreams: {{a: {{base_url: 'http://h/v1?key={HUNTER2}'}}}}",
        f"upstreams: {{a: {{base_url: http://h, headers: {{x: [{HUNTER2}]}}}}}}",
        f"database: 'postgresql://root:{HUNTER2}[@h/db'",
        f"keys: [{{name: a, team: b, key: '{HUNTER2} x'}}]",
        f"accept_provider_keys: [{{upstream: a, team: b, sha256: {HUNTER2}}}]",
    ],
)
def test_no_secret_is_shown(refused: Refused, text: str) -> None:
    assert HUNTER2 not in "\n".join(refused(text))


def test_no_secret_is_in_the_settings_as_printed(load: Load) -> None:
    """They end up in logs and tracebacks."""
    text = f"""\
        database: postgresql://farebox:{HUNTER2}@db/farebox
        admin_token: {HUNTER2}-1
        upstreams:
          a: {{base_url: http://h, api_key: {HUNTER2}-2, headers: {{x: {HUNTER2}-3}}}}
        teams: [{{name: b}}]
        keys: [{{name: a, team: b, key: {HUNTER2}-4}}]
        accept_provider_keys: [{{upstream: a, team: b, prefix: {HUNTER2}-5}}]
    """

    found = load(text)

    assert HUNTER2 not in repr(found)
    assert HUNTER2 not in str(found)
    assert HUNTER2 not in found.database_shown
