"""Pages that look across domains, and the addresses by which machines ask how we are."""

from typing import Any

from flask import g, request
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError

from mailadmin import db, leases, queue, schema, web
from mailadmin.console import (
    access_routes,
    account_list,
    account_pages,
    attention,
    audit_routes,
    chart,
    contact_routes,
    oauth_routes,
    own_account_routes,
    people_routes,
    person_routes,
    profile_routes,
    provider_list_routes,
    queries,
    sign_in_routes,
    team_routes,
    template_routes,
    work,
)
from mailadmin.console.blueprint import bp
from mailadmin.moves import service as moves
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.web import Answer

# Registering the blueprint takes all modules with routes on it.
__all__ = [
    "access_routes",
    "account_list",
    "account_pages",
    "audit_routes",
    "bp",
    "contact_routes",
    "oauth_routes",
    "own_account_routes",
    "people_routes",
    "person_routes",
    "profile_routes",
    "provider_list_routes",
    "sign_in_routes",
    "team_routes",
    "template_routes",
]


@bp.get("/")
@web.allow(Permission.READ_MAIL)
def overview() -> Answer:
    if not current_user.person.may(Permission.SEE_CONSOLE):
        return web.done("console.home")
    context = _overview()
    if not context["tallies"]["all"]:
        return web.page("console/first_steps.html", **context)
    context |= {"chart": chart.of_last_day(db.session()), "oauth_alarms": oauth.app_alarms(db.session())}
    context["legacy"] = moves.count(db.session())
    return web.page("console/overview.html", **context)


def _overview() -> dict[str, Any]:
    """What the overview shows and asks for again."""
    session = db.session()
    tallies = g.tallies = queries.tallies(session)  # for the frame too
    looked, known = work.look(session), queries.provider_count(session)
    causes, number = attention.causes(session)
    all_well = all(cause.state == "waiting" for cause in causes)
    return {
        "headline": attention.headline(tallies, known, looked, all_well=all_well),
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
