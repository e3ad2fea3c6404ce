"""The form of a template that people begin a message with."""

from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from mailadmin.form import VersionedForm
from mailadmin.text import t
from mailadmin.writing.templates import NAME_LENGTH, SUBJECT_LENGTH, TEXT_LENGTH


def _at_most(number: int) -> Length:
    return Length(max=number, message=t("At most {n} characters can stand here.", n=f"{number:,}"))


class TemplateForm(VersionedForm):
    """What a template is called, and what it puts into a message."""

    letters = frozenset({"subject", "text"})

    name = StringField(t("Name"), [InputRequired(t("Give the template a name.")), _at_most(NAME_LENGTH)])
    subject = StringField(t("Subject"), [_at_most(SUBJECT_LENGTH)])
    text = TextAreaField(t("Text"), [InputRequired(t("Type the text of the template.")), _at_most(TEXT_LENGTH)])

    def wanted(self) -> dict[str, str]:
        """The form as the service wants it."""
        return {"name": self.name.data or "", "subject": self.subject.data or "", "text": self.text.data or ""}
