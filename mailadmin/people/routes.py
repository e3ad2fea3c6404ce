"""The first set-up, sign-in and sign-out, and the theme."""

import logging
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, request
from flask import session as cookie
from flask_limiter.errors import RateLimitExceeded
from flask_login import UserMixin, current_user, login_user
from sqlalchemy.exc import OperationalError

from mailadmin import db, web
from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.form import printable
from mailadmin.organisation import service as organisation
from mailadmin.people import service
from mailadmin.people.forms import SetupForm, SignInForm
from mailadmin.people.models import Person
from mailadmin.permissions import Actor, Permission, allows
from mailadmin.text import t
from mailadmin.web import Answer

log = logging.getLogger(__name__)
bp = Blueprint("people", __name__)
YEAR_SECONDS = 365 * 24 * 3600
THEMES = ("", "light", "dark")


class SignedIn(UserMixin):
    """Somebody with a valid session, as Flask-Login wants it."""

    def __init__(self, person: Person, token: str) -> None:
        self.person = person
        self._token = token

    def get_id(self) -> str:
        """What the cookie holds: the token of the session, not the id of the person."""
        return self._token


def load_signed_in(token: str) -> SignedIn | None:
    """Whoever has the session `token`; called once per request. What a page asks by itself is not activity."""
    found = service.signed_in(db.session(), token)
    if found is None:
        return None
    person, sign_in_id = found.person, found.id
    if service.is_to_be_touched(found) and not web.is_polled():
        _touch(sign_in_id)
    return SignedIn(person, token)


def _touch(sign_in_id: int) -> None:
    db.session.rollback()  # On SQLite a request that writes holds the lock that `touch` needs.
    try:
        with db.transaction() as own:
            service.touch(own, sign_in_id)
    except OperationalError:  # Somebody writes for long; the next page tries again, this one only wants to be read.
        log.warning("A session could not be touched: the database is busy.")


@bp.route("/setup", methods=["GET", "POST"])
@web.public
@web.limiter.limit("20 per minute", methods=["POST"])
def setup() -> Answer:
    session = db.session()
    if service.has_administrator(session):
        return _setup_closed()
    form = SetupForm(code=request.args.get("code", ""))
    if form.validate_on_submit():
        try:
            person = service.create_first_administrator(
                session,
                code=form.code.data,
                organisation_name=form.organisation.data,
                name=form.name.data,
                email=form.email.data,
                password=form.password.data,
            )
            _note(person, "finished the first set-up")
            _enter(person)
            session.commit()
            return web.done("console.overview", said=t("Welcome, {name}", name=person.name))
        except RuleBroken as broken:
            session.rollback()
            if service.has_administrator(session):  # Somebody else was a moment faster.
                return _setup_closed()
            form.refuse(broken)
    elif form.code.data:
        try:
            service.check_setup_code(session, form.code.data)
        except RuleBroken as broken:
            form.refuse(broken)
    return _setup_page(form, 422 if form.errors and request.method == "POST" else 200)


def _setup_page(form: SetupForm, status: int) -> Answer:
    return web.page("people/setup.html", "people/_setup_form.html", status, form=form)


def _setup_closed() -> Answer:
    return web.page("people/setup_closed.html", status=410)


def _typed_address() -> str:
    # As the service reads it: another spelling of an address must not open five more tries.
    typed = printable(request.form.get("email", "")) or ""
    try:
        return f"typed:{service.checked_email(typed)}"
    except RuleBroken:
        return f"typed:{typed.strip().lower()[:254]}"


def _has_failed(answer: Response) -> bool:
    return answer.status_code == 422


@bp.route("/sign-in", methods=["GET", "POST"])
@web.public
@web.limiter.limit("5 per minute", methods=["POST"], key_func=_typed_address, deduct_when=_has_failed)
@web.limiter.limit("20 per minute", methods=["POST"], deduct_when=_has_failed)
def sign_in() -> Answer:
    session = db.session()
    if not service.has_administrator(session):
        return web.done("people.setup")
    form = SignInForm()
    if form.validate_on_submit():
        person = service.check_password(session, email=form.email.data, password=form.password.data)
        if person is not None and allows(person.role, Permission.SEE_CONSOLE):
            _enter(person)
            session.commit()
            return _where_to()
        known = service.find(session, form.email.data)
        _note(known, "failed to sign in")
        session.commit()
        form.form_errors.append(
            t("Only administrators can sign in so far.") if person else t("E-mail address or password is wrong")
        )
    return _sign_in_page(form, 422 if form.errors else 200)


@bp.errorhandler(RateLimitExceeded)
def too_many_tries(_error: RateLimitExceeded) -> Answer:
    """Keep what was typed (but the password) and say how long to wait."""
    form = SetupForm() if request.endpoint == "people.setup" else SignInForm()
    form.form_errors.append(t("Too many tries. Wait a minute, then try again."))
    show = _setup_page if isinstance(form, SetupForm) else _sign_in_page
    answer = make_response(show(form, 429))
    answer.headers["Retry-After"] = "60"
    return answer


def _sign_in_page(form: SignInForm, status: int) -> Answer:
    name = organisation.name(db.session())
    return web.page(
        "people/sign_in.html", status=status, form=form, organisation=name, next=request.args.get("next", "")
    )


def _enter(person: Person) -> None:
    """Sign `person` in under a new session; what the cookie held before is forgotten."""
    if current_user.is_authenticated:  # somebody who signs in once more
        service.end_session(db.session(), current_user.get_id())
    cookie.clear()
    address, browser = request.remote_addr or "", request.user_agent.string
    token = service.start_session(db.session(), person=person, address=address, browser=browser)
    login_user(SignedIn(person, token))
    _note(person, "signed in")


def _note(person: Person | None, what: str) -> None:
    # An address that belongs to nobody may be a password typed into the wrong field, so it is not written down.
    name, person_id = (person.name, person.id) if person else (t("An unknown address"), None)
    activity.record(db.session(), Actor(name, person_id, request.remote_addr or ""), what)


def _where_to() -> Answer:
    wanted = request.args.get("next", "")
    return web.go(wanted) if web.is_local(wanted) else web.done("console.overview")


@bp.post("/sign-out")
@web.public
def sign_out() -> Answer:
    if current_user.is_authenticated:
        service.end_session(db.session(), current_user.get_id())
        _note(current_user.person, "signed out")
        db.session.commit()
    cookie.clear()
    return web.done("people.sign_in")


@bp.post("/preferences/theme")
@web.public
def theme() -> Answer:
    chosen = request.form.get("theme", "")
    answer = web.go(_where_one_was())
    if chosen in THEMES:
        answer.set_cookie(
            "theme", chosen, max_age=YEAR_SECONDS, samesite="Lax", secure=request.is_secure, httponly=True
        )
    return answer


def _where_one_was() -> str:
    try:
        before = urlsplit(request.referrer or "")
    except ValueError:  # not an address
        return "/"
    path = before.path + (f"?{before.query}" if before.query else "")
    return path if before.netloc == request.host and web.is_local(path) else "/"
