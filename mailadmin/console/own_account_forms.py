"""The address of a new account of one's own."""

from wtforms import EmailField, HiddenField
from wtforms.validators import InputRequired, Length

from mailadmin.form import Form
from mailadmin.text import t


class OwnAddressForm(Form):
    """The address of a new account. `asked` is the domain whose answer stood on the page: it is taken for no other."""

    address = EmailField(
        t("E-mail address"),
        [InputRequired(t("The address is missing.")), Length(max=254, message=t("This is too long."))],
    )
    asked = HiddenField()
