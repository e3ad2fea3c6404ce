"""What all our forms can do: show a broken rule at its field, and notice that somebody else was faster."""

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from flask_wtf import FlaskForm
from wtforms import Field, IntegerField, PasswordField, SelectChoice, StringField
from wtforms.fields.core import UnboundField
from wtforms.form import BaseForm
from wtforms.validators import Optional
from wtforms.widgets import HiddenInput

from mailadmin.errors import RuleBroken
from mailadmin.text import is_written

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(typed: str | None) -> str | None:
    """What was typed, without what cannot be seen: it comes from pasting, and may hide something."""
    return typed and "".join(c for c in typed if is_written(c) or c in "\r\n\t")


def storable(typed: str | None) -> str | None:
    """What was typed, without control characters alone: no database wants them. All else is a writer's own affair."""
    return typed and _CONTROL.sub("", typed)


def options(pairs: Iterable[tuple[object, str]]) -> list[SelectChoice]:
    """What a field lets somebody choose from: pairs of a value and its words."""
    return [SelectChoice(str(value), words) for value, words in pairs]


class Form(FlaskForm):
    """A form that a service may refuse. Its text fields take nothing that cannot be seen; those of `letters` are what
    somebody writes to others, and take all but control characters. Passwords are left as they are."""

    letters: ClassVar[frozenset[str]] = frozenset()

    class Meta(FlaskForm.Meta):
        def bind_field(self, form: BaseForm, unbound_field: UnboundField, options: dict[str, Any]) -> Field:
            field = unbound_field.bind(form=form, **options)
            if isinstance(field, StringField) and not isinstance(field, PasswordField):
                clean = storable if field.short_name in getattr(form, "letters", ()) else printable
                field.filters = [*field.filters, clean]
            return field

    def refuse(self, broken: RuleBroken) -> None:
        """Show the rule that was broken, at its field if it has one."""
        if broken.field and broken.field in self:
            field = self[broken.field]
            field.errors = [*field.errors, broken.message]
        else:
            self.form_errors.append(broken.message)


class VersionedForm(Form):
    """A form about a row that two people may change at once; it carries the version that it was filled from."""

    version = IntegerField(widget=HiddenInput(), validators=[Optional()])

    def renew_version(self, version: int) -> None:
        """Let the next try replace what somebody else saved, now that the person was told."""
        self.version.data, self.version.raw_data = version, None
