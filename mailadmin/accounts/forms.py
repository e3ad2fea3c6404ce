"""What the owner of a personal account decides about it."""

from wtforms import RadioField, SelectChoice, SelectField, StringField
from wtforms.validators import Length

from mailadmin.accounts.models import Account, SentCopies, Visibility
from mailadmin.accounts.visibility import WORDS
from mailadmin.form import VersionedForm, options
from mailadmin.text import t

COPIES = {
    SentCopies.AUTOMATIC: "Automatic: unless the provider does it",
    SentCopies.ALWAYS: "Always",
    SentCopies.NEVER: "Never",
}


class OwnAccountForm(VersionedForm):
    """What an owner says of their account."""

    sender_name = StringField(t("Sender name"), [Length(max=120, message=t("At most 120 characters can stand here."))])
    sent_copies = SelectField(t("A copy of what you send goes to Sent"))
    visibility = RadioField(t("What colleagues see of it on the page of a contact"))

    def __init__(self, account: Account) -> None:
        names = ("sender_name", "version")
        values = {name: getattr(account, name) for name in names}
        values |= {"sent_copies": account.sent_copies.value, "visibility": account.visibility.value}
        super().__init__(data=values)
        self.sent_copies.choices = options((each.value, t(word)) for each, word in COPIES.items())
        self.visibility.choices = [SelectChoice(each.value, t(word)) for each, word in WORDS.items()]

    @property
    def copies(self) -> SentCopies:
        """What was chosen for copies."""
        return SentCopies(self.sent_copies.data)

    @property
    def shows(self) -> Visibility:
        """What was chosen for others to see."""
        return Visibility(self.visibility.data)
