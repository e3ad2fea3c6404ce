"""What is fetched because somebody opens a message: its text, if it is not kept, and files of it.

How it works. A page never waits. It shows what is known, rings for the job `text` or `file`, and asks again every
second; a job signs in, fetches, and writes. No row says that somebody waits: as long as a page asks, it rings, and the
queue holds one job per message at most. When a fetch ends in vain, the reason stands with the message, nobody rings any
more, and the person may try again. A job that finds another one at work for the same account leaves it to the next
ring.

Files lie in pieces in the table of secrets, sealed as everything there, for an hour; together they may take
`MOST_STORED`, and the oldest make room. So web and runner may be on different machines, and nothing is left behind.

`MessageText.parts` is a list: first the message itself as a file, then its files. Each has number, name, type,
encoding, size and cid, and, once it was asked for, `kept` (ids of its pieces), or `trouble` (a sentence). What went
wrong with the text is `no_text` of the first.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, defer

from mailadmin import sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.organisation import service as organisation
from mailadmin.sealed import SealedSecret, Secret
from mailadmin.sync.models import Folder, Message, MessageText
from mailadmin.sync.texts import write_headings
from mailadmin.text import t
from mailadmin.vault import Unsealable

LARGEST_FILE = 25_000_000  # bytes
PIECE = 384_000  # bytes of a file in one row
MOST_STORED = 100_000_000  # bytes of all files together
KEPT_FOR = timedelta(hours=1)
LARGEST_PICTURE = 500_000  # bytes of a picture within HTML
MOST_PICTURES = 12
PURPOSE = "file of a message"
PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


@dataclass(frozen=True, slots=True)
class Opened:
    """A message as a page shows it. `text` is None as long as nothing was fetched."""

    message: Message
    folder: Folder
    text: MessageText | None

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The message as a file, and its files."""
        return parts_of(self.message, self.text)

    @property
    def is_known(self) -> bool:
        """Whether there is what a person can read, or it is known that there is nothing."""
        if self.text is None or not self.message.has_text:
            return bool(self.message.unreadable)
        return bool(self.text.text or self.text.html) or not self.text.is_cut

    @property
    def trouble(self) -> str:
        """Why the text could not be fetched."""
        return str(self.parts[0].get("no_text", ""))

    def pictures(self) -> list[int]:
        """The places of the pictures that its HTML shows and that may be shown."""
        html = self.text.html if self.text else ""
        return [
            place
            for place, part in enumerate(self.parts)
            if part.get("cid") and part["type"] in PICTURES and part["size"] <= LARGEST_PICTURE and part["cid"] in html
        ][:MOST_PICTURES]

    def files(self) -> list[tuple[int, dict[str, Any]]]:
        """The files with their places; of the pictures those that its HTML does not show."""
        shown = set(self.pictures())
        return [(n, part) for n, part in enumerate(self.parts) if n and n not in shown]


def parts_of(message: Message, text: MessageText | None) -> list[dict[str, Any]]:
    """The parts of a message as `MessageText.parts` has them, or has them as soon as it is fetched."""
    name = " ".join(message.subject.split())[:80].strip(". ") or t("message")
    whole = {"number": "", "name": f"{name}.eml", "type": "message/rfc822", "encoding": "", "size": message.size}
    stored = list(text.parts) if text else []
    if stored and stored[0]["number"] == "":
        return [whole | stored[0], *stored[1:]]
    return [whole, *stored]


def open_message(session: Session, account_id: int, message_id: int) -> Opened:
    """The message `message_id` of a folder of the account that people see. Raises NotFound."""
    query = (
        select(Message, Folder, MessageText)
        .join(Folder, Folder.id == Message.folder_id)
        .outerjoin(MessageText, MessageText.message_id == Message.id)
        .where(
            Message.id == message_id,
            Folder.account_id == account_id,
            Folder.generation == Message.generation,
            Folder.is_active,
            Folder.is_gone.is_(False),
        )
        .options(defer(MessageText.heading))
    )
    found = session.execute(query).one_or_none()
    if found is None:
        raise NotFound(t("This message is not there any more, or it was moved to another folder."))
    return Opened(*found)


# What a job needs, and what it leaves.


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to fetch, and where; `most` is how many characters of a text are kept for reading."""

    account_id: int
    leg: accounts.Leg
    folder: Folder
    uid: int
    parts: list[dict[str, Any]]
    most: int
    is_known: bool


def order(session: Session, message_id: int) -> Order | None:
    """What has to be known to fetch something of the message; None if it is gone.

    Raises RuleBroken with a sentence where nobody may knock at its server now.
    """
    where = select(Folder.account_id).join(Message, Message.folder_id == Folder.id).where(Message.id == message_id)
    account_id = session.scalar(where)
    account = session.get(Account, account_id) if account_id is not None else None
    if account is None or account.deleting_at is not None:
        return None
    try:
        opened = open_message(session, account.id, message_id)
    except NotFound:
        return None
    if not organisation.uses_mail(session):
        raise RuleBroken(organisation.why_off())
    if account.health is Health.PAUSED:
        raise RuleBroken(t("The account is paused, so nothing is fetched from its server."))
    if account.health is Health.NEEDS_ATTENTION:
        raise RuleBroken(t("The server does not let the account in at the moment. Its page says why."))
    leg = accounts.leg(session, account, Direction.INCOMING)
    if leg is None:
        raise RuleBroken(t("This account has no server for receiving."))
    most = max(organisation.text_kilobytes(session), organisation.TEXT_KILOBYTES) * 1000
    return Order(account.id, leg, opened.folder, opened.message.uid, opened.parts, most, opened.is_known)


def note_trouble(session: Session, message_id: int, sentence: str, *, place: int | None = None) -> None:
    """Say with the message why its text, or the file at `place`, could not be fetched; empty: forget why."""
    change = {"no_text": sentence} if place is None else {"trouble": sentence, "kept": []}
    _change_part(session, message_id, place or 0, change)


def note_kept(session: Session, message_id: int, place: int, ids: Sequence[UUID], size: int) -> None:
    """Say with the message where the file at `place` lies."""
    _change_part(session, message_id, place, {"kept": [str(each) for each in ids], "trouble": "", "size": size})


def _change_part(session: Session, message_id: int, place: int, change: dict[str, Any]) -> None:
    write_headings(session, [message_id])
    row = session.get(MessageText, message_id, with_for_update=True, populate_existing=True)
    message = session.get(Message, message_id)
    if row is None or message is None:
        return
    parts = parts_of(message, row)
    if place < len(parts):
        parts[place] = parts[place] | change
        row.parts = parts
        session.flush()


# Files for an hour.


def keep_piece(session: Session, content: bytes) -> UUID:
    """Seal one piece of a file."""
    return sealed.keep(session, Secret(base64.b85encode(content).decode("ascii")), purpose=PURPOSE)


def make_room(session: Session, size: int) -> None:
    """Forget the oldest pieces until `size` bytes more may be kept."""
    rows = select(SealedSecret.id, func.length(SealedSecret.sealed)).where(SealedSecret.purpose == PURPOSE)
    room = MOST_STORED - size
    for secret_id, length in session.execute(rows.order_by(SealedSecret.created_at.desc())).all():
        room -= length
        if room < 0:
            sealed.forget(session, secret_id)


def forget_files(session: Session) -> None:
    """Forget the pieces that are older than an hour."""
    old = SealedSecret.purpose == PURPOSE, SealedSecret.created_at < now() - KEPT_FOR
    session.execute(delete(SealedSecret).where(*old).execution_options(synchronize_session=False))


def are_kept(session: Session, part: dict[str, Any]) -> bool:
    """Whether all pieces of a file are there."""
    ids = [UUID(each) for each in part.get("kept", ())]
    if not ids:
        return False
    alive = select(func.count()).select_from(SealedSecret)
    return session.scalar(alive.where(SealedSecret.id.in_(ids))) == len(ids)


def pieces(session: Session, part: dict[str, Any]) -> Iterator[bytes]:
    """The content of a file, piece by piece; it ends early if the file is forgotten meanwhile."""
    with suppress(LookupError, Unsealable):
        for each in part.get("kept", ()):
            yield base64.b85decode(sealed.reveal(session, UUID(each)).reveal())
            session.expunge_all()


def forget_troubles(session: Session, message_id: int, places: Sequence[int]) -> None:
    """Let what failed be asked for again; no `places`: the text."""
    if not places:
        note_trouble(session, message_id, "")
    for place in places:
        note_trouble(session, message_id, "", place=place)
