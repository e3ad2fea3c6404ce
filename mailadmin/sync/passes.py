"""One pass over one folder: afterwards what is stored is what the server has, or the folder says what is missing.

How it works. A message is known by folder, generation and UID, and nothing else. A pass asks the server for three
things: the state of the folder (EXAMINE), the flags of all its messages (so also which there are; where nothing is
stored yet, only that), and, unless all mail is wanted, the UIDs within the window. Against this stands what is stored,
read from our rows and not from any mark of progress. The differences are the work: messages that are wanted and not
stored are fetched, newest first, in batches, the next of which the server prepares while one is stored; flags that
differ are stored; rows whose message is not listed are deleted. When that is done the rows are counted, and only if
they are as many as they must be, the pass calls itself complete.

Why it may run twice, or be killed anywhere. Every batch is one transaction: the messages, the folder's progress, the
run's counts, and a beat of the lease. Where there is little to do, all of it is one: the first pass over a folder with
few messages, and a few changes. There is no state outside the rows; the next pass compares again and does what is left.
A row that would be inserted twice meets the unique key and stays as it was.

Why two cannot write. The beat of the lease carries its fencing number and comes first in each transaction, see
going.py. A runner that slept through the end of its lease fails at its next beat and leaves nothing behind.

Saving the work. The server's facts (UIDVALIDITY, UIDNEXT, number of messages, HIGHESTMODSEQ) are taken from the EXAMINE
that came before the list and stored only at the end of a complete pass. What changes between the EXAMINE and the list
makes the next pass do too much, never too little. With the facts the next pass may find out that nothing changed, or
ask what did: see quick.py. Where the UIDs are known but not what is gone, or where a window is wanted, the list is made
of the server's UIDs, our flags, and those that it calls changed. A server that tells no HIGHESTMODSEQ is listed each
time. The facts count only for the window they were stored for.

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
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta

from mailadmin import db
from mailadmin.accounts.models import Window
from mailadmin.mail.types import Changes, Envelope, FolderState
from mailadmin.sync import overlay, push, quick, rows
from mailadmin.sync.aim import Pass, Renumbered, begin, change, listed, listed_uids, opened, reopened, row_of
from mailadmin.sync.closing import close, close_counted, sweep_up
from mailadmin.sync.going import FolderTrouble, Going
from mailadmin.sync.models import Folder
from mailadmin.text import t

ATTEMPTS = 3
AT_ONCE = 100  # messages that are fetched before the folder says anything of them; more is progress to be seen


def follow(going: Going, folder_id: int) -> None:
    """Make what is stored of the folder equal to what the server has, within the window; see above.

    Raises MailError, FolderTrouble, Stopped and LeaseLost; what was committed until then stays and is true.
    """
    with db.reading() as session:
        folder = row_of(session, folder_id)
    if folder is None or not folder.is_active or folder.is_gone:
        return
    attempts = 0
    while attempts < ATTEMPTS:
        try:
            _follow(going, folder)
        except push.Interrupted:
            going.again |= push.push(going)
        except Renumbered:
            attempts += 1
        else:
            return
        with db.reading() as session:
            folder = row_of(session, folder_id) or folder
    raise FolderTrouble(t("The server gives this folder's messages new numbers all the time."))


def _follow(going: Going, folder: Folder) -> None:
    state = opened(going, folder.path)
    if quick.is_unchanged(going, folder, state):
        with going.writing() as session:
            change(session, folder, synced_at=db.now(), trouble="", run_total=0, run_done=0)
    elif (told := quick.changes(going, folder, state)) is not None:
        _follow_told(going, folder, state, told)
    elif not _read_at_once(going, folder, state):
        _read(begin(going, folder, state), None)
    sweep_up(going, folder)


def _read(this: Pass, told: Changes | None) -> None:
    """Find all differences and do what they ask for, in as many transactions as there is work for."""
    _compare(this, told)
    _work_off(this)
    close(this)


def _read_at_once(going: Going, folder: Folder, state: FolderState) -> bool:
    """The first pass over a folder with little mail, in one transaction; False if it has to be read step by step."""
    most = min(AT_ONCE, going.batch)
    if folder.uidvalidity is not None or state.messages > most or going.window is Window.NOW:
        return False
    this = Pass(going, folder, state, folder.generation, folder.first_uid, is_whole=True)
    this.listing = dict.fromkeys(listed_uids(going), "")
    if len(this.listing) != state.messages:
        return False
    this.wanted = wanted(this)
    came = _received(this, _missing(this))
    if this.doubtful:
        return False
    with going.writing():
        begun = begin(going, folder, state, len(came))
        this = replace(begun, listing=this.listing, wanted=this.wanted, is_whole=True)
        _store(this, came, done=len(came))
        close(this)
    return True


def _follow_told(going: Going, folder: Folder, state: FolderState, told: Changes) -> None:
    """Follow what the server has `told`; where that is not all, or cannot be believed, the rest is compared."""
    this = Pass(going, folder, state, folder.generation, folder.first_uid)
    if going.since is None and _take(this, told) and _follow_changes(this):
        return
    # What contradicts itself or our rows is not believed.
    is_believed = going.since is not None or (told.gone is None and this.before is None)
    _read(begin(going, folder, state), told if is_believed else None)


def _follow_changes(this: Pass) -> bool:
    """Do what is left to do where what the server told is all that changed; False if everything has to be compared."""
    missing = _missing(this)
    if len(missing) > min(AT_ONCE, this.going.batch) or len(this.stored) > 2 * this.going.batch:
        _announce(this, modseq=None)
        _work_off(this)
        return close_counted(this)
    push.give_way(this.going)
    came = _received(this, missing)
    with nullcontext() if this.doubtful else this.going.writing():
        _announce(this, modseq=None)
        _store(this, came, done=len(missing))
        _settle_doubts(this)
        _store_flags(this)
        _forget_gone(this)
        return close_counted(this)


def _work_off(this: Pass) -> None:
    """Do what the differences between the list and what is stored ask for."""
    _fetch(this)
    _settle_doubts(this)
    _store_flags(this)
    _forget_gone(this)


# What the server has, what we have, and the difference.


def _take(this: Pass, told: Changes) -> bool:
    """Let the pass be about what changed and nothing else; whether that can be, see quick.py."""
    with db.reading() as session:
        found = quick.difference(session, this.folder, this.state, told)
    if found is None:
        return False
    this.listing, this.stored = found.flags | dict.fromkeys(found.new, ""), found.stored
    this.wanted, this.before, this.is_whole = set(found.new), found.before, True
    return True


def _announce(this: Pass, **facts: int | None) -> None:
    """Say how much there is to read, and with the `facts` what is not so any more."""
    with this.going.writing() as session:
        total = this.state.messages if this.before is not None else len(this.wanted)
        change(session, this.folder, run_total=len(_missing(this)), wanted=total, **facts)


def _compare(this: Pass, told: Changes | None) -> None:
    """Find the differences; where `told` is what changed, the flags of everything else are taken to be ours."""
    going = this.going
    this.listing = _listed_at_first(this) if told is None else _listed_with(this, told)
    if len(this.listing) != this.state.messages:
        # Mail may have come or gone between the count and the list; a second look tells.
        this.state = reopened(this)
        this.listing = listed(going)
    this.is_whole = len(this.listing) == this.state.messages
    this.wanted = wanted(this)
    with db.reading() as session:
        this.stored = rows.stored_flags(session, this.folder.id, this.generation)
    _announce(this, first_uid=this.first_uid)


def _listed_at_first(this: Pass) -> dict[int, str]:
    """The list where nothing is stored yet: each message brings its flags with it when it is fetched."""
    with db.reading() as session:
        is_first = rows.count(session, this.folder.id, this.generation) == 0
    return dict.fromkeys(listed_uids(this.going), "") if is_first else listed(this.going)


def _listed_with(this: Pass, told: Changes) -> dict[int, str]:
    with db.reading() as session:
        stored = rows.stored_flags(session, this.folder.id, this.generation)
    changed = {uid: rows.flag_text(flags) for uid, flags in told.flags.items()}
    uids = listed_uids(this.going)
    return {uid: changed[uid] if uid in changed else stored.get(uid, "") for uid in uids}


def wanted(this: Pass) -> set[int]:
    """The UIDs of the list that are within the window."""
    going = this.going
    if going.since is None:
        return set(this.listing)
    if going.window is not Window.NOW:
        return this.listing.keys() & set(going.step().search(going.since.date()))
    if this.first_uid is None:
        this.first_uid = _first_since(this, going.since.replace(microsecond=0))  # INTERNALDATE has whole seconds.
    return {uid for uid in this.listing if uid >= this.first_uid}


def _first_since(this: Pass, moment: datetime) -> int:
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


def _missing(this: Pass) -> list[int]:
    """What has to be fetched, newest first."""
    return sorted(this.wanted - this.stored.keys(), reverse=True)


def _batches(this: Pass, uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), this.going.batch):
        yield uids[start : start + this.going.batch]


# The work.


def _fetch(this: Pass) -> None:
    batches = list(_batches(this, _missing(this)))
    for asked, following in zip(batches, [*batches[1:], ()], strict=False):
        push.give_way(this.going)
        this.going.step().look_ahead(following)
        _store(this, _received(this, asked), done=len(asked))


def _received(this: Pass, uids: Sequence[int]) -> list[Envelope]:
    """What of `uids` comes readable; the others are noted as doubtful."""
    came = _asked(this, uids) if uids else {}
    this.doubtful |= {uid: came.get(uid) for uid in uids if uid not in came or came[uid].unreadable}
    return [envelope for envelope in came.values() if not envelope.unreadable]


def _asked(this: Pass, uids: Sequence[int]) -> dict[int, Envelope]:
    """What the server delivers of `uids`, and nothing that was not asked for."""
    came: dict[int, Envelope] = {}
    allowed = set(uids)
    for envelope in this.going.step().envelopes(uids):
        if envelope.uid in allowed:
            came.setdefault(envelope.uid, envelope)
    return came


def _store(this: Pass, envelopes: Sequence[Envelope], *, done: int = 0) -> None:
    """One batch: the messages, the folder's progress, the run's count and the beat of the lease, all or nothing."""
    with this.going.writing() as session:
        rows.insert(session, this.folder.id, this.generation, envelopes)
        stored = 0 if this.is_successor else len(envelopes)
        change(session, this.folder, {"run_done": done, "stored": stored})
        this.going.count(new=len(envelopes))


def _settle_doubts(this: Pass) -> None:
    """Tell messages that went away while we read from those that the server has and cannot, or will not, deliver."""
    if not this.doubtful:
        return
    reopened(this)
    present = listed(this.going)
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


def _store_flags(this: Pass) -> None:
    changed = [uid for uid, flags in this.stored.items() if this.listing.get(uid, flags) != flags]
    for uids in _batches(this, changed):
        with this.going.writing() as session:
            flags = {uid: this.listing[uid] for uid in uids}
            flags = overlay.kept(session, this.folder.id, this.generation, flags)
            rows.update_flags(session, this.folder.id, this.generation, flags)
            this.going.count(changed=len(uids))


def _forget_gone(this: Pass) -> None:
    """Delete what the server does not list any more, if the list is whole."""
    if not this.is_whole:
        return
    gone = [uid for uid in this.stored if uid not in this.listing]
    for uids in _batches(this, gone):
        with this.going.writing() as session:
            rows.delete_uids(session, this.folder.id, this.generation, uids)
            if not this.is_successor:
                change(session, this.folder, {"stored": -len(uids)})
            this.going.count(gone=len(uids))
    for uid in gone:
        del this.stored[uid]
