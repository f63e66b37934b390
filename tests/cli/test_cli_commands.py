"""The commands: what they print, what they change, and their exit codes."""

import asyncio
from pathlib import Path

import pytest

from proxy.core.call import Team
from proxy.store.engine import Database
from proxy.store.keys import KeyStore
from tests.cli.conftest import Cli


def found(cli: Cli, secret: str) -> str | None:
    """The name of the key with this secret, as a running service finds it."""

    async def find() -> str | None:
        database = Database(cli.url)
        key = await KeyStore(database, {"search": Team("search")}).find(secret)
        await database.close()
        return key.name if key else None

    return asyncio.run(find())


# Keys


def test_a_key_is_made_and_works(cli: Cli) -> None:
    """Its secret alone is on stdout, so that a script can take it."""
    done = cli("keys", "create", "app", "--team", "search")

    assert done.code == 0
    assert found(cli, done.out.strip()) == "app"
    assert done.out.count("\n") == 1
    assert "shown only now" in done.err


def test_a_key_takes_models_a_cap_and_an_end(cli: Cli) -> None:
    done = cli.typed(
        "keys create app --team search --models gpt-*,fast --max-output-tokens 7 "
        "--expires 2100-01-01 --format json"
    )

    [row] = done.rows
    assert (row["models"], row["max_output_tokens"], row["expires_at"], row["state"]) == (
        ["gpt-*", "fast"],
        7,
        "2100-01-01T00:00:00.000Z",
        "active",
    )
    assert found(cli, row["secret"]) == "app"


def test_keys_are_listed_without_secrets(cli: Cli) -> None:
    secret = cli("keys", "create", "app", "--team", "search").out.strip()

    listed = cli("keys", "list", "--format", "json")

    assert [row["name"] for row in listed.rows] == ["app"]
    assert secret[10:] not in listed.out
    assert "sha256" not in listed.out
    assert "app" in cli("keys", "list").out


def test_a_key_is_rotated_with_a_grace(cli: Cli) -> None:
    old = cli("keys", "create", "app", "--team", "search").out.strip()
    new = cli("keys", "rotate", "app", "--grace", "1h").out.strip()
    assert (found(cli, old), found(cli, new)) == ("app", "app")

    last = cli("keys", "rotate", "app").out.strip()
    assert (found(cli, new), found(cli, last)) == (None, "app")


def test_a_key_is_revoked(cli: Cli) -> None:
    secret = cli("keys", "create", "app", "--team", "search").out.strip()

    assert cli("keys", "revoke", "app").code == 0
    assert found(cli, secret) is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["keys", "create", "app", "--team", "serach"], 1, "known: billing, search"),
        (["keys", "revoke", "nobody"], 1, "'nobody'; the list of keys has them"),
        (["keys", "create", "app"], 2, "--team"),
        (["keys", "create", "a/b", "--team", "search"], 2, "without blanks, slashes"),
        (["keys", "create", "--team", "search", "--", "-app"], 2, "begin with no dash"),
        (["keys", "create", "app", "--team", "search", "--models", ","], 2, "--models: is empty"),
        (
            ["keys", "create", "app", "--team", "search", "--expires", "2020-01-01"],
            2,
            "--expires: is in the past",
        ),
        (["keys", "create", "app", "--team", "search", "--expires", "soon"], 2, "write 2026-01-31"),
        (["keys", "rotate", "app", "--grace", "1 fortnight"], 2, "write 30s, 15m, 24h"),
        (["nonsense"], 2, "nonsense"),
        (["report", "call", "fb-nobody"], 1, "no call 'fb-nobody'"),
        (["report", "spend", "--by", "teem"], 2, "can't group by teem; there are day"),
        (["report", "spend", "--window", "year"], 2, "--window: must be 'hour', 'day'"),
        (["prices", "show", "no-such-model"], 1, "write one under `prices:`"),
        (["prices", "show", "--provider", "nobody"], 2, "openai"),
        (["budgets", "set"], 2, "--limit-usd"),
        (["budgets", "set", "--limit-usd", "-1"], 2, "--limit-usd: must be at least 0"),
        (
            ["export", "--output", "no/such/folder/calls.csv"],
            1,
            "there is no folder no/such/folder to write calls.csv to",
        ),
        (["demo-data", "--database", "mysql://host/x"], 2, "--database: is no database that"),
        (["--config", "nowhere.yaml", "keys", "list"], 2, "no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_goes_wrong_is_one_message_and_an_exit_code(
    cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    """1 for a problem, 2 for wrong usage or configuration; never a traceback, and nothing on stdout."""
    done = cli(*arguments)

    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_wrong_configuration_is_explained(cli: Cli) -> None:
    cli.config.write_text("tems: []\n")

    done = cli("keys", "list")

    assert done.code == 2
    assert "tems" in done.err
    assert str(cli.config) in done.err


def test_the_configuration_is_found_beside_the_command(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by --config, by FAREBOX_CONFIG, or farebox.yaml in the working folder, in this order."""
    other = cli.folder / "other.yaml"
    other.write_text(f"database: {cli.url}\nteams: [{{name: other}}]\n")
    monkeypatch.delenv("FAREBOX_CONFIG")

    assert cli("keys", "create", "a", "--team", "search").code == 0
    assert cli("keys", "create", "b", "--team", "other", "--config", str(other)).code == 0
    assert cli("--config", str(other), "keys", "create", "c", "--team", "other").code == 0
    monkeypatch.setenv("FAREBOX_CONFIG", str(other))
    assert cli("keys", "create", "d", "--team", "other").code == 0
    assert cli("keys", "create", "e", "--team", "search", "-c", str(cli.config)).code == 0


# Database


def test_the_database_says_where_it_stands(cli: Cli) -> None:
    """Asking makes no file; the exit code says whether this version can work on it."""
    before = cli("db", "current")
    made = (cli.folder / "farebox.db").exists()
    upgraded = cli("db", "upgrade")
    after = cli("db", "current")

    assert (before.code, made, upgraded.code, after.code) == (1, False, 0, 0)
    assert "farebox db upgrade" in before.out


# Budgets


def test_a_budget_is_set_and_listed(cli: Cli) -> None:
    done = cli.typed("budgets set --team search --limit-usd 0.05 --window day --format json")
    listed = cli("budgets", "list", "--format", "json")

    [row] = done.rows
    assert (row["id"], row["limit_usd"], row["origin"]) == ("team:search:day", "0.05", "api")
    assert listed.rows == done.rows
    assert "team:search:day" in cli("budgets", "list").out
    assert cli("report", "budgets", "--format", "json").rows == done.rows


def test_a_budget_for_each_user_of_a_team(cli: Cli) -> None:
    done = cli.typed(
        "budgets set --scope user --subject '*' --team search --limit-usd 1 --shrink -f json"
    )

    [row] = done.rows
    assert (row["id"], row["shrink"]) == ("user:*:month:team=search", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--team serach --limit-usd 1", "known: billing, search"),
        ("--team search --limit-usd much", "--limit-usd"),
        ("--team search --limit-usd 1 --window year", "--window"),
        ("--team search --limit-usd 1 --scope planet", "--scope"),
        ("--limit-usd 1 --scope tag --subject x", "name=value"),
    ],
)
def test_what_makes_no_budget_is_explained(cli: Cli, arguments: str, message: str) -> None:
    done = cli("budgets", "set", *arguments.split())

    assert done.code == 2
    assert message in done.err


def test_without_configured_teams_those_with_keys_count(cli: Cli) -> None:
    """A demo has its team in the database only."""
    cli("keys", "create", "app", "--team", "search")
    cli.config.write_text(f"database: {cli.url}\n")

    assert cli("budgets", "set", "--team", "search", "--limit-usd", "1").code == 0
    assert cli("budgets", "set", "--team", "other", "--limit-usd", "1").code == 2


# Prices


def test_a_price_of_the_configuration_comes_first(cli: Cli) -> None:
    with cli.config.open("a") as config:
        config.write(
            "prices: [{model: gpt-4o-mini, input_per_mtok: 0.10, output_per_mtok: 0.42}]\n"
        )

    [row] = cli("prices", "show", "gpt-4o-mini", "--format", "json").rows

    assert (row["input_per_mtok"], row["output_per_mtok"]) == ("0.1", "0.42")
    assert row["source"].startswith("configuration")


def test_every_model_of_a_provider_is_listed(cli: Cli) -> None:
    rows = cli("prices", "show", "--provider", "anthropic", "--format", "json").rows

    assert len(rows) > 5
    assert all(row["input_per_mtok"] for row in rows)


def test_a_price_is_shown_in_every_variant_with_its_tiers_and_fees(cli: Cli) -> None:
    rows = cli("prices", "show", "gpt-5.4", "--format", "json").rows

    shown = {(r["variant"], r["above_input_tokens"]): r["input_per_mtok"] for r in rows}
    assert shown[("", None)] == "2.5"
    assert shown[("", 272_000)] == "5"
    assert shown[("flex", None)] == "1.25"
    assert shown[("eu (×1.1)", 272_000)] == "5.5"
    assert (rows[0]["per_search"], rows[0]["per_container"]) == ("0.01", "0.03")
    assert rows[0]["beside"] == "per_search 0.01, per_file_search 0.0025, per_container 0.03"


def test_what_is_no_price_of_tokens_is_shown_too(cli: Cli) -> None:
    pictures = cli("prices", "show", "dall-e-3", "--format", "json").rows
    [sound] = cli("prices", "show", "whisper-1", "--format", "json").rows

    assert {r["variant"]: r["per_image"] for r in pictures}["hd 1024x1792"] == "0.12"
    assert sound["per_second"] == "0.0001"


def test_prices_of_a_time(cli: Cli) -> None:
    done = cli("prices", "show", "gpt-4o", "--at", "2026-01-01", "--format", "csv")

    assert done.code == 0
    assert "gpt-4o" in done.out


def test_check_wants_no_file_to_be_there(cli: Cli) -> None:
    """A new set-up: nothing is a problem yet, and nothing was made."""
    done = cli("check", "--format", "json")

    verdicts = {row["what"].split(" ")[0]: row["verdict"] for row in done.rows}
    assert verdicts["configuration"] == "ok"
    assert verdicts["database"] == "note"
    assert not (cli.folder / "farebox.db").exists()
    assert Path(cli.folder).exists()
    assert done.code == 0


def test_a_budget_is_removed_unless_it_is_configured(cli: Cli) -> None:
    """One of the configuration would come back."""
    cli("budgets", "set", "--scope", "user", "--subject", "ann", "--limit-usd", "1")

    removed = cli("budgets", "remove", "user:ann:month")
    again = cli("budgets", "remove", "user:ann:month")

    assert (removed.code, removed.out) == (0, "removed user:ann:month\n")
    assert (again.code, again.out) == (1, "")
    assert "there is no budget 'user:ann:month'" in again.err
    assert "user:ann" not in cli("budgets", "list").out
