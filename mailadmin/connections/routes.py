"""Pages of connections: the connection test of an account, live, its history, and what a diagnosis offers."""

from typing import Any

from flask import Blueprint, request

from mailadmin import db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import repair, service
from mailadmin.connections.forms import MessageForm, ServersForm
from mailadmin.connections.history import history
from mailadmin.connections.models import Check
from mailadmin.connections.support import support_text
from mailadmin.connections.timeline import timeline
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.permissions import Permission
from mailadmin.providers import service as providers
from mailadmin.shown import num
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("connections", __name__)


# The newest test of an account.


@bp.get("/accounts/<int:account_id>/connection")
@web.allow(Permission.MANAGE_ACCOUNTS)
def show(account_id: int) -> Answer:
    return web.page("connections/show.html", **_context(account_id), **_around(account_id))


@bp.post("/accounts/<int:account_id>/connection")
@web.allow(Permission.MANAGE_ACCOUNTS)
def begin(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    service.request_check(db.session(), account=account, actor=web.actor())
    return _rung("connections.show", account_id=account_id)


@bp.get("/accounts/<int:account_id>/connection/check")
@web.allow(Permission.MANAGE_ACCOUNTS)
@web.polled
def check(account_id: int) -> Answer:
    context = _context(account_id)
    running = context["check"] is not None and context["check"].finished_at is None
    if not running and not web.is_htmx():
        return web.done("connections.show", account_id=account_id)
    # Without JavaScript the page refreshes itself through this address, so that waiting does not keep a session alive.
    return web.page("connections/show.html", "connections/_check.html", **context, **_around(account_id))


@bp.get("/accounts/<int:account_id>/connection/<int:check_id>")
@web.allow(Permission.MANAGE_ACCOUNTS)
def past(account_id: int, check_id: int) -> Answer:
    """One of the tests that are kept."""
    account = accounts.get(db.session(), account_id)
    found = service.get(db.session(), check_id)
    if found.account_id != account_id or found.finished_at is None:
        raise NotFound(t("This test does not exist any more."))
    return web.page(
        "connections/past.html",
        account=account,
        state=accounts.state_of(account),
        tab="connection",
        check=found,
        test=timeline(found),
        support=support_text(found),
    )


# What a diagnosis offers.


@bp.post("/accounts/<int:account_id>/connection/message")
@web.allow(Permission.MANAGE_ACCOUNTS)
def message(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    form = MessageForm()
    try:
        wish = {"recipient": form.recipient.data or "", "awaits": form.awaits.data}
        service.request_message(db.session(), account=account, actor=web.actor(), **wish)
        return _rung("connections.show", account_id=account_id)
    except RuleBroken as broken:
        db.session.rollback()
        form.refuse(broken)
    context = {**_context(account_id), **_around(account_id), "form": form}
    return web.page("connections/show.html", "connections/_message.html", 422, **context)


@bp.post("/accounts/<int:account_id>/connection/repair")
@web.allow(Permission.MANAGE_ACCOUNTS)
def mend(account_id: int) -> Answer:
    """Do what the diagnosis of a test offers, and test again."""
    account = accounts.get(db.session(), account_id)
    found = service.get(db.session(), request.form.get("check", 0, web.row_id))
    repair.apply(db.session(), account, found, offer=request.form.get("offer", ""), actor=web.actor())
    return _rung("connections.show", account_id=account_id)


@bp.post("/accounts/<int:account_id>/connection/unpin")
@web.allow(Permission.MANAGE_ACCOUNTS)
def unpin(account_id: int) -> Answer:
    """Let the usual rules decide about a certificate again, and test.

    No password is asked for, unlike where an account goes to other servers (accounts/guard.py): host and port stay, and
    what the usual rules accept is what every account without a pin accepts. A self-signed certificate is none of it, so
    nothing is sent until a person has decided anew. Who may remove a pin may set one too, which is the greater power:
    the audit trail names both.
    """
    account = accounts.get(db.session(), account_id)
    direction = request.form.get("direction", "")
    if direction in set(Direction):
        accounts.pin(db.session(), account, direction=Direction(direction), sha256="", actor=web.actor())
    service.request_check(db.session(), account=account, actor=web.actor())
    return _rung("connections.show", account_id=account_id)


# Many at once.


@bp.post("/accounts/test")
@web.allow(Permission.MANAGE_ACCOUNTS)
def test_all() -> Answer:
    number = service.request_many(db.session(), accounts_=accounts.all_live(db.session()), actor=web.actor())
    return _rung("console.accounts", said=_being_tested(number))


@bp.post("/providers/<int:provider_id>/test")
@web.allow(Permission.MANAGE_ACCOUNTS)
def test_provider(provider_id: int) -> Answer:
    session = db.session()
    provider = providers.get(session, provider_id)
    users = [account for account in accounts.using(session, provider) if account.deleting_at is None]
    number = service.request_many(session, accounts_=users, actor=web.actor())
    return _rung("console.accounts", said=_being_tested(number), provider=provider_id)


# What is not saved yet.


@bp.post("/providers/test-servers")
@web.allow(Permission.MANAGE_PROVIDERS)
def test_servers() -> Answer:
    """Greet the servers that stand in a provider's form."""
    session = db.session()
    provider_id = request.args.get("provider", type=web.row_id)
    provider = providers.get(session, provider_id) if provider_id else None
    form = ServersForm()
    try:
        legs = form.legs(provider)
        found = service.request_draft_check(session, legs=legs, address="", actor=web.actor())
    except RuleBroken as broken:
        session.rollback()
        why = form.why or [broken.message]
        return web.page("connections/draft_refused.html", "connections/_draft_refused.html", 422, why=why)
    return _rung_draft(found)


@bp.get("/tests/<int:check_id>")
@web.allow(Permission.SEE_CONSOLE)
@web.polled
def draft(check_id: int) -> Answer:
    """A test of something unsaved, live."""
    found = service.get(db.session(), check_id)
    if found.account_id is not None:  # It passed, and what it tested was saved: it is the account's own by now.
        said = t("The test passed and the settings are saved")
        return web.done("connections.show", said=said, account_id=found.account_id)
    return web.page("connections/draft.html", "connections/_draft.html", **_draft_context(found))


def _rung_draft(found: Check) -> Answer:
    """Commit, ring, and answer with the test of something unsaved: its piece for htmx, else its page."""
    check_id = found.id
    db.session.commit()
    queue.ring("check")
    if web.is_htmx():
        found = service.get(db.session(), check_id)
        return web.page("connections/draft.html", "connections/_draft.html", **_draft_context(found))
    return web.done("connections.draft", check_id=check_id)


def _draft_context(found: Check) -> dict[str, Any]:
    silent = service.is_silent(found)
    return {
        "check": found,
        "test": timeline(found),
        "is_silent": silent,
        "queue_is_away": silent and queue.waiting() is None,
        "account": accounts.find(db.session(), found.address) if found.address else None,
        "saves": "saves" in request.args,  # Only the words of the page are different.
    }


def _rung(endpoint: str, *, said: str = "", **values: Any) -> Answer:
    """Commit, ring, and go to `endpoint`."""
    db.session.commit()
    if queue.ring("check"):
        return web.done(endpoint, said=said, **values)
    said = t("The queue cannot be reached. The test starts by itself when it is back.")
    return web.done(endpoint, said=said, tone="warn", **values)


def _being_tested(number: int) -> str:
    return t("1 account is being tested") if number == 1 else t("{n} accounts are being tested", n=num(number))


def _context(account_id: int) -> dict[str, Any]:
    """What the piece of the page needs that refreshes itself."""
    account = accounts.get(db.session(), account_id)
    newest = service.latest(db.session(), account_id)
    silent = newest is not None and service.is_silent(newest)
    return {
        "account": account,
        "state": accounts.state_of(account),
        "tab": "connection",
        "check": newest,
        "test": timeline(newest) if newest else None,
        "support": support_text(newest) if newest else "",
        "is_silent": silent,
        "queue_is_away": silent and queue.waiting() is None,
        "is_old": newest is not None and newest.account_version != account.version,
        "offers": repair.offers(account, newest) if newest else {},
    }


def _around(account_id: int) -> dict[str, Any]:
    """What stands below it."""
    account: Account = accounts.get(db.session(), account_id)
    return {
        "past_tests": history(service.history(db.session(), account_id)),
        "form": MessageForm(formdata=None, data={"recipient": account.address, "awaits": True}),
        "can_send": accounts.server_of(account, Direction.OUTGOING) is not None,
        "pins": {d: account.pin(d) for d in Direction if account.pin(d)},
    }
