"""``farebox reconcile``: differences between the ledger and a provider's export are shown, and are exit code 1."""

import json
from pathlib import Path

import pytest

from proxy.cli.root import OK, PROBLEM, USAGE
from proxy.core.usage import Usage
from tests.cli.conftest import Cli
from tests.store import export_samples as samples
from tests.store.filled import a_call

MINI = "gpt-5-mini-2026-08-07"


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """The calls of OpenAI's sample export: three of one model and one of another, on 18 November."""
    mini = {"usage": Usage(input=900, cached_input=100, output=100), "cost_nano": 20_000_000}
    other = {
        "usage": Usage(input=50, output=5),
        "model_served": "gpt-4o-2024-08-06",
        "cost_nano": 1,
    }
    elsewhere = {"upstream": "local"}
    cli.fill([*(a_call(n, mini) for n in range(3)), a_call(3, other), a_call(4, elsewhere)])
    return cli


@pytest.fixture
def usage(filled: Cli) -> Path:
    """A usage export of it."""
    path = filled.folder / "usage.csv"
    path.write_text(samples.OPENAI_USAGE)
    return path


def test_equal_is_exit_code_0(filled: Cli, usage: Path) -> None:
    done = filled("reconcile", "--provider", "openai", "--file", str(usage), "-f", "json")

    assert done.code == OK
    assert [(r["day"], r["model"], r["requests"], r["requests_export"], r["verdict"]) for r in done.rows] == [
        ("2026-11-18", "gpt-4o-2024-08-06", 1, 1, "equal"),
        ("2026-11-18", MINI, 3, 3, "equal"),
    ]  # fmt: skip
    assert done.err == "days × models: 2 equal\n"


def test_differences_are_exit_code_1(filled: Cli, usage: Path) -> None:
    """One call more in the ledger than the provider counted."""
    usage.write_text(samples.OPENAI_USAGE.replace("2.0,user-1,key_1", "1.0,user-1,key_1"))

    done = filled("reconcile", "--provider", "openai", "--file", str(usage), "--differences")

    assert done.code == PROBLEM
    assert "missing in the export" in done.out
    assert "gpt-4o" not in done.out
    assert "cost $ export" not in done.out  # the file tells none
    assert done.err == "days × models: 1 equal, 1 missing in the export\n"


def test_costs_beside_usage_show_what_is_priced_differently(filled: Cli, usage: Path) -> None:
    """Up to a tolerance, of a part or of an amount."""
    costs = filled.folder / "costs.csv"
    costs.write_text(
        "start_time,amount_value,amount_currency,line_item\n"
        f'1794960000,0.0607,usd,"{MINI}, input"\n1794960000,1e-9,usd,"gpt-4o-2024-08-06, input"\n'
    )
    files = ("reconcile", "--provider", "openai", "--file", str(usage), "--file", str(costs))

    done = filled(*files, "--format", "json")

    assert done.code == PROBLEM
    mini = next(row for row in done.rows if row["model"] == MINI)
    assert (mini["cost_usd"], mini["cost_usd_export"], mini["difference_usd"], mini["verdict"]) == (
        "0.06", "0.0607", "-0.0007", "priced differently",
    )  # fmt: skip
    assert filled(*files, "--tolerance-usd", "0.0007").code == OK
    assert filled(*files, "--tolerance", "1.2").code == OK
    assert filled(*files, "--tolerance", "1.1").code == PROBLEM


def test_days_that_are_asked_for_must_be_in_the_export(filled: Cli, usage: Path) -> None:
    """A day that the export does not tell of, and the ledger does, is missing there."""
    filled.fill([a_call(48)])
    command = ("reconcile", "--provider", "openai", "--file", str(usage))

    assert filled(*command).code == OK
    assert filled(*command, "--from", "2026-11-18", "--to", "2026-11-21").code == PROBLEM
    assert filled(*command, "--from", "2026-11-18", "--to", "2026-11-19").code == OK


def test_other_upstreams_can_be_meant(filled: Cli) -> None:
    """Where an upstream of another name is the provider's."""
    page = filled.folder / "page.json"
    counted = {"num_model_requests": 1, "input_tokens": 1234, "output_tokens": 100, "model": MINI}
    page.write_text(json.dumps(samples.openai_page(counted | {"input_cached_tokens": 200})))
    command = ("reconcile", "--provider", "openai", "--file", str(page), "--upstream", "local")

    assert filled(*command).code == OK


def test_an_upstream_of_the_provider_is_found_by_the_configuration(filled: Cli) -> None:
    """By its address, or by its price_provider."""
    filled.config.write_text(
        filled.config.read_text() + "upstreams:\n"
        "  local: {base_url: http://127.0.0.1:9/v1, price_provider: anthropic}\n"
    )
    path = filled.folder / "usage.csv"
    path.write_text(
        "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_read,"
        f"usage_output_tokens\n2026-11-18,{MINI},1034,200,100\n"
    )

    done = filled("reconcile", "--provider", "anthropic", "--file", str(path), "-f", "json")

    assert (done.code, [row["input_tokens"] for row in done.rows]) == (OK, [1234])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n", "no usage export that is understood"),
        (samples.ANTHROPIC_USAGE, "ask for --provider anthropic"),
        ("model,num_model_requests\nm,1\n", "has no column start_time or start_time_iso"),
    ],
)
def test_a_bad_file_is_exit_code_2(filled: Cli, usage: Path, text: str, problem: str) -> None:
    usage.write_text(text)

    done = filled("reconcile", "--provider", "openai", "--file", str(usage))

    assert done.code == USAGE
    assert problem in " ".join(done.err.replace("│", " ").split())


@pytest.mark.parametrize(
    "wrong",
    [
        ("--file", "nowhere.csv"),
        ("--tolerance-usd", "much"),
        ("--from", "2026-11-18T12:00:00Z"),
        ("--from", "2026-11-18", "--to", "2026-11-18"),
        ("--provider", "nobody"),
    ],
)
def test_a_wrong_option_is_exit_code_2(filled: Cli, usage: Path, wrong: tuple[str, ...]) -> None:
    done = filled("reconcile", "--provider", "openai", "--file", str(usage), *wrong)

    assert done.code == USAGE
