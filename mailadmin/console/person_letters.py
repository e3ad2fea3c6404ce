"""What we write to people about their passwords."""

from sqlalchemy.orm import Session

from mailadmin.notices import service as notices
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.text import t


def about(person: Person) -> str:
    """What the notices with a link for `person` are about."""
    return f"person:{person.id}"


def send_link(session: Session, person: Person, link: str, *, asked_by: str) -> None:
    """Owe `person` the link with which they choose a password; earlier ones are not sent any more."""
    company = organisation.name(session) or t("your organisation")
    notices.take_back(session, about(person))
    if asked_by == person.name:
        why = t("you asked for a new password for the mail console of {company}.", company=company)
        lasts = t("The link works once, within an hour. If you did not ask for it, do nothing:\nyour password stays.")
    else:
        why = t("{who} lets you use the mail console of {company}.", who=asked_by, company=company)
        lasts = t("The link works once, within seven days. It is for you alone.")
    text = t("Hello {name},\n\n{why}\nChoose a password here:\n\n{link}\n\n{lasts}\n")
    notices.put(
        session,
        recipient=person.email,
        subject=t("Your password for the mail console of {company}", company=company),
        text=text.format(name=person.name, why=why, link=link, lasts=lasts),
        about=about(person),
    )
