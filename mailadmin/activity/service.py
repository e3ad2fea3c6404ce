"""Writing and reading the audit trail."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.activity.models import Activity
from mailadmin.permissions import Actor


def record(session: Session, actor: Actor, what: str, *, detail: str = "", account_id: int | None = None) -> None:
    """Note that `actor` did `what`, a phrase that follows the name ("deleted billing@example.net"), without secrets."""
    session.add(
        Activity(
            person_id=actor.person_id,
            person_name=actor.name,
            from_address=actor.address[:60],  # what a proxy says
            what=what[:300],
            detail=detail,
            account_id=account_id,
        )
    )


def of_account(session: Session, account_id: int, *, limit: int = 10) -> Sequence[Activity]:
    """The last entries about an account, newest first."""
    return session.scalars(
        select(Activity).where(Activity.account_id == account_id).order_by(Activity.id.desc()).limit(limit)
    ).all()
