"""One pass over one folder: afterwards what is stored is what the server has, or the folder says what is missing.

How it works. A message is known by folder, generation and UID, and nothing else. A pass asks the server for three
things: the state of the folder (EXAMINE), the flags of all its messages (so also which there are), and, unless all mail
is wanted, the UIDs within the window. Against this stands what is stored, read from our rows and not from any mark of
progress. The differences are the work: messages that are wanted and not stored are fetched, newest first, in batches;
flags that differ are stored; rows whose message is not listed are deleted. When that is done the rows are counted, and
only if they are as many as they must be, the pass calls itself complete.

Why it may run twice, or be killed anywhere. Every batch is one transaction: the messages, the folder's progress, the
run's counts, and a beat of the lease. There is no state outside the rows; the next pass compares again and does what is
left. A row that would be inserted twice meets the unique key and stays as it was.

Why two cannot write. The beat of the lease carries its fencing number and comes first in each transaction, see
going.py. A runner that slept through the end of its lease fails at its next beat and leaves nothing behind.

Saving the work. The server's facts (UIDVALIDITY, UIDNEXT, number of messages, HIGHESTMODSEQ) are taken from the EXAMINE
that came before the list and stored only at the end of a complete pass. HIGHESTMODSEQ grows with every change (RFC 7162
3.1.1), so if all four are still the same, nothing has changed since before that list, and the list was exact. What
changes between the EXAMINE and the list makes the next pass do too much, never too little. A server that tells no
HIGHESTMODSEQ is listed each time. The facts count only for the window they were stored for.

UIDVALIDITY. A new one means that every UID we know is void (RFC 3501 2.3.1.1). The folder is then read into the next
generation while people see the old one; when the new one is complete, one transaction puts it in its place, and the old
rows are swept away in batches. If UIDVALIDITY changes again before that, a still newer generation is begun. Numbers of
generations are never used again while rows carry them, so what was abandoned cannot mix with what is read. Within one
selection a folder cannot be renumbered; whenever it is opened again in the middle of a pass, it is compared.

The window. For months it is a SEARCH SINCE, which compares the server's own date of each message. "From now on" is a
UID, found when the folder is first seen with this wish, and again when it is renumbered: that of the first message
the server received since the moment of the wish. It is stored before any message is. A window that is made narrower
deletes nothing; older messages stay and are followed, but only the window counts for completeness.

What can go wrong. The list may be shorter than the server's own count, because something changed in between or the
server lies: it is asked once more; if the two still disagree nothing is deleted and the pass is not complete. A message
may be listed and then not delivered: then the folder is opened and listed again, since a message that is gone is no
failure; one that is still there is asked for once more, and stored as unreadable if it does not come. A message that
cannot be parsed, or stored, becomes an unreadable row with what is known. So no message stops a folder, and no folder
with trouble of its own stops the others, see run.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Window
from mailadmin.contacts import service as contacts
from mailadmin.mail.types import Envelope, FolderState
from mailadmin.sync import rows
from mailadmin.sync.going import FolderTrouble, Going
from mailadmin.sync.models import Folder
from mailadmin.text import t

ATTEMPTS = 3
SWEEP = 5000
_HIGHEST = 2**32 - 1


class _Renumbered(Exception):
    """The folder has another UIDVALIDITY than a moment ago."""


@dataclass(slots=True)
class _Pass:
    """What a pass knows. `listing` is flags by UID, as the server has them; `stored` the same, as we had them."""

    going: Going
    folder: Folder
    state: FolderState
    generation: int
    first_uid: int | None
    is_whole: bool = False  # the list is as long as the server says that it must be
    listing: dict[int, str] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)
    stored: dict[int, str] = field(default_factory=dict)
    doubtful: dict[int, Envelope | None] = field(default_factory=dict)  # asked for, and not delivered readable

    @property
    def is_successor(self) -> bool:
        """Whether this generation is still to take the place of the one that people see."""
        return self.generation != self.folder.generation


def follow(going: Going, folder_id: int) -> None:
    """Make what is stored of the folder equal to what the server has, within the window; see above.

    Raises MailError, FolderTrouble, Stopped and LeaseLost; what was committed until then stays and is true.
    """
    with db.reading() as session:
        folder = session.get(Folder, folder_id)
    if folder is None or not folder.is_active or folder.is_gone:
        return
    for _ in range(ATTEMPTS):
        try:
            _follow(going, folder)
        except _Renumbered:
            with db.reading() as session:
                folder = session.get(Folder, folder_id) or folder
            continue
        return
    raise FolderTrouble(t("The server gives this folder's messages new numbers all the time."))


def _follow(going: Going, folder: Folder) -> None:
    state = _opened(going, folder.path)
    if _is_unchanged(going, folder, state):
        with going.writing() as session:
            row = _row(session, folder)
            row.synced_at, row.trouble, row.run_total, row.run_done = db.now(), "", 0, 0
    else:
        this = _begin(going, folder, state)
        _compare(this)
        _fetch(this)
        _settle_doubts(this)
        _store_flags(this)
        _forget_gone(this)
        _close(this)
    _sweep(going, folder.id)


# The state of the folder, and where the pass aims.


def _opened(going: Going, path: str) -> FolderState:
    state = going.step().examine(path)
    if not 0 < state.uidvalidity <= _HIGHEST:
        raise FolderTrouble(t("The server does not say which numbering of messages it uses (UIDVALIDITY)."))
    uidnext = state.uidnext if state.uidnext and state.uidnext <= _HIGHEST else None
    return replace(state, uidnext=uidnext, modseq=state.modseq or None)


def _reopened(this: _Pass) -> FolderState:
    state = _opened(this.going, this.folder.path)
    if state.uidvalidity != this.state.uidvalidity:
        raise _Renumbered
    return state


def _is_unchanged(going: Going, folder: Folder, state: FolderState) -> bool:
    if not folder.is_complete or folder.next_generation is not None or folder.window != going.window_key:
        return False
    known = (folder.uidvalidity, folder.uidnext, folder.messages, folder.modseq)
    return None not in known and known == (state.uidvalidity, state.uidnext, state.messages, state.modseq)


def _begin(going: Going, folder: Folder, state: FolderState) -> _Pass:
    """Decide which generation is read, and store the decision."""
    with going.writing() as session:
        row = _row(session, folder)
        if row.window != going.window_key:
            row.window, row.first_uid, row.is_complete = going.window_key, None, False
        generation = _aim(session, row, state.uidvalidity)
        row.run_total, row.run_done = None, 0
        return _Pass(going, row, state, generation, row.first_uid)


def _aim(session: Session, row: Folder, uidvalidity: int) -> int:
    """The generation to read: the one that people see, the next one that was begun, or a new next one."""
    if row.uidvalidity is None:
        row.uidvalidity = uidvalidity
    if row.uidvalidity == uidvalidity:
        row.next_generation = row.next_uidvalidity = None
        return row.generation
    row.is_complete = False
    if row.next_generation is None or row.next_uidvalidity != uidvalidity:
        row.next_generation = rows.unused_generation(session, row.id, max(row.generation, row.next_generation or 0))
        row.next_uidvalidity, row.first_uid = uidvalidity, None
    return row.next_generation


# What the server has, what we have, and the difference.


def _compare(this: _Pass) -> None:
    going = this.going
    this.listing = _listed(going)
    if len(this.listing) != this.state.messages:
        # Mail may have come or gone between the count and the list; a second look tells.
        this.state = _reopened(this)
        this.listing = _listed(going)
    this.is_whole = len(this.listing) == this.state.messages
    this.wanted = _wanted(this)
    with db.reading() as session:
        this.stored = rows.stored_flags(session, this.folder.id, this.generation)
    with going.writing() as session:
        row = _row(session, this.folder)
        row.run_total, row.wanted, row.first_uid = len(_missing(this)), len(this.wanted), this.first_uid


def _listed(going: Going) -> dict[int, str]:
    texts: dict[frozenset[str], str] = {}
    listing = {}
    for uid, flags in going.step().flags().items():
        if 0 < uid <= _HIGHEST:
            if flags not in texts:
                texts[flags] = rows.flag_text(flags)
            listing[uid] = texts[flags]
    return listing


def _wanted(this: _Pass) -> set[int]:
    """The UIDs of the list that are within the window."""
    going = this.going
    if going.since is None:
        return set(this.listing)
    if going.window is not Window.NOW:
        return this.listing.keys() & set(going.step().search(going.since.date()))
    if this.first_uid is None:
        this.first_uid = _first_since(this, going.since.replace(microsecond=0))  # INTERNALDATE has whole seconds.
    return {uid for uid in this.listing if uid >= this.first_uid}


def _first_since(this: _Pass, moment: datetime) -> int:
    """The first UID that arrived at `moment` or later, found among the mail of about that day, newest first."""
    first = max(this.listing, default=0) + 1
    # SINCE compares days in the server's own time zone (RFC 3501 6.4.4), so the day before is looked at as well.
    recent = this.listing.keys() & set(this.going.step().search((moment - timedelta(days=1)).date()))
    for uids in _batches(this, sorted(recent, reverse=True)):
        came = _asked(this, uids).values()
        later = [envelope.uid for envelope in came if envelope.received_at and envelope.received_at >= moment]
        first = min([first, *later])
        if not later:
            break
    return first


def _missing(this: _Pass) -> list[int]:
    """What has to be fetched, newest first."""
    return sorted(this.wanted - this.stored.keys(), reverse=True)


def _batches(this: _Pass, uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), this.going.batch):
        yield uids[start : start + this.going.batch]


# The work.


def _fetch(this: _Pass) -> None:
    for asked in _batches(this, _missing(this)):
        came = _asked(this, asked)
        readable = [envelope for envelope in came.values() if not envelope.unreadable]
        this.doubtful |= {uid: came.get(uid) for uid in asked if uid not in came or came[uid].unreadable}
        _store(this, readable, done=len(asked))


def _asked(this: _Pass, uids: Sequence[int]) -> dict[int, Envelope]:
    """What the server delivers of `uids`, and nothing that was not asked for."""
    came: dict[int, Envelope] = {}
    allowed = set(uids)
    for envelope in this.going.step().envelopes(uids):
        if envelope.uid in allowed:
            came.setdefault(envelope.uid, envelope)
    return came


def _store(this: _Pass, envelopes: Sequence[Envelope], *, done: int = 0) -> None:
    """One batch: the messages, the folder's progress, the run's count and the beat of the lease, all or nothing."""
    with this.going.writing() as session:
        rows.insert(session, this.folder.id, this.generation, envelopes)
        row = _row(session, this.folder)
        row.run_done += done
        if not this.is_successor:
            row.stored += len(envelopes)
        this.going.count(session, new=len(envelopes))
        contacts.meet(session, account_id=this.going.account_id, role=row.role, envelopes=envelopes)


def _settle_doubts(this: _Pass) -> None:
    """Tell messages that went away while we read from those that the server has and cannot, or will not, deliver."""
    if not this.doubtful:
        return
    _reopened(this)
    present = _listed(this.going)
    for uid in this.doubtful.keys() - present.keys():
        this.wanted.discard(uid)
        this.listing.pop(uid, None)
    for asked in _batches(this, sorted(this.doubtful.keys() & present.keys(), reverse=True)):
        silent = [uid for uid in asked if this.doubtful[uid] is None]
        came = _asked(this, silent) if silent else {}
        _store(this, [_known(uid, came.get(uid) or this.doubtful[uid], present[uid]) for uid in asked])


def _known(uid: int, envelope: Envelope | None, flags: str) -> Envelope:
    """A message that was hard to get: what came of it, or that nothing did."""
    if envelope is not None and not envelope.unreadable:
        return envelope
    reason = envelope.unreadable if envelope else t("The server lists this message but does not deliver it.")
    return replace(envelope or Envelope(uid), flags=frozenset(flags.split()), unreadable=reason)


def _store_flags(this: _Pass) -> None:
    changed = [uid for uid, flags in this.stored.items() if this.listing.get(uid, flags) != flags]
    for uids in _batches(this, changed):
        with this.going.writing() as session:
            flags = {uid: this.listing[uid] for uid in uids}
            rows.update_flags(session, this.folder.id, this.generation, flags)
            this.going.count(session, changed=len(uids))


def _forget_gone(this: _Pass) -> None:
    """Delete what the server does not list any more, if the list is whole."""
    if not this.is_whole:
        return
    gone = [uid for uid in this.stored if uid not in this.listing]
    for uids in _batches(this, gone):
        with this.going.writing() as session:
            rows.delete_uids(session, this.folder.id, this.generation, uids)
            if not this.is_successor:
                _row(session, this.folder).stored -= len(uids)
            this.going.count(session, gone=len(uids))
    for uid in gone:
        del this.stored[uid]


# The end.


def _close(this: _Pass) -> None:
    """Count, and say whether the folder is complete; a complete next generation takes its place in the same moment."""
    must = len(this.stored.keys() | this.wanted)
    with this.going.writing() as session:
        row = _row(session, this.folder)
        total, unread, unreadable = rows.tally(session, row.id, this.generation)
        is_complete = this.is_whole and total == must
        if is_complete and this.is_successor:
            row.generation, row.uidvalidity = this.generation, this.state.uidvalidity
            row.next_generation = row.next_uidvalidity = None
        if row.generation == this.generation:
            row.stored, row.unread, row.unreadable = total, unread, unreadable
        row.is_complete, row.wanted, row.synced_at = is_complete, len(this.wanted), db.now()
        row.uidnext, row.messages, row.modseq = this.state.uidnext, this.state.messages, this.state.modseq
        row.trouble = " ".join(filter(None, ["" if is_complete else _why(this, total, must), this.state.remark]))


def _why(this: _Pass, total: int, must: int) -> str:
    if not this.is_whole:
        counted, listed = f"{this.state.messages:,}", f"{len(this.listing):,}"
        said = t("The server counts {counted} messages but lists {listed}.", counted=counted, listed=listed)
    else:
        said = t("{total} messages are stored instead of {must}.", total=f"{total:,}", must=f"{must:,}")
    return said + " " + t("The next sync looks again.")


def _sweep(going: Going, folder_id: int) -> None:
    """Delete the rows of generations that nobody sees or reads any more."""
    with db.reading() as session:
        folder = session.get(Folder, folder_id)
        if folder is None or not rows.has_leftovers(session, folder_id, _kept(folder)):
            return
    deleted = SWEEP
    while deleted == SWEEP:
        with going.writing() as session:
            deleted = rows.sweep(session, folder_id, _kept(folder), limit=SWEEP)


def _kept(folder: Folder) -> set[int]:
    return {folder.generation} if folder.next_generation is None else {folder.generation, folder.next_generation}


def _row(session: Session, folder: Folder) -> Folder:
    """The folder's row in this transaction. Raises FolderTrouble when it is gone."""
    row = session.get(Folder, folder.id)
    if row is None:
        raise FolderTrouble(t("The folder was removed."))
    return row
