"""The form with which people write a message."""

from collections.abc import Sequence

from wtforms import BooleanField, HiddenField, MultipleFileField, SelectField, StringField, TextAreaField

from mailadmin import web
from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.form import VersionedForm, options
from mailadmin.text import t
from mailadmin.writing.addresses import WrongRecipients
from mailadmin.writing.models import OutgoingMessage


class ComposerForm(VersionedForm):
    """A message as it is typed. What is wrong with it is said by the service, and nothing typed is lost.

    `window` tells the pages of one person apart: see writing_windows.py.
    """

    letters = frozenset({"subject", "text"})

    window = HiddenField()
    account_id = SelectField(t("From"), coerce=lambda value: web.row_id(str(value)), validate_choice=False)
    to = StringField(t("To"))
    cc = StringField(t("Cc"))
    bcc = StringField(t("Bcc"))
    subject = StringField(t("Subject"), id="composer-subject")  # The message above has a subject, too.
    text = TextAreaField(t("Message"))
    quotes = BooleanField(t("Put the quoted text below"))
    files = MultipleFileField(t("Attach files"))

    is_kept = False  # what was typed is stored
    senders: Sequence[Account] = ()  # the accounts as which this person may send

    def offer(self, senders: Sequence[Account], outgoing: OutgoingMessage) -> None:
        """Let one of `senders` stand in From; the account of the draft stays there, also when it may not send now."""
        accounts = [*senders, *([] if outgoing.account in senders else [outgoing.account])]
        self.senders = senders
        self.account_id.choices = options((each.id, _called(each, outgoing)) for each in accounts)
        if self.account_id.data is None:  # Sent without it, or with what is no number.
            self.account_id.data = outgoing.account_id

    def refuse(self, broken: RuleBroken) -> None:
        """Show what is wrong; of recipients, what is wrong in each field."""
        if isinstance(broken, WrongRecipients):
            for field, said in broken.fields.items():
                super().refuse(RuleBroken(said, field=field))
        else:
            super().refuse(broken)

    @property
    def told(self) -> list[str]:
        """Everything that is wrong, in sentences."""
        return [*self.form_errors, *(said for field in self for said in field.errors)]

    @property
    def copies(self) -> bool:
        """Whether Cc and Bcc have to be seen."""
        return any((self.cc.data, self.bcc.data, self.cc.errors, self.bcc.errors))


def _called(account: Account, outgoing: OutgoingMessage) -> str:
    name = account.sender_name or outgoing.person.name
    return f"{name}, {account.sender_address or account.address}"
