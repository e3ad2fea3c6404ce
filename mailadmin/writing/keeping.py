"""How many drafts one person may have: what is begun is a row at once, and nobody may fill the database with rows."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mailadmin.errors import RuleBroken
from mailadmin.people.models import Person
from mailadmin.text import t
from mailadmin.writing.models import OutgoingMessage, Progress

MOST = 500  # that somebody wrote in
MOST_UNTOUCHED = 100  # pages that were only opened


def make_room(session: Session, person: Person) -> None:
    """Let one more be begun. Of those in which nobody wrote the oldest go; of the others there can be too many.

    Raises RuleBroken then.
    """
    mine = select(OutgoingMessage.id).where(OutgoingMessage.person_id == person.id)
    written = mine.where(OutgoingMessage.version > 1, OutgoingMessage.progress != Progress.SENT)
    if len(session.scalars(written.limit(MOST)).all()) >= MOST:
        raise RuleBroken(t("You have {n} drafts, and no more are kept. Send some of them, or discard them.", n=MOST))
    opened = mine.where(OutgoingMessage.version == 1, OutgoingMessage.progress == Progress.DRAFT)
    oldest = session.scalars(opened.order_by(OutgoingMessage.id.desc()).offset(MOST_UNTOUCHED - 1)).all()
    if oldest:
        session.execute(delete(OutgoingMessage).where(OutgoingMessage.id.in_(oldest)))
