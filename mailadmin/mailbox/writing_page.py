"""What the pages of a message that somebody writes are made of."""

from collections.abc import Sequence
from typing import Any

from flask import url_for
from sqlalchemy.orm import Session

from mailadmin.access.service import get_visible
from mailadmin.accounts.models import Account
from mailadmin.errors import NotFound
from mailadmin.mailbox import routes, writing_windows
from mailadmin.mailbox.writing_forms import ComposerForm
from mailadmin.people.models import Person
from mailadmin.sync import reading
from mailadmin.sync.models import Folder
from mailadmin.sync.reading import Opened
from mailadmin.text import t
from mailadmin.writing import addresses, composing, service
from mailadmin.writing.models import OutgoingMessage


def filled(session: Session, outgoing: OutgoingMessage, senders: Sequence[Account] | None = None) -> ComposerForm:
    """The form with what is stored, for a page with a name of its own; why a server refused it stands at its field.

    `senders` where they are known already.
    """
    form = ComposerForm(formdata=None, obj=outgoing, window=writing_windows.a_name())
    form.offer(service.senders(session, outgoing.person) if senders is None else senders, outgoing)
    form.is_kept = True
    if field := service.problem_field(outgoing):
        form[field].errors = [outgoing.problem]
    return form


def composer(session: Session, outgoing: OutgoingMessage, form: ComposerForm | None = None) -> dict[str, Any]:
    """What `mailbox/_composer.html` needs; `form` is what was typed, else the stored message is shown."""
    form = form or filled(session, outgoing)
    return {
        "outgoing": outgoing,
        "form": form,
        "enclosed": service.files(session, outgoing),
        "sign": composing.filled(session, outgoing, outgoing.person.signature).strip(),
        "templates": service.templates(session),
        "why_not": _why_not(outgoing, form),
        "waits_for": service.waits_for(session, outgoing),
        "copies": _number(outgoing),
    }


def _why_not(outgoing: OutgoingMessage, form: ComposerForm) -> str:
    """Why the draft cannot be sent as it is, whatever is typed."""
    if form.senders:
        return ""
    said = t("There is no account here as which you may send. What you wrote is kept.")
    return service.why_not(outgoing.account) or said


def _number(outgoing: OutgoingMessage) -> int:
    """How many people get it."""
    boxes = [box for field in addresses.FIELDS for box in addresses.read(getattr(outgoing, field))[0]]
    return len(addresses.Recipients(to=boxes).envelope)


def about(session: Session, outgoing: OutgoingMessage) -> tuple[Account, Opened] | None:
    """The message that is answered or forwarded, with its account; None where this person cannot read it any more."""
    if outgoing.about is None:
        return None
    folder = session.get_one(Folder, outgoing.about.folder_id)
    try:
        account = get_visible(session, outgoing.person, folder.account_id)
        return account, reading.open_message(session, account.id, outgoing.about.id)
    except NotFound:
        return None


def around(session: Session, outgoing: OutgoingMessage) -> dict[str, Any]:
    """What `mailbox/show.html` needs besides: the message that it is about, or the list alone."""
    if found := about(session, outgoing):
        return routes.reader(*found)
    listed = routes.listed(outgoing.account)
    back = url_for("mailbox.show", account_id=outgoing.account_id, **listed["where"])
    return {**listed, "opened": None, "open_id": None, "list": back}


def completions(session: Session, person: Person, typed: str) -> tuple[str, list[str]]:
    """Contacts that fit the last address of those in `typed`, and what stands before it."""
    last = addresses.pieces(typed)[-1]
    before = typed.removesuffix(last)
    return f"{before} " if before else "", service.suggestions(session, person, last.strip().strip('"'))
