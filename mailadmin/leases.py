"""One lease for all uses: only one holder at a time does a thing, and a holder that died is replaced.

A lease is a row that is taken by compare-and-set, has an expiry that its holder pushes forward (heartbeat), and counts
its takings in `fence`. Whoever writes under a lease passes its fencing number to `beat` in the same transaction: if
somebody else has taken the lease meanwhile, nothing is written. That makes a holder harmless that was only asleep.
The runners' own leases double as the list of who is alive.
"""

import os
import re
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, String, Table, bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from mailadmin.db import Base, now

_BOOT = re.compile(r"\.[0-9a-f]{8}(\.\d+)?$")  # what `_machine` adds to the host's name


class Lease(Base):
    """Who holds what, until when."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    holder: Mapped[str] = mapped_column(String(200))
    fence: Mapped[int]
    taken_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    expires_at: Mapped[datetime]


# Statements about many, written once: to put one together takes longer than to run it.
_TABLE: Table = Lease.__table__  # type: ignore[assignment]
_LEASE = _TABLE.c
_NAMED = _LEASE.name.in_(bindparam("names", expanding=True))
_MOMENT, _ENDS = bindparam("at", type_=_LEASE.beat_at.type), bindparam("ends", type_=_LEASE.beat_at.type)
_HOLDER = bindparam("by", type_=_LEASE.holder.type)
# Locked by name, and never waited for: two who take many at once would wait for each other in the order of their plans.
_FREE = (
    select(_LEASE.name)
    .where(_NAMED, _LEASE.expires_at <= _MOMENT)
    .order_by(_LEASE.name)
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(_TABLE)
    .where(_LEASE.name.in_(_FREE))
    .values(fence=_LEASE.fence + 1, holder=_HOLDER, taken_at=_MOMENT, beat_at=_MOMENT, expires_at=_ENDS)
    .returning(_LEASE.name, _LEASE.fence)
)
_KNOWN = select(_LEASE.name).where(_NAMED)
_OURS = (
    select(_LEASE.name, _LEASE.fence)
    .where(_NAMED, _LEASE.holder == _HOLDER, _LEASE.expires_at > _MOMENT)
    .order_by(_LEASE.name)
    .with_for_update()
)
# Whoever comes second waits for the first one's commit, and then finds that it is not free any more.
_TAKE_ONE = (
    update(_TABLE)
    .where(_LEASE.name == bindparam("of_name"), _LEASE.expires_at <= _MOMENT)
    .values(fence=_LEASE.fence + 1, holder=_HOLDER, taken_at=_MOMENT, beat_at=_MOMENT, expires_at=_ENDS)
    .returning(_LEASE.fence)
)
_RELEASE_ALL = update(_TABLE).where(_NAMED).values(expires_at=_MOMENT, holder="")
# Made once: each transaction of a sync begins with a beat, and to write the statement takes longer than to execute it.
_MINE = update(_TABLE).where(
    _TABLE.c.name == bindparam("of_name"),
    _TABLE.c.fence == bindparam("of_fence"),
    _TABLE.c.holder == bindparam("of_holder"),
)
_BEAT = _MINE.values(beat_at=bindparam("moment"), expires_at=bindparam("until"))
_RELEASE = _MINE.values(expires_at=bindparam("moment"), holder="")


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that this process took: pass it to `beat` and `release`."""

    name: str
    holder: str
    fence: int


class LeaseLost(Exception):
    """Somebody else holds the lease now; the transaction must not be committed."""


def take(session: Session, name: str, *, seconds: float) -> Held | None:
    """The lease `name` for `seconds`, or None while somebody else holds it."""
    holder, moment, connection = this_process(), now(), session.connection()
    times = {"by": holder, "at": moment, "ends": moment + timedelta(seconds=seconds)}
    fence = connection.execute(_TAKE_ONE, {"of_name": name, **times}).scalar()
    return Held(name, holder, fence) if fence is not None else _take_first(connection, name, times)


def _take_first(connection: Connection, name: str, times: Mapping[str, Any]) -> Held | None:
    """The lease `name` if it was never taken and nobody else is a moment faster."""
    engine = sqlite if connection.dialect.name == "sqlite" else postgresql
    new = engine.insert(_TABLE).on_conflict_do_nothing().returning(_LEASE.fence)
    moment, ends = times["at"], times["ends"]
    first = {"name": name, "holder": times["by"], "fence": 1, "taken_at": moment, "beat_at": moment}
    taken = connection.execute(new, first | {"expires_at": ends}).scalar() is not None
    return Held(name, times["by"], 1) if taken else None


def beat(session: Session, held: Held, *, seconds: float) -> None:
    """Keep `held` for another `seconds`. Raises LeaseLost when it is ours no more."""
    moment = now()
    times = {"moment": moment, "until": moment + timedelta(seconds=seconds)}
    done = session.connection().execute(_BEAT, _which(held) | times)
    if done.rowcount != 1:
        raise LeaseLost(held.name)


def beat_all(session: Session, held: Collection[Held], *, seconds: float) -> list[Held]:
    """Keep all of `held`, which this process took, for another `seconds`; those that are ours no more."""
    moment, mine = now(), {one.name: one for one in held}
    ours = Lease.name.in_(mine), Lease.holder == this_process()
    session.execute(
        update(Lease)
        .where(*ours)
        .values(beat_at=moment, expires_at=moment + timedelta(seconds=seconds))
        .execution_options(synchronize_session=False)
    )
    kept = {(name, fence) for name, fence in session.execute(select(Lease.name, Lease.fence).where(*ours))}
    return [one for one in held if (one.name, one.fence) not in kept]


def take_all(session: Session, names: Collection[str], *, seconds: float) -> dict[str, Held]:
    """Those of `names` that nobody holds, for `seconds`, by name; with two statements for all that were ever taken."""
    holder, moment, connection = this_process(), now(), session.connection()
    values = {"by": holder, "at": moment, "ends": moment + timedelta(seconds=seconds)}
    rows = connection.execute(_TAKE, {"names": list(names), **values})
    found = {name: Held(name, holder, fence) for name, fence in rows}
    others = [name for name in names if name not in found]
    known = set(connection.execute(_KNOWN, {"names": others}).scalars()) if others else set()
    first = (_take_first(connection, name, values) for name in sorted(set(others) - known))
    return found | {one.name: one for one in first if one is not None}


def hold_on(session: Session, held: Collection[Held]) -> list[Held]:
    """Those of `held`, which this process took, that are ours still; nobody can take them before the commit."""
    fences = {one.name: one for one in held}
    values = {"names": list(fences), "by": this_process(), "at": now()}
    return [fences[name] for name, fence in session.connection().execute(_OURS, values) if fences[name].fence == fence]


def release_all(session: Session, held: Collection[Held]) -> None:
    """Let others take all of `held` at once; in this transaction `hold_on` has said that they are ours."""
    session.connection().execute(_RELEASE_ALL, {"names": [one.name for one in held], "at": now()})


def release(session: Session, held: Held) -> None:
    """Let others take `held` at once. The row stays, so that its fencing number keeps growing."""
    session.connection().execute(_RELEASE, _which(held) | {"moment": now()})


def _which(held: Held) -> dict[str, str | int]:
    return {"of_name": held.name, "of_fence": held.fence, "of_holder": held.holder}


def held_now(session: Session, prefix: str) -> list[Lease]:
    """The unexpired leases whose names begin with `prefix`, by name."""
    return list(
        session.scalars(
            select(Lease)
            .where(Lease.name.startswith(prefix, autoescape=True), Lease.expires_at > now())
            .order_by(Lease.name)
        )
    )


def not_given_back(session: Session, prefix: str) -> list[Lease]:
    """The leases whose names begin with `prefix` and whose holders did not end well or have not ended, by name."""
    query = select(Lease).where(Lease.name.startswith(prefix, autoescape=True), Lease.holder != "")
    return list(session.scalars(query.order_by(Lease.name)))


def machine_of(holder: str) -> str:
    """The machine of a holder, as long as it runs; equal for all processes of one container."""
    return holder.partition("/")[0]


def host_of(holder: str) -> str:
    """What people call the machine of a holder."""
    return _BOOT.sub("", machine_of(holder))


def break_dead(session: Session) -> int:
    """Free the leases of dead processes of this machine, and say how many; the others run out by themselves."""
    mine = f"{_machine()}/"
    held = session.scalars(
        select(Lease).where(Lease.holder.startswith(mine, autoescape=True), Lease.expires_at > now())
    ).all()
    dead = [lease for lease in held if not _lives(lease.holder.removeprefix(mine))]
    for lease in dead:
        lease.expires_at, lease.holder = now(), ""
    session.flush()
    return len(dead)


def forget(session: Session, *, prefix: str, before: datetime) -> None:
    """Delete leases below `prefix` that ran out before `before`: runners come and go under new names."""
    session.execute(
        delete(Lease).where(
            Lease.name.startswith(prefix, autoescape=True), or_(Lease.expires_at < before, Lease.holder == "")
        )
    )


def this_process() -> str:
    """This process's name as a holder: machine, process id, and when the process was born, since ids are used again."""
    return f"{_machine()}/{os.getpid()}/{_born(os.getpid())}"


@cache
def _machine() -> str:
    """This machine as long as it runs: two with one name, or two containers on one kernel, stay apart."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    return ".".join(parts)


def _lives(process: str) -> bool:
    pid, _, born = process.partition("/")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return _born(int(pid)) == born


def _born(pid: int) -> str:
    """The start time of process `pid` in clock ticks since boot (proc(5), field 22); nothing where there is no /proc.

    A process that ended and was not yet collected by its parent (state Z) was never born as far as we are concerned.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
