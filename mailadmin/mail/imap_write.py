"""Changes a mailbox over IMAP where somebody asked for it: a copy of what was sent, a folder that is missing.

Reading, which leaves no trace, is in imap.py; what changes messages in imap_store.py.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from imapclient import imap_utf7
from imapclient.exceptions import IMAPClientError
from imapclient.response_parser import parse_response

from mailadmin.mail.answers import Refused, translated
from mailadmin.mail.imap_session import quoted
from mailadmin.mail.imap_store import Storing
from mailadmin.mail.types import Folder, Role, ServerProtocol

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# What a folder that we create for a role is called, and how the server is told what it is for (RFC 6154 2).
NAMES = {
    Role.SENT: "Sent",
    Role.DRAFTS: "Drafts",
    Role.TRASH: "Trash",
    Role.JUNK: "Junk",
    Role.ARCHIVE: "Archive",
}
_USES: Mapping[Role, str] = {role: f"\\{name}" for role, name in NAMES.items()}
_APPENDED = re.compile(rb"\[APPENDUID \d+ (\d{1,10})\]", re.IGNORECASE)


class Writing(Storing):
    """The part of an IMAP session that changes something on the server; `Imap` is made with it."""

    def append(self, path: str, message: bytes, *, flags: Iterable[str] = (), moment: datetime) -> int | None:
        """Put `message` into the folder `path` as received at `moment` (RFC 3501 6.3.11). Raises MailError.

        Answers its UID where the server tells it (RFC 4315). The literal waits for the server's consent, although many
        would do without (RFC 7888): one that has no room says so before anything is sent.
        """
        with translated(ServerProtocol.IMAP):
            self._session.literal_follows(message)
            said = self._session.command("APPEND", quoted(self._raw(path)), f"({' '.join(flags)})", _date_time(moment))
        match = _APPENDED.search(said)
        return int(match[1]) if match else None

    def create(self, path: str, role: Role | None = None) -> None:
        """Create the folder `path`, say what it is for where the server listens (RFC 6154 3), and subscribe to it.

        One that is there already is as good as a new one. Raises MailError.
        """
        raw = quoted(self._raw(path))
        use = _USES.get(role) if role and "CREATE-SPECIAL-USE" in self._session.capabilities else None
        with translated(ServerProtocol.IMAP):
            try:
                self._create(raw, use)
            except Refused as refused:
                if "ALREADYEXISTS" not in refused.detail.upper():  # RFC 5530 3
                    raise
            with suppress(Refused):  # Some servers know no subscriptions, and list every folder anyway.
                self._session.command("SUBSCRIBE", raw)

    def _create(self, raw: bytes, use: str | None) -> None:
        if use:
            with suppress(Refused):  # USEATTR, RFC 6154 3: another folder may have this use already.
                self._session.command("CREATE", raw, f"(USE ({use}))")
                return
        self._session.command("CREATE", raw)

    def place_for(self, name: str, listed: Sequence[Folder]) -> str:
        """The path of a top-level folder called `name`: below the prefix of our own folders, such as `INBOX.`.

        The server says the prefix (RFC 2342), else where all its other folders in `listed` are. Raises MailError.
        """
        told = self._prefix() if "NAMESPACE" in self._session.capabilities else None
        return (usual_prefix((f.path, f.delimiter) for f in listed) if told is None else told) + name

    def _prefix(self) -> str | None:
        """The prefix of the first namespace that is our own, or None where the answer makes no sense."""
        with translated(ServerProtocol.IMAP), suppress(Refused):
            self._session.command("NAMESPACE")
            with suppress(IMAPClientError, ValueError, TypeError, LookupError, AttributeError):
                own = parse_response(self._session.take("NAMESPACE"))[0]
                return str(imap_utf7.decode(own[0][0]))
        return None


def usual_prefix(listed: Iterable[tuple[str, str]]) -> str:
    """What the paths of all folders but the inbox begin with, `INBOX` and the delimiter, or nothing.

    `listed` are paths with their delimiters; where there is nothing but the inbox, nothing is known.
    """
    others = [(path, delimiter) for path, delimiter in listed if path.upper() != "INBOX"]
    prefix = f"INBOX{others[0][1]}" if others and others[0][1] else ""
    return prefix if prefix and all(path.upper().startswith(prefix) for path, _ in others) else ""


def _date_time(moment: datetime) -> bytes:
    """A date-time of RFC 3501 section 9; months have English names whatever the locale says."""
    written = f"{moment.day:02}-{MONTHS[moment.month - 1]}-{moment.year:04} {moment:%H:%M:%S %z}"
    return quoted(written)
