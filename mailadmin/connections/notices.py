"""Sends the e-mail that we ourselves owe somebody, through the account that was chosen for it.

The pieces of a sandwich that `jobs.drain_notices` puts together: `claim` (database), `send` (network), `write`
(database).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Health
from mailadmin.accounts.service import Leg
from mailadmin.connections.outgoing import diagnosed, locked, write_health
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail import sasl
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Bearer, Direction, Rules, StageName
from mailadmin.notices import service as notices
from mailadmin.notices.service import Letter
from mailadmin.organisation import service as organisation
from mailadmin.text import t

AT_ONCE = 20
SECONDS = 40.0  # for all of them
_REFUSED = (Category.AUTH, Category.OAUTH)


@dataclass(frozen=True, slots=True)
class Batch:
    """Letters to send in one conversation, and how: from which account, as whom. Empty: none is due, or none can be."""

    letters: Sequence[Letter] = ()
    leg: Leg | None = None
    account_id: int = 0
    version: int = 0
    address: str = ""
    name: str = ""


@dataclass(slots=True)
class Ends:
    """What became of a batch: those that were taken, and why others were not. `of_account` is true of all of them."""

    sent: list[Letter] = field(default_factory=list)
    failed: list[tuple[Letter, MailError]] = field(default_factory=list)
    of_account: tuple[MailError, StageName | None] | None = None


def sender_id(session: Session) -> int | None:
    """The account through which something has to be sent now, or None."""
    account = system_mail.sender(session) if notices.are_due(session) else None
    return account.id if account else None


def claim(session: Session, *, trouble: MailError | None = None) -> Batch:
    """Take what is due. `trouble` is why there is no token: then nothing can be sent, and each notice says so."""
    letters = notices.claim_due(session, limit=AT_ONCE)
    account = system_mail.sender(session) if letters else None
    if account is None:
        none = t("No account is chosen through which this console sends e-mail. Choose one in the settings.")
        return _put_off(session, letters, none, permanent=True)
    if trouble is not None:
        return _put_off(session, letters, _told(account.address, trouble.message), permanent=False)
    if account.outgoing_health is Health.NEEDS_ATTENTION and account.outgoing_category in _REFUSED:
        # Another knock with a refused password may lock the account there.
        return _put_off(session, letters, _told(account.address, account.outgoing_reason), permanent=False)
    try:
        leg = accounts.leg(session, account, Direction.OUTGOING)
    except RuleBroken as broken:
        return _put_off(session, letters, _told(account.address, broken.message), permanent=False)
    if leg is None:
        none = t("{address} has no server for sending any more.", address=account.address)
        return _put_off(session, letters, none, permanent=True)
    address = account.sender_address or account.address
    return Batch(letters, leg, account.id, account.version, address, organisation.name(session))


def send(batch: Batch, rules: Rules) -> Ends:
    """Send the letters, one after the other, in one conversation. Never raises for what a server does."""
    ends, stage = Ends(), None
    assert batch.leg is not None
    deadline = Deadline(SECONDS)
    try:
        smtp = open_smtp(batch.leg.server, rules, deadline, secrets=sasl.forms(batch.leg.how))
        try:
            stage = StageName.SIGN_IN
            smtp.sign_in(batch.leg.how)
            stage = StageName.MESSAGE
            for letter in batch.letters:
                try:
                    smtp.send(written(batch, letter), batch.address, letter.recipient)
                    ends.sent.append(letter)
                except MailError as error:
                    ends.failed.append((letter, error))
        finally:
            smtp.close()
    except MailError as error:
        ends.of_account = error, stage
    return ends


def refused_token(batch: Batch, ends: Ends) -> str:
    """The access token that the server has just refused; empty if that was not what went wrong."""
    is_refused = ends.of_account is not None and ends.of_account[0].category in _REFUSED
    return batch.leg.how.token if is_refused and batch.leg and isinstance(batch.leg.how, Bearer) else ""


def renewed(session: Session, batch: Batch) -> Batch:
    """`batch` with the token that the account has by now. Raises RuleBroken or NotFound."""
    account = accounts.get(session, batch.account_id)
    return replace(batch, leg=accounts.leg(session, account, Direction.OUTGOING) or batch.leg)


def written(batch: Batch, letter: Letter) -> EmailMessage:
    """The message. Raises MailError (config) if an address cannot stand in a header."""
    message = EmailMessage(policy=SMTP)
    name = "".join(c for c in batch.name if c.isprintable())
    try:
        message["From"] = Address(display_name=name, addr_spec=batch.address) if name else batch.address
        message["To"] = letter.recipient
        message["Subject"] = letter.subject
    except ValueError as error:
        raise MailError(Category.CONFIG, t("This address cannot stand in a message.")) from error
    message["Date"] = format_datetime(now())
    # The same at every try, so that a mail server can tell one that comes twice.
    message["Message-ID"] = f"<notice.{letter.key}@{batch.address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please.
    message.set_content(letter.text)
    return message


def write(session: Session, batch: Batch, ends: Ends) -> None:
    """Note what became of the batch, and what that says of the account."""
    for letter in ends.sent:
        notices.note_sent(session, letter)
    for letter, error in ends.failed:
        problem = _diagnosed(batch, error, StageName.MESSAGE)["title"]
        notices.note_failure(session, letter, problem=problem, permanent=error.permanent)
    _write_health(session, batch, ends)
    if ends.of_account is None:
        return
    error, stage = ends.of_account
    problem = _told(batch.address, _diagnosed(batch, error, stage)["title"])
    done = {letter.notice_id for letter in ends.sent} | {letter.notice_id for letter, _ in ends.failed}
    for letter in batch.letters:
        if letter.notice_id not in done:
            notices.note_failure(session, letter, problem=problem, permanent=error.permanent)


def _write_health(session: Session, batch: Batch, ends: Ends) -> None:
    """What the conversation says of the account, if that is as it was."""
    account = locked(session, batch.account_id)
    if account is None or account.version != batch.version:
        return
    if ends.of_account is None:
        write_health(session, account, None)
        return
    error, stage = ends.of_account
    write_health(session, account, _diagnosed(batch, error, stage), permanent=error.permanent)


def _diagnosed(batch: Batch, error: MailError, stage: StageName | None) -> dict[str, Any]:
    assert batch.leg is not None
    return diagnosed(error, stage, leg=batch.leg, address=batch.address)


def _put_off(session: Session, letters: Sequence[Letter], problem: str, *, permanent: bool) -> Batch:
    for letter in letters:
        notices.note_failure(session, letter, problem=problem, permanent=permanent)
    return Batch()


def _told(address: str, why: str) -> str:
    return t("{address} cannot send: {why}", address=address, why=why)
