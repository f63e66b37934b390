"""Who is alive: each process signs in regularly, and whose last sign is too old has lost its holds."""

from sqlalchemy import Connection, and_, delete, insert, or_, select, text, update

from proxy.ledger.batch import NO_OWNER
from proxy.store.schema import holds, owners

SWEPT_AT_ONCE = 256
_FORGOTTEN_AFTER = 100  # leases: an owner's row is kept so long, to tell a pause from a death


def database_us(connection: Connection, clock_us: int) -> int:
    """The time that leases are told by: the database's, where processes of many machines share it."""
    if connection.dialect.name == "postgresql":
        clock = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(connection.scalar(clock) or 0)
    return clock_us


def sign_in(connection: Connection, owner: str, now_us: int) -> None:
    """Say that this process is alive."""
    seen = connection.execute(
        update(owners).where(owners.c.owner == owner).values(seen_at_us=now_us)
    )
    if not seen.rowcount:
        connection.execute(insert(owners).values(owner=owner, seen_at_us=now_us))


def sign_out(connection: Connection, owner: str) -> None:
    """Say that this process is gone: whatever it still holds is lost."""
    connection.execute(delete(owners).where(owners.c.owner == owner))


def outlive(connection: Connection, call_id: str, until_us: int) -> None:
    """Let a hold end with no process, but at a time of its own."""
    change = update(holds).where(holds.c.call_id == call_id)
    connection.execute(change.values(owner=NO_OWNER, until_us=until_us))


def dead_holds(connection: Connection, owner: str, now_us: int, lease_us: int) -> list[str]:
    """The calls whose process was not seen for a lease; some of them, where there are many.

    Never this process's own: it is alive, whatever the clock did. What outlives its process has a time
    of its own instead.
    """
    unseen = or_(owners.c.owner.is_(None), owners.c.seen_at_us < now_us - lease_us)
    until = holds.c.until_us
    dead = or_(
        and_(until == 0, holds.c.owner != owner, unseen),
        and_(until > 0, until < now_us),
    )
    query = (
        select(holds.c.call_id)
        .outerjoin(owners, owners.c.owner == holds.c.owner)
        .where(dead)
        .order_by(holds.c.call_id)
        .limit(SWEPT_AT_ONCE)
    )
    return list(connection.scalars(query))


def forget_dead(connection: Connection, now_us: int, lease_us: int) -> None:
    """Delete the rows of processes that are long gone and hold nothing."""
    holding = select(holds.c.owner).where(holds.c.owner == owners.c.owner)
    connection.execute(
        delete(owners).where(
            owners.c.seen_at_us < now_us - _FORGOTTEN_AFTER * lease_us, ~holding.exists()
        )
    )
