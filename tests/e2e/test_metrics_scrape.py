"""``/metrics`` as Prometheus reads it: its totals are those of the rows, its budgets the ledger's."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe import catalogue
from tests.e2e.conftest import Start
from tests.e2e.running import KEY, Running, bearer, chat_body, eventually, nano

Row = dict[str, Any]
Page = dict[str, Metric]
BY_CALL = ("team", "model", "upstream", "endpoint")
LIMITED = {"name": "limited", "max_output_tokens": 5, "budgets": [{"limit_usd": "0.0001"}]}
WARNED = {"limit_usd": "0.000001", "window": "day", "on_exceed": "warn"}
SEARCH = {"name": "search", "budgets": [{"limit_usd": 100, "window": "month"}, WARNED]}


async def scraped(run: Running) -> Page:
    """A scrape, family by family; each may stand there only once."""
    answer = await run.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    names = [family.name for family in families]
    assert sorted(set(names)) == sorted(names)
    return {family.name: family for family in families}


def samples(page: Page, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Values by these labels, added up over the others."""
    values: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for sample in (sample for family in page.values() for sample in family.samples):
        if sample.name == name:
            values[tuple(sample.labels[label] for label in labels)] += sample.value
    return {key: value for key, value in values.items() if value}


def summed(
    rows: list[Row], amount: Callable[[Row], float], *names: str
) -> dict[tuple[str, ...], float]:
    """The same of the ledger's rows."""
    values: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for row in rows:
        values[tuple(row[name] for name in names)] += amount(row)
    return {key: value for key, value in values.items() if value}


def one(_: Row) -> float:
    return 1


@pytest.fixture
async def rows_and_page(start: Start) -> Any:
    """All kinds of calls, their rows in the labels' words, and a scrape after them."""
    keys = [
        {"name": "search-key", "team": "search", "key": KEY},
        {"name": "limited-key", "team": "limited", "key": KEY + "-l"},
    ]
    async with start(teams=[SEARCH, LIMITED], keys=keys) as run:
        await busy(run)
        rows = [row | labels_of(row) for row in await run.calls()]
        yield run, rows, await scraped(run)


async def busy(run: Running) -> None:
    """Answers streamed and not, errors, refusals, caps, no usage, unknown prices, pass-through."""
    for controls in ("output_tokens=30", "cached_tokens=3, reasoning_tokens=9", "choices=2"):
        for stream in (False, True):
            await run.chat(f"Hello [[sim: {controls}]]", stream=stream)
    await run.chat(model="gpt-4o", user="ada")
    await run.chat("[[sim: no_usage]]")
    await run.chat("[[sim: status=500]]")
    await run.chat("[[sim: status=429]]", stream=True)
    await run.chat("[[sim: die_before_answer]]")
    with pytest.raises(httpx.RemoteProtocolError):
        await run.chat("[[sim: die_after_events=3, die=close]]", stream=True)
    await run.chat(max_tokens=-1)
    await run.chat(key=KEY + "-l")
    while (await run.chat(key=KEY + "-l")).status_code != 429:
        pass
    await run.client.post("/v1/embeddings", json={"model": "x"}, headers=bearer(KEY))
    await run.client.get("/v1/files", headers=bearer(KEY))
    await run.client.get("/v1/never-heard-of", headers=bearer(KEY))


def labels_of(row: Row) -> Row:
    """How a metric names a row."""
    return {
        "model": row["model_served"] or row["model_requested"],
        "status": f"{row['status'] // 100}xx",
    }


async def test_calls_are_those_of_the_rows(rows_and_page: tuple[Running, list[Row], Page]) -> None:
    """By team, endpoint, outcome and class of status; refusals and caps by their reasons."""
    _, rows, page = rows_and_page
    by = ("team", "endpoint", "outcome", "status")
    capped = [r for r in rows if r["output_cap_source"] not in {"none", "client"}]
    refused = [r for r in rows if r["outcome"] == "refused"]

    assert summed(rows, one, *by) == samples(page, "farebox_calls_total", *by)
    assert {"completed", "refused", "upstream_failed"} == {row["outcome"] for row in rows}
    assert summed(refused, one, "team", "refusal") == samples(
        page, "farebox_refusals_total", "team", "reason"
    )
    assert summed(capped, one, "output_cap_source") == samples(
        page, "farebox_output_capped_total", "source"
    )
    assert summed(capped, one, "output_cap_source")
    assert samples(page, "farebox_calls_in_flight") == {}
    sent = [row for row in rows if row["attempts"]]
    assert len(sent) == sum(samples(page, "farebox_call_duration_seconds_count").values())


async def test_tokens_and_cost_are_those_of_the_rows(
    rows_and_page: tuple[Running, list[Row], Page],
) -> None:
    """By team and model: input with what was cached, output with what was reasoned, dollars to the nano."""
    run, rows, page = rows_and_page
    for kind, name in {
        "input": "input_tokens",
        "output": "output_tokens",
        "cached": "cached_tokens",
        "reasoning": "reasoning_tokens",
    }.items():
        shown = samples(page, "farebox_tokens_total", "team", "model", "kind")
        expected = summed(rows, lambda row, name=name: row[name], "team", "model")  # type: ignore[misc]
        assert expected == {key[:2]: value for key, value in shown.items() if key[2] == kind}, kind
        assert expected, kind
    cost = samples(page, "farebox_cost_usd_total", "team", "model")

    expected = summed(rows, lambda row: nano(row["cost_usd"]), "team", "model")
    assert expected == {key: round(value * 1e9) for key, value in cost.items()}
    details = [await run.admin("GET", f"/calls/{row['id']}") for row in rows]
    attempts = [attempt for detail in details for attempt in detail["attempt_rows"]]
    sources = summed(attempts, one, "usage_source")
    assert sources == samples(page, "farebox_usage_source_total", "source")
    assert {("provider",), ("counted",), ("none",)} == set(sources)


async def test_budgets_are_those_of_the_ledger(
    rows_and_page: tuple[Running, list[Row], Page],
) -> None:
    """Limit, spent and held of each budget as the ledger has them at the scrape."""
    run, _, page = rows_and_page
    budgets = (await run.admin("GET", "/budgets"))["items"]
    assert len(budgets) == 3
    for name in ("limit", "spent", "held", "overdraft"):
        shown = samples(page, f"farebox_budget_{name}_usd", "budget")
        expected = {(b["id"],): nano(b[f"{name}_usd"]) for b in budgets}
        assert {k: v for k, v in expected.items() if v} == {
            key: round(value * 1e9) for key, value in shown.items()
        }, name
    (warned,) = samples(page, "farebox_budget_warnings_total", "team").items()
    assert warned[0] == ("search",)
    assert warned[1] > 5


async def test_what_is_under_way_is_shown(run: Running) -> None:
    """A call in flight is a gauge, and its hold is in the budget; both go when it ends."""
    async with run.client.stream(
        "POST",
        "/v1/chat/completions",
        json=chat_body("Hello [[sim: stall_after_events=2]]", stream=True, max_tokens=10),
        headers=bearer(KEY),
    ) as answer:
        pieces = answer.aiter_bytes()  # kept: with it the connection would be closed
        await anext(pieces)
        page = await scraped(run)

        assert samples(page, "farebox_calls_in_flight") == {(): 1.0}
        ((_, held),) = samples(page, "farebox_budget_held_usd", "budget").items()
        assert nano((await run.budget())["held_usd"]) == round(held * 1e9) > 0

    async def over() -> bool:
        return not samples(await scraped(run), "farebox_calls_in_flight")

    await eventually(over)
    assert samples(await scraped(run), "farebox_budget_held_usd", "budget") == {}


async def test_every_family_is_there_and_labels_are_bounded(
    rows_and_page: tuple[Running, list[Row], Page],
) -> None:
    """What the catalogue declares is on the page, with its labels, and never a key, a user or an id."""
    _, rows, page = rows_and_page
    for family in catalogue.FAMILIES:
        name = family.name.removesuffix("_total")
        assert name in page, name
        assert page[name].type == family.kind
        assert page[name].documentation
        for sample in page[name].samples:
            assert set(sample.labels) <= {*family.labels, "le"}
    values = {v for f in page.values() for s in f.samples for v in s.labels.values()}
    assert not values & {"ada", "search-key", "limited-key", *(row["id"] for row in rows)}
    assert "process_resident_memory_bytes" in page


async def test_calls_of_nobody_are_counted(run: Running) -> None:
    """A call without a known key has no row, but whoever watches for attacks sees it."""
    for _ in range(3):
        await run.chat(key="fb-sk-guessed")
    page = await scraped(run)

    assert samples(page, "farebox_refusals_total", "reason", "team") == {("invalid_api_key", ""): 3}
    assert samples(page, "farebox_calls_total") == {}


async def test_made_up_names_do_not_fill_the_page(run: Running) -> None:
    """A client may invent models and paths without end; what is counted under each is bounded."""
    for number in range(150):
        await run.chat(model=f"made-up-{number}")
        await run.client.get(f"/v1/made-up-{number}", headers=bearer(KEY))
    page = await scraped(run)

    assert sum(samples(page, "farebox_calls_total").values()) == 300
    assert len(samples(page, "farebox_calls_total", "model")) < 150
    assert len(samples(page, "farebox_calls_total", "endpoint")) < 10


async def test_a_slow_call_can_be_found_from_its_bucket(run: Running) -> None:
    """OpenMetrics, for who asks for it, names a call of each bucket; the id is that of its row."""
    made = await run.chat()
    answer = await run.client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    families = list(openmetrics(answer.text))  # type: ignore[no-untyped-call]

    exemplars = [s.exemplar for f in families for s in f.samples if s.exemplar]

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {e.labels["call_id"] for e in exemplars} == {made.headers["x-farebox-call-id"]}
    assert len(exemplars) == 2
