"""The settings of the company."""

from wtforms import BooleanField, StringField
from wtforms.validators import InputRequired, Length

from mailadmin.form import Form
from mailadmin.organisation.service import NAME_LENGTH
from mailadmin.text import t


class CompanyForm(Form):
    """Name and switch."""

    name = StringField(
        t("Name of the company"),
        [
            InputRequired(t("The name is missing.")),
            Length(max=NAME_LENGTH, message=t("At most {most} characters.", most=NAME_LENGTH)),
        ],
    )
    uses_mail = BooleanField(t("Use integrated e-mail"))
