"""How often somebody may try to sign in, so that neither guessing nor locking others out leads anywhere.

Wrong tries are counted for the address that was typed, but apart for each network that they come from: whoever guesses
has five a minute, and whom the address belongs to signs in from elsewhere as if nothing were. All networks together
have a limit too, or many computers could guess at once. A browser in which somebody has signed in before is known by a
signed cookie, good for that address alone, and has a count of its own: it is let in however many others guess. So is
one in which a password was chosen with a link from an e-mail, which is the way out for whoever has no such browser.
"""

import hashlib
import secrets
from datetime import timedelta
from ipaddress import ip_address

from flask import Response, after_this_request, request
from flask_login import current_user
from itsdangerous import BadData, URLSafeTimedSerializer

from mailadmin import boot, web
from mailadmin.errors import RuleBroken
from mailadmin.form import printable
from mailadmin.people import service
from mailadmin.people.models import Person

# Wrong ones. After the first five each takes longer: the rest of a minute, then of an hour, then of a day.
TRIES = "5 per minute;20 per hour;100 per day"
TRIES_OF_ALL = "20 per minute;100 per hour"  # of all browsers that are not known (NIST SP 800-63B-4 3.2.2)
CODES = "10 per hour;30 per day"  # of a million, and three are good at a time
PROOFS = "10 per minute;30 per hour"
NAME = "known"
KNOWN_FOR = timedelta(days=180)
_MOST = 5  # people in one browser
_LONGEST = 500


def remember(person: Person) -> None:
    """Know this browser from now on: `person` has just proved who they are."""
    found = {**_read(), _short(person.email): secrets.token_urlsafe(12)}
    value = str(_signer().dumps(dict(list(found.items())[-_MOST:])))

    def send(answer: Response) -> Response:
        web.set_cookie(answer, NAME, value, lasts=KNOWN_FOR)
        return answer

    after_this_request(send)


def typed_address() -> str:
    """The address in this request's form as the service reads it: another spelling must not open more tries."""
    typed = printable(request.form.get("email", "")) or ""
    try:
        return service.checked_email(typed)
    except RuleBroken:
        return typed.strip().lower()[:254]


def trier() -> str:
    """Who tries to sign in, for a count of wrong tries: an address with the known browser, or with the network."""
    address = typed_address()
    known = _known(address)
    return f"try:{known}" if known else f"try:{_short(address)}:{network()}"


def stranger() -> str:
    """The address that is tried, for the count of all whose browsers are not known."""
    address = typed_address()
    known = _known(address)
    return f"try:{known}" if known else f"all:{_short(address)}"


def key_of(person: Person) -> str:
    """`person` in this browser, if it is known, or else in all others."""
    return f"person:{person.id}:{_known(person.email)}"


def signed_in() -> str:
    """Whose session this request has, for a count of passwords that are typed once more: wherever they are typed."""
    return f"proof:{current_user.person.id}" if current_user.is_authenticated else network()


def network() -> str:
    """Where this request comes from: for IPv6 the /64, of which one computer has all addresses."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return str(request.remote_addr)
    return str(address) if address.version == 4 else address.exploded[:19]


def _known(email: str) -> str:
    return _read().get(_short(email), "")


def _read() -> dict[str, str]:
    value = request.cookies.get(web.cookie_name(NAME), "")
    try:
        found = _signer().loads(value, max_age=int(KNOWN_FOR.total_seconds())) if len(value) <= _LONGEST else {}
    except BadData:
        return {}
    return found if isinstance(found, dict) else {}


def _short(email: str) -> str:
    return hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()[:20]


def _signer() -> URLSafeTimedSerializer:
    key = boot.settings().secret_key
    return URLSafeTimedSerializer(key, salt="known browser", signer_kwargs={"digest_method": hashlib.sha256})
