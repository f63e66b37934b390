"""How YAML is read: numbers as they look, each name once, lines kept, anchors within bounds."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from proxy.settings import Settings

Load = Callable[..., Settings]
Refused = Callable[..., list[str]]


def test_no_file_gives_the_defaults(load: Load) -> None:
    assert load("") == Settings()
    assert load("# nothing but a comment\n") == Settings()


def test_a_name_with_nothing_after_it_is_as_if_absent(load: Load) -> None:
    assert load("teams:\nledger:\ndatabase:\ndefaults: {on_over_cap: }") == Settings()


@pytest.mark.parametrize(
    "name", ["0123", "1:30", "on", "no", "2026-01-31", "1e3", "0x1f", "=", "."]
)
def test_what_is_no_plain_number_is_text(load: Load, name: str) -> None:
    """YAML 1.1 would make 83, 90, True, False, a date and 31 of some of them."""
    (team,) = load(f"teams: [{{name: {name}}}]").teams

    assert team.name == name


@pytest.mark.parametrize(
    ("written", "meant"), [("8192", 8192), ("8_192", 8192), ("+8192", 8192), ("'8192'", 8192)]
)
def test_whole_numbers(load: Load, written: str, meant: int) -> None:
    assert load(f"defaults: {{max_output_tokens: {written}}}").defaults.max_output_tokens == meant


@pytest.mark.parametrize(
    "written",
    ["0.1", "1234567.123456789012", "0.000000000001", ".5", "1_000.25", "1.0e+3", "'0.42'"],
)
def test_decimal_numbers_are_exact(load: Load, written: str) -> None:
    (price,) = load(f"prices: [{{per_request: {written}}}]").prices

    assert price.per_request == Decimal(written.strip("'"))


@pytest.mark.parametrize("written", ["yes", "on", "true", "True", "'true'"])
def test_true_by_any_name(load: Load, written: str) -> None:
    text = f"upstreams: {{a: {{base_url: http://h, include_usage: {written}}}}}"

    assert load(text).upstreams["a"].include_usage is True


def test_dates(load: Load) -> None:
    (price,) = load("prices: [{per_request: 1, valid_from: 2026-01-31}]").prices

    assert price.valid_from == date(2026, 1, 31)


def test_names_of_upstreams_and_headers_are_text(load: Load) -> None:
    upstreams = load("upstreams: {1: {base_url: http://h, headers: {on: 'x'}}}").upstreams

    assert upstreams["1"].headers == {"on": "x"}


def test_a_repeated_name_is_refused(refused: Refused) -> None:
    """Most readers keep the last one, and the first is lost without a word."""
    text = """\
        ledger:
          lease_s: 60
          unavailable: reject
          lease_s: 30
    """

    assert refused(text) == [
        "farebox.yaml:4: ledger.lease_s: stands here a second time (first in line 2); keep one"
    ]


def test_anchors_and_merges(load: Load) -> None:
    """What stands in the group itself wins over what is merged into it, wherever it stands."""
    text = """\
        upstreams:
          a: &a {base_url: http://a, idle_timeout_s: 5, drain_s: 6}
          b: {<<: *a, base_url: http://b}
          c: *a
    """

    upstreams = load(text).upstreams

    assert upstreams["b"] == upstreams["a"].model_copy(update={"base_url": "http://b"})
    assert upstreams["c"] == upstreams["a"]


def test_a_merged_value_is_told_where_it_stands(refused: Refused) -> None:
    text = """\
        upstreams:
          a: &a
            base_url: http://a
            drain_s: long
          b:
            <<: *a
            base_url: http://b
    """
    said = "expected a number of seconds, 0 or more, like 1.5, got 'long'"

    assert refused(text) == [
        f"farebox.yaml:4: upstreams.a.drain_s: {said}",
        f"farebox.yaml:4: upstreams.b.drain_s: {said}",
    ]


LOOP = "an anchor (&) is repeated within itself, or too often"
QUOTES = (
    "check the indentation, and put into quotes what holds ': ' or ' #' or starts with one of "
    "* & ! % @ ` { [, and within brackets also ${NAME}"
)
UNREADABLE = {
    "a pattern without quotes": (
        b"models:\n  - {match: *, upstream: openai}",
        (
            "farebox.yaml:2: is not valid YAML: expected alphabetic or numeric character, "
            f"but found ','; {QUOTES}"
        ),
    ),
    "a wrong indentation": (
        b"admin_token: sk-secret\n  port: 1",
        f"farebox.yaml:2: is not valid YAML: mapping values are not allowed here; {QUOTES}",
    ),
    "a variable within brackets": (
        b"upstreams: {a: {base_url: http://h, api_key: ${KEY}}}",
        f"farebox.yaml:1: is not valid YAML: expected ',' or '}}', but got '{{'; {QUOTES}",
    ),
    "an unknown anchor": (
        b"admin_token: *hunter2",
        f"farebox.yaml:1: is not valid YAML: found undefined alias it; {QUOTES}",
    ),
    "two documents": (
        b"database: sqlite:///a\n---\ndatabase: sqlite:///b",
        f"farebox.yaml:2: is not valid YAML: but found another document; {QUOTES}",
    ),
    "an anchor within itself": (
        b"teams: &a [*a]",
        f"farebox.yaml:1: is not valid YAML: {LOOP}; {QUOTES}",
    ),
    "anchors that would fill the memory": (
        b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(
            b"%c: &%c [%b]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 10)) for c in b"bcdefgh"
        ),
        f"farebox.yaml:1: is not valid YAML: {LOOP}; {QUOTES}",
    ),
    "a list as a name": (
        b"? [a]\n: b",
        f"farebox.yaml:1: is not valid YAML: a name can't be a list or a group; {QUOTES}",
    ),
    "endless nesting": (
        b"[" * 5000,
        "farebox.yaml: is nested too deeply; nothing in a configuration is",
    ),
    "another encoding": (
        "# ok\nteams: [{name: zürich}]".encode("latin-1"),
        "farebox.yaml:2: is not UTF-8 text; save the file as UTF-8",
    ),
    "a control character": (
        b"database: \x00",
        "farebox.yaml: holds a control character, which YAML does not allow; remove it",
    ),
    "a list": (b"- a\n- b", "farebox.yaml:1: expected lines of 'name: value', got a list"),
    "a word": (b"farebox", "farebox.yaml:1: expected lines of 'name: value', got text"),
    "a tag": (
        b"database: !!python/name:os.system sqlite:///x",
        (
            "farebox.yaml:1: database: has a YAML tag (a word that starts with '!'); "
            "remove it, or use quotes"
        ),
    ),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_yaml(refused: Refused, content: bytes, message: str) -> None:
    assert refused(content) == [message]


def test_a_byte_order_mark_is_skipped(load: Load) -> None:
    assert load(b"\xef\xbb\xbfserver: {port: 1}").server.port == 1
