"""Makes the message that is sent of what a person wrote: its header, its text, its files.

The bytes have no more than seven bits, so that every server takes them, and are the same at every try. A message may be
large and many are sent at once; so files are read in stretches and the message lies in a temporary file that has no
name, or in memory if it is small.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import blake2b
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.words import decoded
from mailadmin.people import signatures, teams
from mailadmin.text import t, zone_named
from mailadmin.writing import addresses
from mailadmin.writing.addresses import Mailbox, Recipients
from mailadmin.writing.models import OutgoingFile, OutgoingMessage

STRETCH = 57 * 16_384  # bytes of a file at once: whole lines of base64 (RFC 2045 6.8)
IN_MEMORY = 1_000_000  # bytes of a message up to which it stays there
PIECE = 262_144
_PIECE_OF_NAME, _OCTETS = 60, 20  # characters on a line; octets of an encoded one, three characters each
_OCTET = re.compile("%..|.")
CRLF = "\r\n"
_SEVEN_BITS = SMTP.clone(cte_type="7bit")
_WITH_UTF8 = _SEVEN_BITS.clone(utf8=True)


@dataclass(slots=True)
class Composed:
    """A message ready to be sent. `copy` has the Bcc header, which is never in what is sent."""

    sender: str
    recipients: list[str]
    head: bytes
    bcc: bytes
    body: "SpooledTemporaryFile[bytes]" = field(default_factory=lambda: SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115

    @property
    def is_beyond_ascii(self) -> bool:
        """Whether the header needs a server with SMTPUTF8 (RFC 6531), be it for an address that gets nothing."""
        return not self.head.isascii()

    @property
    def size(self) -> int:
        """Bytes of what is sent."""
        return len(self.head) + 2 + self.body.seek(0, 2)

    def pieces(self) -> Iterator[bytes]:
        """What is sent, piece by piece."""
        yield self.head + b"\r\n"
        self.body.seek(0)
        while piece := self.body.read(PIECE):
            yield piece

    def copy(self) -> bytes:
        """What is filed: the same bytes, and who got a blind copy."""
        self.body.seek(0)
        return b"".join((self.head, self.bcc, b"\r\n", self.body.read()))

    def close(self) -> None:
        """Forget the message."""
        self.body.close()


def new_id(account: Account) -> str:
    """A Message-ID (RFC 5322 3.6.4) for a message from `account`."""
    return f"<{uuid4().hex}@{sender(account).envelope.rpartition('@')[2]}>"


def sender(account: Account, name: str = "") -> Mailbox:
    """From whom messages of `account` are; `name` is that of the person, for accounts that have none of their own."""
    named = "".join(c for c in decoded(account.sender_name or name) if c.isprintable())
    return Mailbox(named, account.sender_address or account.address)


def compose(session: Session, outgoing: OutgoingMessage) -> Composed:
    """The message, of which all files are here. Raises RuleBroken if it cannot be written."""
    found = addresses.recipients(to=outgoing.to, cc=outgoing.cc, bcc=outgoing.bcc)
    part = EmailMessage(policy=_SEVEN_BITS)
    part.set_content(text_of(session, outgoing))
    del part["MIME-Version"]
    begin, _, text = part.as_bytes().partition(b"\r\n\r\n")
    head = heading(outgoing, found) + b"MIME-Version: 1.0\r\n"
    bcc = _folded("Bcc", [box.header for box in found.bcc], _policy(outgoing, found)) if found.bcc else b""
    composed = Composed(sender(outgoing.account).envelope, found.envelope, head, bcc)
    files = session.scalars(
        select(OutgoingFile).where(OutgoingFile.outgoing_id == outgoing.id).order_by(OutgoingFile.id)
    ).all()
    if not files:
        composed.head += begin + b"\r\n"
        composed.body.write(text)
        return composed
    boundary = f"=_{blake2b(outgoing.message_id.encode(), digest_size=16).hexdigest()}".encode()
    composed.head += b'Content-Type: multipart/mixed;\r\n boundary="%s"\r\n' % boundary
    composed.body.write(b"--%s\r\n%s\r\n\r\n%s" % (boundary, begin, text))
    for file in files:
        composed.body.write(b"\r\n--%s\r\n%s" % (boundary, _file_heading(file)))
        for lines in _encoded(session, file):
            composed.body.write(lines)
    composed.body.write(b"\r\n--%s--\r\n" % boundary)
    return composed


def copy_of(session: Session, outgoing: OutgoingMessage) -> bytes:
    """What is filed of a message that nobody has in hand any more. Raises RuleBroken."""
    composed = compose(session, outgoing)
    try:
        return composed.copy()
    finally:
        composed.close()


def heading(outgoing: OutgoingMessage, found: Recipients) -> bytes:
    """The header, without what says how the text is encoded. Raises RuleBroken if it cannot be written."""
    account, policy = outgoing.account, _policy(outgoing, found)
    moment = (outgoing.wanted_at or now()).astimezone(zone_named(outgoing.person.time_zone))
    try:
        lines = [
            _folded("From", [sender(account, outgoing.person.name).header], policy),
            _folded("To", [box.header for box in found.to], policy) if found.to else b"",
            _folded("Cc", [box.header for box in found.cc], policy) if found.cc else b"",
            _folded("Reply-To", [box.header for box in _reply_to(account)], policy) if account.reply_to else b"",
            _subject(outgoing.subject, policy),
            f"Date: {format_datetime(moment)}\r\nMessage-ID: {outgoing.message_id}\r\n".encode("ascii"),
            # Not folded by the library, which encodes long ids as if they were words.
            _ids("In-Reply-To", outgoing.in_reply_to),
            _ids("References", outgoing.refers_to),
        ]
    except ValueError as error:
        raise RuleBroken(t("The addresses of this account cannot stand in a message."), field="account_id") from error
    return b"".join(lines)


def _reply_to(account: Account) -> list[Mailbox]:
    return addresses.read(account.reply_to)[0]


def _policy(outgoing: OutgoingMessage, found: Recipients) -> Any:
    boxes = [sender(outgoing.account), *_reply_to(outgoing.account), *found]
    return _WITH_UTF8 if any(box.is_beyond_ascii for box in boxes) else _SEVEN_BITS


def _folded(name: str, value: str | list[Address], policy: Any) -> bytes:
    made = policy.header_factory(name, value)
    return str(made.fold(policy=policy)).encode("utf-8" if policy.utf8 else "ascii")


def _subject(text: str, policy: Any) -> bytes:
    if "=?" in text:  # The library takes it for encoded words (RFC 2047), and would send what they mean.
        return f"Subject: {Header(text, 'utf-8', header_name='Subject').encode(linesep=CRLF)}{CRLF}".encode("ascii")
    return _folded("Subject", text, policy)


def _ids(name: str, ids: str) -> bytes:
    found = [one for one in ids.split() if one.isascii() and one.isprintable()]
    return (f"{name}: " + "\r\n ".join(found) + "\r\n").encode("ascii") if found else b""


def text_of(session: Session, outgoing: OutgoingMessage) -> str:
    """What was written, the signature, and what is quoted.

    The `-- ` line above the signature (RFC 3676 4.3) is left out where something is quoted: other programs take
    everything below it for the signature, and hide it.
    """
    quoted = outgoing.quoted if outgoing.quotes else ""
    parts = [outgoing.text.rstrip()]
    if signature := filled(session, outgoing, outgoing.person.signature).strip("\n").rstrip():
        parts.append(signature if quoted else f"-- \n{signature}")
    parts.append(quoted)
    return "\n\n".join(part for part in parts if part) + "\n"


def filled(session: Session, outgoing: OutgoingMessage, text: str, *, contact: str | None = None) -> str:
    """`text` with {name}, {team}, {account} and, where one is given, {contact} replaced, in one pass."""
    account, person = outgoing.account, outgoing.person
    mine = teams.of_people(session, [person.id])[person.id]
    team = account.team or next(iter(mine), None)
    values = {"name": person.name, "team": team.name if team else "", "account": sender(account).address}
    pieces = [text] if contact is None else text.split("{contact}")
    return (contact or "").join(signatures.fill(piece, **values) for piece in pieces)


def _file_heading(file: OutgoingFile) -> bytes:
    """The header of a file. The library would let an encoded word in a name end the line: it is written by hand."""
    lines = [f"Content-Type: {file.type}", "Content-Transfer-Encoding: base64", "Content-Disposition: attachment"]
    return (CRLF.join(lines) + f";{CRLF} {_file_name(file.name)}{CRLF}{CRLF}").encode("ascii")


def _file_name(name: str) -> str:
    """The parameter `filename`, in pieces where it is long or goes beyond ASCII (RFC 2231 3, 4)."""
    if name.isascii() and len(name) <= _PIECE_OF_NAME and "=?" not in name:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'filename="{escaped}"'
    octets = _OCTET.findall(quote(name, safe=""))
    rows = ["".join(octets[start : start + _OCTETS]) for start in range(0, len(octets), _OCTETS)]
    if len(rows) == 1:
        return f"filename*=utf-8''{rows[0]}"
    rows[0] = f"utf-8''{rows[0]}"
    return f";{CRLF} ".join(f"filename*{n}*={row}" for n, row in enumerate(rows))


def _encoded(session: Session, file: OutgoingFile) -> Iterator[bytes]:
    """The lines of a file in base64."""
    for start in range(1, file.size + 1, STRETCH):  # SQL counts from 1.
        query = select(func.substr(OutgoingFile.content, start, STRETCH)).where(OutgoingFile.id == file.id)
        yield base64.encodebytes(session.scalar(query) or b"").replace(b"\n", b"\r\n")
