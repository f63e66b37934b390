"""The queue of alerts: each is made once for a channel, and sent by one process at a time."""

import asyncio

from proxy.core.alerts import Alert, trial_alert
from proxy.store.alerts import FAILED, PASSED, PENDING, SENT, AlertQueue
from proxy.store.engine import Database

NOW_US = 1_764_072_000_000_000
MINUTE_US = 60_000_000


def an_alert(number: int = 1) -> Alert:
    return trial_alert(NOW_US + number)


async def states(queue: AlertQueue) -> list[tuple[str, str, int]]:
    return [(q.channel, q.state, q.tries) for q in await queue.recent()]


async def test_the_same_alert_is_made_once_for_each_channel(database: Database) -> None:
    """Also where several processes see the same at once."""
    queues = [AlertQueue(database) for _ in range(4)]
    wanted = [(an_alert(), "slack", PENDING), (an_alert(), "mail", PENDING)]
    await asyncio.gather(*(queue.add(wanted) for queue in queues))

    assert sorted(await states(queues[0])) == [("mail", PENDING, 0), ("slack", PENDING, 0)]
    assert await queues[0].add(wanted) == 0


async def test_only_one_process_gets_an_alert_to_send(database: Database) -> None:
    queue = AlertQueue(database)
    await queue.add([(an_alert(n), "slack", PENDING) for n in range(20)])
    later = NOW_US + MINUTE_US
    taken = await asyncio.gather(*(AlertQueue(database).take(later) for _ in range(4)))

    sent = [q.alert.id for each in taken for q in each]
    assert sorted(sent) == sorted(an_alert(n).id for n in range(20))


async def test_what_was_sent_is_not_sent_again(database: Database) -> None:
    queue = AlertQueue(database)
    await queue.add([(an_alert(), "slack", PENDING), (an_alert(), "mail", PASSED)])
    (taken,) = await queue.take(NOW_US + MINUTE_US)
    await queue.sent(taken)

    assert taken.alert == an_alert()
    assert await queue.take(NOW_US + 1000 * MINUTE_US) == []
    assert sorted(await states(queue)) == [("mail", PASSED, 0), ("slack", SENT, 1)]


async def test_what_failed_is_tried_again_later_and_later(database: Database) -> None:
    """And given up after a day of trying."""
    queue = AlertQueue(database)
    await queue.add([(an_alert(), "slack", PENDING)])
    now_us = NOW_US + MINUTE_US
    pauses = []
    while taken := await queue.take(now_us):
        assert await queue.take(now_us) == []
        again = await queue.failed(taken[0], "answered 500", now_us)
        if again:
            (queued,) = await queue.recent()
            assert await queue.take(queued.next_at_us - 1) == []
            pauses.append((queued.next_at_us - now_us) // 1_000_000)
            now_us = queued.next_at_us

    assert pauses[:7] == [10, 30, 120, 600, 1800, 3600, 3600]
    assert 20 * 3600 < sum(pauses) < 30 * 3600
    (given_up,) = await queue.recent()
    assert (given_up.state, given_up.problem, given_up.tries) == (FAILED, "answered 500", 30)


async def test_a_sender_that_died_leaves_its_alert_to_another(database: Database) -> None:
    queue = AlertQueue(database)
    await queue.add([(an_alert(), "slack", PENDING)])
    first = await queue.take(NOW_US + MINUTE_US)
    too_soon = await queue.take(NOW_US + 2 * MINUTE_US)
    second = await queue.take(NOW_US + 4 * MINUTE_US)

    assert (len(first), len(too_soon), len(second)) == (1, 0, 1)


async def test_what_no_window_needs_is_forgotten(database: Database) -> None:
    """But not what was told of a total: its window never ends."""
    queue = AlertQueue(database)
    old = trial_alert(NOW_US)
    total = Alert(**{f: getattr(old, f) for f in Alert.__slots__} | {"id": "b|s|0|threshold:80"})
    await queue.add([(old, "slack", SENT), (total, "slack", SENT)])
    await queue.forget_old(NOW_US + 500 * 86_400 * 1_000_000)

    assert [q.alert.id for q in await queue.recent()] == [total.id]
