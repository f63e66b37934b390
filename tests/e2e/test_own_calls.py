"""GET /farebox/v1/calls/{id}: a key's own call."""

import pytest

from tests.e2e.running import KEY, Running, as_billed, as_invoiced, bearer

OTHER_KEY = KEY + "-other"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_sees_its_own_call(run: Running, stream: bool) -> None:
    """By the id in the answer's header, at once, also after a stream: the row that the admin sees."""
    answer = await run.chat("Hello", stream=stream, user="ada")
    row = await run.row(answer.headers["x-farebox-call-id"])
    line = (await run.invoice())[0]
    assert as_billed(row) == as_invoiced(line)
    assert row == (await run.calls())[0]
    assert row["user"] == line["user"] == "ada"


async def test_another_keys_call_is_not_found(run: Running) -> None:
    """Not even that it exists is told."""
    call_id = (await run.chat("Hello")).headers["x-farebox-call-id"]
    theirs = await run.client.get(f"/farebox/v1/calls/{call_id}", headers=bearer(OTHER_KEY))
    nobodys = await run.client.get(f"/farebox/v1/calls/{call_id}0", headers=bearer(OTHER_KEY))
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json()["error"]["code"] == "not_found"
    assert theirs.text.replace(call_id, "") == nobodys.text.replace(call_id + "0", "")


async def test_a_refused_call_has_a_row_as_well(run: Running) -> None:
    """The header is in the refusal, too."""
    refused = await run.chat("Hello", model="gpt-4o", max_tokens=-1)
    row = await run.row(refused.headers["x-farebox-call-id"])
    assert (row["outcome"], row["status"], row["refusal"]) == ("refused", 400, "invalid_request")


async def test_attribution_is_on_the_row(run: Running) -> None:
    """Headers of ours come first, then the body's own fields; the provider gets only the body."""
    ours = {
        "x-farebox-user": "ada",
        "x-farebox-workflow": "nightly",
        "x-farebox-run": "r-1",
        "x-farebox-tags": "env=prod, size=xl",
    }
    run.client.headers.update(ours)
    answer = await run.chat("Hello", user="bob", metadata={"workflow": "w"})
    row = await run.row(answer.headers["x-farebox-call-id"])
    assert (row["user"], row["workflow"], row["run"]) == ("ada", "nightly", "r-1")
    assert row["tags"] == {"env": "prod", "size": "xl"}
    assert (await run.invoice())[0]["user"] == "bob"
    for header in ours:
        del run.client.headers[header]
    answer = await run.chat("Hello", user="bob", metadata={"workflow": "w", "run": "r-2"})
    row = await run.row(answer.headers["x-farebox-call-id"])
    assert (row["user"], row["workflow"], row["run"]) == ("bob", "w", "r-2")


@pytest.mark.parametrize("call_id", ["", "nothing", "fb-0", "..%2f..", "%00", "a/b"])
async def test_there_is_nothing_else(run: Running, call_id: str) -> None:
    """An id that is none is not found."""
    answer = await run.client.get(f"/farebox/v1/calls/{call_id}", headers=bearer(KEY))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
