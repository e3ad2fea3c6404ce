"""The first set-up, sign-in and sign-out, and the theme."""

import logging
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, request
from flask import session as cookie
from flask_limiter.errors import RateLimitExceeded
from flask_login import UserMixin, current_user, login_user
from sqlalchemy.exc import OperationalError

from mailadmin import boot, db, web
from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import browsers, service, sessions, single_sign_on, staff, tickets
from mailadmin.people.forms import PasswordForm, SetupForm, SignInForm
from mailadmin.people.models import Person, TicketPurpose
from mailadmin.people.passkeys import Place
from mailadmin.permissions import Actor
from mailadmin.text import t
from mailadmin.web import Answer

log = logging.getLogger(__name__)
bp = Blueprint("people", __name__)
YEAR = timedelta(days=365)
STEP_LASTS = timedelta(minutes=5)
FRESH = timedelta(minutes=10)
BY_PASSWORD = "password"  # noqa: S105 - the name of a first step
PENDING = "second-factor"  # in the cookie: the ticket of whoever is past the first step,
FIRST_STEP = "first-step"  # and what that was
THEMES = ("", "light", "dark")


class SignedIn(UserMixin):
    """Somebody with a valid session, as Flask-Login wants it."""

    def __init__(self, person: Person, token: str, *, has_second_factor: bool, since: datetime | None = None) -> None:
        self.person = person
        self._since = since or db.now()
        self.has_second_factor = has_second_factor
        self._token = token

    def get_id(self) -> str:
        """What the cookie holds: the token of the session, not the id of the person."""
        return self._token

    @property
    def is_fresh(self) -> bool:
        """Whether the sign-in was a moment ago: who uses somebody else's session adds no key of their own to it."""
        return self._since > db.now() - FRESH

    def note_second_factor(self) -> None:
        """The person has just proved it, by setting it up."""
        sessions.note_second_factor(db.session(), self._token)
        self.has_second_factor = True


def load_signed_in(token: str) -> SignedIn | None:
    """Whoever has the session `token`; called once per request. What a page asks by itself is not activity."""
    found = sessions.signed_in(db.session(), token)
    if found is None:
        return None
    person, sign_in_id, has_second_factor = found.person, found.id, found.has_second_factor
    since = found.started_at
    if sessions.is_to_be_touched(found) and not web.is_polled():
        _touch(sign_in_id)
    return SignedIn(person, token, has_second_factor=has_second_factor, since=since)


def _touch(sign_in_id: int) -> None:
    db.session.rollback()  # On SQLite a request that writes holds the lock that `touch` needs.
    try:
        with db.transaction() as own:
            sessions.touch(own, sign_in_id)
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
            enter(person)
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


def _has_failed(answer: Response) -> bool:
    return answer.status_code == 422


@bp.route("/sign-in", methods=["GET", "POST"])
@web.public
@web.limiter.limit(browsers.TRIES, methods=["POST"], key_func=browsers.trier, deduct_when=_has_failed)
@web.limiter.limit(browsers.TRIES_OF_ALL, methods=["POST"], key_func=browsers.stranger, deduct_when=_has_failed)
@web.limiter.limit("20 per minute", methods=["POST"], key_func=browsers.network, deduct_when=_has_failed)
def sign_in() -> Answer:
    session = db.session()
    if not service.has_administrator(session):
        return web.done("people.setup")
    form = SignInForm()
    if form.validate_on_submit():
        person = service.check_password(session, email=form.email.data, password=form.password.data)
        if person is not None and staff.has_second_factor(session, person):
            return ask_second_factor(person)
        if person is not None:
            enter(person)
            session.commit()
            return where_to()
        refused(service.find(session, form.email.data), "failed to sign in")
        form.form_errors.append(t("E-mail address or password is wrong"))
    return _sign_in_page(form, 422 if form.errors else 200)


def ask_second_factor(person: Person, *, method: str = BY_PASSWORD, goes_to: str = "") -> Answer:
    """Go on to the second step, see factor_routes.py; nobody is signed in yet. `method` was the first step."""
    cookie.clear()
    cookie[PENDING] = tickets.make(db.session(), TicketPurpose.SECOND_FACTOR, lasts=STEP_LASTS, person=person)
    cookie[FIRST_STEP] = method
    db.session().commit()
    return web.done("people.second_factor", next=goes_to or request.args.get("next") or None)


@bp.errorhandler(RateLimitExceeded)
def too_many_tries(_error: RateLimitExceeded) -> Answer:
    """Keep what was typed (but the password) and say how long to wait."""
    seconds = web.wait_after_limit()
    if request.endpoint not in ("people.setup", "people.sign_in"):
        answer = make_response(web.error_answer(429))
    else:
        form = SetupForm() if request.endpoint == "people.setup" else SignInForm()
        form.form_errors.append(_wait(seconds))
        answer = make_response(_setup_page(form, 429) if isinstance(form, SetupForm) else _sign_in_page(form, 429))
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _wait(seconds: int) -> str:
    minutes = round(seconds / 60)
    if minutes <= 1:
        return t("Too many tries. Wait a minute, then try again.")
    return t("Too many tries. Wait {n} minutes, or sign in with a browser that you used here before.", n=minutes)


def _sign_in_page(form: SignInForm, status: int) -> Answer:
    name = organisation.name(db.session())
    return web.page(
        "people/sign_in.html",
        status=status,
        form=form,
        organisation=name,
        elsewhere=single_sign_on.providers(db.session(), only_on=True),
        can_have_passkeys=Place(boot.settings().public_url or request.url_root.rstrip("/")).can_have_passkeys,
        next=request.args.get("next", ""),
    )


def refused(person: Person | None, what: str) -> None:
    """Note that a sign-in was refused, also where whoever tried is not known."""
    _note(person, what)
    db.session().commit()


def enter(
    person: Person, *, method: str = BY_PASSWORD, has_second_factor: bool = False, since: datetime | None = None
) -> None:
    """Sign `person` in under a new session; what the cookie held before is forgotten.

    `since`: when they showed who they are, if that was not just now.
    """
    if current_user.is_authenticated:  # somebody who signs in once more
        sessions.end(db.session(), current_user.get_id())
    cookie.clear()
    address, browser = request.remote_addr or "", request.user_agent.string
    token = sessions.start(
        db.session(),
        person=person,
        address=address,
        browser=browser,
        method=method,
        has_second_factor=has_second_factor,
        since=since,
    )
    login_user(SignedIn(person, token, has_second_factor=has_second_factor, since=since))
    browsers.remember(person)
    _note(person, "signed in")


def _note(person: Person | None, what: str) -> None:
    # An address that belongs to nobody may be a password typed into the wrong field, so it is not written down.
    name, person_id = (person.name, person.id) if person else (t("An unknown address"), None)
    actor = Actor(name, person_id, request.remote_addr or "")
    activity.record(db.session(), actor, what, kind=ActivityKind.SIGN_INS)


def where_to(wanted: str = "") -> Answer:
    """After a sign-in: where the person wanted to go, or the overview."""
    wanted = wanted or request.args.get("next", "")
    return web.go(wanted) if web.is_local(wanted) else web.done("console.overview")


@bp.route("/c/p/<code>", methods=["GET", "POST"])
@web.public
@web.limiter.limit("20 per minute", methods=["POST"])
def choose_password(code: str) -> Answer:
    """Where a person who was invited, or forgot a password, chooses one."""
    session = db.session()
    try:
        person = staff.whose_link(session, code)
    except RuleBroken as broken:
        return web.page("people/link_ended.html", status=410, reason=broken.message)
    form = PasswordForm(data={"email": person.email})
    if form.validate_on_submit():
        try:
            staff.choose_password(session, code, form.password.data, address=request.remote_addr or "")
            browsers.remember(person)
            session.commit()
            return web.done("people.sign_in", said=t("Your password is set. Sign in with it."))
        except RuleBroken as broken:
            session.rollback()
            if not broken.field:
                return web.page("people/link_ended.html", status=410, reason=broken.message)
            form.refuse(broken)
    shortest = staff.shortest_password(session, person)
    name = organisation.name(session)
    values = {"form": form, "person": person, "code": code, "shortest": shortest, "organisation": name}
    return web.page("people/choose_password.html", None, 422 if form.errors else 200, **values)


@bp.post("/sign-out")
@web.public
def sign_out() -> Answer:
    if current_user.is_authenticated:
        sessions.end(db.session(), current_user.get_id())
        _note(current_user.person, "signed out")
        db.session.commit()
    cookie.clear()
    answer = web.done("people.sign_in")
    answer.headers["Clear-Site-Data"] = '"storage"'  # Pages are kept nowhere, see web.py.
    return answer


@bp.post("/preferences/theme")
@web.public
def theme() -> Answer:
    chosen = request.form.get("theme", "")
    answer = web.go(_where_one_was())
    if chosen in THEMES:
        web.set_cookie(answer, "theme", chosen, lasts=YEAR)
    return answer


def _where_one_was() -> str:
    try:
        before = urlsplit(request.referrer or "")
    except ValueError:  # not an address
        return "/"
    path = before.path + (f"?{before.query}" if before.query else "")
    return path if before.netloc == request.host and web.is_local(path) else "/"
