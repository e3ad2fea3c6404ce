"""Turns every foreign exception and every answer of a server into MailError: the one place that knows what each means.

The kind of an exception comes first. What a server says is then looked up in the catalogue; a response code (RFC 5530,
RFC 5321) counts where no rule fits, and outranks a rule that blames the password while the code says "not now". Text
that is not of the protocol is never shown, for it may be anybody's.
"""

import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from mailadmin.mail import catalogue, sasl
from mailadmin.mail.catalogue import Retry, Rule
from mailadmin.mail.deadline import too_much
from mailadmin.mail.dial import Connection
from mailadmin.mail.errors import PERMANENT, Category, MailError
from mailadmin.mail.scrub import mask, scrub
from mailadmin.mail.types import Bearer, Server, ServerProtocol, SignIn

MOST_GREETING_LINES = 100
REFUSED_TOKEN = "oauth_token_refused"  # noqa: S105
_LONGEST_CHALLENGE = 300
_LONGEST = 1000  # Nobody explains a failure at greater length, and every rule looks at all of it.


class Refused(MailError):
    """The server refused one command; the connection can still be used."""


_Kind = TypeVar("_Kind", bound=MailError)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What an answer means; `sentence` is ours, `code` the rule that explains it, `permanent` None the category's."""

    category: Category
    sentence: str
    code: str = ""
    permanent: bool | None = None


_SENTENCES = {
    Category.AUTH: "The server refused the user name or the password.",
    Category.OAUTH: "The provider does not accept our permission any more.",
    Category.THROTTLED: "The server limits how often or how much this account may be used.",
    Category.UNAVAILABLE: "The server says that it is not available at the moment.",
    Category.QUOTA: "The server says that the account is full.",
    Category.PERMISSION: "The server does not permit this for this account.",
    Category.POLICY: "The server has a rule against this.",
    Category.UNSUPPORTED: "The server says that it cannot do this.",
    Category.CONFIG: "The server says that a setting is not right.",
    Category.TLS: "The server is not content with the encryption.",
    Category.PROTOCOL: "The server did not do what was asked.",
}
_UNAVAILABLE = _Meaning(Category.UNAVAILABLE, _SENTENCES[Category.UNAVAILABLE])
_THROTTLED = _Meaning(Category.THROTTLED, _SENTENCES[Category.THROTTLED])
_REFUSED_PASSWORD = _Meaning(Category.AUTH, _SENTENCES[Category.AUTH], "auth-refused")
_REFUSED_TOKEN = _Meaning(Category.OAUTH, "The server refused the access token.", REFUSED_TOKEN, permanent=False)
_NOT_DONE = _Meaning(Category.PROTOCOL, _SENTENCES[Category.PROTOCOL])
_ENCRYPT = _Meaning(Category.CONFIG, "The server wants encryption before it lets anybody in.", "cleartext_refused")
_FULL = _Meaning(Category.QUOTA, _SENTENCES[Category.QUOTA])
_GONE = _Meaning(Category.CONFIG, "The server has no folder of this name.")
_METHOD = _Meaning(Category.CONFIG, "The server does not accept this way of signing in.", "smtp_auth_not_here")
_REFUSED_HERE = _Meaning(Category.POLICY, "The server refuses to talk to this machine.")
_NO_PERMISSION = _Meaning(Category.PERMISSION, _SENTENCES[Category.PERMISSION])
_LASTING = _Meaning(Category.CONFIG, "The server reports a lasting fault of its own.", "pop_perm")

_WORDS = {  # RFC 5530, RFC 3501 7.1, two that only Google uses, and those of POP3 (RFC 2449 8, RFC 3206)
    "AUTHENTICATIONFAILED": _REFUSED_PASSWORD,
    "AUTHORIZATIONFAILED": _Meaning(
        Category.PERMISSION, "The password is right, but the server does not let this user in.", "authz"
    ),
    "EXPIRED": _Meaning(Category.AUTH, "The server says that the password has expired.", "auth-expired"),
    "WEBALERT": _Meaning(Category.AUTH, "The server wants somebody to sign in with a browser first.", "auth-browser"),
    "PRIVACYREQUIRED": _ENCRYPT,
    "NOPERM": _NO_PERMISSION,
    "CONTACTADMIN": _Meaning(Category.POLICY, "The server asks you to contact whoever runs it.", "contactadmin"),
    "UNAVAILABLE": _UNAVAILABLE,
    "SERVERBUG": _Meaning(Category.UNAVAILABLE, "The server reports an error of its own."),
    "CORRUPTION": _Meaning(Category.UNAVAILABLE, "The server says that its data is damaged."),
    "INUSE": _Meaning(Category.UNAVAILABLE, "The server says that the folder is in use by somebody else."),
    "LIMIT": _THROTTLED,
    "THROTTLED": _THROTTLED,
    "OVERQUOTA": _FULL,
    "NONEXISTENT": _GONE,
    "TRYCREATE": _GONE,
    "CANNOT": _Meaning(Category.CONFIG, "The server says that this can never work.", "cannot"),
    "CLIENTBUG": _Meaning(Category.PROTOCOL, "The server did not accept what was sent."),
    "AUTH": _REFUSED_PASSWORD,
    "IN-USE": _Meaning(Category.UNAVAILABLE, "The server says that somebody else uses the mailbox just now.", "inuse"),
    "LOGIN-DELAY": _Meaning(Category.THROTTLED, "The server wants longer pauses between sign-ins.", "login_delay"),
    "SYS/TEMP": _Meaning(Category.UNAVAILABLE, "The server reports a fault that passes.", "pop_sys"),
    "SYS/PERM": _LASTING,
}
_NUMBERS = {  # RFC 5321 4.2, RFC 4954 6
    421: _UNAVAILABLE,
    432: _Meaning(Category.AUTH, "The server wants the password to be changed first.", "auth-expired"),
    450: _UNAVAILABLE,
    451: _UNAVAILABLE,
    452: _Meaning(Category.QUOTA, "The server says that it has no room."),
    454: _UNAVAILABLE,
    500: _METHOD,
    502: _METHOD,
    503: _METHOD,
    504: _METHOD,
    521: _REFUSED_HERE,
    530: _ENCRYPT,
    534: _Meaning(
        Category.AUTH,
        "The server refused this password; it may want an app password or another way of signing in.",
        "auth-app-password",
    ),
    535: _REFUSED_PASSWORD,
    538: _ENCRYPT,
    550: _NO_PERMISSION,
    552: _FULL,
    554: _Meaning(Category.POLICY, _SENTENCES[Category.POLICY]),
}
_OF_SIGN_IN = frozenset({500, 502, 503, 504, 530})  # These mean something else to any other command.

_WORD = re.compile(r"\[([A-Z][A-Z0-9-]*(?:/(?:TEMP|PERM))?)[^\]]*\]", re.IGNORECASE)
# Servers without codes say it in words. Where no rule fits, only words that clear the password of blame are looked for.
_TOO_MUCH = re.compile(
    r"too many|rate.?limit|throttl|maximum number of|bandwidth limit|connection limit|4\.7\.28", re.IGNORECASE
)
_LATER = re.compile(r"temporar|try again|internal (server )?error|unavailable|server busy|time.?out", re.IGNORECASE)
_MISSING = re.compile(
    r"(mailbox|folder).*(does ?n.t exist|does not exist|not found|unknown)|no such (mailbox|folder)", re.IGNORECASE
)
_CLEARING = ((_TOO_MUCH, _THROTTLED), (_LATER, _UNAVAILABLE), (_MISSING, _GONE))

# A server that answers was reached: what it says of names, ports and networks is about another server behind it.
_OF_OTHERS = frozenset({Category.DNS, Category.REFUSED, Category.TIMEOUT, Category.NETWORK})
_NOT_NOW = frozenset({Category.UNAVAILABLE, Category.THROTTLED})
_BLAMING = frozenset({Category.AUTH, Category.OAUTH})

# With a token on trial "wrong password" means the token; these rules mean the account, whatever it signs in with.
_NOT_OF_PASSWORDS = frozenset({"auth-browser", "browser_first", "ms_smtp_password_expired", "app_password_asked"})

_LAST_RESORTS = frozenset({"refused_without_reason", "not_configured"})  # What is known of the stage says more.

# Google says the same of every refused password; the shape of ours tells whether it can have been the right kind.
_AT_GOOGLE = frozenset({"google_bad_password", "google_smtp_bad_credentials"})
_APP_PASSWORD = re.compile(r"\s*([a-z]\s*){16}", re.IGNORECASE)

# Other mail servers by the beginning of their greeting, with the rule that says so.
_STRANGERS = {
    ServerProtocol.IMAP: ((rb"220[ -].*SMTP", "greet_smtp_on_imap"), (rb"\+OK\b", "greet_pop_on_imap")),
    ServerProtocol.POP3: (
        (rb"220[ -].*SMTP", "greet_smtp_on_imap"),
        (rb"\* (OK|PREAUTH|BYE)\b", "greet_imap_on_pop"),
    ),
    ServerProtocol.SMTP: ((rb"\* OK\b", "greet_imap_elsewhere"), (rb"\+OK\b", "greet_pop_on_smtp")),
}


class Answers:
    """What the answers of one server mean.

    `secrets` never show in a detail. `signing_in`: a secret is on trial; `challenge` is what the server said about it
    within the exchange (RFC 7628 3.2.2), and belongs to its last word.
    """

    def __init__(self, server: Server, secrets: tuple[str, ...] = ()) -> None:
        self._server, self._where = server, server.protocol.value
        self._family = catalogue.family_of(server.host)
        self.secrets = secrets
        self.signing_in = False
        self.challenge = ""
        self._has_token = False

    @property
    def protocol(self) -> ServerProtocol:
        """What the server speaks."""
        return self._server.protocol

    def expect(self, how: SignIn) -> None:
        """From here on it is `how` that the server judges, and whose secrets must not show."""
        self.secrets, self._has_token = sasl.forms(how), isinstance(how, Bearer)

    def refused(self, text: object, *, bad: bool = False, beside: Sequence[object] = ()) -> Refused:
        """Return what an answer NO, BAD or -ERR with `text` means.

        What the server said `beside` it, in untagged answers, counts where the text itself explains nothing.
        """
        said = self._text(text)
        said = self._whole(said, _by_word(said))
        meaning = self._meaning(said)
        for more in map(self._text, beside[-3:]):
            if meaning is None and (meaning := self._meaning(more)):
                said = f"{said} {more}"
        if meaning is None:
            is_verdict = self.signing_in and (bool(self.challenge) or not bad)
            meaning = _in_words(said) or (_REFUSED_PASSWORD if is_verdict else _NOT_DONE)
        return self._made(Refused, meaning, said)

    def farewell(self, text: object) -> MailError:
        """Return what BYE (RFC 3501 7.1.5), or -ERR for a greeting, with `text` means: the server wants no session."""
        said = self._text(text)
        said = self._whole(said, _by_word(said))
        meaning = self._meaning(said) or _in_words(said)
        if meaning is None or (meaning.category in _BLAMING and not self.signing_in):
            meaning = _Meaning(Category.UNAVAILABLE, "The server ended the session.")
        return self._made(MailError, meaning, said)

    def reply(self, number: int, text: bytes | str) -> MailError:
        """Return what the reply `number` (RFC 5321 4.2) with `text` means."""
        if not 400 <= number <= 599:
            return nonsense(self._server.protocol)
        coded = _NUMBERS.get(number) if self.signing_in or number not in _OF_SIGN_IN else None
        if coded is None and number < 500:
            coded = _UNAVAILABLE
        said = self._whole(f"{number} {self._text(text)}", coded)
        meaning = self._by_catalogue(said, coded)
        if meaning is None and _TOO_MUCH.search(said) and number not in (530, 534, 538):
            meaning = _THROTTLED
        return self._made(MailError, meaning or coded or _NOT_DONE, said)

    def _text(self, text: object) -> str:
        """`text` without our secrets, so that half of one cannot stay at the cut, and no rule judges a password."""
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        return mask(said, self.secrets)[:_LONGEST]

    def _whole(self, said: str, coded: _Meaning | None) -> str:
        """The last word of the server, and what it said before about the token, unless that word is "not now"."""
        if not (self.signing_in and self.challenge) or (coded is not None and coded.category in _NOT_NOW):
            return said
        return f"{said} {self._text(self.challenge)[:_LONGEST_CHALLENGE]}".strip()

    def _meaning(self, said: str) -> _Meaning | None:
        coded = _by_word(said)
        return self._by_catalogue(said, coded) or coded

    def _by_catalogue(self, said: str, coded: _Meaning | None) -> _Meaning | None:
        """The meaning of `said` by the rule that fits, None without one; `coded` is what the code in it means."""
        rule = catalogue.find(said, where=self._where, family=self._family, method=self._method, sure=True)
        if rule and self._has_token and blames_password(rule.category, rule.id):
            return coded if coded is not None and coded.category in _NOT_NOW else _REFUSED_TOKEN
        if rule and rule.id in _AT_GOOGLE and self.secrets and not _APP_PASSWORD.fullmatch(self.secrets[0]):
            rule = catalogue.rule("google-normal-password")
        if rule is None or rule.category is None or rule.id in _LAST_RESORTS:
            return None
        if rule.category in _OF_OTHERS:
            return coded or _UNAVAILABLE
        if rule.category in _BLAMING and coded is not None and (coded.category in _NOT_NOW or coded is _LASTING):
            return coded
        same = coded is not None and coded.category is rule.category
        sentence = coded.sentence if coded is not None and same else self._sentence(rule, rule.category)
        return _Meaning(rule.category, sentence, rule.id, rule.retry is Retry.NO and rule.category in PERMANENT)

    @property
    def _method(self) -> str:
        return "oauth" if self._has_token else "password"

    def _sentence(self, rule: Rule, category: Category) -> str:
        """The title of `rule`, unless it speaks of what is not known here, such as the account's address."""
        try:
            return rule.title.format(host=self._server.host, port=self._server.port, protocol=self._where.upper()) + "."
        except KeyError:
            return _SENTENCES[category]

    def _made(self, kind: type[_Kind], meaning: _Meaning, said: str) -> _Kind:
        if self._has_token and blames_password(meaning.category, meaning.code):
            meaning = _REFUSED_TOKEN
        if meaning.category in _BLAMING and not self.signing_in:
            meaning = _NO_PERMISSION  # The password was right a moment ago, and a refused one pauses the account.
        return kind(
            meaning.category,
            meaning.sentence,
            detail=scrub(said),
            code=meaning.code,
            permanent=meaning.permanent,
        )


def blames_password(category: Category | None, code: str) -> bool:
    """Whether a failure of `category`, explained by the rule `code`, means a password and cannot mean a token."""
    return category is Category.AUTH and code not in _NOT_OF_PASSWORDS


@contextmanager
def translated(protocol: ServerProtocol) -> Iterator[None]:
    """Let nothing but MailError out of the block."""
    try:
        yield
    except MemoryError as error:
        raise too_much() from error
    except OSError as error:
        raise broken(error) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise nonsense(protocol) from error


def broken(error: OSError) -> MailError:
    """Return what the end of a connection by `error` means."""
    whole = [one for one in (error, error.__cause__, error.__context__) if isinstance(one, ssl.SSLError)]
    reasons = [getattr(one, "reason", None) or "" for one in whole]
    reason = next((reason for reason in reasons if "ALERT" in reason), "")
    if "CERTIFICATE_REQUIRED" in reason:  # With TLS 1.3 a server says so only after the handshake (RFC 8446 4.4.2.4).
        sentence = "The server wants a certificate from us, which is not supported."
        return MailError(Category.TLS, sentence, detail=scrub(reason), permanent=True, code="tls_client_certificate")
    if reason:
        return MailError(Category.TLS, "The server broke the encrypted connection off.", detail=scrub(reason))
    return hung_up("The encrypted connection to the server broke." if whole else "The connection to the server broke.")


def hung_up(sentence: str = "The server closed the connection.") -> MailError:
    """Return the error for a connection that ended without a word."""
    return MailError(Category.NETWORK, sentence, code="network-hung-up")


def nonsense(protocol: ServerProtocol) -> MailError:
    """Return the error for an answer that is not of the protocol; what was said is not shown."""
    return MailError(Category.PROTOCOL, f"The server answered in a way that is not {protocol.upper()}.")


def stranger(protocol: ServerProtocol, greeting: bytes) -> MailError:
    """Return the error for a greeting that is not of `protocol`: another mail server is told by its first word."""
    for pattern, code in _STRANGERS[protocol]:
        if re.match(pattern, greeting, re.IGNORECASE) and (rule := catalogue.rule(code)) and rule.category:
            return MailError(rule.category, nonsense(protocol).message, code=code)
    return nonsense(protocol)


def not_offered() -> MailError:
    """Return the error for a server without STARTTLS, perhaps since somebody in between took it away (RFC 3207 6)."""
    sentence = "The server does not offer STARTTLS on this port, so nothing more was sent; try implicit TLS."
    return MailError(Category.UNSUPPORTED, sentence, code="unsupported-starttls")


def not_begun(answer: MailError, *, permanent: bool) -> MailError:
    """Return the error for a server that offers STARTTLS and then refuses it with `answer`."""
    if answer.category in _NOT_NOW:
        return answer
    sentence = "The server offers STARTTLS and then refuses it, so nothing more was sent."
    return MailError(Category.TLS, sentence, detail=answer.detail, permanent=permanent, code="tls-starttls-refused")


def check_silence(connection: Connection) -> None:
    """Return if nothing is waiting to be read. Raises MailError (tls).

    Between its consent to STARTTLS and our handshake a server has nothing to say: what comes then in plain text was put
    in by somebody in between, to be taken for an answer inside the encryption (CVE-2011-0411, CVE-2021-33515).
    """
    connection.socket.settimeout(0)
    try:
        early = socket.socket.recv(connection.socket, 1, socket.MSG_PEEK)
    except OSError:
        return  # Nothing is there, or the connection is gone, which the handshake will say.
    if early:
        sentence = "Somebody mixed words of their own into the beginning of encryption, so nothing more was sent."
        raise MailError(Category.TLS, sentence, permanent=True, code="tls-injected")


def _by_word(said: str) -> _Meaning | None:
    words = (match[1].upper() for match in _WORD.finditer(said[:2000]))
    return next((_WORDS[word] for word in words if word in _WORDS), None)


def _in_words(said: str) -> _Meaning | None:
    return next((meaning for pattern, meaning in _CLEARING if pattern.search(said)), None)
