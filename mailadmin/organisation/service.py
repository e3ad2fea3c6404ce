"""The company's name."""

from sqlalchemy.orm import Session

from mailadmin.organisation.models import Organisation

ONLY_ID = 1


def name(session: Session) -> str:
    """The company's name, empty before the first set-up."""
    row = session.get(Organisation, ONLY_ID)
    return row.name if row else ""


def rename(session: Session, *, name: str) -> None:
    """Call the company `name`."""
    row = session.get(Organisation, ONLY_ID)
    if row is None:
        session.add(Organisation(id=ONLY_ID, name=name))
    else:
        row.name = name
    session.flush()
