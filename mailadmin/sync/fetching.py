"""Talks with a server about one message that somebody opened, and writes down what came; see reading.py."""

import logging
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from sqlalchemy import select

from mailadmin import boot, db, leases, sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.mail import dial, sasl
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import Imap
from mailadmin.mail.incoming import open_incoming
from mailadmin.mail.pop3 import Pop3
from mailadmin.mail.text_parts import Unpacking
from mailadmin.mail.types import Direction
from mailadmin.mail.whole import take_apart
from mailadmin.oauth import service as oauth
from mailadmin.sync import reading
from mailadmin.sync.models import PopMessage
from mailadmin.sync.reading import LARGEST_FILE, PIECE, Order
from mailadmin.sync.texts import Reads, WholeMessages, read_texts, store
from mailadmin.text import t

TEXT_SECONDS = 40.0  # from the connection to the last answer
FILE_SECONDS = 150.0
LEASE_SECONDS = 200.0
STRETCH = 1_000_000  # bytes of a file that are asked for at once
_LARGEST_WHOLE = 2 * LARGEST_FILE  # as transferred
log = logging.getLogger(__name__)


def fetch_text(message_id: int) -> None:
    """Fetch the text of a message, if it is not there, and write it, or why not."""
    _with_lease(message_id, lambda what: None if what.is_known else _text(message_id, what), place=None)


def fetch_files(message_id: int, places: Sequence[int]) -> None:
    """Fetch the files of a message at `places`, those that are not there, and write them, or why not."""
    for place in places:
        _with_lease(message_id, lambda what, place=place: _file(message_id, what, place), place=place)  # type: ignore[misc]


def _with_lease(message_id: int, work: Callable[[Order], None], *, place: int | None) -> None:
    """Do `work` unless another job talks to the same server for us; its troubles are written with the message."""
    try:
        with db.reading() as session:
            what = reading.order(session, message_id)
        if what is None:
            return
        with db.transaction() as session:
            held = leases.take(session, f"reading:{what.account_id}", seconds=LEASE_SECONDS)
        if held is None:
            return
        try:
            work(what)
        finally:
            with db.transaction() as session:
                leases.release(session, held)
    except RuleBroken as broken:
        note(message_id, broken.message, place)
    except MailError as error:
        log.info("Nothing was fetched of message %s (%s).", message_id, error.category)
        note(message_id, error.message, place)


def note(message_id: int, sentence: str, place: int | None) -> None:
    """Write with the message why its text (`place` None) or a file could not be fetched."""
    with db.transaction() as session:
        reading.note_trouble(session, message_id, sentence, place=place)


def _text(message_id: int, what: Order) -> None:
    with_server = _opened(what, TEXT_SECONDS, budget=8 * what.most + 20_000_000)
    try:
        uid, reads = _reads(with_server, what)
        found = [each for _, some in read_texts(reads, [uid], what.most, lambda: None) for each in some]
    finally:
        with_server.close()
    if not found or found[0].is_missing:
        raise _gone()
    with db.transaction() as session:
        store(session, {message_id: found[0]}, what.most)


def _reads(server: Imap | Pop3, what: Order) -> tuple[int, Reads]:
    """The number of the message in this session, and what reads it."""
    if isinstance(server, Imap):
        return what.uid, server
    return _number(server, what), WholeMessages(server.whole, what.most)


def _opened(what: Order, seconds: float, *, budget: int) -> Imap | Pop3:
    """A connection with the folder open. Raises MailError; a refused sign-in is trouble of the account."""
    rules = boot.settings().rules
    oauth.make_fresh(what.account_id, rules)
    with db.reading() as session:
        account = session.get(Account, what.account_id)
        leg = accounts.leg(session, account, Direction.INCOMING) if account else None
    if leg is None or leg.server != what.leg.server:
        raise MailError(Category.UNAVAILABLE, t("The account was changed meanwhile."))
    server = open_incoming(leg.server, rules, Deadline(seconds), budget=budget, secrets=sasl.forms(leg.how))
    try:
        server.sign_in(leg.how)
        state = server.examine(what.folder.path)
        if isinstance(server, Imap) and what.folder.uidvalidity not in (None, state.uidvalidity):
            raise MailError(
                Category.UNAVAILABLE, t("The server has numbered this folder anew. The next sync reads it.")
            )
    except MailError as error:
        server.close()
        if error.category is Category.AUTH:
            _record(what.account_id, error)
        raise
    return server


def _record(account_id: int, error: MailError) -> None:
    """A refused sign-in pauses the account here as in a sync: nobody knocks with a password that is wrong."""
    with db.transaction() as session:
        account = session.get(Account, account_id, with_for_update={"of": Account})
        if account is not None:
            accounts.record_failure(
                session,
                account,
                direction=Direction.INCOMING,
                category=error.category,
                reason=error.message,
                permanent=error.permanent,
                sure=False,
            )


def _number(server: Pop3, what: Order) -> int:
    """The number that the message has in this session of POP3."""
    with db.reading() as session:
        mine = PopMessage.folder_id == what.folder.id, PopMessage.uid == what.uid
        name = session.scalar(select(PopMessage.uidl).where(*mine))
    number = next((number for number, each in server.names.items() if each == name), None)
    if number is None:
        raise _gone()
    return number


def _gone() -> MailError:
    return MailError(Category.UNAVAILABLE, t("The server does not deliver this message. It may be gone there."))


# Files.


def _file(message_id: int, what: Order, place: int) -> None:
    part = what.parts[place] if place < len(what.parts) else None
    if part is None:
        return
    with db.reading() as session:
        if reading.are_kept(session, part):
            return
    if part["size"] > LARGEST_FILE:
        raise _too_large()
    server = _opened(what, FILE_SECONDS, budget=_LARGEST_WHOLE + dial.BUDGET)
    try:
        ids, size = _kept(_content(server, what, part))
    finally:
        server.close()
    if not size and part["size"]:
        raise _gone()
    with db.transaction() as session:
        reading.note_kept(session, message_id, place, ids, size)


def _content(server: Imap | Pop3, what: Order, part: dict[str, str]) -> Iterator[bytes]:
    """The file without its transfer encoding, in pieces of any size."""
    undo = Unpacking(part["encoding"])
    if isinstance(server, Pop3):
        whole = server.whole(_number(server, what), _LARGEST_WHOLE) or b""
        raw = take_apart(whole)[1].get(part["number"], b"") if part["number"] else whole
        yield undo.feed(raw)
    else:
        start = 0
        while raw := server.stretch(what.uid, part["number"], start, STRETCH):
            yield undo.feed(raw)
            start += len(raw)
            if len(raw) < STRETCH or start > _LARGEST_WHOLE:
                break
    yield undo.finish()


def _kept(content: Iterator[bytes]) -> tuple[list[UUID], int]:
    """The ids of the sealed pieces of `content`, and its size. Nothing is kept of what is too large."""
    ids: list[UUID] = []
    held, size = b"", 0
    for some in content:
        held += some
        size += len(some)
        if size > LARGEST_FILE:
            _forget(ids)
            raise _too_large()
        while len(held) >= PIECE:
            ids.append(_keep(held[:PIECE]))
            held = held[PIECE:]
    if held or not ids:
        ids.append(_keep(held))
    return ids, size


def _keep(piece: bytes) -> UUID:
    with db.transaction() as session:
        reading.make_room(session, len(piece))
        return reading.keep_piece(session, piece)


def _forget(ids: Sequence[UUID]) -> None:
    with db.transaction() as session:
        for each in ids:
            sealed.forget(session, each)


def _too_large() -> MailError:
    most = LARGEST_FILE // 1_000_000
    return MailError(Category.POLICY, t("Files up to {most} MB can be saved here. This one is larger.", most=most))
