"""Writing a message: beginning one, what is typed and attached, and sending it.

Nothing typed is ever lost. A page saves by itself, every button saves first, and whatever is refused comes back with
what was typed: also where somebody else's window was faster, or the session has ended (writing_lost.py).
"""

from collections.abc import Sequence
from typing import Any

from flask import flash, request
from flask_login import current_user
from werkzeug.datastructures import FileStorage

from mailadmin import db, queue, web
from mailadmin.access.service import get_visible
from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.mailbox import writing_page, writing_windows
from mailadmin.mailbox.writing_forms import ComposerForm
from mailadmin.mailbox.writing_lost import bp
from mailadmin.people import browsers
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.writing import service
from mailadmin.writing.addresses import FIELDS
from mailadmin.writing.models import Intent, OutgoingMessage, Progress

LONGEST_TYPED = 4000  # characters of a line for which contacts are looked up
OFTEN = "60 per minute;600 per hour"  # what one person begins, attaches or sends: more than any can


# Beginning one. What is begun is a row at once, so that all that follows is the same for all; untouched ones go.


@bp.post("/mailbox/<int:account_id>/write")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(OFTEN, key_func=browsers.signed_in)
def write(account_id: int) -> Answer:
    """Begin a new message, perhaps to somebody."""
    return _begun(account_id, intent=Intent.NEW, to=request.form.get("to", ""))


@bp.post("/mailbox/<int:account_id>/messages/<int:message_id>/reply")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(OFTEN, key_func=browsers.signed_in)
def reply(account_id: int, message_id: int) -> Answer:
    """Begin an answer, to the sender or, with `all`, to everybody."""
    return _begun(account_id, intent=Intent.REPLY, about_id=message_id, to_all="all" in request.form)


@bp.post("/mailbox/<int:account_id>/messages/<int:message_id>/forward")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(OFTEN, key_func=browsers.signed_in)
def forward(account_id: int, message_id: int) -> Answer:
    return _begun(account_id, intent=Intent.FORWARD, about_id=message_id)


def _begun(account_id: int, **wanted: Any) -> Answer:
    session, person = db.session(), current_user.person
    account = get_visible(session, person, account_id)
    try:
        outgoing = service.begin(session, person, account, **wanted)
    except RuleBroken as broken:
        session.rollback()
        flash(broken.message, "warn")
        return web.done("mailbox.show", account_id=account_id)
    outgoing_id = outgoing.id
    session.commit()
    return web.done("writing.show", outgoing_id=outgoing_id)


# The page of one.


@bp.get("/mailbox/drafts/<int:outgoing_id>")
@web.allow(Permission.READ_MAIL)
def show(outgoing_id: int) -> Answer:
    """What somebody writes: below the message that it is about, or beside the list."""
    outgoing = own(outgoing_id)
    return _page(outgoing, takes_focus=outgoing.progress is not Progress.DRAFT)


def _page(
    outgoing: OutgoingMessage,
    form: ComposerForm | None = None,
    *,
    senders: Sequence[Account] | None = None,
    **more: Any,
) -> Answer:
    """The whole page, or for htmx the composer alone; with what was typed (`form`), or what is stored."""
    session = db.session()
    is_refused = form is not None and bool(form.told)
    form = form or writing_page.filled(session, outgoing, senders)
    context = {**writing_page.composer(session, outgoing, form), **more}
    if not web.is_htmx():
        context |= writing_page.around(session, outgoing)
    return web.page("mailbox/show.html", "mailbox/_composer.html", 422 if is_refused else 200, **context)


@bp.get("/mailbox/drafts/<int:outgoing_id>/state")
@web.allow(Permission.READ_MAIL)
@web.polled
def state(outgoing_id: int) -> Answer:
    """What has become of it by now."""
    outgoing = own(outgoing_id)
    if not web.is_htmx():
        return web.done("writing.show", outgoing_id=outgoing_id)
    return _page(outgoing, polled=True)


@bp.get("/mailbox/drafts/<int:outgoing_id>/people")
@web.allow(Permission.READ_MAIL)
@web.polled
@web.gives_back
def people(outgoing_id: int) -> Answer:
    """Contacts that fit what is being typed into a line."""
    own(outgoing_id)
    field = request.args.get("field", "")
    if not web.is_htmx() or field not in FIELDS:
        return web.done("writing.show", outgoing_id=outgoing_id)
    typed = request.args.get(field, "")
    if len(typed) > LONGEST_TYPED:  # A suggestion would stand in the place of all of it.
        typed = ""
    before, found = writing_page.completions(db.session(), current_user.person, typed)
    return web.page("mailbox/_known.html", None, field=field, before=before, found=found)


# What is typed and attached.


@bp.post("/mailbox/drafts/<int:outgoing_id>/save")
@web.allow(Permission.READ_MAIL)
@web.gives_back
def save(outgoing_id: int) -> Answer:
    """Keep what was typed, as the page asks by itself, or somebody without scripts."""
    outgoing, form = _typed(outgoing_id)
    is_kept = _kept(outgoing, form)
    if not web.is_htmx():
        return there(outgoing_id) if is_kept else _page(outgoing, form)
    context = writing_page.composer(db.session(), outgoing, form)
    return web.page("mailbox/_saved.html", None, 200 if is_kept else 422, **context)


@bp.post("/mailbox/drafts/<int:outgoing_id>/files")
@web.allow(Permission.READ_MAIL)
@web.gives_back
@web.limiter.limit(OFTEN, key_func=browsers.signed_in)
def attach(outgoing_id: int) -> Answer:
    return _enclosed(outgoing_id)


@bp.post("/mailbox/drafts/<int:outgoing_id>/files/remove")
@web.allow(Permission.READ_MAIL)
@web.gives_back
def detach(outgoing_id: int) -> Answer:
    return _enclosed(outgoing_id)


def _enclosed(outgoing_id: int) -> Answer:
    """Keep what was typed and attached, and remove the file whose button was pressed."""
    outgoing, form = _typed(outgoing_id)
    session = db.session()
    is_kept = _kept(outgoing, form)
    if is_kept and (file_id := request.form.get("remove", None, web.row_id)):
        service.detach(session, outgoing, file_id)
        _note(outgoing, form)
    if not web.is_htmx():
        return there(outgoing_id) if is_kept else _page(outgoing, form)
    context = writing_page.composer(session, outgoing, form)
    return web.page("mailbox/_enclosed_now.html", None, 200 if is_kept else 422, **context)


@bp.post("/mailbox/drafts/<int:outgoing_id>/template")
@web.allow(Permission.READ_MAIL)
@web.gives_back
def put_template(outgoing_id: int) -> Answer:
    """Put a template where the text ends."""
    outgoing, form = _typed(outgoing_id)
    if not _kept(outgoing, form):
        return _page(outgoing, form)
    try:
        service.insert_template(db.session(), outgoing, request.form.get("template", 0, web.row_id))
    except RuleBroken as broken:
        return _refused(outgoing_id, form, broken)
    db.session().commit()
    return _page(outgoing, senders=form.senders) if web.is_htmx() else there(outgoing_id)


@bp.post("/mailbox/drafts/<int:outgoing_id>/send")
@web.allow(Permission.READ_MAIL)
@web.gives_back
@web.limiter.limit(OFTEN, key_func=browsers.signed_in)
def send(outgoing_id: int) -> Answer:
    """Send it: it waits for a runner then, and the page says how far it is."""
    outgoing, form = _typed(outgoing_id)
    if not _kept(outgoing, form):
        return _page(outgoing, form)
    try:
        service.send(db.session(), outgoing)
    except RuleBroken as broken:
        return _refused(outgoing_id, form, broken)
    db.session().commit()
    ring()
    return _page(outgoing, senders=form.senders, takes_focus=True) if web.is_htmx() else there(outgoing_id)


def ring() -> None:
    """Wake whoever sends."""
    if not queue.ring("outgoing"):
        flash(t("The queue cannot be reached; the message is sent when it is back."), "warn")


def _typed(outgoing_id: int) -> tuple[OutgoingMessage, ComposerForm]:
    outgoing, form = own(outgoing_id), ComposerForm()
    form.offer(service.senders(db.session(), current_user.person), outgoing)
    return outgoing, form


def _kept(outgoing: OutgoingMessage, form: ComposerForm) -> bool:
    """Store what was typed and attached; if it cannot be, `form` says why."""
    session, outgoing_id = db.session(), outgoing.id
    if not form.validate():
        return False
    window, version = form.window.data or "", form.version.data or 0
    version = writing_windows.version_of(outgoing_id, window, version, outgoing.version)
    typed = {name: form[name].data or "" for name in ("to", "cc", "bcc", "subject", "text")}
    try:
        # `over` is the version that somebody was told of and wants to replace.
        version = request.form.get("over", version, web.row_id)
        wanted: dict[str, Any] = {"account_id": form.account_id.data, "quotes": form.quotes.data, **typed}
        service.save(session, outgoing, version=version, **wanted)
        _note(outgoing, form)
        form.is_kept = True
        for each in request.files.getlist("files"):
            _attach(outgoing, form, each)
    except RuleBroken as broken:
        _refuse(outgoing_id, form, broken)
        return False
    return True


def _attach(outgoing: OutgoingMessage, form: ComposerForm, each: FileStorage) -> None:
    if each.filename:
        content = each.stream.read(service.LARGEST + 1)
        service.attach(db.session(), outgoing, name=each.filename, type=each.mimetype or "", content=content)
        _note(outgoing, form)


def _note(outgoing: OutgoingMessage, form: ComposerForm) -> None:
    """Commit, and let the page go on from here."""
    db.session().commit()
    form.renew_version(outgoing.version)
    writing_windows.note(outgoing.id, form.window.data or "", outgoing.version)


def _refuse(outgoing_id: int, form: ComposerForm, broken: RuleBroken) -> OutgoingMessage:
    """Say in `form` what cannot be. Who is told of another window decides which one is kept.

    With scripts the page has a button for that: it saves by itself, too, and that must not decide. Without, whoever
    saves once more was told.
    """
    db.session.rollback()
    outgoing = own(outgoing_id)
    if broken.field == "version" and web.is_htmx():
        if outgoing.progress is Progress.DRAFT:
            said = t("This draft was changed in another window. Below you can keep what you see here, or look at that.")
            broken = RuleBroken(said, field="version")
    else:
        form.renew_version(outgoing.version)
    form.refuse(broken)
    return outgoing


def _refused(outgoing_id: int, form: ComposerForm, broken: RuleBroken) -> Answer:
    return _page(_refuse(outgoing_id, form, broken), form)


def own(outgoing_id: int) -> OutgoingMessage:
    """What this person wrote. Raises NotFound."""
    return service.get_own(db.session(), current_user.person, outgoing_id)


def there(outgoing_id: int) -> Answer:
    """The way back to it."""
    return web.done("writing.show", outgoing_id=outgoing_id)
