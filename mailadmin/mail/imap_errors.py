"""Turns whatever goes wrong while IMAP is spoken into MailError, response codes of RFC 5530 first."""

import imaplib
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.scrub import scrub

_CODE = re.compile(r"\[([A-Z][A-Z0-9-]*)[^\]]*\]", re.IGNORECASE)
_BAD = re.compile(r"command error: BAD \[b?(['\"])(?P<text>.*)\1\]", re.DOTALL)

_AUTH = (Category.AUTH, "The server refused the user name or the password.")
_PERMISSION = (Category.PERMISSION, "The server does not permit this for this account.")
_UNAVAILABLE = (Category.UNAVAILABLE, "The server says that it is not available at the moment.")
_IN_USE = (Category.UNAVAILABLE, "The server says that the folder is in use by somebody else.")
_THROTTLED = (Category.THROTTLED, "The server limits how often or how much this account may be used.")
_QUOTA = (Category.QUOTA, "The server says that the account is full.")
_GONE = (Category.CONFIG, "The server has no folder of this name.")
_CODES = {
    "AUTHENTICATIONFAILED": _AUTH,
    "AUTHORIZATIONFAILED": (Category.AUTH, "The password is right, but the server does not let this user in."),
    "EXPIRED": (Category.AUTH, "The server says that the password has expired."),
    "WEBALERT": (Category.AUTH, "The server wants somebody to sign in with a browser first."),
    "PRIVACYREQUIRED": (Category.POLICY, "The server wants encryption before it lets anybody in."),
    "NOPERM": _PERMISSION,
    "CONTACTADMIN": (Category.PERMISSION, "The server asks you to contact whoever runs it."),
    "UNAVAILABLE": _UNAVAILABLE,
    "SERVERBUG": (Category.UNAVAILABLE, "The server reports an error of its own."),
    "INUSE": _IN_USE,
    "LIMIT": _THROTTLED,
    "THROTTLED": _THROTTLED,
    "OVERQUOTA": _QUOTA,
    "NONEXISTENT": _GONE,
    "TRYCREATE": _GONE,
    "CANNOT": (Category.UNSUPPORTED, "The server says that this can never work."),
    "CORRUPTION": (Category.UNAVAILABLE, "The server says that its data is damaged."),
    "CLIENTBUG": (Category.PROTOCOL, "The server did not accept what was sent."),
}
# Servers without response codes say it in words. Only words that clear the password of blame are looked for here.
_TOO_MUCH = re.compile(
    r"too many|rate.?limit|throttl|maximum number of|bandwidth limit|connection limit", re.IGNORECASE
)
_MISSING = re.compile(
    r"(mailbox|folder).*(does ?n.t exist|does not exist|not found|unknown)|no such (mailbox|folder)", re.IGNORECASE
)
_LATER = re.compile(r"temporar|try again|internal (server )?error|unavailable|server busy|time.?out", re.IGNORECASE)


class Refused(MailError):
    """The server answered one command with NO or BAD; the connection can still be used."""


def refusal(text: object, *, signing_in: bool = False, secrets: Sequence[str] = ()) -> Refused:
    """Return what an answer NO, BAD or BYE with `text` means; `secrets` are masked in its detail.

    `signing_in` is whether an answer without a known code is about the password.
    """
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    match = _CODE.search(text)
    meaning = _CODES.get(match[1].upper()) if match else None
    if meaning is None and _TOO_MUCH.search(text):
        meaning = _THROTTLED
    if meaning is None and _LATER.search(text):
        meaning = _UNAVAILABLE
    if meaning is None and _MISSING.search(text):
        meaning = _GONE
    if meaning is None:
        meaning = _AUTH if signing_in else (Category.PROTOCOL, "The server did not do what was asked.")
    return Refused(*meaning, detail=scrub(text, secrets))


def farewell(text: object, secrets: Sequence[str] = ()) -> MailError:
    """Return what BYE (RFC 3501 7.1.5) with `text` means: the server ends the session by its own wish."""
    said = refusal(text, secrets=secrets)
    if said.category is Category.PROTOCOL:
        return MailError(Category.UNAVAILABLE, "The server ended the session.", detail=said.detail)
    return MailError(said.category, said.message, detail=said.detail)


@contextmanager
def translated(secrets: Sequence[str] = (), *, signing_in: bool = False) -> Iterator[None]:
    """Let nothing but MailError out of the block; `secrets` never show in a detail."""
    try:
        yield
    except imaplib.IMAP4.error as error:
        raise _from_imaplib(error, secrets, signing_in) from error
    except ssl.SSLError as error:
        raise MailError(Category.NETWORK, "The encrypted connection to the server broke.") from error
    except OSError as error:
        raise MailError(Category.NETWORK, "The connection to the server broke.") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise nonsense() from error


def bad_answer(error: imaplib.IMAP4.error) -> str | None:
    """Return what the server said with BAD, if that is what imaplib's `error` is about."""
    match = _BAD.search(str(error))
    return match["text"] if match else None


def nonsense() -> MailError:
    """Return the error for an answer that is not IMAP; what was said is not shown, for it may be anybody's."""
    return MailError(Category.PROTOCOL, "The server answered in a way that is not IMAP.")


def _from_imaplib(error: imaplib.IMAP4.error, secrets: Sequence[str], signing_in: bool) -> MailError:
    first = error.args[0] if error.args else ""
    if isinstance(first, bytes):  # imaplib hands on a greeting that is not OK.
        return farewell(first[5:], secrets) if first[:5].upper() == b"* BYE" else nonsense()
    text = str(first)
    if (said := bad_answer(error)) is not None:
        return refusal(said, signing_in=signing_in, secrets=secrets)
    if "socket error" in text and "unterminated" not in text:
        return MailError(Category.NETWORK, "The connection to the server broke.")
    return nonsense()
