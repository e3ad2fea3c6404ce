"""What the list does to several accounts at once, and how it tells: each deed passes over what it does not fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import service as connections
from mailadmin.permissions import Actor
from mailadmin.sync import service as sync
from mailadmin.text import t

MOST = 200


@dataclass(frozen=True, slots=True)
class Done:
    """What a deed did: in words, to how many, and what to ring for after the commit."""

    said: str
    number: int
    rings: Sequence[tuple[str, int] | tuple[str]] = ()


Deed = Callable[[Session, Sequence[Account], Actor], Done]


def chosen(session: Session, ids: Sequence[int]) -> Sequence[Account]:
    """The live accounts among `ids`, at most MOST, in one order for all: they are locked one after the other."""
    live = select(Account).where(Account.id.in_(ids[:MOST]), Account.deleting_at.is_(None))
    return session.scalars(live.order_by(Account.id)).unique().all()


def test(session: Session, ticked: Sequence[Account], actor: Actor) -> Done:
    """Test what has a server and a password. Raises RuleBroken after too many tests of unknown servers."""
    able = [account for account in ticked if connections.is_testable(account)]
    connections.request_many(session, accounts_=able, actor=actor)
    said = _told(able, t("{address} is being tested."), t("{n} accounts are being tested."))
    left = t("1 has no server or no password yet."), t("{n} have no server or no password yet.")
    return Done(said + _left(ticked, able, *left), len(able), [("check",)] if able else ())


def sync_now(session: Session, ticked: Sequence[Account], actor: Actor) -> Done:
    """Ask for a run of what is at work. Raises RuleBroken while the company does not use its mail."""
    able = [a for a in ticked if a.is_set_up and a.health is not Health.PAUSED]
    runs = [sync.request_run(session, account=account, requested_by=actor.name) for account in able]
    said = _told(able, t("The sync of {address} was asked for."), t("The sync of {n} accounts was asked for."))
    left = t("1 is paused or unfinished."), t("{n} are paused or unfinished.")
    return Done(said + _left(ticked, able, *left), len(able), [("sync", run.id) for run in runs])


def pause(session: Session, ticked: Sequence[Account], actor: Actor) -> Done:
    """Pause what is at work."""
    able = [a for a in ticked if a.is_set_up and a.health is not Health.PAUSED]
    for account in able:
        accounts.pause(session, account, actor=actor)
    said = _told(
        able,
        t("{address} is paused. Nothing is synced until you resume it."),
        t("{n} accounts are paused. Nothing is synced until you resume them."),
    )
    left = t("1 was paused already or is unfinished."), t("{n} were paused already or are unfinished.")
    return Done(said + _left(ticked, able, *left), len(able))


def resume(session: Session, ticked: Sequence[Account], actor: Actor) -> Done:
    """Let go on what is paused."""
    able = [a for a in ticked if a.health is Health.PAUSED]
    rings = []
    for account in able:
        accounts.resume(session, account, actor=actor)
        if account.is_set_up and account.next_sync_at is not None:
            run = sync.request_run_if_used(session, account=account, requested_by=actor.name)
            rings += [("sync", run.id)] if run else []
    said = _told(able, t("{address} goes on."), t("{n} accounts go on."))
    left = t("1 was not paused."), t("{n} were not paused.")
    return Done(said + _left(ticked, able, *left), len(able), rings)


DEEDS: dict[str, Deed] = {"test": test, "sync": sync_now, "pause": pause, "resume": resume}


def _told(able: Sequence[Account], one: str, many: str) -> str:
    if not able:
        return ""
    return one.format(address=able[0].address) if len(able) == 1 else many.format(n=f"{len(able):,}")


def _left(ticked: Sequence[Account], able: Sequence[Account], one: str, many: str) -> str:
    number = len(ticked) - len(able)
    if not number:
        return ""
    return (" " if able else "") + (one if number == 1 else many.format(n=f"{number:,}"))
