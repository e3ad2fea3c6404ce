"""The one table of secrets: passwords and tokens, sealed; other tables point to its rows.

A secret is sealed against its own id, chosen before the insert, and its purpose, so that a ciphertext copied to another
row or another use does not open. Rotation of keys walks this one table: rows are never changed but by it, so it may
run beside everything else, be killed, and go on.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import LargeBinary, String, Table, bindparam, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from mailadmin.db import Base, now
from mailadmin.vault import Unsealable, Vault


class SealedSecret(Base):
    """One sealed value."""

    __tablename__ = "sealed_secret"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(String(40))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=now)


_TABLE: Table = SealedSecret.__table__  # type: ignore[assignment]
_SOME = select(_TABLE.c.id, _TABLE.c.purpose, _TABLE.c.sealed).where(_TABLE.c.id.in_(bindparam("ids", expanding=True)))


class Secret:
    """A secret value on its way; it shows only when asked with `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)


def keep(session: Session, secret: Secret, *, purpose: str) -> UUID:
    """Seal `secret` into a new row; the answer is the row's id."""
    secret_id = uuid4()
    sealed = _vault(session).seal(secret.reveal(), context=_context(secret_id, purpose))
    session.add(SealedSecret(id=secret_id, purpose=purpose, sealed=sealed))
    session.flush()
    return secret_id


def reveal(session: Session, secret_id: UUID) -> Secret:
    """The secret in row `secret_id`. Raises Unsealable when its key is missing, LookupError when the row is gone."""
    row = session.get(SealedSecret, secret_id)
    if row is None:
        raise LookupError("This secret was deleted.")
    return Secret(_vault(session).open(row.sealed, context=_context(row.id, row.purpose)))


def reveal_all(session: Session, secret_ids: Collection[UUID]) -> dict[UUID, Secret]:
    """Those of these secrets that are there and open, by id, with one statement."""
    vault, found = _vault(session), {}
    for secret_id, purpose, sealed in session.connection().execute(_SOME, {"ids": list(secret_ids)}):
        with suppress(Unsealable):
            found[secret_id] = Secret(vault.open(sealed, context=_context(secret_id, purpose)))
    return found


def forget(session: Session, secret_id: UUID) -> None:
    """Delete the row; whoever points to it stops doing so first."""
    session.execute(delete(SealedSecret).where(SealedSecret.id == secret_id))


# Rotation of keys, and what it would meet.

BATCH = 100  # attachments among them may be large


@dataclass(frozen=True, slots=True)
class Round:
    """What one batch of secrets came to: how many were looked at, sealed anew, and could not be opened (`broken`).

    `last` is the id to go on after, None at the end.
    """

    seen: int
    renewed: int
    broken: tuple[UUID, ...]
    last: UUID | None


def count(session: Session) -> int:
    """How many secrets there are."""
    return session.scalar(select(func.count()).select_from(SealedSecret)) or 0


def look_through(session: Session, *, after: UUID | None = None, renew: bool, limit: int = BATCH) -> Round:
    """Open up to `limit` secrets whose ids follow `after`; with `renew` seal those anew that have not the first key."""
    vault = _vault(session)
    query = select(SealedSecret.id, SealedSecret.purpose, SealedSecret.sealed).order_by(SealedSecret.id).limit(limit)
    rows = session.execute(query if after is None else query.where(SealedSecret.id > after)).all()
    renewed, broken = 0, []
    for secret_id, purpose, sealed in rows:
        try:
            value = vault.open(sealed, context=_context(secret_id, purpose))
        except Unsealable:
            broken.append(secret_id)
            continue
        if renew and not vault.is_newest(sealed):
            anew = vault.seal(value, context=_context(secret_id, purpose))
            session.execute(update(SealedSecret).where(SealedSecret.id == secret_id).values(sealed=anew))
            renewed += 1
    return Round(len(rows), renewed, tuple(broken), rows[-1].id if len(rows) == limit else None)


def _context(secret_id: UUID, purpose: str) -> bytes:
    return secret_id.bytes + purpose.encode()


def _vault(session: Session) -> Vault:
    vault = session.info["vault"]
    assert isinstance(vault, Vault)
    return vault
