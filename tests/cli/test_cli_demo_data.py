"""``farebox demo-data``: a made-up ledger that adds up, and never mixes with a real one unasked."""

import asyncio
from pathlib import Path

from sqlalchemy import select

from proxy.ledger.check_rows import verify
from proxy.settings import load_settings
from proxy.store.engine import Database
from proxy.store.schema import calls
from tests.cli.conftest import Cli
from tests.store.filled import a_call


def test_it_fills_an_empty_ledger_and_every_total_equals_its_rows(cli: Cli) -> None:
    made = cli("demo-data", "--days", "40", "--calls", "3000")

    assert made.code == 0, made.err
    assert asyncio.run(differences(cli.url)) == []
    spent = cli("report", "spend", "--from", "2020-01-01", "--format", "json").rows
    assert sum(row["calls"] for row in spent) == 3000
    assert {row["team"] for row in spent} >= {"search", "support", "growth"}


def test_it_gives_each_team_a_budget_and_keys_whose_secrets_are_on_stdout(cli: Cli) -> None:
    made = cli("demo-data", "--days", "3", "--calls", "500")
    names = {line.split("\t")[0] for line in made.out.splitlines()}
    secrets = {line.split("\t")[1] for line in made.out.splitlines()}
    budgets = cli("budgets", "list", "--format", "json").rows

    assert "support-prod" in names
    assert all(secret.startswith("fb-sk-") for secret in secrets)
    assert "team:support:month" in {budget["id"] for budget in budgets}


def test_a_ledger_with_calls_is_refused_unless_append_is_said(cli: Cli) -> None:
    cli.fill([a_call(team="search")])

    refused = cli("demo-data", "--calls", "100")
    done = cli("demo-data", "--calls", "100", "--append")

    assert (refused.code, done.code) == (1, 0)
    assert "--append" in refused.err
    assert asyncio.run(differences(cli.url)) == []


def test_appending_twice_counts_on_the_budgets_that_are_there(cli: Cli) -> None:
    """What the second run spends is added to the windows that the first one made."""
    cli("demo-data", "--days", "2", "--calls", "400")
    again = cli("demo-data", "--days", "2", "--calls", "400", "--seed", "2", "--append")

    assert again.code == 0, again.err
    assert again.out == ""  # its keys are there already
    assert asyncio.run(differences(cli.url)) == []


def test_the_configuration_that_it_writes_loads_and_names_the_teams(cli: Cli) -> None:
    path = cli.folder / "demo.yaml"

    made = cli("demo-data", "--calls", "50", "--write-config", str(path))
    again = cli("demo-data", "--calls", "50", "--append", "--write-config", str(path))

    assert made.code == 0, made.err
    assert load_settings(path, {}).core_teams().keys() >= {"search", "research"}
    assert (again.code, "is there already" in again.err) == (2, True)


def test_the_charges_are_those_of_the_price_book(cli: Cli) -> None:
    """Rating the made-up calls anew changes none of them."""
    config = cli.folder / "demo.yaml"
    cli("demo-data", "--days", "5", "--calls", "600", "--write-config", str(config))
    between = ("--from", "2020-01-01", "--to", "2100-01-01")

    done = cli("reprice", "--config", str(config), *between, "--dry-run", "--format", "json")

    assert done.code == 0, done.err
    assert sum(row["calls"] for row in done.rows) > 500
    assert {row["difference_usd"] for row in done.rows} == {"0.00"}


async def differences(url: str) -> list[str]:
    """Where a total is not what its rows add up to."""
    database = Database(url)
    found = await database.run(verify, writes=False)
    await database.close()
    return found


def test_it_is_the_same_for_the_same_seed(cli: Cli, tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other")]
    for url in urls:
        cli("demo-data", "--days", "1", "--calls", "60", "--database", url)

    one, other = (asyncio.run(costs(url)) for url in urls)

    assert len(one) == 60
    # The end of the time is the present: the last hour may have moved between the two.
    assert len(set(one) & set(other)) > 30


async def costs(url: str) -> list[int]:
    """What each call cost."""
    database = Database(url)
    rows = await database.fetch(select(calls.c.cost_nano))
    await database.close()
    return [row["cost_nano"] for row in rows]
