"""What stands under the messages that a person writes."""

import re

from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.errors import RuleBroken
from mailadmin.people.models import Person
from mailadmin.permissions import Actor
from mailadmin.text import t

LONGEST = 2000
_PLACEHOLDER = re.compile(r"\{(name|team|account)\}")


def set_signature(session: Session, person: Person, *, text: str, actor: Actor) -> None:
    """Let `text` stand under what `person` writes. Raises RuleBroken (field `signature`) if it is too long."""
    text = text.replace("\r\n", "\n").strip("\n").rstrip()
    if len(text) > LONGEST:
        raise RuleBroken(t("A signature can have {n} letters at most.", n=LONGEST), field="signature")
    if text == person.signature:
        return
    person.signature = text
    activity.record(session, actor, f"changed the signature of {person.name}", kind=ActivityKind.PEOPLE)
    session.flush()


def fill(text: str, *, name: str, team: str, account: str) -> str:
    """`text` with {name}, {team} and {account} replaced, in one pass; other braces stay, and so do those in values."""
    values = {"name": name, "team": team, "account": account}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
