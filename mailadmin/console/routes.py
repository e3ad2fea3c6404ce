"""Pages that look across domains, and the addresses by which machines ask how we are."""

from typing import Any

from flask import Blueprint, request
from sqlalchemy.exc import SQLAlchemyError

from mailadmin import db, leases, queue, schema, web
from mailadmin.accounts import service as accounts_service
from mailadmin.activity import service as activities
from mailadmin.console import attention, chart, queries, work
from mailadmin.console.forms import AccountFilter, DeleteForm, TypeToDeleteForm
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.permissions import Permission
from mailadmin.providers import service as providers_service
from mailadmin.sync import service as sync_service
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("console", __name__)


@bp.get("/")
@web.allow(Permission.SEE_CONSOLE)
def overview() -> Answer:
    context = _overview()
    if not context["tallies"]["all"]:
        return web.page("console/first_steps.html", **context)
    return web.page("console/overview.html", chart=chart.of_last_day(db.session()), **context)


def _overview() -> dict[str, Any]:
    """What the overview shows and asks for again."""
    session = db.session()
    tallies, looked, known = queries.tallies(session), work.look(session), queries.provider_count(session)
    causes, number = attention.causes(session)
    return {
        "headline": attention.headline(tallies, known, looked, all_well=not causes),
        "tallies": tallies,
        "work": looked,
        "known": known,
        "causes": causes,
        "number": number,
    }


@bp.get("/overview/fleet")
@web.allow(Permission.SEE_CONSOLE)
@web.polled
def fleet() -> Answer:
    return web.page("console/_fleet_again.html", **_overview())


@bp.get("/overview/work")
@web.allow(Permission.SEE_CONSOLE)
@web.polled
def work_card() -> Answer:
    """The card, and the alarm where it is another than the page shows: a screen reader reads it once."""
    looked = work.look(db.session())
    is_news = request.args.get("alarm", "") != looked.alarm
    return web.page("console/_work.html", work=looked, alarm_is_news=is_news)


@bp.get("/accounts")
@web.allow(Permission.SEE_CONSOLE)
def accounts() -> Answer:
    session = db.session()
    tab, words = request.args.get("state", "all"), request.args.get("q", "").replace("\0", "").strip()
    providers = [(provider.id, provider.name) for provider, _ in queries.providers(session)]
    wanted = request.args.get("provider", type=int)
    provider_id = wanted if wanted in dict(providers) else None
    query = queries.accounts(tab=tab, words=words, provider_id=provider_id)
    rows, total, page = queries.page_of(session, query, request.args.get("page", 1, int))
    return web.page(
        "console/accounts.html",
        rows=rows,
        states=queries.states(rows),
        total=total,
        page=page,
        pages=-(-total // queries.PAGE),
        page_size=queries.PAGE,
        tallies=queries.tallies(session),
        tab=tab,
        words=words,
        provider_id=provider_id,
        form=AccountFilter(providers, provider_id),
    )


@bp.get("/accounts/<int:account_id>")
@web.allow(Permission.SEE_CONSOLE)
def account(account_id: int) -> Answer:
    session = db.session()
    found = accounts_service.get(session, account_id)
    return web.page(
        "console/account.html",
        account=found,
        state=accounts_service.state_of(found),
        tab="overview",
        incoming=accounts_service.server_of(found, Direction.INCOMING),
        outgoing=accounts_service.server_of(found, Direction.OUTGOING),
        user_name=accounts_service.user_name(found, Direction.INCOMING),
        diagnosis=sync_service.diagnosis(session, account_id),
        entries=activities.of_account(session, account_id, limit=8),
        **sync_service.panel(session, found),
    )


@bp.route("/accounts/<int:account_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def delete_account(account_id: int) -> Answer:
    session = db.session()
    found = accounts_service.get(session, account_id)
    form = TypeToDeleteForm(found.address)
    if form.validate_on_submit():
        accounts_service.request_deletion(session, found, actor=web.actor())
        session.commit()
        queue.ring("purge", account_id)
        return web.done("console.accounts", said=t("{address} is being deleted", address=found.address))
    status = 422 if form.errors else 200
    full, partial = "console/account_delete.html", "console/_account_delete.html"
    return web.page(full, partial, status, account=found, form=form, state=accounts_service.state_of(found), tab="")


@bp.get("/providers")
@web.allow(Permission.SEE_CONSOLE)
def providers() -> Answer:
    return web.page("console/providers.html", rows=queries.providers(db.session()), Direction=Direction)


@bp.route("/providers/<int:provider_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def delete_provider(provider_id: int) -> Answer:
    session = db.session()
    provider = providers_service.get(session, provider_id)
    users = accounts_service.using(session, provider)
    form = DeleteForm()
    if not users and form.validate_on_submit():
        try:
            providers_service.delete(session, provider, actor=web.actor())
            session.commit()
            return web.done("console.providers", said=t("{name} was deleted", name=provider.name))
        except RuleBroken:  # An account chose this provider a moment ago.
            session.rollback()
            users = accounts_service.using(session, providers_service.get(session, provider_id))
    status = 422 if request.method == "POST" else 200
    full, partial = "console/provider_delete.html", "console/_provider_delete.html"
    return web.page(full, partial, status, provider=provider, users=users, form=form)


@bp.get("/healthz")
@web.public
@web.polled
def healthz() -> Answer:
    """This process lives."""
    return {"web": "ok"}, 200  # type: ignore[return-value]


@bp.get("/readyz")
@web.public
@web.polled
def readyz() -> Answer:
    """Database, migrations, queue and runner; 503 with what is missing."""
    found = {"database": "unreachable", "migrations": "unknown", "queue": "ok", "runner": "unknown"}
    try:
        with db.reading() as session:
            found["migrations"] = "ok" if schema.is_current(session.connection()) else "missing"
            found["database"] = "ok"
            found["runner"] = "ok" if leases.held_now(session, "runner:") else "silent"
    except SQLAlchemyError:
        db.session.rollback()
    if queue.waiting() is None:
        found["queue"] = "unreachable"
    return found, 200 if set(found.values()) == {"ok"} else 503  # type: ignore[return-value]
