"""Shares the accounts among the watchers: each takes its part of the shards by lease, gives back what is too much."""

import hashlib

from sqlalchemy.orm import Session

from mailadmin import leases
from mailadmin.sync import watching

PREFIX = "watcher:"  # of the leases by which watchers see each other
LEASE_SECONDS = 30.0


class Shards:
    """The shards of this process."""

    def __init__(self) -> None:
        self._held: dict[int, leases.Held] = {}
        self._life: leases.Held | None = None

    @property
    def mine(self) -> frozenset[int]:
        """The shards whose accounts this process watches."""
        return frozenset(self._held)

    def keep(self, session: Session) -> None:
        """Keep what is ours, take what is free up to our share, give back what is more than that.

        What is taken is free of what a former holder noted.
        """
        self._show_life(session)
        lost = {one.name for one in leases.beat_all(session, list(self._held.values()), seconds=LEASE_SECONDS)}
        self._held = {shard: one for shard, one in self._held.items() if one.name not in lost}
        share = -(-watching.SHARDS // max(len(leases.held_now(session, PREFIX)), 1))
        for shard in sorted(self._held)[share:]:
            leases.release(session, self._held.pop(shard))
        if len(self._held) < share:
            self._take(session, share)

    def give_back(self, session: Session) -> None:
        """End: others may take all at once."""
        watching.forget_shards(session, self._held)
        for held in [*self._held.values(), *([self._life] if self._life else [])]:
            leases.release(session, held)
        self._held, self._life = {}, None

    def _take(self, session: Session, share: int) -> None:
        taken = {lease.name for lease in leases.held_now(session, watching.PREFIX)}
        new = []
        for shard in range(watching.SHARDS):
            name = watching.lease_of(shard)
            if len(self._held) >= share:
                break
            if name not in taken and (held := leases.take(session, name, seconds=LEASE_SECONDS)) is not None:
                self._held[shard] = held
                new.append(shard)
        if new:
            watching.forget_shards(session, new)

    def _show_life(self, session: Session) -> None:
        if self._life is not None and leases.beat_all(session, [self._life], seconds=LEASE_SECONDS):
            self._life = None
        if self._life is None:
            leases.break_dead(session)
            name = PREFIX + hashlib.sha256(leases.this_process().encode()).hexdigest()[:16]
            self._life = leases.take(session, name, seconds=LEASE_SECONDS)
