"""The settings of the company."""

from collections.abc import Iterable
from typing import Protocol

from wtforms import BooleanField, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from mailadmin.form import Form, options
from mailadmin.organisation.service import KEEPABLE_KILOBYTES, KEEPABLE_MONTHS, NAME_LENGTH
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
    team_accounts_use_slots = BooleanField(t("Accounts of teams count among a worker’s five"))
    teams_have_many_accounts = BooleanField(t("A team may have several accounts"))
    workers_add_accounts = BooleanField(t("Workers add personal accounts by themselves"))
    own_domains = TextAreaField(t("Your own domains"))
    free_mail_contacts = BooleanField(t("People at free-mail providers become contacts"))
    sender = SelectField(t("E-mail from this console is sent through"), coerce=_number)

    second_factor = BooleanField(t("Everybody needs a second factor"))
    text_kilobytes = SelectField(t("Keep of each message’s text"), coerce=_number)
    activity_months = SelectField(t("Keep the audit log for"), coerce=_number)

    def offer_kilobytes(self) -> None:
        """Let one of the amounts be chosen that may be kept of a text."""
        self.text_kilobytes.choices = options(
            (n, t("the first {n} KB", n=n) if n else t("only its first lines")) for n in KEEPABLE_KILOBYTES
        )

    def offer_months(self) -> None:
        """Let one of the lengths be chosen for which the audit log may be kept."""
        self.activity_months.choices = options(
            (n, t("{n} months", n=n) if n < 24 else t("{n} years", n=n // 12)) for n in KEEPABLE_MONTHS
        )

    def offer_senders(self, senders: Iterable[_Sender], present: _Sender | None) -> None:
        """Let one of `senders` be chosen, the `present` one in any case, or nobody."""
        found = {each.id: each.address for each in (*([present] if present else []), *senders)}
        by_address = sorted(found.items(), key=lambda pair: pair[1])
        nobody = t("Nobody: links are copied by hand")
        self.sender.choices = options([("", nobody), *by_address])
