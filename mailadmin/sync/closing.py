"""The end of a pass: count, say whether the folder is complete, and sweep up; see passes.py and quick.py."""

from mailadmin import db
from mailadmin.sync import rows
from mailadmin.sync.aim import Pass, change, row_of
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder
from mailadmin.text import t

SWEEP = 5000


def close(this: Pass) -> None:
    """Count, and say whether the folder is complete; a complete next generation takes its place in the same moment."""
    must = len(this.stored.keys() | this.wanted)
    with this.going.writing() as session:
        row = row_of(session, this.folder)
        total, unread, unreadable = rows.tally(session, row.id, this.generation)
        is_complete = this.is_whole and total == must
        if is_complete and this.is_successor:
            row.generation, row.uidvalidity = this.generation, this.state.uidvalidity
            row.next_generation = row.next_uidvalidity = None
            this.going.littered.add(row.id)
        if row.generation == this.generation:
            row.stored, row.unread, row.unreadable = total, unread, unreadable
        row.is_complete, row.wanted, row.synced_at = is_complete, len(this.wanted), db.now()
        row.uidnext, row.messages, row.modseq = this.state.uidnext, this.state.messages, this.state.modseq
        row.trouble = " ".join(filter(None, ["" if is_complete else _why(this, total, must), this.state.remark]))


def close_counted(this: Pass) -> bool:
    """The end of a pass that looked only at changes: count all rows, and move the sums; False if too many or few."""
    assert this.before is not None
    with this.going.writing() as session:
        total = rows.count(session, this.folder.id, this.generation)
        if total != this.state.messages:
            return False
        _, unread, unreadable = rows.tally_among(session, this.folder.id, this.generation, list(this.listing))
        change(
            session,
            this.folder,
            is_complete=True,
            stored=total,
            wanted=total,
            unread=Folder.unread + unread - this.before[1],
            unreadable=Folder.unreadable + unreadable - this.before[2],
            uidnext=this.state.uidnext,
            messages=this.state.messages,
            modseq=this.state.modseq,
            trouble=this.state.remark,
            synced_at=db.now(),
        )
    return True


def _why(this: Pass, total: int, must: int) -> str:
    if not this.is_whole:
        counted, listed = f"{this.state.messages:,}", f"{len(this.listing):,}"
        said = t("The server counts {counted} messages but lists {listed}.", counted=counted, listed=listed)
    else:
        said = t("{total} messages are stored instead of {must}.", total=f"{total:,}", must=f"{must:,}")
    return said + " " + t("The next sync looks again.")


def sweep_up(going: Going, before: Folder) -> None:
    """Delete the rows of generations that nobody sees or reads any more; `before` is the folder before the pass.

    There are none unless the survey has seen some, or the pass has begun, left or replaced a generation.
    """
    if before.id not in going.littered and before.next_generation is None:
        return
    with db.reading() as session:
        folder = session.get(Folder, before.id)
        if folder is None or not rows.with_leftovers(session, [folder]):
            return
    deleted = SWEEP
    while deleted == SWEEP:
        with going.writing() as session:
            deleted = rows.sweep(session, folder.id, _kept(folder), limit=SWEEP)


def _kept(folder: Folder) -> set[int]:
    return {folder.generation} if folder.next_generation is None else {folder.generation, folder.next_generation}
