"""The second step of a sign-in, and one's own second factor."""

import functools
import io
from collections.abc import Callable

import segno
from flask import Response, current_app, request, url_for
from flask import session as cookie
from flask_login import current_user

from mailadmin import boot, db, sealed, web
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import browsers, factors, passkeys, staff, tickets
from mailadmin.people.forms import CodeForm, NewPasskeyForm, ProofForm, RemovePasskeyForm
from mailadmin.people.models import Person, Ticket, TicketPurpose
from mailadmin.people.routes import BY_PASSWORD, FIRST_STEP, PENDING, bp, enter, refused, where_to
from mailadmin.permissions import Actor, Permission
from mailadmin.text import t
from mailadmin.web import Answer

MOST_TRIES = 5
ADDING, REMOVING = "new-", "old-"  # before the names of the fields of passkeys
# Where whoever still has to set up a second factor may go.
_OPEN = {
    *("people.own_factors", "people.add_authenticator", "people.begin_authenticator", "people.authenticator_picture"),
    *("people.add_passkey", "people.passkey_options"),
}


def insist() -> Answer | None:
    """Before every request: where the organisation requires a second factor, nothing else goes on without one."""
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "permission", None) is None or request.endpoint in _OPEN or not current_user.is_authenticated:
        return None
    if current_user.has_second_factor or not organisation.requires_second_factor(db.session()):
        return None
    return web.done("people.own_factors")


def _pending() -> tuple[Ticket, Person]:
    """Whoever is between the two steps. Raises RuleBroken when that is nobody any more."""
    session = db.session()
    ticket = tickets.look(session, cookie.get(PENDING, ""), TicketPurpose.SECOND_FACTOR)
    person = session.get(Person, ticket.person_id) if ticket.person_id else None
    if person is None or not person.is_active:
        raise RuleBroken(t("Sign in anew."))
    return ticket, person


def _who_is_pending() -> str:
    """Whose codes are tried, for a count over all sign-ins: a new one must not open new tries."""
    try:
        return browsers.key_of(_pending()[1])
    except RuleBroken:
        return browsers.network()


def _has_failed(answer: Response) -> bool:
    return answer.status_code == 422


@bp.route("/sign-in/second-factor", methods=["GET", "POST"])
@web.public
@web.limiter.limit("20 per minute", methods=["POST"])
@web.limiter.limit(browsers.CODES, methods=["POST"], key_func=_who_is_pending, deduct_when=_has_failed)
def second_factor() -> Answer:
    session, form = db.session(), CodeForm()
    try:
        ticket, person = _pending()
        if request.method == "POST":
            tickets.count_try(session, ticket, most=MOST_TRIES)
            session.commit()  # A try counts, whatever becomes of the rest.
    except RuleBroken:
        session.rollback()
        cookie.pop(PENDING, None)
        return web.done("people.sign_in", said=t("That took too long, or too many tries. Sign in anew."), tone="warn")
    if form.validate_on_submit():
        try:
            _prove(person, form.code.data)
            tickets.use(session, ticket)
            enter(person, method=cookie.get(FIRST_STEP, BY_PASSWORD), has_second_factor=True)
            session.commit()
            return where_to()
        except RuleBroken as broken:
            session.rollback()
            refused(person, t("gave a wrong second factor"))
            form.refuse(broken)
    return web.page("people/second_factor.html", None, 422 if form.errors else 200, **_asked(form))


def _asked(form: CodeForm) -> dict[str, object]:
    place = passkeys.Place(boot.settings().public_url or request.url_root.rstrip("/"))
    by_password = cookie.get(FIRST_STEP, BY_PASSWORD) == BY_PASSWORD
    values = {"form": form, "next": request.args.get("next", ""), "by_password": by_password}
    return {**values, "can_have_passkeys": place.can_have_passkeys}


def _prove(person: Person, code: str) -> None:
    """Take what was typed for a code of the authenticator, or if it is longer for a recovery code."""
    session = db.session()
    if sum(c.isalnum() for c in code) > factors.DIGITS:
        factors.use_recovery_code(session, person, code, actor=_actor(person))
    else:
        factors.check_totp(session, person, code)


def _actor(person: Person) -> Actor:
    return Actor(person.name, person.id, request.remote_addr or "")


# One's own.


def fresh(view: Callable[[], Answer]) -> Callable[[], Answer]:
    """Let only those add a way to sign in who have just signed in: a stolen session must not turn into a key."""

    @functools.wraps(view)
    def checked() -> Answer:
        if current_user.is_fresh:
            return view()
        here = url_for("people.own_factors")
        return web.done("people.sign_in", said=t("Sign in once more, to show that it is you."), tone="warn", next=here)

    return checked


@bp.get("/profile/second-factor")
@web.allow(Permission.READ_MAIL)
def own_factors() -> Answer:
    session, person = db.session(), current_user.person
    keys = passkeys.of_person(session, person)
    removing = RemovePasskeyForm(formdata=None, prefix=REMOVING)
    removing.offer(keys)
    values = {
        "adding": NewPasskeyForm(formdata=None, prefix=ADDING),
        "removing": removing,
        "person": person,
        "proof": ProofForm(formdata=None),
        "left": factors.left(session, person),
        "is_required": organisation.requires_second_factor(session),
        "keys": keys,
        "place": passkeys.Place(boot.settings().public_url or request.url_root.rstrip("/")),
        "has_any": staff.has_second_factor(session, person),
        "is_fresh": current_user.is_fresh,
    }
    return web.page("people/factors.html", **values)


@bp.route("/profile/second-factor/authenticator", methods=["GET", "POST"])
@web.allow(Permission.READ_MAIL)
@web.limiter.limit("20 per minute", methods=["POST"])
@fresh
def add_authenticator() -> Answer:
    session, person, form = db.session(), current_user.person, CodeForm()
    if person.totp_since is not None:
        return web.done("people.own_factors")
    if form.validate_on_submit():
        try:
            codes = factors.confirm_totp(session, person, form.code.data, actor=web.actor())
            current_user.note_second_factor()
            session.commit()
            return web.page("people/recovery_codes.html", codes=codes)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    if person.totp_id is None:  # A page that is only looked at writes nothing: the secret comes with a click.
        return web.page("people/authenticator_begin.html", person=person)
    secret = sealed.reveal(session, person.totp_id).reveal()
    return web.page("people/authenticator.html", None, 422 if form.errors else 200, form=form, secret=secret)


@bp.post("/profile/second-factor/authenticator/begin")
@web.allow(Permission.READ_MAIL)
@fresh
def begin_authenticator() -> Answer:
    factors.begin_totp(db.session(), current_user.person)
    db.session().commit()
    return web.done("people.add_authenticator")


@bp.get("/profile/second-factor/authenticator.svg")
@web.allow(Permission.READ_MAIL)
def authenticator_picture() -> Response:
    """The picture that an authenticator reads; only until it is confirmed, and only for its owner."""
    session, person = db.session(), current_user.person
    if person.totp_id is None or person.totp_since is not None:
        raise NotFound(t("There is no authenticator to set up."))
    secret = sealed.reveal(session, person.totp_id).reveal()
    address = factors.address_of(secret, person=person, organisation=organisation.name(session))
    picture = io.BytesIO()
    segno.make(address, error="m").save(picture, kind="svg", scale=5, border=4, light="white", xmldecl=False)
    return Response(picture.getvalue(), mimetype="image/svg+xml")


@bp.post("/profile/second-factor/authenticator/remove")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(browsers.PROOFS, key_func=browsers.signed_in)
def remove_authenticator() -> Answer:
    return _with_proof(lambda person: factors.remove_totp(db.session(), person, actor=web.actor()))


@bp.post("/profile/second-factor/recovery-codes")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(browsers.PROOFS, key_func=browsers.signed_in)
def renew_recovery_codes() -> Answer:
    session, person = db.session(), current_user.person
    if not staff.has_second_factor(session, person):
        return web.done("people.own_factors")
    if not is_proved(person):
        return unproved()
    codes = factors.new_recovery_codes(session, person)
    session.commit()
    return web.page("people/recovery_codes.html", codes=codes)


def _with_proof(deed: Callable[[Person], None]) -> Answer:
    """Do something that weakens the sign-in, for whoever types their password once more."""
    session, person = db.session(), current_user.person
    if not is_proved(person):
        return unproved()
    deed(person)
    session.commit()
    return web.done("people.own_factors", said=t("The second factor is removed."))


def is_proved(person: Person) -> bool:
    """Whether this request brings the password of `person`, whose session it is, once more."""
    proof = ProofForm()
    return proof.validate_on_submit() and knows(person, proof.password.data or "")


def knows(person: Person, password: str) -> bool:
    """Whether `password` is that of `person`; whoever has none is believed shortly after signing in elsewhere."""
    return staff.knows_password(person, password) and (person.password_hash is not None or current_user.is_fresh)


def unproved() -> Answer:
    """The answer to whoever does not know the password of the session they use."""
    return web.done("people.own_factors", said=t("This is not your password. Nothing was changed."), tone="bad")
