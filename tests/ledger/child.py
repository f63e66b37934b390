"""A process of its own on a ledger, for tests that start several and kill some.

``fill URL COUNT AMOUNT``: holds so much for so many calls at once, and says how many were admitted.
``churn URL SEED``: holds and settles without end; says "held ID" and "settled ID COST" once it is so.
"""

import asyncio
import random
import sys
from typing import Any

from proxy.core.reservation import Hold
from proxy.ledger.base import LedgerOptions
from proxy.ledger.postgres import PostgresLedger
from proxy.ledger.sqlite import SqliteLedger
from proxy.store import migrate
from proxy.store.engine import Database
from tests.ledger.homes import Clock
from tests.ledger.samples import principal, request, settlement

WORKERS = 16


async def fill(ledger: Any, count: int, amount: int) -> None:
    """Hold at once, then wait to be told to go."""
    answers = await asyncio.gather(*(ledger.reserve(request(amount)) for _ in range(count)))
    say("admitted", sum(isinstance(answer, Hold) for answer in answers))
    await asyncio.to_thread(sys.stdin.readline)


async def churn(ledger: Any, seed: int) -> None:
    """Call after call, many at once."""
    dice = random.Random(seed)

    async def work() -> None:
        while True:
            caller = principal(dice.choice(("search", "ads")), user=dice.choice(("ann", "bob")))
            asked = request(dice.randrange(1_000), caller, estimate_nano=7)
            hold = await ledger.reserve(asked)
            if not isinstance(hold, Hold):
                continue
            say("held", asked.record.id)
            cost = dice.randrange(900)
            await ledger.settle(settlement(asked, cost, hold))
            say("settled", asked.record.id, cost)

    await asyncio.gather(*(work() for _ in range(WORKERS)))


def say(*words: object) -> None:
    """To the test, at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(what: str, url: str, *numbers: str) -> None:
    """Open the ledger and do one of the two."""
    database = Database(url)
    await migrate.upgrade(database)
    options = LedgerOptions(clock_us=Clock(), answer_timeout_s=20)
    kind = SqliteLedger if database.is_sqlite else PostgresLedger
    ledger = kind(database, options)
    await ledger.start()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    if what == "fill":
        await fill(ledger, int(numbers[0]), int(numbers[1]))
    else:
        await churn(ledger, int(numbers[0]))
    await ledger.stop()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
