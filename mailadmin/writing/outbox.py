"""What waits to be sent: how a job takes it, and what becomes of it.

Sent once, and only once. The conversation with a server is known to have failed as long as the server does not have the
final dot of the message, and known to have succeeded when it has answered that. In between nobody knows (RFC 1047). So
a job writes down `handed_over_at`, and commits, right before the dot; whoever finds a message that waits with this mark
and without a job does not send it again, but calls it unclear. Until then it may be sent again by anybody.

One job works for an account at a time, by a lease, with whose fencing number it writes; one that lost its lease may not
send the dot. Sync finds unclear messages that have arrived all the same: their Message-ID turns up in the account's
mail, in Sent or in an answer. Otherwise a person says what became of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from mailadmin import leases
from mailadmin.access import service as access
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.accounts.service import Leg
from mailadmin.connections.outgoing import diagnosed, locked, write_health
from mailadmin.db import now
from mailadmin.errors import MailAdminError, RuleBroken
from mailadmin.leases import Held
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.smtp import RecipientsRefused
from mailadmin.mail.types import Direction, StageName
from mailadmin.organisation import service as organisation
from mailadmin.sync.models import MessageName, SyncRun
from mailadmin.sync.threads import names_of
from mailadmin.text import t
from mailadmin.writing import composing, sent
from mailadmin.writing.models import OutgoingMessage, Progress

PREFIX = "sending:"  # of the leases
LEASE_SECONDS = 60.0
WAITS = tuple(timedelta(minutes=n) for n in (1, 5, 15, 60))  # between tries; then every hour
GIVEN_UP_AFTER = timedelta(days=1)
TURNS_UP_FOR, MOST_LOOKED_FOR = timedelta(days=30), 100
REFUSED = (Category.AUTH, Category.OAUTH)
_SHOWN = 5  # refused recipients that a sentence names


@dataclass(frozen=True, slots=True)
class Work:
    """A message that a job sends, and how. `started_at` is the mark of the job, `version` that of the account."""

    outgoing_id: int
    started_at: datetime
    account_id: int
    version: int
    address: str
    leg: Leg


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was not sent; `of_account`: it would have been the same for any other."""

    error: MailError
    stage: StageName | None = None
    of_account: bool = False


class Withdrawn(MailAdminError):
    """The message is not to be sent now, or, with a `problem`, not any more."""

    def __init__(self, problem: str = "") -> None:
        super().__init__(problem or t("The message was withdrawn."))
        self.problem = problem


def put(session: Session, outgoing: OutgoingMessage, *, message_id: str) -> None:
    """Let a draft wait to be sent; it keeps the Message-ID that it may have by now."""
    outgoing.progress, outgoing.problem = Progress.WAITING, ""
    outgoing.message_id = outgoing.message_id or message_id
    outgoing.wanted_at = outgoing.next_try_at = now()
    outgoing.started_at = outgoing.handed_over_at = None
    outgoing.tries = 0
    session.flush()


def make_draft(outgoing: OutgoingMessage, *, problem: str) -> None:
    """Let it be a draft again; `problem` is why it was not sent, a sentence for the person."""
    outgoing.progress, outgoing.problem = Progress.DRAFT, problem
    outgoing.next_try_at = outgoing.started_at = outgoing.handed_over_at = None
    outgoing.version += 1


# Who has to do something.


def are_due(session: Session) -> bool:
    """Whether there is something to send that nobody sends."""
    return bool(due_accounts(session, limit=1))


def due_accounts(session: Session, *, limit: int) -> Sequence[int]:
    """Accounts as which something has to be sent and for which nobody sends, those that wait longest first."""
    if not organisation.uses_mail(session):
        return []
    busy = [int(lease.name.removeprefix(PREFIX)) for lease in leases.held_now(session, PREFIX)]
    query = select(OutgoingMessage.account_id).join(Account, Account.id == OutgoingMessage.account_id)
    query = query.where(_is_due(), Account.deleting_at.is_(None), Account.health != Health.PAUSED)
    query = query.where(OutgoingMessage.account_id.not_in(busy)).group_by(OutgoingMessage.account_id)
    return session.scalars(query.order_by(func.min(OutgoingMessage.next_try_at)).limit(limit)).all()


def _is_due() -> ColumnElement[bool]:
    return (OutgoingMessage.progress == Progress.WAITING) & (OutgoingMessage.next_try_at <= now())


def _due_of(account_id: int) -> Select[OutgoingMessage]:
    query = select(OutgoingMessage).where(OutgoingMessage.account_id == account_id, _is_due())
    return query.order_by(OutgoingMessage.wanted_at, OutgoingMessage.id).with_for_update(of=OutgoingMessage)


# What a job does, each in a transaction of its own.


def take(session: Session, held: Held) -> Work | None:
    """The next message that is to be sent under the lease `held`, with its account; None: there is none.

    What was handed over by a job that died is unclear from now on; what may not be sent any more becomes a draft.
    Raises LeaseLost.
    """
    leases.beat(session, held, seconds=LEASE_SECONDS)
    account = session.get(Account, int(held.name.removeprefix(PREFIX)), populate_existing=True)
    if account is None or not _may_go(session, account):
        return None
    while outgoing := session.scalars(_due_of(account.id).limit(1)).one_or_none():  # There may be many, and long ones.
        if outgoing.handed_over_at is not None:
            _make_unclear(outgoing)
            session.flush()
            continue
        try:
            leg = _checked(session, account, outgoing)
        except RuleBroken as broken:
            make_draft(outgoing, problem=broken.message)
            session.flush()
            continue
        outgoing.started_at, outgoing.tries = now(), outgoing.tries + 1
        session.flush()
        address = account.sender_address or account.address
        return Work(outgoing.id, outgoing.started_at, account.id, account.version, address, leg)
    return None


def _may_go(session: Session, account: Account) -> bool:
    """Whether anything is sent as the account now; otherwise all waits."""
    is_awake = account.deleting_at is None and account.health is not Health.PAUSED
    return is_awake and organisation.uses_mail(session)


def _checked(session: Session, account: Account, outgoing: OutgoingMessage) -> Leg:
    """Where and how the message is sent. Raises RuleBroken, the problem, if it may not be sent any more."""
    if not access.may_send(session, outgoing.person, account):
        raise RuleBroken(t("You may not send as {address} any more.", address=account.address))
    if said := trouble(account):
        raise RuleBroken(said)
    leg = accounts.leg(session, account, Direction.OUTGOING)
    if leg is None:
        raise RuleBroken(t("{address} has no server for sending any more.", address=account.address))
    return leg


def trouble(account: Account) -> str:
    """Why the next knock at the server for sending would do harm: one more refused sign-in may lock the account."""
    if account.outgoing_health is Health.NEEDS_ATTENTION and account.outgoing_category in REFUSED:
        why = account.outgoing_reason
        return t("{address} cannot send at the moment: {why}", address=account.address, why=why)
    return ""


def renewed(session: Session, work: Work) -> Leg:
    """Where and how, with the token that the account has by now. Raises RuleBroken, NotFound."""
    return accounts.leg(session, accounts.get(session, work.account_id), Direction.OUTGOING) or work.leg


def hand_over(session: Session, held: Held, work: Work) -> None:
    """The last moment before nobody can say whether the message was sent: everything is asked once more.

    Raises Withdrawn or LeaseLost if it must not be sent; nothing may be committed then.
    """
    leases.beat(session, held, seconds=LEASE_SECONDS)
    outgoing = _mine(session, work)
    account = session.get(Account, work.account_id, populate_existing=True)
    if outgoing is None or account is None or not _may_go(session, account):
        raise Withdrawn
    if not access.may_send(session, outgoing.person, account):
        raise Withdrawn(t("You may not send as {address} any more.", address=account.address))
    outgoing.handed_over_at = now()
    session.flush()


def _mine(session: Session, work: Work) -> OutgoingMessage | None:
    """The row of `work`, unless it was deleted or taken from its job."""
    outgoing = session.get(
        OutgoingMessage, work.outgoing_id, with_for_update={"of": OutgoingMessage}, populate_existing=True
    )
    is_mine = outgoing and outgoing.progress is Progress.WAITING and outgoing.started_at == work.started_at
    return outgoing if is_mine else None


def note_sent(session: Session, work: Work, copy: Callable[[], bytes] | None) -> SyncRun | None:
    """The server has taken the message; `copy` makes what is filed in Sent, if the account wants it.

    Without `copy` nothing but this is noted, since what follows has failed. Answers the run that is to be rung for
    after the commit. Nothing is lost if the job has lost its lease and the message is called unclear by now.
    """
    account = locked(session, work.account_id)
    outgoing = session.get(
        OutgoingMessage, work.outgoing_id, with_for_update={"of": OutgoingMessage}, populate_existing=True
    )
    is_known = outgoing is not None and (_mine(session, work) or outgoing.progress is Progress.UNCLEAR)
    if account is not None and account.version == work.version:
        write_health(session, account, None)
    if account is None or outgoing is None or not is_known:
        return None
    if copy is None:
        sent.end(session, outgoing)
        return None
    return sent.note(session, account, outgoing, copy)


def note_arrival(session: Session, outgoing: OutgoingMessage) -> SyncRun | None:
    """An unclear message was sent after all; answers the run that is to be rung for after the commit."""
    return sent.note(session, outgoing.account, outgoing, lambda: composing.copy_of(session, outgoing))


def note_withdrawn(session: Session, work: Work, *, problem: str = "") -> None:
    """The message was not sent after all: it waits until it may, or is a draft again if there is a `problem`."""
    outgoing = _mine(session, work)
    if outgoing is None:
        return
    if problem:
        make_draft(outgoing, problem=problem)
    else:
        outgoing.started_at, outgoing.tries = None, outgoing.tries - 1
    session.flush()


def note_unclear(session: Session, work: Work) -> SyncRun | None:
    """Nobody knows whether the server has taken the message. Answers the run that may find out, to be rung for."""
    account, outgoing = locked(session, work.account_id), _mine(session, work)
    if account is None or outgoing is None:
        return None
    _make_unclear(outgoing)
    session.flush()
    return sent.hurried(session, account, outgoing)


def _make_unclear(outgoing: OutgoingMessage) -> None:
    outgoing.progress, outgoing.next_try_at, outgoing.started_at = Progress.UNCLEAR, None, None
    outgoing.problem = t(
        "The connection broke after the whole message was sent and before the server said that it has it. It may have"
        " arrived. It is not sent again by itself."
    )
    outgoing.version += 1


def note_failure(session: Session, work: Work, failure: Failure) -> None:
    """The message was certainly not sent; it is tried again, or becomes a draft with the problem."""
    account, outgoing = locked(session, work.account_id), _mine(session, work)
    if account is not None and account.version == work.version:
        told = _diagnosed(work, failure) if failure.of_account else None
        write_health(session, account, told, permanent=failure.error.permanent)
    if outgoing is None:
        return
    problem = _problem(work, failure)
    _end_try(outgoing, problem, permanent=failure.error.permanent)
    if failure.of_account:  # Then the others need not find out by themselves.
        for other in session.scalars(_due_of(work.account_id)).all():
            if other.handed_over_at is None:
                _end_try(other, problem, permanent=failure.error.permanent)
    session.flush()


def note_trouble(session: Session, work: Work, problem: str, *, permanent: bool) -> None:
    """The message could not be made, for a reason that has nothing to do with the server for sending."""
    if (outgoing := _mine(session, work)) is not None:
        _end_try(outgoing, problem, permanent=permanent)
        session.flush()


def _end_try(outgoing: OutgoingMessage, problem: str, *, permanent: bool) -> None:
    moment = now()
    is_too_old = outgoing.wanted_at is not None and moment - outgoing.wanted_at > GIVEN_UP_AFTER
    if permanent:
        make_draft(outgoing, problem=problem)
    elif is_too_old:
        make_draft(outgoing, problem=t("It was tried for a day and not sent. {why}", why=problem))
    else:
        wait = WAITS[min(max(outgoing.tries, 1), len(WAITS)) - 1]
        outgoing.started_at = outgoing.handed_over_at = None
        outgoing.next_try_at, outgoing.problem = moment + wait, problem


def _diagnosed(work: Work, failure: Failure) -> dict[str, Any]:
    return diagnosed(failure.error, failure.stage, leg=work.leg, address=work.address)


def _problem(work: Work, failure: Failure) -> str:
    """What happened and what to do, for somebody who only wanted to write."""
    error = failure.error
    if isinstance(error, RecipientsRefused):
        return _refused(error)
    if failure.of_account or error.code:
        told = _diagnosed(work, failure)
        sentences = [f"{told['title'].rstrip('.')}.", *told["action"][:1]]
    else:  # What is known in general speaks of connections.
        sentences = [error.message]
    if not failure.of_account and error.detail:
        sentences.append(t("The server says: “{words}”", words=error.detail))
    return " ".join(sentences)


def _refused(error: RecipientsRefused) -> str:
    lasting = [(who, why) for who, why in error.refused if why.permanent] or error.refused
    named = [t("{address} (“{words}”)", address=who, words=why.detail) for who, why in lasting[:_SHOWN]]
    if len(lasting) > _SHOWN:
        named.append(t("{n} more", n=len(lasting) - _SHOWN))
    who = ", ".join(named)
    if error.permanent:
        return t(
            "The server does not take: {who}. Nothing was sent to anybody. Correct the address or remove it.", who=who
        )
    return t("The server does not take these at the moment: {who}. Nothing was sent to anybody yet.", who=who)


# What turns out later.


def settle_found(session: Session) -> list[SyncRun]:
    """Note which unclear messages have arrived, as the mail that was synced since says; the runs to ring for."""
    newest = select(OutgoingMessage).where(_may_turn_up()).order_by(OutgoingMessage.handed_over_at.desc())
    runs = []
    for outgoing in session.scalars(newest.limit(MOST_LOOKED_FOR)).all():
        names = names_of(outgoing.message_id, "")
        mine = MessageName.account_id == outgoing.account_id, MessageName.name_hash.in_(names)
        if names and session.scalar(select(MessageName.thread_id).where(*mine).limit(1)) is not None:
            runs.append(note_arrival(session, outgoing))
    return [run for run in runs if run is not None]


def are_unclear(session: Session) -> bool:
    """Whether there are messages that `settle_found` looks for."""
    return session.scalar(select(OutgoingMessage.id).where(_may_turn_up()).limit(1)) is not None


def _may_turn_up() -> ColumnElement[bool]:
    """What is unclear and not so old that it is for its person alone to say what became of it."""
    since = now() - TURNS_UP_FOR
    return (OutgoingMessage.progress == Progress.UNCLEAR) & (OutgoingMessage.handed_over_at >= since)


def give_up_on(session: Session, held: Held) -> None:
    """A fault of ours ended the work for an account: nothing of it is tried again at once."""
    leases.beat(session, held, seconds=LEASE_SECONDS)
    reason = t("Something broke on our side. It is tried again; the log has the details.")
    for outgoing in session.scalars(_due_of(int(held.name.removeprefix(PREFIX)))).all():
        if outgoing.handed_over_at is not None:
            _make_unclear(outgoing)
        elif outgoing.started_at is not None:
            _end_try(outgoing, reason, permanent=False)
    session.flush()
