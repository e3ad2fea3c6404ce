"""The pages of leaving passwords: what is left, choosing and preparing, progress, and the way back."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, request

from mailadmin import boot, db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.moves import forms, service, ways
from mailadmin.moves.forms import SHORT_WORDS, STATE_WORDS, ProviderForm, SearchForm, WayForm
from mailadmin.moves.models import Move, MoveState, MoveWay
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.shown import num
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("moves", __name__)
AWAY = "The queue cannot be reached. It goes on by itself when the queue is back."


@bp.get("/moves")
@web.allow(Permission.SEE_CONSOLE)
def report() -> Answer:
    """What is left, by provider."""
    session = db.session()
    found, numbers = service.report(session, boot.settings().public_url), service.tallies(session)
    return web.page("moves/report.html", report=found, numbers=numbers, everything=sum(numbers.values()))


# Choosing.


@bp.get("/moves/providers/<int:provider_id>")
@web.allow(Permission.MANAGE_ACCOUNTS)
def choose(provider_id: int) -> Answer:
    """Which accounts of a provider are moved, and how."""
    session = db.session()
    provider = providers.get(session, provider_id)
    possible, why_not = _ways(provider)
    usable = [way for way in possible if way not in why_not]
    alone = [way for way in usable if way in ways.ALONE]
    q = request.args.get("q", "").replace("\0", "").strip()[:200]
    page = max(1, request.args.get("page", 1, web.row_id))
    found, total = service.candidates(session, provider, q=q, page=page)
    pages = max(1, -(-total // service.PAGE))
    page = min(page, pages)
    return web.page(
        "moves/choose.html",
        provider=provider,
        form=WayForm(request.args, possible, alone[0] if alone else ways.PEOPLE),
        search=SearchForm(formdata=None, data={"q": q}),
        fields=forms.way_fields(usable, [one.id for one in found]),
        found=found,
        total=total,
        everything=service.count(session, provider.id, free=True) if q else total,
        page=page,
        pages=pages,
        first=(page - 1) * service.PAGE + 1,
        q=q,
        usable=usable,
        why_not=why_not,
        proof=ways.proof(oauth.app_of(session, provider)),
    )


@bp.get("/moves/providers/<int:provider_id>/preview")
@web.allow(Permission.MANAGE_ACCOUNTS)
def preview(provider_id: int) -> Answer:
    """What will happen to how many, before anything does."""
    session = db.session()
    provider = providers.get(session, provider_id)
    wish = forms.wish_from(request.args, ways.of(provider))
    if wish is None:
        return web.done("moves.choose", provider_id=provider_id)
    if wish.ids == ():
        return web.done("moves.choose", said=t("Tick the accounts first."), tone="warn", provider_id=provider_id)
    found = service.preview(session, provider, wish, public_url=boot.settings().public_url)
    return web.page("moves/preview.html", provider=provider, found=found, fields=forms.hidden(wish), **_words())


@bp.post("/moves/providers/<int:provider_id>")
@web.allow(Permission.MANAGE_ACCOUNTS)
def prepare(provider_id: int) -> Answer:
    """Prepare the moves, and begin the first of them at once."""
    session = db.session()
    provider = providers.get(session, provider_id)
    wish = forms.wish_from(request.form, ways.of(provider))
    if wish is None:
        return web.done("moves.choose", provider_id=provider_id)
    try:
        number = service.prepare(session, provider, wish, public_url=boot.settings().public_url, actor=web.actor())
        rings = service.begin(session)
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return web.done("moves.choose", said=broken.message, tone="warn", provider_id=provider_id)
    said = (
        t("The move of 1 account is prepared.")
        if number == 1
        else t("The move of {n} accounts is prepared.", n=num(number))
    )
    return _rung(rings, said, provider=provider_id)


# Progress.


@bp.get("/moves/progress")
@web.allow(Permission.SEE_CONSOLE)
def progress() -> Answer:
    """How far the accounts are that are moved, or were."""
    return web.page("moves/progress.html", **_progress())


@bp.get("/moves/progress/look")
@web.allow(Permission.SEE_CONSOLE)
@web.polled
def look() -> Answer:
    """The same, asked by the page itself."""
    return web.page("moves/progress.html", "moves/_progress.html", **_progress())


@bp.post("/moves/<int:move_id>/again")
@web.allow(Permission.MANAGE_ACCOUNTS)
def begin_again(move_id: int) -> Answer:
    """Once more, or another link for the owner."""

    def deed(move: Move) -> tuple[str, list[str]]:
        service.begin_again(db.session(), move, actor=web.actor())
        rings = service.begin(db.session())
        return t("{address} is tried again.", address=move.account.address), rings

    return _deed(move_id, deed)


@bp.post("/moves/<int:move_id>/drop")
@web.allow(Permission.MANAGE_ACCOUNTS)
def drop(move_id: int) -> Answer:
    def deed(move: Move) -> tuple[str, list[str]]:
        address = service.drop(db.session(), move, actor=web.actor())
        return t("{address} keeps its password for now.", address=address), []

    return _deed(move_id, deed)


# The way back; also from the page of an account.


@bp.post("/accounts/<int:account_id>/old-password/restore")
@web.allow(Permission.MANAGE_ACCOUNTS)
def roll_back(account_id: int) -> Answer:
    """Back to the password, which is tested at once."""
    session = db.session()
    account = accounts.get(session, account_id)
    try:
        service.roll_back(session, account, actor=web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return _back(account_id, broken.message, "warn")
    queue.ring("token")  # What was granted is given back.
    said = t("{address} signs in with its password again. That is being tested now.", address=account.address)
    return _back(account_id, said) if queue.ring("check") else _back(account_id, f"{said} {t(AWAY)}", "warn")


@bp.route("/accounts/<int:account_id>/old-password/destroy", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def destroy_password(account_id: int) -> Answer:
    """Destroy the old password before its days are over; first the question."""
    session = db.session()
    account = accounts.get(session, account_id)
    if request.method == "GET":
        return _question(account)
    try:
        service.destroy_password(session, account, actor=web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return _back(account_id, broken.message, "warn")
    return _back(account_id, t("The old password of {address} is destroyed.", address=account.address))


def _question(account: Account) -> Answer:
    kept = oauth.kept_password(db.session(), account.id)
    back = "moves" if request.values.get("back") == "moves" else ""
    return web.page("moves/destroy.html", "moves/_destroy.html", account=account, kept=kept, back=back)


def _back(account_id: int, said: str, tone: str = "ok") -> Answer:
    if request.values.get("back") == "moves":
        return web.done("moves.progress", said=said, tone=tone)
    return web.done("console.account", said=said, tone=tone, account_id=account_id)


def _deed(move_id: int, deed: Callable[[Move], tuple[str, list[str]]]) -> Answer:
    session = db.session()
    try:
        said, rings = deed(service.get(session, move_id))
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return web.done("moves.progress", said=broken.message, tone="warn", **_shown())
    return _rung(rings, said, **_shown())


def _rung(rings: list[str], said: str, **shown: Any) -> Answer:
    is_away = not all(queue.ring(job) for job in rings)
    tone = "warn" if is_away else "ok"
    return web.done("moves.progress", said=f"{said} {t(AWAY)}" if is_away else said, tone=tone, **shown)


def _progress() -> dict[str, Any]:
    session, shown = db.session(), _shown()
    state = MoveState(shown["state"]) if "state" in shown else None
    page = request.args.get("page", 1, web.row_id)
    found = service.find(session, state=state, provider_id=shown.get("provider"), page=page)
    names = service.provider_names(session)
    narrow = ProviderForm(names, shown.get("provider")) if len(names) > 1 else None
    return {"found": found, "state": state, "shown": shown, "narrow": narrow, **_words()}


def _shown() -> dict[str, Any]:
    """What the list of moves is narrowed to, as its address says it."""
    provider, state = request.args.get("provider", type=web.row_id), request.args.get("state", "")
    shown: dict[str, Any] = {"provider": provider} if provider else {}
    return shown | ({"state": state} if state in set(MoveState) else {})


def _words() -> dict[str, Any]:
    return {
        "way_words": {w.value: t(s) for w, s in SHORT_WORDS.items()},
        "state_words": {s.value: t(w) for s, w in STATE_WORDS.items()},
    }


def _ways(provider: Provider) -> tuple[list[MoveWay], dict[str, str]]:
    """The ways that make sense here, and by each (and ways.PEOPLE) what stands in its way, if anything does."""
    app, public_url = oauth.app_of(db.session(), provider), boot.settings().public_url
    possible = ways.of(provider)
    said = {way.value: ways.why_not(provider, app, way, public_url) for way in possible}
    said[ways.PEOPLE] = said[MoveWay.SIGN_IN.value]
    return possible, {way: why for way, why in said.items() if why}
