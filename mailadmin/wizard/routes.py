"""Pages where an account is added and its settings are changed."""

from flask import Blueprint, make_response, request

from mailadmin import db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Window
from mailadmin.connections import service as connections
from mailadmin.errors import RuleBroken
from mailadmin.permissions import Permission
from mailadmin.providers import service as providers
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.wizard.forms import AccountForm

bp = Blueprint("wizard", __name__)


@bp.route("/accounts/new", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def new() -> Answer:
    session = db.session()
    form = _form(None)
    if form.validate_on_submit():
        try:
            account = accounts.create(session, wish=form.wish(), actor=web.actor())
            return _tested(account)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    status = 422 if request.method == "POST" else 200
    return web.page("wizard/new.html", "wizard/_form.html", status, form=form, account=None)


@bp.route("/accounts/<int:account_id>/settings", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def settings(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    form = _form(account)
    if form.validate_on_submit():
        try:
            changed = accounts.change(session, account, wish=form.wish(), version=form.version.data, actor=web.actor())
            if form.window:
                accounts.choose_window(session, account, window=Window(form.window.data), actor=web.actor())
            if changed & accounts.CONNECTING or not account.is_set_up:
                return _tested(account)
            session.commit()
            return web.done("wizard.settings", said=t("Saved"), account_id=account_id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
            if broken.field == "version":
                form.renew_version(account.version)
    host = request.args.get("host", "")
    if request.method == "GET" and host in connections.named_hosts(session, account_id):  # Not anybody's link.
        form.rename_server(request.args.get("direction", ""), host)
    return _settings_page(account, form)


@bp.post("/accounts/<int:account_id>/settings/test")
@web.allow(Permission.MANAGE_ACCOUNTS)
def try_settings(account_id: int) -> Answer:
    """Test what stands in the settings form; nothing of it is saved."""
    session = db.session()
    account = accounts.get(session, account_id)
    form = _form(account)
    if form.validate_on_submit():
        try:
            legs = accounts.legs_if(session, account, wish=form.wish(), version=form.version.data)
            check = connections.request_draft_check(session, legs=legs, address=account.address, actor=web.actor())
            check_id = check.id
            session.commit()
            queue.ring("check")
            if web.is_htmx():
                return web.page("wizard/_trial.html", account_id=account_id, check_id=check_id)
            return web.done("connections.draft", check_id=check_id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
            if broken.field == "version":
                form.renew_version(account.version)
    return _settings_page(account, form, retarget=f"#account-{account_id}")


def _settings_page(account: Account, form: AccountForm, *, retarget: str = "") -> Answer:
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "account": account, "state": accounts.state_of(account), "tab": "settings"}
    answer = make_response(web.page("wizard/settings.html", "wizard/_form.html", status, **context))
    if retarget and web.is_htmx():  # The form with what is wrong takes its own place, not that of the test.
        answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = retarget, "outerHTML"
    return answer


def _form(account: Account | None) -> AccountForm:
    session = db.session()
    return AccountForm(
        account,
        providers_=list(providers.everyone(session)),
        people=list(accounts.possible_owners(session)),
    )


def _tested(account: Account) -> Answer:
    """Have the account as it is now tested, and go where the test is seen."""
    connections.request_check(db.session(), account=account, actor=web.actor())
    db.session.commit()
    if queue.ring("check"):
        return web.done("connections.show", account_id=account.id)
    said = t("The queue cannot be reached. The test starts by itself when it is back.")
    return web.done("connections.show", said=said, tone="warn", account_id=account.id)
