"""``farebox report`` and ``farebox export``: what was called, and what it cost."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest

from proxy.cli.output import Column, Format, show
from proxy.core.errors import LedgerError
from tests.cli.conftest import Cli
from tests.observe.samples import REFUSED
from tests.store.filled import a_call

# Reports


def test_spend_is_reported_in_every_form(cli: Cli) -> None:
    cli.fill([a_call(0), a_call(1), a_call(0, team="billing")])
    asked = ["report", "spend", "--by", "team", "--window", "total"]

    table = cli(*asked)
    rows = cli(*asked, "--format", "json").rows
    as_csv = list(csv.DictReader(io.StringIO(cli(*asked, "--format", "csv").out)))
    markdown = cli(*asked, "--format", "md").out

    assert [(row["team"], row["calls"], row["cost_usd"]) for row in rows] == [
        ("search", 2, "0.002469134"),
        ("billing", 1, "0.001234567"),
    ]
    assert [(row["team"], row["cost_usd"]) for row in as_csv] == [
        ("search", "0.002469134"),
        ("billing", "0.001234567"),
    ]
    assert "| search | 2 |" in markdown
    assert "0.002469134" in table.out


def test_a_report_without_a_name_is_of_spend(cli: Cli) -> None:
    """By team and model, this month; with its options, and beside others."""
    cli.fill([a_call(0), a_call(0, team="billing")])

    named, alone = cli("report", "spend", "-f", "json"), cli("report", "-f", "json")
    by_team = cli("report", "--by", "team", "--window", "total", "-f", "json")

    assert (alone.code, alone.rows) == (0, named.rows)
    assert [row["team"] for row in by_team.rows] == ["billing", "search"]
    assert cli("report", "nonsense").code == 2
    assert cli("report", "top").code == 0


def test_a_time_that_runs_backwards_is_refused(cli: Cli) -> None:
    done = cli("report", "spend", "--from", "2026-11-02", "--to", "2026-11-01")

    assert done.code == 2
    assert "from must be before to" in done.err


def test_a_database_that_was_not_there_is_told(cli: Cli) -> None:
    """Whoever asks in the wrong folder hears it; what is asked for stays as it is."""
    first, second = cli("report", "-f", "csv"), cli("report", "-f", "csv")

    assert "was not there; made it, empty" in first.err
    assert second.err == ""
    assert first.out == second.out


def test_spend_takes_a_time(cli: Cli) -> None:
    cli.fill([a_call(0), a_call(30)])

    done = cli.typed("report spend --by day --from 2026-11-18 --to 2026-11-19 -f json")

    assert [row["day"] for row in done.rows] == ["2026-11-18"]


def test_top_shows_shares_of_everything(cli: Cli) -> None:
    dear = {"cost_nano": 3_000_000_000, "model_served": "dear"}
    cli.fill([a_call(0, dear), a_call(0, {"cost_nano": 1_000_000_000}), REFUSED])

    done = cli(
        *["report", "top", "--by", "model", "--window", "total", "--limit", "1", "-f", "json"]
    )

    assert [(row["model"], row["share"]) for row in done.rows] == [("dear", "75.0%")]


def test_a_call_is_shown_with_its_charge(cli: Cli) -> None:
    record = a_call()
    cli.fill([record])

    table = cli("report", "call", record.id)
    detail = cli("report", "call", record.id, "--format", "json").rows

    for text in (record.id, "Attempts", "Charge", "0.001234567", "chatcmpl-1"):
        assert text in table.out
    assert detail["id"] == record.id
    assert detail["attempt_rows"][0]["charge"][0]["what"] == "input"


def test_nothing_to_report_is_said(cli: Cli) -> None:
    assert "nothing to show" in cli("report", "spend").out
    assert cli("report", "spend", "-f", "json").rows == []


def test_names_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """What a client sent as its user can't colour or break a table."""
    show([{"user": "[red]x[/nope]|y\nz"}], [Column("user")], Format.TABLE)
    table = capsys.readouterr().out
    show([{"user": "[red]x[/nope]|y\nz"}], [Column("user")], Format.MD)

    assert "[red]x[/nope]|y" in table
    assert capsys.readouterr().out.splitlines()[2] == "| [red]x[/nope]\\|y z |"


# Export


def test_an_export_holds_every_call_and_field(cli: Cli) -> None:
    """As CSV and as JSON lines, the oldest first, on stdout or in a file."""
    records = [a_call(0, user='quo"te, comma'), a_call(1), REFUSED]
    cli.fill(records)
    file = cli.folder / "calls.csv"

    lines = [json.loads(line) for line in cli("export", "-f", "jsonl").out.splitlines()]
    assert cli("export", "--output", str(file)).code == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text(), newline="")))

    assert [line["id"] for line in lines] == sorted(record.id for record in records)
    assert [row["id"] for row in rows] == [line["id"] for line in lines]
    assert list(rows[0]) == list(lines[0])
    users = {row["user"] for row in rows}
    assert users == {'quo"te, comma', "alice"}
    assert json.loads(rows[0]["tags"]) == {"env": "prod"}
    assert list(cli.folder.glob("*.part")) == []


def test_an_export_can_be_filtered(cli: Cli) -> None:
    cli.fill([a_call(0), a_call(1, team="billing", tags=(("env", "dev"),))])

    for arguments in ("--team billing", "--tag env=dev", "--from 2026-11-18T12:00:00Z"):
        lines = cli("export", "-f", "jsonl", *arguments.split()).out.splitlines()
        assert [json.loads(line)["team"] for line in lines] == ["billing"]


def test_an_export_that_fails_leaves_no_half_file(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves the last good one as it was."""
    cli.fill([a_call(0)])
    file = cli.folder / "calls.csv"
    file.write_text("the last one")

    def broken(*_: Any) -> AsyncIterator[list[Any]]:
        raise LedgerError("the database is gone")

    monkeypatch.setattr("proxy.store.records.Records.export", broken)
    done = cli("export", "--output", str(file))

    assert (done.code, file.read_text()) == (1, "the last one")
    assert list(cli.folder.glob("*.part")) == []


def test_a_focus_export_adds_up_to_the_ledger(cli: Cli) -> None:
    """By day and meter, whatever the calls: those without lines and corrections, too."""
    cli.fill([a_call(0), a_call(1, {"charge": (), "cost_nano": 77}), a_call(30), REFUSED])

    rows = list(csv.DictReader(io.StringIO(cli("export", "-f", "focus").out)))
    spent = cli("report", "spend", "--by", "", "--window", "total", "--format", "json").rows

    assert sum(Decimal(r["BilledCost"]) for r in rows) == Decimal(spent[0]["cost_usd"])
    assert {r["SubAccountId"] for r in rows} == {"search"}
    assert {r["BillingCurrency"] for r in rows} == {"USD"}


def test_a_parquet_export_holds_every_call_exactly(cli: Cli) -> None:
    cli.fill([a_call(0), a_call(1), REFUSED])
    file = cli.folder / "calls.parquet"

    assert cli("export", "-f", "parquet", "-o", str(file)).code == 0
    lines = [json.loads(line) for line in cli("export", "-f", "jsonl").out.splitlines()]
    rows = pq.read_table(file).to_pylist()

    assert [r["id"] for r in rows] == [line["id"] for line in lines]
    assert [r["cost_usd"] for r in rows] == [Decimal(line["cost_usd"]) for line in lines]
    assert [json.loads(r["tags"]) for r in rows] == [line["tags"] for line in lines]
    assert [r["started_at"] for r in rows] == [
        datetime.fromisoformat(line["started_at"]) for line in lines
    ]


def test_parquet_needs_a_file(cli: Cli) -> None:
    done = cli("export", "-f", "parquet")

    assert done.code == 1
    assert "name it with --output" in done.err
