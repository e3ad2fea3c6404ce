"""What the owner of a personal account lets others see of its mail: on the pages of contacts, and nowhere else."""

from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Kind, Visibility
from mailadmin.activity import service as activity
from mailadmin.errors import NotFound
from mailadmin.people.models import Person
from mailadmin.permissions import Actor
from mailadmin.text import t

WORDS = {
    Visibility.NOTHING: "Nothing",
    Visibility.METADATA: "That there was mail, and when",
    Visibility.SUBJECT: "Also its subject",
    Visibility.EVERYTHING: "Also its text",
}


def change_visibility(
    session: Session, account: Account, *, visibility: Visibility, person: Person, actor: Actor
) -> None:
    """Let others see so much of the mail of `account`, which is `person`'s own. Raises NotFound for anybody else."""
    if account.kind is not Kind.PERSONAL or account.owner_id != person.id or account.deleting_at is not None:
        raise NotFound(t("There is no such mailbox, or it is not yours."))
    if account.visibility is visibility:
        return
    account.visibility = visibility
    what = f"changed what others see of {account.address}"
    activity.record(session, actor, what, detail=visibility.value, account_id=account.id)
    session.flush()
