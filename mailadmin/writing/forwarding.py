"""Fetches the files of a message that is forwarded, when it is sent."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.access import service as access
from mailadmin.errors import MailAdminError, NotFound
from mailadmin.sync import fetching, reading
from mailadmin.sync.models import Folder, Message
from mailadmin.text import t
from mailadmin.writing import service
from mailadmin.writing.models import OutgoingFile, OutgoingMessage


class FilesMissing(MailAdminError):
    """A file cannot be fetched; `permanent`: nor later."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


def fetch(outgoing_id: int) -> None:
    """See to it that all files of a message are here. Raises FilesMissing, and RuleBroken if they are too much.

    Talks to the server where the forwarded message is, in transactions of its own; what was fetched once stays.
    """
    with db.reading() as session:
        missing = _missing(session, outgoing_id)
    for file in missing:
        with db.reading() as session:
            about = _about(session, outgoing_id, file)
        assert file.place is not None
        if not _take_over(file, about):
            fetching.fetch_files(about[1], [file.place])
            if not _take_over(file, about):
                raise _failed(file, about)
        with db.reading() as session:  # What it was said to have may have been less.
            service.check_size(session, outgoing_id)


def _missing(session: Session, outgoing_id: int) -> list[OutgoingFile]:
    query = select(OutgoingFile).where(OutgoingFile.outgoing_id == outgoing_id, OutgoingFile.content.is_(None))
    return list(session.scalars(query.order_by(OutgoingFile.id)))


def _about(session: Session, outgoing_id: int, file: OutgoingFile) -> tuple[int, int]:
    """Account and id of the forwarded message, which the person may still read. Raises FilesMissing."""
    outgoing = session.get(OutgoingMessage, outgoing_id)
    if outgoing is not None and outgoing.about_id is not None and file.place is not None:
        where = select(Folder.account_id).join(Message, Message.folder_id == Folder.id)
        account_id = session.scalar(where.where(Message.id == outgoing.about_id))
        try:
            if account_id is not None:
                access.get_visible(session, outgoing.person, account_id)
                return account_id, outgoing.about_id
        except NotFound as error:
            raise _gone(file) from error
    raise _gone(file)


def _gone(file: OutgoingFile) -> FilesMissing:
    said = t("“{name}” cannot be fetched, since the message that you forward is not there any more. Remove the file.",
             name=file.name)  # fmt: skip
    return FilesMissing(said, permanent=True)


def _take_over(file: OutgoingFile, about: tuple[int, int]) -> bool:
    """Copy a file that lies here for an hour into the message; False if it does not."""
    part = _part(file, about)
    with db.reading() as session:
        if not reading.are_kept(session, part):
            return False
        content = b"".join(reading.pieces(session, part))
    with db.transaction() as session:
        row = session.get(OutgoingFile, file.id)
        if row is not None:
            row.content, row.size = content, len(content)
    return True


def _part(file: OutgoingFile, about: tuple[int, int]) -> dict[str, object]:
    assert file.place is not None
    try:
        with db.reading() as session:
            return reading.open_message(session, *about).parts[file.place]
    except (NotFound, IndexError) as error:
        raise _gone(file) from error


def _failed(file: OutgoingFile, about: tuple[int, int]) -> FilesMissing:
    """Why it could not be fetched: what the fetching has noted, or, where it noted nothing, that others were at it."""
    why = str(_part(file, about).get("trouble") or "")
    if not why:
        busy = t("“{name}” could not be fetched at the moment.", name=file.name)
        return FilesMissing(busy, permanent=False)
    said = t("“{name}” could not be fetched: {why} Remove the file, or try again later.", name=file.name, why=why)
    return FilesMissing(said, permanent=True)
