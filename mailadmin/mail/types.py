"""The values that go in and out of `mail/`: frozen, and the same for every protocol."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from email.message import EmailMessage
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol


class ServerProtocol(StrEnum):
    """The protocols a server can speak to us."""

    IMAP = "imap"
    POP3 = "pop3"
    SMTP = "smtp"


class TLSMode(StrEnum):
    """How the connection is encrypted: from the first byte, after STARTTLS (then always required), or not at all."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


class Direction(StrEnum):
    """Receiving and sending are two connections, each with a health of its own."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class SignInMethod(StrEnum):
    """How we prove to a server who we are. An app password is one that the provider makes for one program."""

    OAUTH = "oauth"
    APP_PASSWORD = "app password"  # noqa: S105
    PASSWORD = "password"  # noqa: S105


class LoginFormat(StrEnum):
    """What a mail server wants as user name; WINDOWS is `EXAMPLE\\name` for name@example.com."""

    ADDRESS = "address"
    LOCAL_PART = "local part"
    WINDOWS = "windows"
    BY_HAND = "by hand"

    def user_name(self, address: str) -> str:
        """The user name for `address`; the address itself where a person has to type it."""
        local, _, domain = address.rpartition("@")
        if self is LoginFormat.LOCAL_PART:
            return local
        if self is LoginFormat.WINDOWS:
            return f"{domain.partition('.')[0].upper()}\\{local}"
        return address


class ServiceType(StrEnum):
    """What runs at a provider, where it makes a difference; OTHER speaks plain IMAP, POP3 and SMTP."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"
    EXCHANGE = "exchange"
    OTHER = "other"


class Role(StrEnum):
    """What a folder is for (RFC 6154 attributes, plus the inbox)."""

    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    TRASH = "trash"
    JUNK = "junk"
    ARCHIVE = "archive"
    ALL = "all"


class StageName(StrEnum):
    """The stages of a connection, in the order in which they happen."""

    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    GREETING = "greeting"
    SIGN_IN = "sign-in"
    FOLDERS = "folders"
    MESSAGE = "message"  # a test message, only on request
    COPY = "copy"  # a copy of it in Sent, only with one
    ARRIVAL = "arrival"  # its arrival, only on request


class StageOutcome(StrEnum):
    """How a stage ended; RUNNING is reported when it begins."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class TLSVersion(StrEnum):
    """The versions of TLS that OpenSSL still speaks (RFC 2246, 4346, 5246, 8446)."""

    TLS_1_0 = "1.0"
    TLS_1_1 = "1.1"
    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@dataclass(frozen=True, slots=True)
class Trust:
    """How the certificate of a server is judged.

    `minimum` is the lowest version of TLS. `authorities` (PEM) are trusted beside the system's. With `pin`, the SHA-256
    of one certificate as 64 hexadecimal digits, exactly this certificate is accepted, whoever vouches for it or not.
    """

    minimum: TLSVersion = TLSVersion.TLS_1_2
    authorities: str = field(default="", repr=False)
    pin: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens. `str(server)` is the form of the commands: `imap:mail.example.com:993:implicit`."""

    protocol: ServerProtocol
    host: str
    port: int
    tls_mode: TLSMode
    trust: Trust = Trust()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}:{host}:{self.port}:{self.tls_mode}"


@dataclass(frozen=True, slots=True)
class Password:
    """Sign in with a user name and a password. The password never shows in a repr."""

    username: str
    password: str = field(repr=False)

    @property
    def secret(self) -> str:
        """What must not appear anywhere."""
        return self.password


@dataclass(frozen=True, slots=True)
class Bearer:
    """Sign in with a user name and an OAuth access token (RFC 6750). The token never shows in a repr."""

    username: str
    token: str = field(repr=False)

    @property
    def secret(self) -> str:
        """What must not appear anywhere."""
        return self.token


SignIn = Password | Bearer


@dataclass(frozen=True, slots=True)
class Rules:
    """What the installation allows a connection to do.

    Without `networks` only public addresses are reached. `ports` are allowed beside the mail ports. `plaintext` allows
    `TLSMode.NONE`. `ca_file` is trusted beside the system's authorities. `name_servers` (address, port) are asked in
    place of the system's.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    ports: frozenset[int] = frozenset()
    plaintext: bool = False
    ca_file: str | None = None
    name_servers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a connection as it was reported: `ms` is its duration in milliseconds, `detail` one plain phrase.

    `facts` are plain values (text, numbers, lists) of what was learned, by name. dns: addresses; tcp: address; tls:
    version, cipher, certificate (see certificates.py), pinned; greeting: text; sign-in: mechanism, capabilities;
    folders: folders, messages, unseen, quota ({used, limit} in KiB); message: recipient; copy: folder,
    created, found (there was one already); arrival: seconds, folder.
    """

    direction: Direction
    name: StageName
    outcome: StageOutcome
    ms: float = 0.0
    detail: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


Report = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as the server lists it.

    `path` is the full name as the server knows it, decoded from modified UTF-7 (RFC 3501 5.1.3); `name` is its last
    part. `role_source` is `server` (RFC 6154) or `name`. `locked` says why the folder cannot be synced, or is empty.
    `messages` is the server's count, or None where it was not asked or not told. `object_id` is the server's own name
    for the folder, the same after it was renamed (RFC 8474), or empty. `is_virtual`: what it shows lies in other
    folders as well.
    """

    path: str
    name: str
    delimiter: str
    selectable: bool = True
    role: Role | None = None
    role_source: str = ""
    locked: str = ""
    messages: int | None = None
    unseen: int | None = None
    object_id: str = ""
    is_virtual: bool = False


@dataclass(frozen=True, slots=True)
class FolderState:
    """What EXAMINE tells of a folder (RFC 3501 7.3). `modseq` is HIGHESTMODSEQ (RFC 7162) or None.

    `remark` is what people should know about the list, a sentence or two.
    """

    uidvalidity: int
    uidnext: int | None
    messages: int
    modseq: int | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in a folder since a HIGHESTMODSEQ (RFC 7162).

    `flags` are those of all messages that are new or were changed, by UID. `gone` are ranges of UIDs, first and last,
    of which no message is left; they may include some that never were. None: the server does not tell what is gone.
    """

    flags: Mapping[int, frozenset[str]]
    gone: tuple[tuple[int, int], ...] | None = None


@dataclass(slots=True)  # Not frozen, which would take three times as long, for every message.
class Envelope:
    """One message as a list shows it: what could not be read is empty, or `unreadable` says why.

    `sent_at` is the Date header (None where absent or absurd), `received_at` INTERNALDATE; both aware. `size` in bytes.
    `flags` are as the server wrote them, system flags with their backslash. `recipients` are names and addresses of To
    and Cc, at most 50; `is_bulk`: it went to a list, or a machine wrote it. `reply_to`, `refers_to`, `content_hash`:
    see Heading in headers.py. `email_id` and `labels` are what the server calls the message (RFC 8474, Gmail), where it
    does.
    """

    uid: int
    flags: frozenset[str] = frozenset()
    received_at: datetime | None = None
    size: int = 0
    subject: str = ""
    from_name: str = ""
    from_address: str = ""
    to: str = ""
    reply_to: str = ""
    message_id: str = ""
    sent_at: datetime | None = None
    unreadable: str = ""
    recipients: tuple[tuple[str, str], ...] = ()
    is_bulk: bool = False
    refers_to: tuple[str, ...] = ()
    content_hash: bytes | None = None
    email_id: str = ""
    labels: tuple[str, ...] = ()


class Incoming(Protocol):
    """A connection that reads mail, already greeted. Every method raises MailError and nothing else.

    Reading leaves no trace: folders are opened with EXAMINE and messages read with BODY.PEEK.
    """

    def sign_in(self, how: SignIn) -> None:
        """Sign in once; a refusal is never followed by another mechanism with the same secret."""

    def folders(self, *, counts: bool = True) -> list[Folder]:
        """All folders, with their roles, and with message counts if `counts`."""

    def examine(self, path: str) -> FolderState:
        """Open `path` for reading only; the folder of all later calls."""

    def search(self, since: date | None = None) -> list[int]:
        """UIDs in the open folder, ascending; with `since` only those received on that day or later."""

    def flags(self) -> dict[int, frozenset[str]]:
        """Flags of every message in the open folder, by UID."""

    def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
        """The messages of `uids` that still exist, in any order; one that cannot be read comes as unreadable."""

    def find(self, message_id: str) -> str | None:
        """The path of the folder, the inbox or the one for junk, that holds this message now, or None."""

    def close(self) -> None:
        """End the session; never raises."""


class Outgoing(Protocol):
    """A connection that sends mail, already greeted."""

    def sign_in(self, how: SignIn) -> None:
        """Sign in once."""

    def send(self, message: EmailMessage, sender: str, recipient: str) -> None:
        """Send `message` to `recipient` and to nobody else, whatever its header says."""

    def close(self) -> None:
        """End the session; never raises."""
