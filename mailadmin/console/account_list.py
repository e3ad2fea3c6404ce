"""The list of accounts, and what is done to those that are ticked."""

from typing import Any

from flask import g, make_response, request, url_for
from werkzeug.datastructures import MultiDict

from mailadmin import db, queue, web
from mailadmin.console import account_search, queries
from mailadmin.console.account_deeds import DEEDS, chosen
from mailadmin.console.account_search import Wanted
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import AccountFilter
from mailadmin.errors import RuleBroken
from mailadmin.people import service as people
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/accounts")
@web.allow(Permission.SEE_CONSOLE)
def accounts() -> Answer:
    session = db.session()
    form = _filter(request.args)
    state = request.args.get("state", "")
    wanted = form.wanted(state=state if state in queries.TABS else "all", page=request.args.get("page", 1, int))
    found = account_search.find(session, wanted)
    if not wanted.is_narrow:
        g.tallies = found.tallies  # for the frame too
    page = web.page(
        "console/accounts.html",
        form=form,
        wanted=wanted,
        found=found,
        has_none=not (found.tallies["all"] or wanted.is_narrow),
        elsewhere=account_search.elsewhere(session, wanted) if wanted.q and not found.total else 0,
        is_ticked="ticked" in request.args,
    )
    return _at_its_address(page, wanted)


def _filter(typed: MultiDict[str, str]) -> AccountFilter:
    session = db.session()
    teams = [(str(team.id), team.name) for team in people.teams(session)]
    providers = [(str(id_), name) for id_, name in queries.provider_names(session)]
    return AccountFilter(typed, providers=providers, teams=teams)


def _at_its_address(page: Answer, wanted: Wanted) -> Answer:
    """The list for htmx, with the address that belongs to it: the form's own would name every empty field."""
    answer = make_response(page)
    if web.is_htmx() and "ticked" not in request.args and "HX-History-Restore-Request" not in request.headers:
        address = url_for("console.accounts", **wanted.address())
        is_there = request.headers.get("HX-Current-URL", "").endswith(address)
        answer.headers["HX-Push-Url"] = "false" if is_there else address
    return answer


@bp.post("/accounts/bulk")
@web.allow(Permission.MANAGE_ACCOUNTS)
def bulk() -> Answer:
    """Do something to the accounts that are ticked, and go back to the list as it was."""
    session = db.session()
    deed = DEEDS.get(request.values.get("do", ""))
    ticked = chosen(session, request.form.getlist("account", type=web.row_id))
    if deed is None or not ticked:
        return _back(t("Tick the accounts first.") if deed else "", "warn")
    try:
        done = deed(session, ticked, web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return _back(broken.message, "warn")
    if not all(queue.ring(*ring) for ring in done.rings):  # Those after the first that fails are the clock's.
        away = t("The queue cannot be reached. The work starts by itself when it is back.")
        return _back(f"{done.said} {away}", "warn")
    return _back(done.said, "ok" if done.number == len(ticked) else "warn")


def _back(said: str, tone: str) -> Answer:
    shown: dict[str, Any] = {k: v for k, v in request.args.items() if k in Wanted.__dataclass_fields__}
    return web.done("console.accounts", said=said, tone=tone, **shown)
