"""The settings of an account. New servers, user names and passwords are tested before they replace the old ones."""

from dataclasses import replace

from flask import make_response, request
from flask_login import current_user

from mailadmin import boot, db, queue, web
from mailadmin.access.service import check_gift
from mailadmin.access.teams import check_members
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import service as connections
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import GrantKind
from mailadmin.people import service as people
from mailadmin.permissions import Permission
from mailadmin.providers import service as providers
from mailadmin.sync import settling
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.wizard.routes import bp
from mailadmin.wizard.settings_form import SettingsForm


@bp.route("/accounts/<int:account_id>/settings", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def settings(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    form = _form(account)
    if form.validate_on_submit():
        try:
            return _saved(account, form)
        except RuleBroken as broken:
            _refused(account, form, broken)
    direction, host = request.args.get("direction", ""), request.args.get("host", "")
    # Not anybody's link: a name that the last test has seen.
    if request.method == "GET" and direction in set(Direction) and host in connections.named_hosts(session, account_id):
        form.rename_server(Direction(direction), host)
    return _settings_page(account, form)


@bp.post("/accounts/<int:account_id>/settings/test")
@web.allow(Permission.MANAGE_ACCOUNTS)
def try_settings(account_id: int) -> Answer:
    """Test what stands in the settings form; nothing of it is saved."""
    account = accounts.get(db.session(), account_id)
    form = _form(account)
    if form.validate_on_submit():
        try:
            return _tested(account, form, saves=False)
        except RuleBroken as broken:
            _refused(account, form, broken)
    return _settings_page(account, form, retarget=f"#account-{account_id}")


def _saved(account: Account, form: SettingsForm) -> Answer:
    """Save what was typed: at once, or when it has passed a test, if it is about the connection. Raises RuleBroken."""
    session, account_id = db.session(), account.id
    wish, version = form.wish(), form.version.data
    check_gift(session, account, kind=wish.kind, owner_id=wish.owner_id, team=wish.team, by=current_user.person)
    if wish.new_contacts is not account.new_contacts:  # Its mail is gone through again, as soon as this is saved.
        settling.go_through_again(session, [account_id])
    if form.forgets and wish.login.method is SignInMethod.OAUTH:
        return _saved_without_sign_in(account, form)
    if account.method is None and wish.login.password is None:  # Nothing to sign in with, so nothing to test either.
        accounts.change(session, account, wish=replace(wish, is_begun=True), version=version, actor=web.actor())
        check_members(session, account)
        session.commit()
        return web.done("wizard.settings", said=t("Saved"), account_id=account_id)
    is_connecting = bool(accounts.changes_if(session, account, wish=wish, version=version) & accounts.CONNECTING)
    if is_connecting and account.is_set_up and not form.at_once.data:
        return _tested(account, form, saves=True)
    before = accounts.primary(session)
    accounts.change(session, account, wish=wish, version=version, actor=web.actor())
    check_members(session, account)
    said = t("Saved")
    if before and account.is_primary and before is not account:
        said = t("Saved. It is the primary account now, in place of {address}", address=before.address)
    if not (is_connecting and account.is_set_up):
        session.commit()
        return web.done("wizard.settings", said=said, account_id=account_id)
    connections.request_check(session, account=account, actor=web.actor())
    session.commit()
    if queue.ring("check"):
        return web.done("connections.show", said=said, account_id=account_id)
    said = t("The queue cannot be reached. The test starts by itself when it is back.")
    return web.done("connections.show", said=said, tone="warn", account_id=account_id)


def _saved_without_sign_in(account: Account, form: SettingsForm) -> Answer:
    """Save what was typed and forget what was granted for the servers before: somebody signs in again then."""
    session, account_id = db.session(), account.id
    accounts.forget_credentials(session, account, only=SignInMethod.OAUTH)
    wish = replace(form.wish(), is_begun=True)  # It has no sign-in until then.
    accounts.change(session, account, wish=wish, version=form.version.data, actor=web.actor())
    check_members(session, account)
    if account.is_set_up:
        accounts.record_failure(
            session,
            account,
            direction=Direction.INCOMING,
            category=Category.OAUTH,
            reason=t("Its servers have changed, so somebody has to sign in again"),
            permanent=True,
            sure=True,
        )
    session.commit()
    return web.done("console.account", said=t("Saved. Now sign in again: choose Reconnect."), account_id=account_id)


def _tested(account: Account, form: SettingsForm, *, saves: bool) -> Answer:
    """Test what was typed, and go where the test is seen; if it `saves`, passing makes it count. Raises RuleBroken."""
    session, wish, version = db.session(), form.wish(), form.version.data
    legs = accounts.legs_if(session, account, wish=wish, version=version)
    change = accounts.Change(account.id, version, wish, web.actor()) if saves else None
    check = connections.request_draft_check(
        session, legs=legs, address=account.address, actor=web.actor(), change=change
    )
    check_id, account_id = check.id, account.id
    session.commit()
    queue.ring("check")
    if not web.is_htmx():
        return web.done("connections.draft", check_id=check_id, saves=1 if saves else None)
    answer = make_response(web.page("wizard/_trial.html", account_id=account_id, check_id=check_id, saves=saves))
    # The form stays as it is, with the password that was typed; the test is seen below it.
    answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#trial", "innerHTML"
    return answer


def _refused(account: Account, form: SettingsForm, broken: RuleBroken) -> None:
    db.session.rollback()
    form.refuse(broken)
    if broken.field == "version":
        form.renew_version(account.version)


def _settings_page(account: Account, form: SettingsForm, *, retarget: str = "") -> Answer:
    if form.errors or form.form_errors:
        form.ask_again()
    page = web.page(
        "wizard/settings.html",
        "wizard/_form.html",
        422 if request.method == "POST" else 200,
        form=form,
        account=account,
        state=accounts.state_of(account),
        tab="settings",
        primary=accounts.primary(db.session()),
        usual_minutes=boot.settings().sync_minutes,
        reconnects=request.method == "GET" and "reconnect" in request.args,
        grant=oauth.grant_of(db.session(), account.id),
        kept_password=oauth.kept_password(db.session(), account.id),
        can_connect=oauth.can(oauth.app_of(db.session(), account.provider), GrantKind.PERSON),
    )
    answer = make_response(page)
    if retarget and web.is_htmx():  # The form with what is wrong takes its own place, not that of the test.
        answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = retarget, "outerHTML"
    return answer


def _form(account: Account) -> SettingsForm:
    session = db.session()
    return SettingsForm(
        account,
        providers_=providers.everyone(session),
        people=accounts.possible_owners(session),
        teams=people.teams(session),
    )
