"""The second and the third step of a new account, its end, and the way back to where somebody left it."""

from dataclasses import replace

from flask import request
from flask_login import current_user

from mailadmin import boot, db, queue, web
from mailadmin.access import service as access
from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account
from mailadmin.connections import service as connections
from mailadmin.errors import RuleBroken
from mailadmin.invites import service as invites
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import GrantKind
from mailadmin.oauth.routes import connecting
from mailadmin.permissions import Permission
from mailadmin.sync import service as sync
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.wizard import choices, steps
from mailadmin.wizard.routes import bp
from mailadmin.wizard.servers_form import StepServersForm
from mailadmin.wizard.step_forms import MethodForm
from mailadmin.wizard.ways import DELEGATE, OWNER, Ways, ways


@bp.route("/accounts/<int:account_id>/method", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def method(account_id: int) -> Answer:
    """Step 2; with `insists` a password can be tried where the provider refuses all of them."""
    session = db.session()
    account = accounts.get(session, account_id)
    if account.is_set_up:
        return web.done("wizard.settings", account_id=account_id)
    insists = request.args.get("insists") == "1" or account.method is SignInMethod.PASSWORD
    known = ways(account, app=oauth.app_of(session, account.provider), insists=insists)
    form = MethodForm(account, known, sender=system_mail.sender(session))
    if form.validate_on_submit():
        try:
            if form.is_oauth:
                return _by_oauth(account, form)
            accounts.change(session, account, wish=form.wish(account), version=form.version.data, actor=web.actor())
            if not _was_tested(account):
                session.commit()
                return web.done(steps.SERVERS, account_id=account_id)
            connections.request_check(session, account=account, actor=web.actor())
            return _rung(account_id)
        except RuleBroken as broken:
            _refused(form, account_id, broken)
    return _method_page(accounts.get(session, account_id), form, known)


def _by_oauth(account: Account, form: MethodForm) -> Answer:
    """Let the one who was chosen sign in; where the OAuth app is missing, that first. Raises RuleBroken."""
    assert account.provider is not None
    if not form.known.who:
        return web.done("console.oauth_app", provider_id=account.provider.id)
    by = form.by.data
    if by == OWNER:
        return _asking_owner(account, (form.send_to.data if form.send_to else "") or "")
    kind = GrantKind(by) if by in set(GrantKind) else GrantKind.PERSON
    return connecting(account, kind=kind, came_from="wizard", is_delegate=by == DELEGATE)


def _asking_owner(account: Account, send_to: str) -> Answer:
    """Make the one-time link, and go where it is shown. Raises RuleBroken."""
    public_url = boot.settings().public_url or request.url_root.rstrip("/")
    invites.ask(db.session(), account, send_to=send_to, actor=web.actor(), public_url=public_url)
    db.session.commit()
    if send_to.strip():
        queue.ring("notice")
    return web.done("invites.ask", account_id=account.id)


def _method_page(account: Account, form: MethodForm, known: Ways) -> Answer:
    insists, was_tested = request.args.get("insists") == "1", _was_tested(account)
    context = {"account": account, "form": form, "known": known, "insists": insists, "was_tested": was_tested}
    return web.page("wizard/method.html", None, _status(), **context)


def _was_tested(account: Account) -> bool:
    """Whether somebody comes back with another password, for servers that stand already."""
    tested = connections.latest(db.session(), account.id) is not None
    return tested and account.server(Direction.INCOMING) is not None


@bp.route("/accounts/<int:account_id>/servers", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def servers(account_id: int) -> Answer:
    """Step 3; what is saved is tested at once."""
    session = db.session()
    account = accounts.get(session, account_id)
    if account.is_set_up:
        return web.done("wizard.settings", account_id=account_id)
    if missing := steps.missing_before_servers(account):
        return web.done(steps.METHOD, said=missing, tone="run", account_id=account_id)
    form = StepServersForm(account, choices.found_beside(session, account))
    if form.validate_on_submit():
        try:
            if form.forgets:
                accounts.forget_credentials(session, account, only=SignInMethod.OAUTH)
                wish = replace(form.wish(), is_begun=True)
                accounts.change(session, account, wish=wish, version=form.version.data, actor=web.actor())
                session.commit()
                return web.done(steps.METHOD, said=t("Saved. Now sign in again."), account_id=account_id)
            accounts.change(session, account, wish=form.wish(), version=form.version.data, actor=web.actor())
            connections.request_check(session, account=account, actor=web.actor())
            return _rung(account_id)
        except RuleBroken as broken:
            _refused(form, account_id, broken)
    host, direction = request.args.get("host", ""), request.args.get("direction", "")
    if request.method == "GET" and direction in set(Direction) and host in connections.named_hosts(session, account_id):
        form.rename_server(Direction(direction), host)  # A test found this name; it is not anybody's link.
    account = accounts.get(session, account_id)
    files_sent = account.provider is not None and account.provider.files_sent
    return web.page(
        "wizard/servers.html", "wizard/_servers.html", _status(), account=account, form=form, files_sent=files_sent
    )


@bp.get("/accounts/<int:account_id>/finished")
@web.allow(Permission.MANAGE_ACCOUNTS)
def finished(account_id: int) -> Answer:
    """The end: what is connected, how far the first sync is, and what to do next."""
    session = db.session()
    account = accounts.get(session, account_id)
    if not account.is_set_up:
        return web.done("wizard.resume", account_id=account_id)
    can_send = accounts.server_of(account, Direction.OUTGOING) is not None
    reads = access.rights(session, current_user.person, account) is not None
    values = {"can_send": can_send, "reads": reads, "my_id": current_user.person.id, **sync.panel(session, account)}
    return web.page("wizard/finished.html", account=account, **values)


@bp.get("/accounts/<int:account_id>/set-up")
@web.allow(Permission.MANAGE_ACCOUNTS)
def resume(account_id: int) -> Answer:
    """The first step that is not done."""
    account = accounts.get(db.session(), account_id)
    endpoint = steps.first_undone(db.session(), account)
    return web.done("console.account" if endpoint == steps.DONE else endpoint, account_id=account_id)


def _status() -> int:
    return 422 if request.method == "POST" else 200


def _refused(form: MethodForm | StepServersForm, account_id: int, broken: RuleBroken) -> None:
    """Say in `form` what cannot be; who was slower than somebody else may save again."""
    db.session.rollback()
    for each in getattr(broken, "all", [broken]):
        form.refuse(each)
    if broken.field == "version":
        form.renew_version(accounts.get(db.session(), account_id).version)


def _rung(account_id: int) -> Answer:
    """Commit, ring for the test, and go where it is seen."""
    db.session.commit()
    if queue.ring("check"):
        return web.done(steps.TEST, account_id=account_id)
    said = t("The queue cannot be reached. The test starts by itself when it is back.")
    return web.done(steps.TEST, said=said, tone="warn", account_id=account_id)
