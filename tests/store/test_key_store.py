"""Keys: made, found, rotated, revoked, taken from the configuration."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from proxy.core.errors import LedgerError
from proxy.store import keys as keys_module
from proxy.store.engine import Database
from proxy.store.key_rows import KeyNotChanged, KeyNotFound, KeyRequest
from proxy.store.keys import KeyStore, UnknownTeam
from proxy.store.schema import audit, keys
from proxy.store.secret import new_secret
from tests.store.key_processes import (
    CONFIGURED,
    HOUR_US,
    NOON_US,
    TEAMS,
    Clock,
    Process,
    configured,
)

# Made and found


async def test_a_new_key_is_found_by_its_secret_only(store: KeyStore) -> None:
    """With its team's policy and its own; never by its name, its id or its hash."""
    new = await store.create(KeyRequest("app", "search", ("gpt-*",), 500), "test")

    found = await store.find(new.secret)

    assert found is not None
    assert (found.name, found.team, found.models, found.max_output_tokens) == (
        "app",
        TEAMS["search"],
        ("gpt-*",),
        500,
    )
    for other in ("app", new.stored.id, new.stored.sha256, new.secret[:-1], new.secret + "x", ""):
        assert await store.find(other) is None


async def test_the_secret_is_nowhere_in_the_database(database: Database, store: KeyStore) -> None:
    """Neither in the key's row nor in what the audit keeps."""
    new = await store.create(KeyRequest("app", "search"), "test")
    rotated = await store.rotate("app", "test")
    stored = str(await database.fetch(select(keys))) + str(await database.fetch(select(audit)))

    for secret in (new.secret, rotated.secret):
        assert secret[len("fb-sk-ab12") :] not in stored


async def test_a_key_made_by_another_process_works_at_once(
    process: Process, store: KeyStore
) -> None:
    """Before this process has heard of any change."""
    new = await process().create(KeyRequest("app", "search"), "test")

    found = await store.find(new.secret)

    assert found is not None
    assert (found.id, found.name, found.team) == (new.stored.id, "app", TEAMS["search"])


async def test_a_name_is_given_once(store: KeyStore) -> None:
    """Also when its key is revoked: its calls keep the name."""
    await store.create(KeyRequest("app", "search"), "test")
    await store.revoke("app", "test")

    with pytest.raises(KeyNotChanged, match="revoked, but its calls keep the name"):
        await store.create(KeyRequest("app", "search"), "test")


async def test_a_key_needs_a_team_of_the_configuration(store: KeyStore) -> None:
    with pytest.raises(UnknownTeam, match=r"'serach' .*known: billing, search"):
        await store.create(KeyRequest("app", "serach"), "test")


async def test_a_key_expires(store: KeyStore, clock: Clock, process: Process) -> None:
    """At its moment, in a process that knows it and in one that has yet to look it up."""
    request = KeyRequest("app", "search", expires_at_us=NOON_US + HOUR_US)
    new = await store.create(request, "test")
    assert await store.find(new.secret) is not None

    clock.now_us += HOUR_US

    assert await store.find(new.secret) is None
    assert await process().find(new.secret) is None
    assert (await store.list())[0].state(clock.now_us) == "expired"


# Revoked and rotated


async def test_a_revocation_works_at_once_here_and_after_a_refresh_elsewhere(
    store: KeyStore, process: Process
) -> None:
    other = process()
    new = await store.create(KeyRequest("app", "search"), "test")
    await other.refresh()
    assert await other.find(new.secret) is not None

    await store.revoke(new.stored.id, "test")

    assert await store.find(new.secret) is None
    await other.refresh()
    assert await other.find(new.secret) is None


async def test_a_key_revoked_while_it_was_looked_up_does_not_stay(
    database: Database, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation that comes between the query and its answer wins over what the query saw."""
    maker, finder = process(), process()
    new = await maker.create(KeyRequest("app", "search"), "test")
    await finder.refresh()
    finder._known, finder._stored = {}, []  # as if it had never been loaded
    fetch, answered, go_on = database.fetch, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **options: Any) -> Any:
        rows = await fetch(*arguments, **options)
        answered.set()
        await go_on.wait()
        return rows

    monkeypatch.setattr(database, "fetch", slow)
    looking = asyncio.create_task(finder.find(new.secret))
    await answered.wait()
    monkeypatch.setattr(database, "fetch", fetch)
    await maker.revoke("app", "test")
    await finder.refresh()
    go_on.set()
    await looking

    assert await finder.find(new.secret) is None


async def test_revoking_twice_is_as_good_as_once(store: KeyStore) -> None:
    await store.create(KeyRequest("app", "search"), "test")
    first = await store.revoke("app", "test")

    assert await store.revoke("app", "test") == first


async def test_a_rotated_key_keeps_its_name_and_gets_a_new_secret(store: KeyStore) -> None:
    old = await store.create(KeyRequest("app", "search"), "test")
    new = await store.rotate("app", "test")

    assert await store.find(old.secret) is None
    found = await store.find(new.secret)
    assert found is not None
    assert (found.name, found.id) == ("app", old.stored.id)


async def test_the_old_secret_works_for_the_grace(
    store: KeyStore, clock: Clock, process: Process
) -> None:
    old = await store.create(KeyRequest("app", "search"), "test")
    new = await store.rotate("app", "test", grace_s=3600)

    for each in (store, process()):
        assert await each.find(old.secret) == await each.find(new.secret)
    clock.now_us += HOUR_US
    assert await store.find(old.secret) is None
    assert await store.find(new.secret) is not None


async def test_what_is_not_there_or_revoked_can_not_be_changed(store: KeyStore) -> None:
    await store.create(KeyRequest("app", "search"), "test")
    await store.revoke("app", "test")

    with pytest.raises(KeyNotChanged, match="is revoked"):
        await store.rotate("app", "test")
    with pytest.raises(KeyNotFound):
        await store.revoke("nobody", "test")


async def test_every_change_leaves_a_line_in_the_audit(database: Database, store: KeyStore) -> None:
    await store.create(KeyRequest("app", "search"), "alice")
    await store.rotate("app", "bob")
    await store.revoke("app", "carol")

    rows = await database.fetch(select(audit).order_by(audit.c.action))

    assert [(row["action"], row["subject"], row["actor"]) for row in rows] == [
        ("key.create", "app", "alice"),
        ("key.revoke", "app", "carol"),
        ("key.rotate", "app", "bob"),
    ]


# When the database is away, or asked too much


class Down:
    """A database that does not answer."""

    async def fetch(self, *_: Any, **__: Any) -> Any:
        """No answer."""
        raise LedgerError("down")


async def test_known_keys_work_while_the_database_is_down_and_unknown_ones_raise(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage neither locks everybody out nor lets anybody in."""
    new = await store.create(KeyRequest("app", "search"), "test")
    monkeypatch.setattr(store, "_database", Down())

    assert await store.find(new.secret) is not None
    with pytest.raises(LedgerError):
        await store.find(new_secret())
    with pytest.raises(LedgerError):
        await store.refresh()
    assert await store.find(new.secret) is not None


async def test_made_up_keys_do_not_ask_the_database(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can use up the database with keys that were never issued."""
    monkeypatch.setattr(store, "_database", Down())

    for made_up in ("sk-anything", "fb-sk-" + "A" * 49, "", "x" * 10_000):
        assert await store.find(made_up) is None


async def test_an_unknown_key_asks_the_database_once(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = new_secret()
    assert await store.find(unknown) is None
    monkeypatch.setattr(store, "_database", Down())

    assert await store.find(unknown) is None


async def test_what_is_remembered_of_unknown_keys_is_bounded(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "REMEMBERED_AT_MOST", 10)

    for number in range(50):
        await store.find(f"sk-{number}")

    assert len(store._remembered) == 10


async def test_more_keys_than_fit_in_memory_are_looked_up(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOADED_AT_MOST", 2)
    maker = process()
    made = [await maker.create(KeyRequest(f"app-{n}", "search"), "test") for n in range(4)]
    await maker.sync([configured()])
    reader = process()
    await reader.refresh()

    for secret in (CONFIGURED, *(new.secret for new in made)):
        assert await reader.find(secret) is not None
