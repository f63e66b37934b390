"""Keys of the configuration, and providers' keys that it accepts."""

import asyncio
from hashlib import sha256

import pytest
import structlog
from sqlalchemy import select

from proxy.core.call import Team
from proxy.core.errors import ConfigurationError
from proxy.settings import AcceptedKeys
from proxy.store.engine import Database
from proxy.store.key_rows import KeyNotChanged, KeyRequest
from proxy.store.keys import KeyStore
from proxy.store.schema import generations
from tests.store.key_processes import CONFIGURED, TEAMS, Process, configured


async def generation(database: Database) -> int:
    rows = await database.fetch(select(generations.c.value).where(generations.c.name == "keys"))
    return int(rows[0]["value"]) if rows else 0


# The configuration's keys


async def test_configured_keys_work_and_go_with_the_file(store: KeyStore) -> None:
    """One that is gone from the file is revoked; one that is back works again."""
    await store.sync([configured(models=["gpt-*"], max_output_tokens=7)])
    found = await store.find(CONFIGURED)
    assert found is not None
    assert (found.name, found.models, found.max_output_tokens) == ("prod", ("gpt-*",), 7)

    await store.sync([])
    assert await store.find(CONFIGURED) is None
    await store.sync([configured()])
    assert await store.find(CONFIGURED) is not None


async def test_a_second_process_with_the_same_file_changes_nothing(
    database: Database, store: KeyStore, process: Process
) -> None:
    """Else every restart would make every process load its keys again."""
    await store.sync([configured()])
    before = await generation(database)

    await process().sync([configured()])

    assert await generation(database) == before


async def test_many_processes_start_at_once(process: Process) -> None:
    processes = [process() for _ in range(5)]

    await asyncio.gather(*(each.sync([configured()]) for each in processes))

    assert [await each.find(CONFIGURED) is not None for each in processes] == [True] * 5


async def test_configured_keys_can_change_secrets_with_each_other(store: KeyStore) -> None:
    one, other = "secret-number-one-0123456789", "secret-number-two-0123456789"
    await store.sync([configured("a", one), configured("b", other)])

    await store.sync([configured("a", other), configured("b", one)])

    found = [await store.find(secret) for secret in (one, other)]
    assert [key.name for key in found if key] == ["b", "a"]


async def test_a_configured_key_can_take_another_name(store: KeyStore) -> None:
    await store.sync([configured("before")])
    await store.sync([configured("after")])

    found = await store.find(CONFIGURED)

    assert found is not None
    assert found.name == "after"


async def test_a_clash_with_a_key_made_otherwise_is_explained(store: KeyStore) -> None:
    new = await store.create(KeyRequest("app", "search"), "test")

    with pytest.raises(ConfigurationError, match="'app' was also made with"):
        await store.sync([configured("app")])
    with pytest.raises(
        ConfigurationError, match="'other' has the secret of the key 'app'"
    ) as caught:
        await store.sync([configured("other", new.secret)])
    assert new.secret not in str(caught.value)


async def test_a_configured_key_is_changed_in_the_file_only(store: KeyStore) -> None:
    """Revoked here it would come back with the next restart."""
    await store.sync([configured()])

    with pytest.raises(KeyNotChanged, match="comes from the configuration"):
        await store.revoke("prod", "test")
    with pytest.raises(KeyNotChanged, match="comes from the configuration"):
        await store.rotate("prod", "test")


async def test_a_new_configuration_changes_the_teams(store: KeyStore) -> None:
    """A key gets its team's new policy at once; where its team is gone it is closed, and that is said."""
    new = await store.create(KeyRequest("app", "search"), "test")

    store.use({"search": Team("search", max_output_tokens=5)}, ())
    changed = await store.find(new.secret)
    with structlog.testing.capture_logs() as logs:
        store.use({"billing": Team("billing")}, ())

    assert changed is not None
    assert changed.team.max_output_tokens == 5
    assert await store.find(new.secret) is None
    assert logs == [{"event": "keys_of_unknown_teams", "teams": ["search"], "log_level": "warning"}]


# Providers' keys


PROVIDER_KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "rule", [{"prefix": "sk-proj-"}, {"sha256": sha256(PROVIDER_KEY.encode()).hexdigest()}]
)
async def test_an_accepted_provider_key_is_its_teams(
    process: Process, rule: dict[str, str]
) -> None:
    """Named by its hash, forwarded to the upstream of the rule; and any other key stays unknown."""
    accepted = [AcceptedKeys(upstream="openai", team="billing", **rule)]
    store = process(accepted=accepted)
    await store.refresh()

    found = await store.find(PROVIDER_KEY)

    assert found is not None
    name = "provider:" + sha256(PROVIDER_KEY.encode()).hexdigest()[:8]
    assert (found.id, found.name, found.team, found.forward_upstream) == (
        name,
        name,
        TEAMS["billing"],
        "openai",
    )
    assert await store.find("sk-other-abcdefghijklmnopqrstuvwxyz") is None


async def test_a_rule_that_says_nothing_accepts_nothing(process: Process) -> None:
    rule = AcceptedKeys.model_construct(upstream="openai", team="billing", prefix="", sha256=None)
    store = process(accepted=[rule])
    await store.refresh()

    assert await store.find(PROVIDER_KEY) is None


async def test_a_stored_key_comes_before_an_accepted_prefix(process: Process) -> None:
    accepted = [AcceptedKeys(upstream="openai", team="billing", prefix="fb-")]
    store = process(accepted=accepted)
    new = await store.create(KeyRequest("app", "search"), "test")

    found = await store.find(new.secret)

    assert found is not None
    assert found.name == "app"
