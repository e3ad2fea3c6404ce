"""The audit: every folder that is synced is compared with the server in full, repaired, and compared again.

How it works. An audit is a sync run of the kind AUDIT. First it is a run like any other, so that ordinary news are no
difference. Then each folder is passed once more, which costs little where nothing happens, and looked at: it is opened,
all UIDs and flags are listed, and against them stand our rows. Every number is counted anew, none is taken from what a
pass has noted. What differs is repaired by a pass that trusts nothing, and the folder is looked at again.

What is a difference. Something may happen in the mailbox while we look. The facts of the folder (quick.py) are compared
before and after the list: if they are those of the pass, the list shows what the pass should have stored. If they move,
that is news, and the next pass follows it. In a mailbox that never rests only what differs in two looks counts, with a
pass in between. Messages about which a person's change still waits to be told to the server are left out.

What is kept. `Folder.audit` holds the numbers: `server` and `stored` (within the window), `unreadable` and `why` (pairs
of a reason and how many), what was found at first: `missing`, `extra`, `flags`, and what is `left` after the repairs.
`SyncRun.found` lists the folders where there was something. What that means for the account is in audited.py.
"""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.sync import passes, quick, rows
from mailadmin.sync.aim import Pass, listed, opened
from mailadmin.sync.audited import REASONS, differs, synced
from mailadmin.sync.going import Going
from mailadmin.sync.models import ChangeState, Folder, Message, PendingChange, SyncRun
from mailadmin.text import t

ROUNDS = 4
SHOWN = 100  # folders with differences that a run keeps


# One folder.


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison: how many messages there are on both sides, and the UIDs of what differs.

    `is_calm`: nothing happened meanwhile. `uncounted` is by how much the server's list and its own count disagree.
    """

    is_calm: bool
    server: int
    stored: int
    missing: frozenset[int]
    extra: frozenset[int]
    flags: frozenset[int]
    uncounted: int = 0

    @property
    def differences(self) -> int:
        """How many messages are not as they must be."""
        return len(self.missing) + len(self.extra) + len(self.flags) + self.uncounted

    def persisting(self, before: "Look | None") -> "Look | None":
        """What can be blamed on us: everything in calm, else what differed `before` too; None: nobody can tell yet."""
        if self.is_calm:
            return self
        if before is None:
            return None
        both = self.missing & before.missing, self.extra & before.extra, self.flags & before.flags
        return Look(True, self.server, self.stored, *both, min(self.uncounted, before.uncounted))


def compare(going: Going, folder_id: int) -> None:
    """Sync the folder, compare it in full, repair what differs, and note what was found and what is left.

    Raises what `passes.follow` raises; then the folder has not been audited.
    """
    first = last = before = None
    for _ in range(ROUNDS):
        passes.follow(going, folder_id)
        look = _look(going, folder_id)
        if look is None:
            return
        told = look.persisting(before)
        before = look
        if told is not None:
            first, last = first or told, told
            if not told.differences:
                break
            _distrust(going, folder_id)
    if first is not None and last is not None:
        _note(going, folder_id, first, last)


def _look(going: Going, folder_id: int) -> Look | None:
    """Compare what is stored with what the server lists; None for a folder that is not synced any more."""
    with db.reading() as session:
        folder = session.get(Folder, folder_id)
    if folder is None or not folder.is_active or folder.is_gone:
        return None
    state = opened(going, folder.path)
    this = Pass(going, folder, state, folder.generation, folder.first_uid)
    this.listing = listed(going)
    after = opened(going, folder.path)
    wanted = passes.wanted(this)
    with db.reading() as session:
        stored = rows.stored_flags(session, folder.id, folder.generation)
        waiting = _waiting(session, folder)
    listing = this.listing
    return Look(
        is_calm=state == after
        and quick.facts(folder) == (after.uidvalidity, after.uidnext, after.messages, after.modseq),
        server=len(wanted | (stored.keys() & listing.keys())),
        stored=len(stored),
        missing=frozenset(wanted - stored.keys() - waiting),
        extra=frozenset(stored.keys() - listing.keys() - waiting),
        flags=frozenset(u for u, f in stored.items() if listing.get(u, f) != f and u not in waiting),
        uncounted=min(abs(len(listing) - counted.messages) for counted in (state, after)),
    )


def _waiting(session: Session, folder: Folder) -> set[int]:
    """The UIDs of messages about which the server has not heard yet what a person did to them here."""
    waiting = PendingChange.folder_id == folder.id, PendingChange.state == ChangeState.WAITING
    return {uid for uid in session.scalars(select(PendingChange.uid).where(*waiting)) if uid is not None}


def _distrust(going: Going, folder_id: int) -> None:
    """Let the next pass compare everything, whatever the facts of the folder say."""
    with going.writing() as session:
        folder = session.get(Folder, folder_id)
        if folder is not None:
            folder.is_complete, folder.modseq = False, None


def _note(going: Going, folder_id: int, first: Look, last: Look) -> None:
    with going.writing() as session:
        row = session.get(Folder, folder_id)
        if row is None:
            return
        why = _reasons(session, row)
        row.audited_at = db.now()
        row.audit = {
            "server": last.server,
            "stored": last.stored,
            "unreadable": sum(number for _, number in why),
            "why": why[:REASONS],
            "missing": len(first.missing),
            "extra": len(first.extra),
            "flags": len(first.flags),
            "left": last.differences,
        }
        if last.differences:
            row.is_complete = False
            row.trouble = _left(last)


def _left(last: Look) -> str:
    if last.uncounted:
        return t("The server counts other messages than it lists.") + " " + t("The next sync looks again.")
    said = t("1 difference") if last.differences == 1 else t("{n} differences", n=f"{last.differences:,}")
    return t("{differences} from the server could not be repaired.", differences=said)


def _reasons(session: Session, folder: Folder) -> list[tuple[str, int]]:
    """Why messages of the folder are unreadable, and how many for each reason, the commonest first."""
    number = func.count().label("number")
    mine = Message.folder_id == folder.id, Message.generation == folder.generation, Message.unreadable != ""
    query = select(Message.unreadable, number).where(*mine).group_by(Message.unreadable)
    return [(reason, int(n)) for reason, n in session.execute(query.order_by(number.desc(), Message.unreadable))]


# The account.


def sum_up(going: Going) -> None:
    """Keep with the run in which folders there was something; that it is there says that the audit took place."""
    with going.writing() as session:
        run = session.get(SyncRun, going.run_id)
        if run is not None and run.started_at is not None:
            began = run.started_at
            rows_ = [f for f in synced(session, going.account_id) if f.audited_at and f.audited_at >= began]
            run.found = [{"folder": f.path, **f.audit} for f in rows_ if f.audit and differs(f.audit)][:SHOWN]
