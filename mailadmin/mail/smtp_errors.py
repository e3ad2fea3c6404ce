"""Turns whatever goes wrong while SMTP is spoken into MailError, reply codes of RFC 5321 and RFC 4954."""

import re
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.scrub import scrub

_UNAVAILABLE = (Category.UNAVAILABLE, "The server says that it is not available at the moment.")
_PASSWORD = (Category.AUTH, "The server refused the user name or the password.")
_THROTTLED = (Category.THROTTLED, "The server limits how often this account may connect.")
_ENCRYPT = (Category.POLICY, "The server wants encryption before it lets anybody in.")
_METHOD = (Category.UNSUPPORTED, "The server does not accept this way of signing in.")
_REFUSED_HERE = (Category.POLICY, "The server refuses to talk to this machine.")
_CODES = {
    421: _UNAVAILABLE,
    432: (Category.AUTH, "The server wants the password to be changed first."),
    450: _UNAVAILABLE,
    451: _UNAVAILABLE,
    452: (Category.QUOTA, "The server says that it has no room."),
    454: _UNAVAILABLE,
    500: _METHOD,
    502: _METHOD,
    503: _METHOD,
    504: _METHOD,
    521: _REFUSED_HERE,
    530: _ENCRYPT,
    534: (Category.AUTH, "The server refused this password; it may want an app password or another way of signing in."),
    535: _PASSWORD,
    538: _ENCRYPT,
    550: (Category.PERMISSION, "The server does not permit this for this account."),
    552: (Category.QUOTA, "The server says that the account is full."),
    554: _REFUSED_HERE,
}
_TOO_MUCH = re.compile(r"too many|rate.?limit|throttl|maximum number of|connection limit|4\.7\.28", re.IGNORECASE)


def refusal(code: int, text: bytes | str, secrets: Sequence[str] = ()) -> MailError:
    """Return what the reply `code` (RFC 5321 4.2) with `text` means; `secrets` are masked in its detail."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not 200 <= code <= 599:
        return nonsense()
    meaning = _CODES.get(code) or ((Category.PROTOCOL, "The server did not do what was asked."))
    if _TOO_MUCH.search(text) and code not in (530, 534, 538):
        meaning = _THROTTLED
    return MailError(*meaning, detail=scrub(f"{code} {text}", secrets))


@contextmanager
def translated() -> Iterator[None]:
    """Let nothing but MailError out of the block."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise refusal(error.smtp_code, _bytes(error.smtp_error)) from error
    except smtplib.SMTPServerDisconnected as error:
        raise MailError(Category.NETWORK, "The server closed the connection.") from error
    except ssl.SSLError as error:
        raise MailError(Category.NETWORK, "The encrypted connection to the server broke.") from error
    except smtplib.SMTPException as error:
        raise nonsense() from error
    except OSError as error:
        raise MailError(Category.NETWORK, "The connection to the server broke.") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise nonsense() from error


def nonsense() -> MailError:
    """Return the error for an answer that is not SMTP; what was said is not shown, for it may be anybody's."""
    return MailError(Category.PROTOCOL, "The server answered in a way that is not SMTP.")


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
