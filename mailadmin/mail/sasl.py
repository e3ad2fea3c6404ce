"""Ways to sign in (SASL, RFC 4422): which is best, and what to answer; sending is the adapters' task.

Of those with a password SCRAM (RFC 5802, RFC 7677) comes first: the password never crosses the wire, and the server has
to prove that it knows it. Its forms with channel binding (-PLUS) are left out: servers bind to tls-exporter or
tls-unique, Python's `ssl` offers neither under TLS 1.3, and which kind a server wants cannot be asked before the only
attempt.

With an access token there are two, and most servers have one of them: Microsoft, Yandex and Mail.ru XOAUTH2 only. Where
both are offered, OAUTHBEARER (RFC 7628) comes first: it is the standard, a user name cannot break out of its field, it
says which server is meant, and its refusals say more (RFC 6750 3.1: whether the token has run out, or its permissions
are too few). Not so at Google and Yahoo: nearly every program sends them XOAUTH2, Google documents nothing else, its
refusals say the same in both, and its SMTP was seen to refuse OAUTHBEARER (curl#10259).
"""

import base64
import hmac
import json
from collections.abc import Collection

import scramp

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.families import family_of
from mailadmin.mail.types import Bearer, Password, Server, SignIn, TLSMode

IMAP_LOGIN = "IMAP LOGIN"  # The command of IMAP (RFC 3501 6.2.3), offered unless LOGINDISABLED: no SASL, but a way.
POP3_USER = "USER and PASS"  # The commands of POP3 (RFC 1939 7); APOP beside them is a digest of MD5, and left out.

_ENCRYPTED = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN", IMAP_LOGIN, POP3_USER, "CRAM-MD5")
# Where others can listen, a weak digest is better than the password itself.
_READABLE = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", IMAP_LOGIN, POP3_USER)
_BEARER = ("OAUTHBEARER", "XOAUTH2")
_OLD_WAYS = frozenset({"google", "yahoo"})
_ACKNOWLEDGED = {"OAUTHBEARER": b"\1", "XOAUTH2": b""}  # what a refusal is answered with (RFC 7628 3.2.3)
_PIECE = 12  # characters of a token
_MOST_ROUNDS = 1_000_000  # of hashing, about half a second; whoever asks for more wants to keep us busy


class Exchange:
    """One attempt to sign in. What it says are bytes before base64.

    `complaint` is what the server said within it about what it refuses, as text.
    """

    def __init__(self, name: str, answers: tuple[bytes, ...] = (), *, speaks_first: bool = False) -> None:
        self.name, self.complaint = name, ""
        self._answers = list(answers)
        self._speaks_first = speaks_first

    def first(self) -> bytes | None:
        """What we say unasked (RFC 4422 5: the initial response); None where the server begins."""
        return self._answers.pop(0) if self._speaks_first else None

    def answer(self, challenge: bytes) -> bytes | None:
        """The answer to a challenge, or None to give up. Raises MailError."""
        return self._answers.pop(0) if self._answers else None

    def finish(self) -> None:
        """The server lets us in. Raises MailError if it should have proved itself before, and has not."""


class _Bearer(Exchange):
    """RFC 7628 and its forerunner: all is said at once; a challenge is a refusal, which wants to be acknowledged."""

    def __init__(self, name: str, message: bytes) -> None:
        super().__init__(name, (message, _ACKNOWLEDGED[name]), speaks_first=True)

    def answer(self, challenge: bytes) -> bytes | None:
        self.complaint = self.complaint or _plainly(challenge)
        return super().answer(challenge)


class _CramMD5(Exchange):
    """RFC 2195."""

    def __init__(self, how: Password) -> None:
        super().__init__("CRAM-MD5")
        self._how: Password | None = how

    def answer(self, challenge: bytes) -> bytes | None:
        how, self._how = self._how, None
        if how is None or not challenge:
            return None
        return f"{how.username} {hmac.new(how.password.encode(), challenge, 'md5').hexdigest()}".encode()


class _Scram(Exchange):
    """RFC 5802. Raises ValueError for names and passwords that it cannot carry (RFC 4013)."""

    def __init__(self, name: str, how: Password) -> None:
        super().__init__(name)
        self._step, self._proved = 0, False
        try:
            self._client = scramp.ScramClient([name], how.username, how.password)
        except scramp.ScramException as error:
            raise ValueError("not to be had with SCRAM") from error

    def first(self) -> bytes | None:
        return str(self._client.get_client_first()).encode()

    def answer(self, challenge: bytes) -> bytes | None:
        self._step += 1
        if self._step > 2:
            return None
        said = challenge.decode("utf-8")
        if said.startswith("e="):
            return b""  # An error instead of a proof; the refusal follows.
        return self._prove(said) if self._step == 1 else self._believe(said)

    def _prove(self, said: str) -> bytes:
        """Show that we know the password."""
        try:
            self._client.set_server_first(said)
            if int(self._client.iterations) > _MOST_ROUNDS:
                raise scramp.ScramException("too many rounds")
            return str(self._client.get_client_final()).encode()
        except scramp.ScramException as error:
            raise MailError(Category.PROTOCOL, "The server breaks the rules of signing in with SCRAM.") from error

    def _believe(self, said: str) -> bytes:
        """Check that the server knows it too."""
        try:
            self._client.set_server_final(said)
        except scramp.ScramException as error:
            raise _impostor() from error
        self._proved = True
        return b""

    def finish(self) -> None:
        if not self._proved:
            raise _impostor()


def choose(offered: Collection[str], how: SignIn, server: Server) -> Exchange | None:
    """Return the best of the mechanisms that `server` `offered` (upper case) for `how`, or None if there is none."""
    if isinstance(how, Bearer):
        messages = {"OAUTHBEARER": oauthbearer(how, server), "XOAUTH2": xoauth2(how)}
        order = reversed(_BEARER) if family_of(server.host) in _OLD_WAYS else _BEARER
        return next((_Bearer(name, messages[name]) for name in order if name in offered), None)
    for name in _ENCRYPTED if server.tls_mode is not TLSMode.NONE else _READABLE:
        if name in offered and (exchange := _made(name, how)):
            return exchange
    return None


def _made(name: str, how: Password) -> Exchange | None:
    if name == "PLAIN":
        return Exchange(name, (plain(how.username, how.password),), speaks_first=True)
    if name == "LOGIN":
        return Exchange(name, login(how.username, how.password))
    if name == "CRAM-MD5":
        return _CramMD5(how)
    if name in (IMAP_LOGIN, POP3_USER):
        return Exchange(name)
    try:
        return _Scram(name, how)
    except ValueError:
        return None


def plain(username: str, password: str) -> bytes:
    """Return the PLAIN message (RFC 4616 section 2) in UTF-8, without an authorization identity."""
    return b"\0" + username.encode("utf-8") + b"\0" + password.encode("utf-8")


def login(username: str, password: str) -> tuple[bytes, bytes]:
    """Return the two answers of the LOGIN mechanism (draft-murchison-sasl-login) in UTF-8: user name, then password."""
    return username.encode("utf-8"), password.encode("utf-8")


def oauthbearer(how: Bearer, server: Server) -> bytes:
    """Return the OAUTHBEARER message (RFC 7628 3.1); a comma and an equals sign in the user name are escaped."""
    name = how.username.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={name},\1host={server.host}\1port={server.port}\1auth=Bearer {how.token}\1\1".encode()


def xoauth2(how: Bearer) -> bytes:
    """Return the XOAUTH2 message (developers.google.com/workspace/gmail/imap/xoauth2-protocol)."""
    return _in_xoauth2(how).encode()


def _in_xoauth2(how: Bearer) -> str:
    return f"user={how.username}\1auth=Bearer {how.token}\1\1"


def encoded(payload: bytes) -> str:
    """Return `payload` in base64 on one line."""
    return base64.b64encode(payload).decode("ascii")


def initial(payload: bytes) -> str:
    """Return `payload` as it stands within the command itself: an empty one is `=` (RFC 4959 section 3)."""
    return encoded(payload) or "="


def decoded(challenge: bytes) -> bytes:
    """Return the bytes of a `challenge`. Raises ValueError."""
    return base64.b64decode(challenge.strip())


def forms(how: SignIn) -> tuple[str, ...]:
    """Return everything whose appearance in a server's words would give the secret away, itself first; see `scrub`.

    Of a token also its pieces, since servers cut off what is as long as that.
    """
    if isinstance(how, Bearer):
        starts = [*range(0, len(how.token) - _PIECE, _PIECE), max(len(how.token) - _PIECE, 0)]
        return how.token, _in_xoauth2(how), *(how.token[start : start + _PIECE] for start in starts)
    return how.password, f"\0{how.username}\0{how.password}", f"{how.username}:{how.password}"


def _plainly(challenge: bytes) -> str:
    """A refusal (RFC 7628 3.2.2) without escapes, in which something could hide; what is no JSON as it stands."""
    text = challenge.decode("utf-8", "replace")
    try:
        told = json.loads(text)
        return json.dumps(told, ensure_ascii=False) if isinstance(told, dict) else text
    except (ValueError, RecursionError):
        return text


def _impostor() -> MailError:
    sentence = "The server did not prove that it knows the password, so it may be somebody else’s."
    return MailError(Category.PROTOCOL, sentence, permanent=True, code="protocol-impostor")
