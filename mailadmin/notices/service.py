"""E-mail that we ourselves owe somebody: put here by whoever has something to say, sent by connections/notices.py.

A notice is due until it is sent or given up; what it says is forgotten then. A job that dies between sending and noting
it leaves it due, so a notice may arrive twice, under the same Message-ID.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.db import now
from mailadmin.notices.models import Notice
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.vault import Unsealable

PURPOSE = "notice"
WAITS = tuple(timedelta(minutes=n) for n in (1, 5, 15, 60, 60))  # between tries; after the last of them it is given up
MOST_TRIES = len(WAITS) + 1
LOST_AFTER = timedelta(minutes=2)  # A try that began so long ago and has no end lost its job.
KEPT = timedelta(days=90)
_SUBJECT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice that a job has taken. `started_at` is its mark: what a job that lost it to another says is not believed.

    `key` is the same at every try, for its Message-ID.
    """

    notice_id: int
    started_at: datetime
    recipient: str
    subject: str
    text: str
    key: str


def put(session: Session, *, recipient: str, subject: str, text: str, about: str) -> Notice:
    """Owe `recipient` an e-mail. `about` is whose it is, such as `invite:7`. Ring "notice" after the commit."""
    notice = Notice(
        about=about,
        recipient=recipient,
        subject=" ".join(subject.split())[:_SUBJECT_LENGTH],  # A header is one line (RFC 5322 2.2).
        text_id=sealed.keep(session, Secret(text), purpose=PURPOSE),
        next_try_at=now(),
    )
    session.add(notice)
    session.flush()
    return notice


def latest(session: Session, about: str) -> Notice | None:
    """The newest notice about `about`, whatever became of it."""
    return session.scalars(select(Notice).where(Notice.about == about).order_by(Notice.id.desc()).limit(1)).first()


def is_waiting(notice: Notice) -> bool:
    """Whether `notice` is still to be sent."""
    return notice.next_try_at is not None


def is_given_up(notice: Notice) -> bool:
    """Whether `notice` was never sent and never will be."""
    return notice.next_try_at is None and notice.sent_at is None and bool(notice.problem)


def gave_up_on(about: ColumnElement[str]) -> ColumnElement[bool]:
    """What `is_given_up` says of a notice about `about`, as a rule for a query of any table."""
    never = (Notice.next_try_at.is_(None), Notice.sent_at.is_(None), Notice.problem != "")
    return exists().where(Notice.about == about, *never)


def take_back(session: Session, about: str) -> None:
    """Do not send what is still owed about `about`, since it is not true any more."""
    owed = select(Notice).where(Notice.about == about, Notice.next_try_at.is_not(None)).with_for_update(of=Notice)
    for notice in session.scalars(owed).all():
        _end(session, notice)
    session.flush()


def forget(session: Session, about: str) -> None:
    """Delete all notices about `about`."""
    _delete(session, session.scalars(select(Notice).where(Notice.about == about)).all())


def forget_old(session: Session) -> None:
    """Delete what ended long ago."""
    old = select(Notice).where(Notice.next_try_at.is_(None), Notice.wanted_at < now() - KEPT)
    _delete(session, session.scalars(old).all())


# For those that send.


def are_due(session: Session) -> bool:
    """Whether there is something to send at this moment."""
    return session.scalar(select(Notice.id).where(_is_due()).limit(1)) is not None


def claim_due(session: Session, *, limit: int) -> list[Letter]:
    """Take up to `limit` notices that nobody sends just now, the oldest first."""
    moment = now()
    query = select(Notice).where(_is_due()).order_by(Notice.id).limit(limit)
    query = query.with_for_update(skip_locked=True, of=Notice)
    letters = []
    for notice in session.scalars(query).all():
        notice.started_at, notice.tries = moment, notice.tries + 1
        try:
            text = sealed.reveal(session, notice.text_id).reveal() if notice.text_id else ""
        except (Unsealable, LookupError):
            notice.problem = t("The text cannot be opened with this installation's keys any more.")
            _end(session, notice)
            continue
        key = f"{notice.id}.{int(notice.wanted_at.timestamp())}"
        letters.append(Letter(notice.id, moment, notice.recipient, notice.subject, text, key))
    session.flush()
    return letters


def note_sent(session: Session, letter: Letter) -> None:
    """A server has taken `letter`: its text is forgotten."""
    if notice := _mine(session, letter):
        notice.sent_at, notice.problem = now(), ""
        _end(session, notice)
        session.flush()


def note_failure(session: Session, letter: Letter, *, problem: str, permanent: bool) -> None:
    """`letter` was not taken; `problem` is a sentence for an administrator. It is tried again later, or given up."""
    notice = _mine(session, letter)
    if notice is None:
        return
    notice.problem = problem
    if permanent or notice.tries >= MOST_TRIES:
        _end(session, notice)
    else:
        notice.started_at, notice.next_try_at = None, now() + WAITS[notice.tries - 1]
    session.flush()


def _is_due() -> ColumnElement[bool]:
    is_free = or_(Notice.started_at.is_(None), Notice.started_at < now() - LOST_AFTER)
    return (Notice.next_try_at <= now()) & is_free


def _mine(session: Session, letter: Letter) -> Notice | None:
    """The row of `letter`, unless it was deleted or taken from its job."""
    notice = session.get(Notice, letter.notice_id, with_for_update={"of": Notice}, populate_existing=True)
    return notice if notice and notice.started_at == letter.started_at and is_waiting(notice) else None


def _end(session: Session, notice: Notice) -> None:
    notice.started_at, notice.next_try_at = None, None
    text_id, notice.text_id = notice.text_id, None
    session.flush()
    if text_id is not None:
        sealed.forget(session, text_id)


def _delete(session: Session, notices: Sequence[Notice]) -> None:
    for notice in notices:
        _end(session, notice)
        session.delete(notice)
    session.flush()
