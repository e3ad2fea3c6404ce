"""The end of a pass: count, say whether the folder is complete, and sweep up; see passes.py and quick.py."""

from typing import Any

from mailadmin import db
from mailadmin.sync import rows
from mailadmin.sync.aim import Pass, change
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder
from mailadmin.text import t

SWEEP = 5000


def close(this: Pass) -> None:
    """Count, and say whether the folder is complete; a complete next generation takes its place in the same moment."""
    must = len(this.stored.keys() | this.wanted)
    with this.going.writing() as session:
        total, unread, unreadable = rows.tally(session, this.folder.id, this.generation)
        is_complete = this.is_whole and total == must
        counts: dict[str, Any] = {"stored": total, "unread": unread, "unreadable": unreadable}
        if is_complete and this.is_successor:
            counts |= {"generation": this.generation, "uidvalidity": this.state.uidvalidity}
            counts |= {"next_generation": None, "next_uidvalidity": None}
            this.going.littered.add(this.folder.id)
        elif this.is_successor:
            counts = {}  # Those of the generation that people see go on to count.
        change(
            session,
            this.folder,
            **counts,
            **_facts(this),
            is_complete=is_complete,
            wanted=len(this.wanted),
            trouble=" ".join(filter(None, ["" if is_complete else _why(this, total, must), this.state.remark])),
            synced_at=db.now(),
        )


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
            {"unread": unread - this.before[1], "unreadable": unreadable - this.before[2]},
            is_complete=True,
            stored=total,
            wanted=total,
            **_facts(this),
            trouble=this.state.remark,
            synced_at=db.now(),
        )
    return True


def _facts(this: Pass) -> dict[str, int | None]:
    """What the server told of the folder before it was read; see quick.py."""
    return {"uidnext": this.state.uidnext, "messages": this.state.messages, "modseq": this.state.modseq}


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
