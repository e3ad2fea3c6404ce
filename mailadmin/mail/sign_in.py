"""One attempt to sign in, as IMAP, POP3 and SMTP have it in common: what is sent, how, and what is never sent.

A refusal is never followed by another mechanism: the second one would be refused too, and two refusals within a second
lock accounts.
"""

import re
from collections.abc import Collection, Sequence

from mailadmin.mail import dial, sasl
from mailadmin.mail.answers import Answers, nonsense
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import Bearer, Password, Server, SignIn, TLSMode

_TOKEN = re.compile(r"[!-~]+")  # RFC 6750 2.1, and a little more, since nobody but the server reads it
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # One of them, %x01, separates the fields of both mechanisms.


def choose(offered: Collection[str], how: SignIn, server: Server, *, said: Sequence[str]) -> sasl.Exchange:
    """Return the one attempt to make at `server`, which `offered` these mechanisms (upper case).

    `said` is how the server put that, for whoever has to understand why there is none. Raises MailError; whatever the
    installation allows, a token is sent over encrypted connections only (RFC 6750 5.3).
    """
    is_encrypted = server.tls_mode is not TLSMode.NONE
    dial.guard(how.username, "user name")
    if isinstance(how, Password):
        dial.guard(how.password, "password")
    else:
        _check_token(how, is_encrypted=is_encrypted)
    exchange = sasl.choose(offered, how, server)
    if exchange is None and isinstance(how, Bearer):
        sentence = "This server does not take OAuth sign-in."
        raise MailError(Category.UNSUPPORTED, sentence, detail=scrub(" ".join(said)), code="unsupported-oauth")
    if exchange is None:
        sentence = "The server does not accept passwords here; it may want encryption or another way of signing in."
        raise MailError(Category.UNSUPPORTED, sentence, code="unsupported-passwords")
    return exchange


def _check_token(how: Bearer, *, is_encrypted: bool) -> None:
    if not is_encrypted:
        sentence = "An access token is never sent over a connection without encryption."
        raise MailError(Category.POLICY, sentence, code="policy-token")
    if not _TOKEN.fullmatch(how.token):
        raise MailError(Category.CONFIG, "The access token is empty, or contains what no access token can.")
    if _CONTROL.search(how.username):
        raise MailError(Category.CONFIG, "The user name contains a control character, which cannot be sent.")


def anybody() -> MailError:
    """Return the error for a server that lets us in before it has heard who we are."""
    sentence = "The server lets everybody in without a password, so the password cannot be checked."
    return MailError(Category.UNSUPPORTED, sentence, code="unsupported-anybody")


class Dialogue:
    """The lines of one exchange. `command` are the words for AUTHENTICATE or AUTH.

    `room` is how many characters the command has for our beginning (RFC 4422 5: the initial response); one that does
    not fit waits until the server asks. `answers` learns that a secret is on trial, and what the server says within.
    """

    def __init__(self, exchange: sasl.Exchange, answers: Answers, *, room: int = 0) -> None:
        self._exchange, self._answers = exchange, answers
        first = exchange.first()
        is_within = first is not None and len(sasl.initial(first)) <= room
        self.command = [exchange.name] + ([sasl.initial(first)] if first is not None and is_within else [])
        self._unsaid = None if is_within else first
        self._has_given_up = False
        answers.signing_in = True

    def answer(self, challenge: bytes) -> str | None:
        """The line in answer to a `challenge` in base64, or None to give up, which is the end. Raises MailError."""
        if self._has_given_up:
            raise nonsense(self._answers.protocol)
        if self._unsaid is not None:
            answer, self._unsaid = self._unsaid, None
            return sasl.encoded(answer)
        said = self._exchange.answer(sasl.decoded(challenge))
        self._answers.challenge = self._exchange.complaint
        self._has_given_up = said is None
        return None if said is None else sasl.encoded(said)

    def finish(self) -> None:
        """The server lets us in. Raises MailError if it did not want to know who we are, or who it is says nobody."""
        if self._unsaid is not None:
            raise anybody()
        if self._has_given_up:
            raise nonsense(self._answers.protocol)
        self._exchange.finish()
        self._answers.signing_in = False
