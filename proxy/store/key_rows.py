"""Rows of ``keys``: the record of one key, and the changes of it, each in a transaction of the caller.

Every change raises the generation ``keys`` in the same transaction, so that other processes notice,
and leaves a line in ``audit``.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, Select, and_, insert, or_, select, text, update

from proxy.core.call import Key, Team
from proxy.core.errors import ConfigurationError, FareboxError
from proxy.settings import KeySettings
from proxy.store.schema import audit, generations, keys
from proxy.store.secret import digest, new_secret, visible_prefix

CONFIGURED = "configuration"


class KeyNotChanged(FareboxError):
    """The key can't be made or changed as asked; the message says why."""


class KeyNotFound(KeyNotChanged):
    """There is no key with this name or id."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key as the database has it."""

    id: str
    name: str
    team: str
    sha256: str
    prefix: str
    origin: str
    models: tuple[str, ...]
    max_output_tokens: int | None
    created_at_us: int
    expires_at_us: int | None
    revoked_at_us: int | None
    previous_sha256: str | None = None
    previous_until_us: int | None = None

    def key(self, team: Team) -> Key:
        """The key as the data path knows it."""
        return Key(
            id=self.id,
            name=self.name,
            team=team,
            models=self.models,
            max_output_tokens=self.max_output_tokens,
            expires_at_us=self.expires_at_us,
        )

    def state(self, now_us: int) -> str:
        """Whether it works: active, expired or revoked."""
        if self.revoked_at_us is not None:
            return "revoked"
        expired = self.expires_at_us is not None and self.expires_at_us <= now_us
        return "expired" if expired else "active"

    def digests(self, now_us: int) -> tuple[str, ...]:
        """The hashes of the secrets that open it: after a rotation the one before, too, for its grace."""
        if self.previous_sha256 and (self.previous_until_us or 0) > now_us:
            return (self.sha256, self.previous_sha256)
        return (self.sha256,)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made or rotated: the only moment at which its secret is known."""

    stored: StoredKey
    secret: str


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What a new key shall be."""

    name: str
    team: str
    models: tuple[str, ...] = ("*",)
    max_output_tokens: int | None = None
    expires_at_us: int | None = None
    origin: str = "api"


@dataclass(frozen=True, slots=True)
class Change:
    """Who changes keys, and when."""

    actor: str
    at_us: int


# Reading


def stored(row: RowMapping) -> StoredKey:
    """A row as a record."""
    return StoredKey(**{**row, "models": tuple(json.loads(row["models"]))})


def by_digest(sha256: str) -> Select[tuple[object, ...]]:
    """The key whose secret, or whose secret before the last rotation, has this hash."""
    return select(keys).where(or_(keys.c.sha256 == sha256, keys.c.previous_sha256 == sha256))


def by_id(key_id: str) -> Select[tuple[object, ...]]:
    """One key."""
    return select(keys).where(keys.c.id == key_id)


def active(at_us: int, limit: int) -> Select[tuple[object, ...]]:
    """The keys that work at a time, the newest first."""
    unexpired = or_(keys.c.expires_at_us.is_(None), keys.c.expires_at_us > at_us)
    query = select(keys).where(and_(keys.c.revoked_at_us.is_(None), unexpired))
    return query.order_by(keys.c.created_at_us.desc()).limit(limit)


def all_keys() -> Select[tuple[object, ...]]:
    """Every key there ever was, by team and name."""
    return select(keys).order_by(keys.c.team, keys.c.name)


def generation() -> Select[tuple[object, ...]]:
    """The number that grows with every change of the keys."""
    return select(generations.c.value).where(generations.c.name == "keys")


# Changing


def create(connection: Connection, request: KeyRequest, change: Change) -> NewKey:
    """Make a key. Raises KeyNotChanged where its name is taken."""
    _raise_generation(connection)
    taken = _by_name(connection, request.name)
    if taken is not None:
        ended = "" if taken.revoked_at_us is None else " (revoked, but its calls keep the name)"
        raise KeyNotChanged(
            f"there is a key named {request.name!r} already{ended}: choose another name, "
            "or give that key a new secret with `farebox keys rotate`"
        )
    secret = new_secret()
    row = _new_row(request, secret, change)
    connection.execute(insert(keys).values(**_values(row)))
    _note(connection, change, "key.create", row.name, after=_told(row))
    return NewKey(row, secret)


def revoke(connection: Connection, name_or_id: str, change: Change) -> StoredKey:
    """End a key for good. Revoking twice is as good as once. Raises KeyNotFound."""
    _raise_generation(connection)
    row = _found(connection, name_or_id)
    _refuse_configured(row, "take it out of `keys:` there")
    if row.revoked_at_us is None:
        _update(connection, row.id, revoked_at_us=change.at_us)
        _note(connection, change, "key.revoke", row.name, before=_told(row))
    return _found(connection, row.id)


def rotate(connection: Connection, name_or_id: str, grace_us: int, change: Change) -> NewKey:
    """Give a key a new secret; the old one works for the grace yet. Raises KeyNotFound, KeyNotChanged."""
    _raise_generation(connection)
    row = _found(connection, name_or_id)
    _refuse_configured(row, "change its `key:` there")
    if row.revoked_at_us is not None:
        raise KeyNotChanged(f"the key {row.name!r} is revoked: make a new one")
    secret = new_secret()
    _update(
        connection,
        row.id,
        sha256=digest(secret),
        prefix=visible_prefix(secret),
        previous_sha256=row.sha256 if grace_us else None,
        previous_until_us=change.at_us + grace_us if grace_us else None,
    )
    rotated = _found(connection, row.id)
    _note(connection, change, "key.rotate", row.name, before=_told(row), after=_told(rotated))
    return NewKey(rotated, secret)


def _refuse_configured(row: StoredKey, instead: str) -> None:
    if row.origin == CONFIGURED and row.revoked_at_us is None:
        raise KeyNotChanged(f"the key {row.name!r} comes from the configuration: {instead}")


def _by_name(connection: Connection, name: str) -> StoredKey | None:
    row = connection.execute(select(keys).where(keys.c.name == name)).mappings().first()
    return None if row is None else stored(row)


def _found(connection: Connection, name_or_id: str) -> StoredKey:
    query = select(keys).where(or_(keys.c.id == name_or_id, keys.c.name == name_or_id))
    row = connection.execute(query).mappings().first()
    if row is None:
        raise KeyNotFound(
            f"there is no key with the name or id {name_or_id!r}; the list of keys has them"
        )
    return stored(row)


# Keys of the configuration


def sync(connection: Connection, configured: Sequence[KeySettings], change: Change) -> bool:
    """Make the keys of origin "configuration" those that the file has; true where that changed any.

    One that is gone from the file is revoked, one that is back works again. Raises
    ConfigurationError where a key of the file clashes with one that was made otherwise.
    """
    _lock_generation(connection)
    rows = [stored(row) for row in connection.execute(select(keys)).mappings()]
    wanted = {key.name: key for key in configured}
    _check_clashes(wanted, rows)
    mine = {row.name: row for row in rows if row.origin == CONFIGURED}
    gone = [r for r in mine.values() if r.name not in wanted and r.revoked_at_us is None]
    differing = [k for k in configured if not _same(mine.get(k.name), k)]
    if not gone and not differing:
        return False
    _raise_generation(connection)
    _free_digests(connection, [r for r in mine.values() if _gives_up(r, wanted)])
    for row in gone:
        _update(connection, row.id, revoked_at_us=change.at_us)
        _note(connection, change, "key.revoke", row.name, before=_told(row))
    for key in differing:
        _write_configured(connection, mine.get(key.name), key, change)
    return True


def _check_clashes(wanted: Mapping[str, KeySettings], rows: Sequence[StoredKey]) -> None:
    others = [row for row in rows if row.origin != CONFIGURED]
    names = {row.name for row in others}
    digests = {row.sha256: row.name for row in others}
    problems = []
    for key in wanted.values():
        if key.name in names:
            problems.append(
                f"keys: {key.name!r} was also made with `farebox keys create`: choose another name"
            )
        elif (other := digests.get(digest(key.key))) is not None:
            problems.append(f"keys: {key.name!r} has the secret of the key {other!r}: use another")
    if problems:
        raise ConfigurationError("\n".join(problems))


def _same(row: StoredKey | None, key: KeySettings) -> bool:
    return (
        row is not None
        and row.revoked_at_us is None
        and (row.sha256, row.team) == (digest(key.key), key.team)
        and (row.models, row.max_output_tokens) == (tuple(key.models), key.max_output_tokens)
    )


def _gives_up(row: StoredKey, wanted: Mapping[str, KeySettings]) -> bool:
    return row.name not in wanted or digest(wanted[row.name].key) != row.sha256


def _free_digests(connection: Connection, rows: Sequence[StoredKey]) -> None:
    """Let go of hashes first, so that two keys can change their secrets or names with each other."""
    for row in rows:
        _update(connection, row.id, sha256=f"none:{row.id}")


def _write_configured(
    connection: Connection, row: StoredKey | None, key: KeySettings, change: Change
) -> None:
    request = KeyRequest(
        key.name, key.team, tuple(key.models), key.max_output_tokens, origin=CONFIGURED
    )
    new = _new_row(request, key.key, change)
    if row is None:
        connection.execute(insert(keys).values(**_values(new)))
        _note(connection, change, "key.create", key.name, after=_told(new))
        return
    changed = {**_values(new), "revoked_at_us": None}
    del changed["id"], changed["created_at_us"]
    _update(connection, row.id, **changed)
    _note(connection, change, "key.change", key.name, before=_told(row), after=_told(new))


# Rows


def _new_row(request: KeyRequest, secret: str, change: Change) -> StoredKey:
    return StoredKey(
        id=f"key_{secrets.token_hex(8)}",
        name=request.name,
        team=request.team,
        sha256=digest(secret),
        prefix=visible_prefix(secret),
        origin=request.origin,
        models=request.models,
        max_output_tokens=request.max_output_tokens,
        created_at_us=change.at_us,
        expires_at_us=request.expires_at_us,
        revoked_at_us=None,
    )


def _values(row: StoredKey) -> dict[str, object]:
    values = {name: getattr(row, name) for name in StoredKey.__slots__}
    return {**values, "models": json.dumps(row.models)}


def _told(row: StoredKey) -> str:
    """What the audit keeps of a key: no hash."""
    told = {
        "team": row.team,
        "prefix": row.prefix,
        "models": row.models,
        "max_output_tokens": row.max_output_tokens,
        "expires_at_us": row.expires_at_us,
    }
    return json.dumps(told)


def _update(connection: Connection, key_id: str, **values: object) -> None:
    connection.execute(update(keys).where(keys.c.id == key_id).values(**values))


def _lock_generation(connection: Connection) -> None:
    """One change of the keys at a time, over all processes: the row's lock lasts until the commit."""
    _add_to_generation(connection, 0)


def _raise_generation(connection: Connection) -> None:
    _add_to_generation(connection, 1)


_FIRST_GENERATION = text(
    "INSERT INTO generations (name, value) VALUES ('keys', 0) ON CONFLICT DO NOTHING"
)


def _add_to_generation(connection: Connection, by: int) -> None:
    row = update(generations).where(generations.c.name == "keys")
    raised = row.values(value=generations.c.value + by)
    if not connection.execute(raised).rowcount:
        # The first change of all. Where two processes make it at once, one waits here for the other.
        connection.execute(_FIRST_GENERATION)
        connection.execute(raised)


def _note(
    connection: Connection,
    change: Change,
    action: str,
    subject: str,
    *,
    before: str = "",
    after: str = "",
) -> None:
    connection.execute(
        insert(audit).values(
            id=f"{change.at_us:016x}{secrets.token_hex(6)}",
            at_us=change.at_us,
            actor=change.actor,
            action=action,
            subject=subject,
            before=before,
            after=after,
        )
    )
