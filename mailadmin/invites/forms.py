"""What is typed for a connect link: where it goes, and the owner's password."""

from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired

from mailadmin.form import Form
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
