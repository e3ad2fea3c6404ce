"""The first set-up, sign-in, and the theme."""

from wtforms import EmailField, PasswordField, StringField, ValidationError
from wtforms.validators import InputRequired, Length

from mailadmin.errors import RuleBroken
from mailadmin.form import Form
from mailadmin.people import passwords, service
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
            passwords.check(field.data, email=self.email.data or "", name=self.name.data or "")
        except RuleBroken as broken:
            raise ValidationError(broken.message) from broken


class SignInForm(Form):
    """Address and password."""

    email = EmailField(t("E-mail address"), [InputRequired(t("The address is missing."))])
    password = PasswordField(t("Password"), [InputRequired(t("The password is missing."))])
