"""The first set-up, sign-in, and the theme."""

from collections.abc import Sequence

from wtforms import EmailField, PasswordField, SelectField, StringField, ValidationError
from wtforms.validators import InputRequired, Length, Optional
from wtforms.widgets import HiddenInput

from mailadmin.errors import RuleBroken
from mailadmin.form import Form, options
from mailadmin.people import passwords, service
from mailadmin.people.models import Passkey
from mailadmin.text import t

LONG = t("At most {n} letters.", n=service.NAME_LENGTH)


class SetupForm(Form):
    """The first administrator."""

    code = StringField(
        t("Set-up code"),
        [InputRequired(t("The code is missing. It is part of the printed link."))],
    )
    organisation = StringField(
        t("Organisation"),
        [InputRequired(t("The name of the organisation is missing.")), Length(max=service.NAME_LENGTH, message=LONG)],
    )
    name = StringField(
        t("Your name"),
        [InputRequired(t("Your name is missing.")), Length(max=service.NAME_LENGTH, message=LONG)],
    )
    email = EmailField(t("Your e-mail address"), [InputRequired(t("Your address is missing."))])
    password = PasswordField(t("Password"), [InputRequired(t("The password is missing."))])

    # The service asks the same again; asked here, everything that is wrong is said at once.
    def validate_email(self, field: EmailField) -> None:
        try:
            service.checked_email(field.data)
        except RuleBroken as broken:
            raise ValidationError(broken.message) from broken

    def validate_password(self, field: PasswordField) -> None:
        try:
            company, name = self.organisation.data or "", self.name.data or ""
            passwords.check(field.data, email=self.email.data or "", name=name, organisation=company)
        except RuleBroken as broken:
            raise ValidationError(broken.message) from broken


class SignInForm(Form):
    """Address and password."""

    email = EmailField(t("E-mail address"), [InputRequired(t("The address is missing."))])
    password = PasswordField(t("Password"), [InputRequired(t("The password is missing."))])


class PasswordForm(Form):
    """A new password, for whoever has a link. The address is for password managers, and not read."""

    email = EmailField(t("E-mail address"), [Optional()])
    password = PasswordField(t("New password"), [InputRequired(t("The password is missing."))])


class CodeForm(Form):
    """What an authenticator shows, or a recovery code."""

    code = StringField(
        t("Code"), [InputRequired(t("The code is missing.")), Length(max=60, message=t("This is too long."))]
    )


class NewPasskeyForm(Form):
    """What somebody calls a passkey; what it answers comes from a script."""

    name = StringField(t("Name of a new passkey"), [Length(max=60, message=t("At most {n} letters.", n=60))])
    answer = StringField(widget=HiddenInput())


class ProofForm(Form):
    """One's password once more, before something that makes the sign-in weaker."""

    password = PasswordField(t("Your password"), [InputRequired(t("The password is missing."))])


class RemovePasskeyForm(ProofForm):
    """Which of one's passkeys is removed."""

    passkey = SelectField(t("Passkey"), coerce=int)

    def offer(self, keys: Sequence[Passkey]) -> None:
        """Let one of `keys` be chosen."""
        self.passkey.choices = options((key.id, key.name) for key in keys)
