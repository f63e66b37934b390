"""Keys: made, rotated, revoked, and found by the secret that a caller shows.

A secret is 256 random bits, shown once and stored as its SHA-256. Looking a hash up needs no
constant time: an attacker who learns from timing how far two hashes agree can't steer the hash of
the next guess. Nor does it need a slow hash: those protect passwords, which people choose.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import structlog
from sqlalchemy import Connection, RowMapping

from proxy.core.call import Key, Team
from proxy.core.errors import LedgerError
from proxy.settings import AcceptedKeys, KeySettings
from proxy.store import key_rows
from proxy.store.clock import now_us
from proxy.store.engine import Database
from proxy.store.key_rows import Change, KeyNotChanged, KeyRequest, NewKey, StoredKey
from proxy.store.secret import ISSUED, well_formed

LOADED_AT_MOST = 50_000  # keys held in memory; more are looked up one by one
REMEMBERED_AT_MOST = (
    10_000  # secrets that are no stored key: unknown ones, and accepted provider keys
)
_FOUND_WITHIN_S = 0.4  # a call waits for it, and then for its hold: less than a second in all


T = TypeVar("T")


class UnknownTeam(KeyNotChanged):
    """The team is not in the configuration."""


@dataclass(frozen=True, slots=True)
class _Known:
    key: Key
    until_us: int | None  # when this secret stops working: expiry, or the grace after a rotation


class KeyStore:
    """The keys of the database, in memory by hash. Implements ``gateway.ports.Keys``.

    A key that is known keeps working while the database does not answer; one that is not known then
    raises LedgerError, never passes. A revocation elsewhere arrives with the next ``refresh``.
    """

    def __init__(
        self,
        database: Database,
        teams: Mapping[str, Team],
        accepted: Sequence[AcceptedKeys] = (),
        *,
        clock_us: Callable[[], int] = now_us,
        synced: bool = True,
    ) -> None:
        """Not ``synced``: no key is known, and none unknown, until ``sync`` has been called."""
        self._database = database
        self._teams = teams
        self._accepted = tuple(accepted)
        self._clock_us = clock_us
        self._synced = synced
        self._generation = -1
        self._stored: list[StoredKey] = []
        self._complete = False  # is every stored key in memory?
        self._known: dict[bytes, _Known] = {}
        self._remembered: dict[bytes, Key | None] = {}

    # The data path

    async def find(self, secret: str) -> Key | None:
        """The key with this secret, or None: unknown, revoked or expired."""
        digest = sha256(secret.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            return await self._find_elsewhere(secret, digest)
        if known.until_us is not None and known.until_us <= self._clock_us():
            return None
        return known.key

    async def _find_elsewhere(self, secret: str, digest: bytes) -> Key | None:
        if not self._synced:  # it may be a good one: "unknown" would be a guess
            raise LedgerError("the keys have not been read yet")
        if digest in self._remembered:
            return self._remembered[digest]
        key = None
        if self._may_be_stored(secret):
            generation = self._generation
            rows = await self._database.fetch(
                key_rows.by_digest(digest.hex()), within_s=_FOUND_WITHIN_S
            )
            stored = [key_rows.stored(row) for row in rows]
            if generation == self._generation:  # else a revocation may have come in between
                self._learn(stored)
            known = self._entries(stored).get(digest)
            if known is not None:
                alive = known.until_us is None or known.until_us > self._clock_us()
                return known.key if alive else None
        else:
            key = self._accept(secret, digest.hex())
        if len(self._remembered) >= REMEMBERED_AT_MOST:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = key
        return key

    def _may_be_stored(self, secret: str) -> bool:
        # Keys of the configuration arrive with a refresh. One that was just issued by another process
        # is looked up; its checksum keeps made-up keys away from the database.
        return not self._complete or (secret.startswith(ISSUED) and well_formed(secret))

    def _accept(self, secret: str, digest: str) -> Key | None:
        """The provider's own key as the configuration maps it to a team."""
        for rule in self._accepted:
            matches = secret.startswith(rule.prefix) if rule.prefix else digest == rule.sha256
            if matches and (team := self._teams.get(rule.team)):
                name = f"provider:{digest[:8]}"
                return Key(id=name, name=name, team=team, forward_upstream=rule.upstream)
        return None

    # Who looks at their team's pages

    async def of_secret(self, secret: str) -> StoredKey | None:
        """The stored key with this secret, where it works now and its team is known."""
        digest = sha256(secret.encode()).hexdigest()
        rows = await self._database.fetch(key_rows.by_digest(digest))
        return self._working(rows, digest)

    async def of_id(self, key_id: str) -> StoredKey | None:
        """The same by its id."""
        return self._working(await self._database.fetch(key_rows.by_id(key_id)), None)

    def _working(self, rows: Sequence[RowMapping], digest: str | None) -> StoredKey | None:
        for row in rows:
            key = key_rows.stored(row)
            now = self._clock_us()
            known = key.state(now) == "active" and key.team in self._teams
            if known and (digest is None or digest in key.digests(now)):
                return key
        return None

    # Keeping up

    def use(self, teams: Mapping[str, Team], accepted: Sequence[AcceptedKeys]) -> None:
        """Go on with other teams and accepted provider keys: the configuration was read anew."""
        self._teams, self._accepted = teams, tuple(accepted)
        self._remembered = {}
        self._known = {}
        self._learn_all()

    async def refresh(self) -> None:
        """Load the keys if any changed since. To be called once a second.

        Raises LedgerError; what is known stays known then.
        """
        generation = await self._read_generation()
        if generation == self._generation:
            return
        rows = await self._database.fetch(key_rows.active(self._clock_us(), LOADED_AT_MOST))
        self._stored = [key_rows.stored(row) for row in rows]
        self._complete = len(rows) < LOADED_AT_MOST
        self._generation = generation
        self._known, self._remembered = {}, {}
        self._learn_all()

    async def _read_generation(self) -> int:
        rows = await self._database.fetch(key_rows.generation())
        return int(rows[0]["value"]) if rows else 0

    def _learn(self, stored: Sequence[StoredKey]) -> None:
        self._stored += stored
        self._known |= self._entries(stored)

    def _learn_all(self) -> None:
        self._known = self._entries(self._stored)
        if orphans := sorted({k.team for k in self._stored} - set(self._teams)):
            structlog.get_logger("farebox.keys").warning("keys_of_unknown_teams", teams=orphans)

    def _entries(self, stored: Sequence[StoredKey]) -> dict[bytes, _Known]:
        entries: dict[bytes, _Known] = {}
        for row in stored:
            team = self._teams.get(row.team)
            if team is None or row.revoked_at_us is not None:
                continue
            key = row.key(team)
            entries[bytes.fromhex(row.sha256)] = _Known(key, row.expires_at_us)
            if row.previous_sha256 and row.previous_until_us:
                until = min(row.previous_until_us, row.expires_at_us or row.previous_until_us)
                entries[bytes.fromhex(row.previous_sha256)] = _Known(key, until)
        return entries

    # Changing keys

    async def list(self) -> list[StoredKey]:
        """Every key there ever was, by team and name."""
        return [key_rows.stored(row) for row in await self._database.fetch(key_rows.all_keys())]

    async def create(self, request: KeyRequest, actor: str) -> NewKey:
        """Make a key; its secret is known now and never again. Raises KeyNotChanged."""
        if request.team not in self._teams:
            known = ", ".join(sorted(self._teams)) or "none"
            raise UnknownTeam(
                f"there is no team {request.team!r} in the configuration (known: {known})"
            )
        change = self._change(actor)
        return await self._changed(lambda connection: key_rows.create(connection, request, change))

    async def revoke(self, name_or_id: str, actor: str) -> StoredKey:
        """End a key; every process knows within a second. Raises KeyNotFound, KeyNotChanged."""
        change = self._change(actor)
        return await self._changed(
            lambda connection: key_rows.revoke(connection, name_or_id, change)
        )

    async def rotate(self, name_or_id: str, actor: str, grace_s: float = 0) -> NewKey:
        """Give a key a new secret; the old one works for the grace yet. Raises KeyNotFound, KeyNotChanged."""
        change, grace_us = self._change(actor), round(grace_s * 1_000_000)
        return await self._changed(
            lambda connection: key_rows.rotate(connection, name_or_id, grace_us, change)
        )

    async def sync(self, configured: Sequence[KeySettings]) -> None:
        """Make the keys of the configuration those that work. Raises ConfigurationError on a clash."""
        change = self._change("configuration")
        await self._changed(lambda connection: key_rows.sync(connection, configured, change))
        self._synced = True

    def _change(self, actor: str) -> Change:
        return Change(actor, self._clock_us())

    async def _changed(self, work: Callable[[Connection], T]) -> T:
        done = await self._database.run(work)
        await self.refresh()
        return done
