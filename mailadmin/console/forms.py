"""Questions before something goes away, and the filters of lists."""

from collections.abc import Iterable

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.validators import ValidationError

from mailadmin.text import t


class DeleteForm(FlaskForm):
    """Deletion on a click; the form only carries the token."""


class TypeToDeleteForm(FlaskForm):
    """Deletion that cannot be undone: the address has to be typed."""

    confirm = StringField()

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self.confirm.label.text = t("Type {address} to confirm", address=address)

    def validate_confirm(self, field: StringField) -> None:
        if (field.data or "").strip().lower() != self._address.lower():
            raise ValidationError(t("This is not {address}. Type it exactly.", address=self._address))


class AccountFilter(FlaskForm):
    """What narrows the list of accounts; it only reads, so it carries no token."""

    class Meta:
        csrf = False

    provider = SelectField(validate_choice=False)

    def __init__(self, providers: Iterable[tuple[int, str]], chosen: int | None) -> None:
        super().__init__(formdata=None, provider=str(chosen or ""))
        self.provider.label.text = t("Provider")
        self.provider.choices = [("", t("All providers")), *((str(id_), name) for id_, name in providers)]
