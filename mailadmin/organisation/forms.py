"""The settings of the company."""

from collections.abc import Iterable
from typing import Protocol

from wtforms import BooleanField, SelectField, StringField
from wtforms.validators import InputRequired, Length

from mailadmin.form import Form
from mailadmin.organisation.service import NAME_LENGTH
from mailadmin.text import t


class _Sender(Protocol):
    """What this floor has to know of an account."""

    @property
    def id(self) -> int: ...

    @property
    def address(self) -> str: ...


def _number(text: object) -> int | None:
    """What was chosen, as a number; None for nobody."""
    return int(str(text)) if text not in (None, "", "None") else None


class CompanyForm(Form):
    """Name, switch, and who sends what the console itself writes."""

    name = StringField(
        t("Name of the organisation"),
        [
            InputRequired(t("The name is missing.")),
            Length(max=NAME_LENGTH, message=t("At most {most} characters.", most=NAME_LENGTH)),
        ],
    )
    uses_mail = BooleanField(t("Use integrated e-mail"))
    sender = SelectField(t("E-mail from this console is sent through"), coerce=_number)

    def offer_senders(self, senders: Iterable[_Sender], present: _Sender | None) -> None:
        """Let one of `senders` be chosen, the `present` one in any case, or nobody."""
        found = {each.id: each.address for each in (*([present] if present else []), *senders)}
        by_address = sorted(found.items(), key=lambda pair: pair[1])
        nobody = t("Nobody: links are copied by hand")
        self.sender.choices = [("", nobody), *((str(id_), address) for id_, address in by_address)]
