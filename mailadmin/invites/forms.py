"""What is typed for a connect link: where it goes, and the owner's password."""

from typing import Any

from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired

from mailadmin.form import Form
from mailadmin.mail.errors import Category
from mailadmin.mail.types import SignInMethod
from mailadmin.text import t


class AskForm(Form):
    """Where the link goes."""

    send_to = StringField(t("Send the link to"))


class OwnerForm(Form):
    """The password of the mailbox."""

    password = PasswordField(t("Password"), [InputRequired(t("Type the password of the mailbox."))])
    seen = HiddenField()  # the servers that the page has named, see ways.py

    def name_password(self, address: str, method: SignInMethod) -> None:
        """Say whose password is asked for, and which kind."""
        is_app = method is SignInMethod.APP_PASSWORD
        said = "App password for {address}" if is_app else "Password of {address}"
        self.password.label.text = t(said, address=address)

    def note_refusal(self, diagnosis: dict[str, Any] | None, host: str) -> None:
        """Say at the field that `host` refused the last password, where the `diagnosis` of the last try says so."""
        was_refused = diagnosis is not None and diagnosis.get("category") == Category.AUTH
        if was_refused and not (self.errors or self.form_errors):
            self.password.errors = [t("Refused by {host}.", host=host)]
