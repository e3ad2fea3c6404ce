"""The first step of a new account: its address, and who runs the mailbox behind it."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, make_response, request, url_for

from mailadmin import db, queue, web
from mailadmin.access.teams import check_members
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import AccountWish
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.advice import advice
from mailadmin.people import service as people
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.wizard import choices, copies, service
from mailadmin.wizard.choices import Outlook
from mailadmin.wizard.step_forms import CHOOSE, AddressForm, name_for

bp = Blueprint("wizard", __name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody at the first step: of a new account, of the unfinished `account`, or of a copy of `copied`."""

    form: AddressForm
    account: Account | None = None
    copied: Account | None = None

    def seen(self) -> Outlook:
        """What is known of the address. Raises RuleBroken at `address`."""
        return choices.outlook(db.session(), self.form.address.data or "", base=self.account or self.copied)


@bp.route("/accounts/new", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def new() -> Answer:
    """What was typed may stand in the address of the page, so that loading it again loses nothing."""
    visit = _visit()
    if request.method == "GET" and visit.copied and "address" not in request.args:
        visit.form.take_over(visit.copied)
    return _posted(visit) if request.method == "POST" else _page(visit)


@bp.route("/accounts/<int:account_id>/address", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def address(account_id: int) -> Answer:
    """The same step of an account that is not set up yet."""
    account = accounts.get(db.session(), account_id)
    if account.is_set_up:
        return web.done("wizard.settings", account_id=account_id)
    visit = _visit(account)
    if request.method == "GET":
        visit.form.version.data = account.version
        if "address" not in request.args:
            visit.form.take_over(account, is_itself=True)
    return _posted(visit) if request.method == "POST" else _page(visit)


@bp.post("/accounts/new/detect")
@web.allow(Permission.MANAGE_ACCOUNTS)
def detect() -> Answer:
    """Look up who runs the mailbox of the address that is being typed."""
    visit = _visit(_edited())
    try:
        seen = visit.seen()
        if not seen.is_sure:
            _look_up(seen)
            seen = visit.seen()
    except RuleBroken as broken:
        db.session.rollback()
        return _found(visit, Outlook(problem=broken.message))
    answer = make_response(_found(visit, seen))
    answer.headers["HX-Replace-Url"] = _here(visit)  # So that the way back from the next step loses nothing.
    return answer


@bp.get("/accounts/new/detect")
@web.allow(Permission.MANAGE_ACCOUNTS)
@web.polled
def detection() -> Answer:
    """The lookup that goes on: the page asks for it again and again until it has ended."""
    visit = _visit(_edited())
    if not web.is_htmx():
        return web.go(_here(visit))
    try:
        return _found(visit, visit.seen())
    except RuleBroken as broken:
        return _found(visit, Outlook(problem=broken.message))


# Who is there, and what they see.


def _visit(account: Account | None = None) -> Visit:
    session = db.session()
    typed: dict[str, Any] = request.args.to_dict()
    typed |= {name: _number(typed.get(name, "")) for name in ("owner_id", "copy")}
    form = AddressForm(people=accounts.possible_owners(session), teams=people.teams(session), data=typed)
    copied = None
    form.copy.data = _number(str(form.copy.data or "")) or None
    if account is None and form.copy.data:
        try:
            copied = accounts.get(session, form.copy.data)
        except NotFound:  # It was deleted meanwhile; the rest of what was typed stays.
            form.copy.data = None
    return Visit(form, account, copied)


def _edited() -> Account | None:
    account_id = _number(request.args.get("account", ""))
    return accounts.get(db.session(), account_id) if account_id else None


def _number(text: str) -> int:
    """The number of a row in `text`, or 0 where no row can have it."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _here(visit: Visit) -> str:
    """The address of this page, with everything that was typed."""
    if visit.account is not None:
        return url_for("wizard.address", account_id=visit.account.id, **visit.form.typed())
    return url_for("wizard.new", **visit.form.typed())


def _page(visit: Visit, seen: Outlook | None = None) -> Answer:
    if seen is None:
        try:
            seen = visit.seen() if visit.form.address.data else Outlook()
        except RuleBroken as broken:
            seen = Outlook()
            visit.form.refuse(broken)
    status = 422 if visit.form.errors else 200
    return web.page("wizard/new.html", status=status, **_context(visit, seen))


def _found(visit: Visit, seen: Outlook) -> Answer:
    return web.page("wizard/new.html", "wizard/_found.html", **_context(visit, seen))


def _context(visit: Visit, seen: Outlook) -> dict[str, Any]:
    session, form = db.session(), visit.form
    ways = list(_ways(seen)) if seen.domain and not seen.proposed and not seen.is_unasked else []
    form.offer(choices.everybody(session, seen), [(key, name) for key, name, _ in ways], seen)
    if seen.gateway:
        form.way.label.text = t("Who hosts the mailboxes?")
    elif seen.closed:
        form.way.label.text = t("Is this mailbox on another server all the same?")
    other = accounts.find(session, form.address.data or "")
    shown = seen.closed or (seen.proposed.known if seen.proposed else None)
    return {
        "form": form,
        "account": visit.account,
        "copied": visit.copied,
        "seen": seen,
        "hints": {key: hint for key, _, hint in ways if hint},
        "advice": advice(shown) if shown else [],
        "other": other if other is not visit.account else None,
        "proposed_name": name_for(form.address.data or ""),
        "here": _here(visit),
        "queue_is_away": seen.is_slow and queue.waiting() is None,
    }


def _ways(seen: Outlook) -> Any:
    """What is asked where nothing is proposed: key, name and hint."""
    if seen.gateway:
        yield from choices.behind_a_gateway(seen)
    yield "imap", "IMAP and SMTP", t("Almost every mail server. Folders stay in step on both sides.")
    hint = t("Old servers. Only the inbox is read; folders and read marks are not shared.")
    yield "pop3", "POP3 and SMTP", hint
    yield CHOOSE, t("A provider from the list"), ""


# What was sent.


def _posted(visit: Visit) -> Answer:
    session, form = db.session(), visit.form
    seen = Outlook()
    try:
        if form.validate():
            seen = visit.seen()
            other = accounts.find(session, form.address.data or "")
            if other is not None and other is not visit.account:
                said = t("There is an account for {address} already.", address=other.address)
                raise RuleBroken(said, field="address")
            key = form.chosen(seen) or (seen.proposed.key if seen.proposed and seen.is_sure else "")
            return _begun(visit, seen, key) if key else _asked(visit, seen)
        if not form.address.errors:
            seen = visit.seen()
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
        if visit.account and broken.field == "version":
            form.renew_version(accounts.get(session, visit.account.id).version)
    return _page(visit, seen)


def _asked(visit: Visit, seen: Outlook) -> Answer:
    """Nothing was chosen: show what is known of the domain and look up the rest, or say that a choice is wanted."""
    if visit.form.asked.data == seen.domain and not seen.is_looking and not seen.is_unasked:
        raise RuleBroken(t("Choose who runs the mailbox."), field="way")
    _look_up(seen)
    return web.go(_here(visit))


def _look_up(seen: Outlook) -> None:
    lookup = service.look_up(db.session(), seen.domain, actor=web.actor())
    has_ended = lookup.ended_at is not None
    db.session.commit()
    if not has_ended:
        queue.ring("detect")


def _begun(visit: Visit, seen: Outlook, key: str) -> Answer:
    """Save what was typed, and go on to the second step."""
    session, base = db.session(), visit.account or visit.copied
    parts = {**visit.form.names(), **choices.parts(session, seen, key, base=base, actor=web.actor())}
    if visit.account is not None:
        account = visit.account
        copies.move(session, account, parts, version=visit.form.version.data, actor=web.actor())
    else:
        wish = AccountWish(**{**copies.parts(visit.copied), **parts, "is_begun": True})
        account = accounts.create(session, wish=wish, actor=web.actor())
        if visit.copied is not None:
            copies.finish(session, account, visit.copied)
    check_members(session, account)
    account_id = account.id
    session.commit()
    return web.done("wizard.method", account_id=account_id)
