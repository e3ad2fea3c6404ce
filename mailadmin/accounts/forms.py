"""What the owner of a personal account decides about it."""

from typing import Any

from wtforms import RadioField, SelectChoice

from mailadmin.accounts.models import Account, Visibility
from mailadmin.accounts.visibility import WORDS
from mailadmin.form import Form
from mailadmin.text import t


class VisibilityForm(Form):
    """How much of the mail with a contact others see."""

    visibility = RadioField(t("What colleagues see of it on the page of a contact"))

    def __init__(self, account: Account, **values: Any) -> None:
        super().__init__(data={"visibility": account.visibility.value}, **values)
        self.visibility.choices = [SelectChoice(each.value, t(word)) for each, word in WORDS.items()]

    @property
    def wanted(self) -> Visibility:
        """What was chosen."""
        return Visibility(self.visibility.data)
