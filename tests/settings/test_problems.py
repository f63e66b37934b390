"""Every mistake in a configuration is told with its file, line and path, and what to write instead."""

from collections.abc import Callable

import pytest

Refused = Callable[..., list[str]]

UPSTREAM = "upstreams: {openai: {base_url: 'https://api.openai.com/v1'}}\n"

FIELDS = {
    "an unknown name, with the one that was meant": (
        "databse: sqlite:///x.db",
        "farebox.yaml:1: databse: there is no such field; did you mean database?",
    ),
    "an unknown name like no other, with all there are": (
        "logging: {colour: red}",
        "farebox.yaml:1: logging.colour: there is no such field; write one of format, level",
    ),
    "an unknown name with nothing after it": (
        "ledger:\n  lease:\n",
        "farebox.yaml:2: ledger.lease: there is no such field; did you mean lease_s?",
    ),
    "an unknown name in an upstream": (
        "upstreams:\n  openai:\n    base_url: https://api.openai.com/v1\n    apikey: sk-secret",
        "farebox.yaml:4: upstreams.openai.apikey: there is no such field; did you mean api_key?",
    ),
    "a word for a number": (
        "teams:\n  - name: search\n    max_output_tokens: lots",
        "farebox.yaml:3: teams[0].max_output_tokens: expected a number of tokens like 1000, got 'lots'",
    ),
    "true for a number": (
        "defaults: {max_output_tokens: true}",
        "farebox.yaml:1: defaults.max_output_tokens: expected a number of tokens like 1000, got true",
    ),
    "no tokens at all": (
        "defaults: {max_output_tokens: 0}",
        "farebox.yaml:1: defaults.max_output_tokens: expected a number of tokens like 1000, got 0",
    ),
    "half a token": (
        "defaults: {max_output_tokens: 1.5}",
        "farebox.yaml:1: defaults.max_output_tokens: expected a number of tokens like 1000, got 1.5",
    ),
    "a list for a number": (
        "server: {port: [80]}",
        "farebox.yaml:1: server.port: expected a port number like 8080, got a list",
    ),
    "a port that does not exist": (
        "server: {port: 65536}",
        "farebox.yaml:1: server.port: expected a port number like 8080, got 65536",
    ),
    "an endless time": (
        "ledger: {lease_s: .inf}",
        "farebox.yaml:1: ledger.lease_s: expected a number of seconds above 0 like 30, got '.inf'",
    ),
    "infinity by another name": (
        "ledger: {lease_s: inf}",
        "farebox.yaml:1: ledger.lease_s: expected a number of seconds above 0 like 30, got 'inf'",
    ),
    "a negative wait": (
        "ledger: {hold_wait_s: -1}",
        (
            "farebox.yaml:1: ledger.hold_wait_s: "
            "expected a number of seconds, 0 or more, like 1.5, got -1"
        ),
    ),
    "a word that is none of a few": (
        "ledger: {unavailable: alow}",
        (
            "farebox.yaml:1: ledger.unavailable: "
            "expected reject or allow, got 'alow'; did you mean allow?"
        ),
    ),
    "a word that is none of many": (
        "logging: {level: loud}",
        "farebox.yaml:1: logging.level: expected debug, info, warning or error, got 'loud'",
    ),
    "neither true nor false": (
        "upstreams: {a: {base_url: http://h, verify_tls: perhaps}}",
        "farebox.yaml:1: upstreams.a.verify_tls: expected true or false, got 'perhaps'",
    ),
    "a number for a name": (
        "teams: [{name: 42}]",
        "farebox.yaml:1: teams[0].name: expected a name like search, got 42; put it into quotes",
    ),
    "an empty name": (
        "teams: [{name: ''}]",
        "farebox.yaml:1: teams[0].name: expected a name like search, got ''",
    ),
    "a name with spaces around it": (
        "teams: [{name: ' search'}]",
        (
            "farebox.yaml:1: teams[0].name: "
            "' search' has spaces at an end, or control characters; remove them"
        ),
    ),
    "a missing name": (
        "teams:\n  - models: [fast]",
        "farebox.yaml:2: teams[0].name: is missing; write name: search",
    ),
    "a word for a list": (
        "teams: [{name: search, models: gpt-*}]",
        "farebox.yaml:1: teams[0].models: expected a list, got 'gpt-*'; write it as [gpt-*]",
    ),
    "a group for a list": (
        "teams: {search: {}}",
        "farebox.yaml:1: teams: expected a list, got a group of settings",
    ),
    "a list for a group": (
        "ledger: [1]",
        "farebox.yaml:1: ledger: expected a group of settings (lines of 'name: value'), got a list",
    ),
    "a list for named groups": (
        "upstreams: [openai]",
        "farebox.yaml:1: upstreams: expected lines of 'name: value', got a list",
    ),
    "an upstream with nothing in it": (
        "upstreams:\n  openai:\n",
        (
            "farebox.yaml:2: upstreams.openai: "
            "expected a group of settings (lines of 'name: value'), got nothing"
        ),
    ),
    "an upstream's name with a slash": (
        "upstreams: {a/b: {base_url: http://h}}",
        (
            "farebox.yaml:1: upstreams.a/b: is no name for an upstream; use letters, digits, '_', '.' "
            "and '-', because targets are written upstream/model"
        ),
    ),
    "an unknown preset": (
        "upstreams: {a: {base_url: http://h, preset: mistrall}}",
        "farebox.yaml:1: upstreams.a.preset: 'mistrall' is no preset; did you mean mistral?",
    ),
    "a pattern with an open bracket": (
        UPSTREAM + "models: [{match: 'gpt-[45', upstream: openai}]",
        (
            "farebox.yaml:2: models[0].match: "
            "'gpt-[45' has a '[' without its ']'; write a pattern like gpt-* or gpt-[45]*"
        ),
    ),
    "a pattern of two words": (
        "teams: [{name: a, models: ['gpt-4 gpt-5']}]",
        (
            "farebox.yaml:1: teams[0].models[0]: "
            "'gpt-4 gpt-5' has spaces in it; a pattern is one word like gpt-*"
        ),
    ),
}

MONEY = {
    "a word for an amount": (
        "much",
        "expected an amount in US dollars from 0 to 9000000000 like 25.50, got 'much'",
    ),
    "a negative amount": (
        "-1",
        "expected an amount in US dollars from 0 to 9000000000 like 25.50, got -1",
    ),
    "more than the ledger can count": (
        "9000000001",
        "expected an amount in US dollars from 0 to 9000000000 like 25.50, got 9000000001",
    ),
    "an amount that is no number": (
        ".nan",
        "expected an amount in US dollars from 0 to 9000000000 like 25.50, got '.nan'",
    ),
    "less than a nano-dollar": (
        "0.1234567891",
        "0.1234567891 has more than 9 decimal places; round it",
    ),
}

PRICES = {
    "no price at all": (
        "{model: gpt-5}",
        "prices[0]: gives no price; write input_per_mtok and output_per_mtok, or a multiplier",
    ),
    "a negative price": (
        "{per_request: -0.1}",
        "prices[0].per_request: expected a price in US dollars, 0 or more, like 0.42, got -0.1",
    ),
    "too fine a price": (
        "{per_second: 0.1234567890123}",
        "prices[0].per_second: 0.1234567890123 has 13 decimal places; write at most 12",
    ),
    "a number for a date": (
        "{per_image: 1, valid_from: 20260131}",
        "prices[0].valid_from: expected a date like 2026-01-31, got 20260131",
    ),
    "a day that is none": (
        "{per_image: 1, valid_from: 2026-02-30}",
        "prices[0].valid_from: expected a date like 2026-01-31, got '2026-02-30'",
    ),
    "a negative factor": (
        "{multiplier: -1}",
        "prices[0].multiplier: expected a factor from 0 to 1000 like 0.85, got -1",
    ),
    "an unknown upstream": (
        "{upstream: local, per_image: 1}",
        "prices[0].upstream: there is no upstream 'local'; write one of openai",
    ),
}

BUDGETS = {
    "an unknown window": (
        "{limit_usd: 1, window: weak}",
        "budgets[0].window: expected hour, day, week, month or total, got 'weak'; did you mean week?",
    ),
    "a time zone that does not exist": (
        "{limit_usd: 1, timezone: Berlin}",
        "budgets[0].timezone: 'Berlin' is no time zone; write a name like Europe/Berlin",
    ),
    "an unknown policy": (
        "{limit_usd: 1, unbounded: alow}",
        (
            "budgets[0].unbounded: "
            "expected reject, allow, or an amount like {reserve_usd: 0.50}, got 'alow'; did you mean allow?"
        ),
    ),
    "a policy's amount that is none": (
        "{limit_usd: 1, unbounded: {reserve_usd: much}}",
        (
            "budgets[0].unbounded.reserve_usd: "
            "expected an amount in US dollars from 0 to 9000000000 like 25.50, got 'much'"
        ),
    ),
    "a policy's amount that is missing": (
        "{limit_usd: 1, unbounded: {}}",
        "budgets[0].unbounded.reserve_usd: is missing; write reserve_usd: 25.50",
    ),
    "no limit": (
        "{window: day}",
        "budgets[0].limit_usd: is missing; write limit_usd: 25.50",
    ),
}

URL = "write one like https://api.openai.com/v1"
BASE_URLS = {
    "api.openai.com/v1": f"'api.openai.com/v1' is no http or https URL; {URL}",
    "ftp://host/v1": f"'ftp://host/v1' is no http or https URL; {URL}",
    "https://": f"'https://' is no http or https URL; {URL}",
    "https://host:99999": f"'https://host:99999' is no valid URL; {URL}",
    "https://host/a b": f"'https://host/a b' is no valid URL; {URL}",
    "https://host/v1?key=abc": "'https://host/v1?…' has a query ('?…'); leave it out: the client's "
    "own is passed on, and a credential belongs in api_key or headers",
    "https://host/v1#x": "'https://host/v1#x' has a fragment ('#…'); leave it out",
    "https://me:hunter2@host/v1": "'https://…@host/v1' has a user name in it; "
    "put the credential into api_key or headers",
}

DATABASE = (
    "write sqlite:///data/farebox.db (a file below the working directory), "
    "sqlite:////var/lib/farebox/farebox.db, or postgresql://user:password@host/name"
)
DATABASES = {
    "mysql://root:hunter2@host/db": f"is no database that Farebox knows; {DATABASE}",
    "farebox.db": f"is no database that Farebox knows; {DATABASE}",
    "sqlite://": f"names no file; {DATABASE}",
    "sqlite:///": f"names no file; {DATABASE}",
    "sqlite:///:memory:": f"names no file; {DATABASE}",
    "sqlite:///data/": f"names no file; {DATABASE}",
    "postgresql://user:hunter2@host": f"names no database; {DATABASE}",
    "postgresql://user:hunter2/@host/db": "is no valid URL; percent-encode special characters of "
    "the password ('@' as %40, '/' as %2F, '#' as %23)",
}

HEADERS = {
    "a name with a space": ("{'a b': c}", ("headers.a b: is no name of an HTTP header; "
                            "write one like x-organization")),
    "a header that is not the operator's": (
        "{Host: example.com}",
        "headers.Host: is a header that Farebox sets itself; remove it",
    ),
    "a line break in a value": (
        '{x-a: "secret\\nx-b: c"}',
        ("headers.x-a: the value (not shown) has line breaks or non-ASCII characters, "
        "which no HTTP header may have"),
    ),
    "a number for a value": (
        "{x-version: 1}",
        ("headers.x-version: expected a header's value like \"text in quotes\", "
        "got the value (not shown); put it into quotes"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FIELDS.values(), ids=FIELDS)
def test_field(refused: Refused, text: str, message: str) -> None:
    assert refused(text) == [message]


@pytest.mark.parametrize(("amount", "message"), MONEY.values(), ids=MONEY)
def test_money(refused: Refused, amount: str, message: str) -> None:
    text = f"teams:\n  - name: a\n    budgets: [{{limit_usd: {amount}}}]"

    assert refused(text) == [f"farebox.yaml:3: teams[0].budgets[0].limit_usd: {message}"]


@pytest.mark.parametrize(("price", "message"), PRICES.values(), ids=PRICES)
def test_price(refused: Refused, price: str, message: str) -> None:
    assert refused(f"{UPSTREAM}prices: [{price}]") == [f"farebox.yaml:2: {message}"]


@pytest.mark.parametrize(("budget", "message"), BUDGETS.values(), ids=BUDGETS)
def test_budget(refused: Refused, budget: str, message: str) -> None:
    text = f"teams: [{{name: a, budgets: [{budget}]}}]"

    assert refused(text) == [f"farebox.yaml:1: teams[0].{message}"]


@pytest.mark.parametrize(("url", "message"), BASE_URLS.items())
def test_base_url(refused: Refused, url: str, message: str) -> None:
    text = f"upstreams: {{a: {{base_url: '{url}'}}}}"

    assert refused(text) == [f"farebox.yaml:1: upstreams.a.base_url: {message}"]


@pytest.mark.parametrize(("url", "message"), DATABASES.items())
def test_database(refused: Refused, url: str, message: str) -> None:
    """A database's URL may hold a password, and is never repeated."""
    assert refused(f"database: '{url}'") == [
        f"farebox.yaml:1: database: the value (not shown) {message}"
    ]


@pytest.mark.parametrize(("headers", "message"), HEADERS.values(), ids=HEADERS)
def test_header(refused: Refused, headers: str, message: str) -> None:
    text = f"upstreams: {{a: {{base_url: http://h, headers: {headers}}}}}"

    assert refused(text) == [f"farebox.yaml:1: upstreams.a.{message}"]
