"""What people do with the messages that they write: begin, change, attach, send, take back, throw away.

A row is its person's alone. Everything here asks again what the person may do with the account, for rights are taken
away while a page is open. What a job does with a message that waits is in outbox.py.
"""

import re
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from mailadmin.access import service as access
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.contacts import service as contacts
from mailadmin.contacts.models import Contact
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.sync import reading
from mailadmin.text import t
from mailadmin.writing import addresses, beginning, composing, keeping, outbox
from mailadmin.writing import templates as kept
from mailadmin.writing.models import Intent, MailTemplate, OutgoingFile, OutgoingMessage, Progress
from mailadmin.writing.typed import clean_name, clean_type, tidy_line, tidy_text

LARGEST = 25_000_000  # bytes of all files of a message
MOST_FILES = beginning.MOST_FILES
SUBJECT_LENGTH, TEXT_LENGTH = beginning.SUBJECT_LENGTH, 500_000
UNTOUCHED_FOR, SENT_FOR = timedelta(days=7), timedelta(days=30)  # A page may stand open over a weekend.
SUGGESTED = 8
_ADDRESS = re.compile(r'[^\s<>(),;:"“”]+@[^\s<>(),;:"“”]+')
_OPEN = (Progress.DRAFT, Progress.WAITING, Progress.UNCLEAR)


def why_not(account: Account) -> str:
    """Why nobody can send as `account`, as a sentence; empty where one can."""
    if accounts.server_of(account, Direction.OUTGOING) is None:
        return t("{address} has no server for sending.", address=account.address)
    return ""


def senders(session: Session, person: Person) -> Sequence[Account]:
    """The accounts that may stand in From, the one that `person` writes from first at the beginning."""
    ids = [account_id for account_id, _ in access.mailboxes(session, person)]
    query = access.sendable_accounts(person).where(Account.id.in_(ids))
    found = {account.id: account for account in session.scalars(query).unique() if not why_not(account)}
    return [found[account_id] for account_id in ids if account_id in found]


def begin(
    session: Session,
    person: Person,
    account: Account,
    *,
    intent: Intent = Intent.NEW,
    about_id: int | None = None,
    to_all: bool = False,
    to: str = "",
) -> OutgoingMessage:
    """A new draft of `person` as `account`; an answer, or what forwards, the message `about_id` of that account.

    `to_all`: a reply goes to all recipients. `to` is for a new message. It is listed once something was changed.
    Raises NotFound if that message is gone, RuleBroken if the person may not send or has too many drafts, or the
    account cannot.
    """
    account = access.get_sendable(session, person, account.id)
    if said := why_not(account):
        raise RuleBroken(said)
    keeping.make_room(session, person)
    outgoing = OutgoingMessage(account=account, person=person, intent=intent, version=1)
    outgoing.to = tidy_text(to)[: addresses.LONGEST]
    session.add(outgoing)
    if intent is not Intent.NEW:
        if about_id is None:
            raise NotFound(t("This message is not there any more, or it was moved to another folder."))
        _write_about(session, outgoing, reading.open_message(session, account.id, about_id), to_all=to_all)
    session.flush()
    return outgoing


def _write_about(session: Session, outgoing: OutgoingMessage, opened: reading.Opened, *, to_all: bool) -> None:
    message, person = opened.message, outgoing.person
    outgoing.about = message
    if outgoing.intent is Intent.REPLY:
        own = beginning.own_addresses(outgoing.account)
        outgoing.to, outgoing.cc = beginning.answered(message, own, to_all=to_all)
        outgoing.subject = beginning.subject("Re", message.subject)
        outgoing.in_reply_to, outgoing.refers_to = beginning.references(message)
        outgoing.quoted = beginning.quoted(opened, person)
        return
    outgoing.to, outgoing.subject = "", beginning.subject("Fwd", message.subject)
    _, outgoing.refers_to = beginning.references(message)
    outgoing.quoted = beginning.forwarded(opened, person)
    session.flush()
    for file in beginning.files_of(opened):
        file.outgoing_id = outgoing.id
        session.add(file)


def get_own(session: Session, person: Person, outgoing_id: int) -> OutgoingMessage:
    """What `person` wrote. Raises NotFound, also where somebody else did, or the account may not be seen any more."""
    outgoing = session.get(OutgoingMessage, outgoing_id)
    if outgoing is None or outgoing.person_id != person.id:
        raise NotFound(t("This draft is not there any more."))
    access.get_visible(session, person, outgoing.account_id)
    return outgoing


def listed(session: Session, person: Person, account_id: int) -> Sequence[OutgoingMessage]:
    """What `person` wrote as the account and has not sent: drafts, waiting, unclear; the newest first."""
    query = select(OutgoingMessage).where(*_is_listed(person, account_id))
    return session.scalars(query.order_by(OutgoingMessage.changed_at.desc(), OutgoingMessage.id.desc())).all()


def count(session: Session, person: Person, account_id: int) -> int:
    """How many `listed` has."""
    query = select(func.count()).select_from(OutgoingMessage).where(*_is_listed(person, account_id))
    return session.scalar(query) or 0


def _is_listed(person: Person, account_id: int) -> Sequence[ColumnElement[bool]]:
    # A draft that nobody has changed is only an open page.
    return (
        OutgoingMessage.person_id == person.id,
        OutgoingMessage.account_id == account_id,
        OutgoingMessage.progress.in_(_OPEN),
        OutgoingMessage.version > 1,
    )


def save(
    session: Session,
    outgoing: OutgoingMessage,
    *,
    version: int,
    account_id: int,
    to: str,
    cc: str,
    bcc: str,
    subject: str,
    text: str,
    quotes: bool,
) -> None:
    """Keep what was typed; `version` is that of the draft as the page had it. Addresses are not judged yet.

    Raises RuleBroken at the field `version` when another window was faster or the message is on its way, at
    `account_id` when the person may not send as this account, or at a field in which too much was typed.
    """
    lock(session, outgoing)
    _check_draft(outgoing)
    if outgoing.version != version:
        said = t("This draft was changed in another window. To put what you see here in its place, save again.")
        raise RuleBroken(said, field="version")
    if account_id != outgoing.account_id:
        try:
            outgoing.account = access.get_sendable(session, outgoing.person, account_id)
        except (NotFound, RuleBroken) as error:
            raise RuleBroken(error.message, field="account_id") from error
    texts = {"to": tidy_text(to), "cc": tidy_text(cc), "bcc": tidy_text(bcc)}
    texts |= {"subject": tidy_line(subject), "text": tidy_text(text)}
    for field, typed in texts.items():
        _check_length(field, typed)
    wanted = {**texts, "quotes": quotes}
    if session.is_modified(outgoing) or any(getattr(outgoing, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(outgoing, name, value)
        _touch(outgoing)
    session.flush()


def _check_length(field: str, value: str) -> None:
    most = {"subject": SUBJECT_LENGTH, "text": TEXT_LENGTH}.get(field, addresses.LONGEST)
    if len(value) > most:
        raise RuleBroken(t("At most {n} characters can stand here.", n=f"{most:,}"), field=field)


def _touch(outgoing: OutgoingMessage) -> None:
    outgoing.version += 1
    outgoing.changed_at = now()


def lock(session: Session, outgoing: OutgoingMessage) -> None:
    """Let two windows, or a window and a job, go one after the other. Raises NotFound if the message is gone."""
    session.flush()
    found = session.get(OutgoingMessage, outgoing.id, with_for_update={"of": OutgoingMessage}, populate_existing=True)
    if found is None:
        raise NotFound(t("This draft is not there any more."))


def _check_draft(outgoing: OutgoingMessage) -> None:
    if outgoing.progress is Progress.DRAFT:
        return
    said = {
        Progress.WAITING: t("This message is waiting to be sent. Take it back to change it."),
        Progress.UNCLEAR: t("It is not clear whether this message was sent. Say so first, then it can be changed."),
        Progress.SENT: t("This message was sent already."),
    }
    raise RuleBroken(said[outgoing.progress], field="version")


# Files.


def files(session: Session, outgoing: OutgoingMessage) -> Sequence[OutgoingFile]:
    """The files of a message, without their content, in their order."""
    query = select(OutgoingFile).where(OutgoingFile.outgoing_id == outgoing.id)
    return session.scalars(query.order_by(OutgoingFile.id)).all()


def attach(session: Session, outgoing: OutgoingMessage, *, name: str, type: str, content: bytes) -> OutgoingFile:
    """Add a file. Raises RuleBroken (field `files`) where there would be too many, or too much."""
    lock(session, outgoing)
    _check_draft(outgoing)
    there = files(session, outgoing)
    if len(there) >= MOST_FILES:
        raise RuleBroken(t("A message can have {n} files at most.", n=MOST_FILES), field="files")
    if sum(file.size for file in there) + len(content) > LARGEST:
        raise _too_large(name)
    kind, named = clean_type(type), clean_name(name)
    file = OutgoingFile(outgoing_id=outgoing.id, name=named, type=kind, size=len(content), content=content)
    session.add(file)
    _touch(outgoing)
    session.flush()
    return file


def _too_large(name: str = "") -> RuleBroken:
    most = LARGEST // 1_000_000
    if name:
        said = t("With “{name}” the files would have more than {n} MB, and most servers refuse that.",
                 name=clean_name(name), n=most)  # fmt: skip
    else:
        said = t("The files have more than {n} MB in all, and most servers refuse that. Remove some.", n=most)
    return RuleBroken(said, field="files")


def check_size(session: Session, outgoing_id: int) -> None:
    """Raises RuleBroken (field `files`) if the files of a message are too much for one."""
    query = select(func.sum(OutgoingFile.size)).where(OutgoingFile.outgoing_id == outgoing_id)
    if (session.scalar(query) or 0) > LARGEST:
        raise _too_large()


def detach(session: Session, outgoing: OutgoingMessage, file_id: int) -> None:
    """Remove a file; nothing happens where there is none of this id in the message."""
    lock(session, outgoing)
    _check_draft(outgoing)
    mine = OutgoingFile.id == file_id, OutgoingFile.outgoing_id == outgoing.id
    if session.scalar(select(OutgoingFile.id).where(*mine)) is not None:
        session.execute(delete(OutgoingFile).where(*mine))
        _touch(outgoing)
        session.flush()


# What becomes of it.


def send(session: Session, outgoing: OutgoingMessage) -> None:
    """Let a draft be sent; ring "outgoing" after the commit.

    Raises RuleBroken at the field that has to change: `to`, `cc`, `bcc` (then it is addresses.WrongRecipients, which
    has all of them), `account_id`, `files`, `version`; without a field where the account cannot send just now.
    """
    lock(session, outgoing)
    _check_draft(outgoing)
    try:
        account = access.get_sendable(session, outgoing.person, outgoing.account_id)
    except (NotFound, RuleBroken) as error:
        raise RuleBroken(error.message, field="account_id") from error
    if said := why_not(account) or outbox.trouble(account):
        raise RuleBroken(said, field="account_id")
    found = addresses.recipients(to=outgoing.to, cc=outgoing.cc, bcc=outgoing.bcc)
    check_size(session, outgoing.id)
    outbox.put(session, outgoing, message_id=composing.new_id(account))
    composing.heading(outgoing, found)  # It can be written.
    _touch(outgoing)
    session.flush()


def waits_for(session: Session, outgoing: OutgoingMessage) -> str:
    """Why a message that waits is not sent now, as a sentence; empty where it is, or where `next_try_at` says it."""
    if outgoing.progress is not Progress.WAITING:
        return ""
    if not organisation.uses_mail(session):
        return organisation.why_off()
    if outgoing.account.health is Health.PAUSED:
        return t("{address} is paused. The message is sent when that ends.", address=outgoing.account.address)
    return outgoing.problem


def problem_field(outgoing: OutgoingMessage) -> str:
    """The form field at which `outgoing.problem` belongs: that of a recipient whom it names; empty: none."""
    if outgoing.progress is Progress.DRAFT and outgoing.problem:
        named = {one.strip(".'?!").lower() for one in _ADDRESS.findall(outgoing.problem)}
        for field in addresses.FIELDS:
            boxes, _ = addresses.read(getattr(outgoing, field))
            if any({box.address.lower(), box.envelope.lower()} & named for box in boxes):
                return field
    return ""


def take_back(session: Session, outgoing: OutgoingMessage) -> None:
    """Make a draft of a message that waits. Raises RuleBroken if it is being sent, or was."""
    lock(session, outgoing)
    if outgoing.progress is Progress.DRAFT:
        return
    if outgoing.progress is not Progress.WAITING or outgoing.started_at is not None:
        raise RuleBroken(t("The message is being sent, or was sent, and cannot be taken back any more."))
    outbox.make_draft(outgoing, problem="")
    session.flush()


def discard(session: Session, outgoing: OutgoingMessage) -> None:
    """Throw a draft away. Raises RuleBroken while it waits or is unclear: take it back, or say what became of it."""
    lock(session, outgoing)
    if outgoing.progress in (Progress.WAITING, Progress.UNCLEAR):
        _check_draft(outgoing)
    session.delete(outgoing)
    session.flush()


def settle_unclear(session: Session, outgoing: OutgoingMessage, *, has_arrived: bool) -> None:
    """Say what became of a message of which the server did not say it: it arrived, or it is to be sent again.

    Ring "outgoing" after the commit. Nothing happens if it is known by now. Raises RuleBroken as `send` does if it is
    to be sent again and may not.
    """
    lock(session, outgoing)
    if outgoing.progress is not Progress.UNCLEAR:
        return
    if has_arrived:
        run = outbox.note_arrival(session, outgoing)
        if run is not None and run.started_at is None:
            run.rung_at = None  # The clock rings for it.
        return
    outbox.make_draft(outgoing, problem="")
    session.flush()
    send(session, outgoing)


# Templates and contacts.


def templates(session: Session) -> Sequence[MailTemplate]:
    """All templates, by name."""
    return kept.everything(session)


def insert_template(session: Session, outgoing: OutgoingMessage, template_id: int) -> None:
    """Put a template where the text ends, and its subject where there is none. Raises NotFound, RuleBroken."""
    lock(session, outgoing)
    _check_draft(outgoing)
    template = kept.get(session, template_id)
    text = filled(session, outgoing, template.text)
    whole = f"{outgoing.text.rstrip()}\n\n{text}" if outgoing.text.strip() else text
    _check_length("text", whole)
    outgoing.text = whole
    if not outgoing.subject.strip():
        outgoing.subject = tidy_line(filled(session, outgoing, template.subject))[:SUBJECT_LENGTH]
    _touch(outgoing)
    session.flush()


def filled(session: Session, outgoing: OutgoingMessage, text: str) -> str:
    """`text` with {name}, {team}, {account} and {contact} replaced; the contact is who the message goes to first."""
    boxes, _ = addresses.read(outgoing.to)
    contact = boxes[0].name or boxes[0].address if boxes else ""
    return composing.filled(session, outgoing, text, contact=contact)


def suggestions(session: Session, person: Person, words: str) -> list[str]:
    """Contacts that `person` may see and whose name or address has `words`, as somebody would type them."""
    words = tidy_line(words)
    if len(words) < 2:
        return []
    ids = access.visible_accounts(person).with_only_columns(Account.id)
    found = Contact.name.icontains(words, autoescape=True) | Contact.address.icontains(words, autoescape=True)
    query = select(Contact).where(contacts.visible_to(person.id, ids), found).order_by(Contact.name, Contact.address)
    return [str(addresses.Mailbox(tidy_line(one.name), one.address)) for one in session.scalars(query.limit(SUGGESTED))]


def forget_old(session: Session) -> None:
    """Delete drafts in which nobody has changed anything for a week, and what was sent a month ago."""
    moment = now()
    untouched = (
        OutgoingMessage.progress == Progress.DRAFT,
        OutgoingMessage.version == 1,
        OutgoingMessage.created_at < moment - UNTOUCHED_FOR,
    )
    sent = OutgoingMessage.progress == Progress.SENT, OutgoingMessage.sent_at < moment - SENT_FOR
    for rule in (untouched, sent):
        session.execute(delete(OutgoingMessage).where(*rule).execution_options(synchronize_session=False))
