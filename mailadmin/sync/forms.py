"""The forms of the last two steps of a set-up: which folders, and how far back."""

from collections.abc import Mapping, Sequence
from typing import Any

from wtforms import RadioField, SelectChoice, SelectField, SelectMultipleField
from wtforms.widgets import CheckboxInput

from mailadmin.accounts.models import Window
from mailadmin.form import Form
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import Role
from mailadmin.sync.folders import MAPPED, Seen
from mailadmin.text import t


class FoldersForm(Form):
    """Which folder has which role, and which folders are synced. The values are the folders' paths."""

    role_inbox = SelectField(t("Inbox"))
    role_sent = SelectField(t("Sent"))
    role_drafts = SelectField(t("Drafts"))
    role_trash = SelectField(t("Trash"))
    role_junk = SelectField(t("Junk"))
    role_archive = SelectField(t("Archive"))
    active = SelectMultipleField(t("Folders to sync"), option_widget=CheckboxInput())

    def __init__(self, folders: Sequence[Seen], **kwargs: Any) -> None:
        super().__init__(
            data={
                **{f"role_{f.role.value}": f.path for f in folders if f.role in MAPPED and f.role and not f.is_gone},
                "active": [f.path for f in folders if f.is_active and not f.is_gone],
            },
            **kwargs,
        )
        present = [f for f in folders if not f.is_gone]
        for field in self.roles().values():
            field.choices = [
                SelectChoice("", t("No folder")),
                *(SelectChoice(f.path, visible(f.path)) for f in present if not f.locked),
            ]
        self.active.choices = [SelectChoice(f.path, visible(f.path)) for f in present]

    def roles(self) -> Mapping[Role, SelectField]:
        """The select of each role."""
        return {role: self[f"role_{role.value}"] for role in MAPPED}


class WindowForm(Form):
    """How far back mail is synced."""

    window = RadioField(
        t("Sync messages from"),
        choices=[
            SelectChoice(Window.NOW.value, t("From now on")),
            SelectChoice(Window.ONE_MONTH.value, t("1 month")),
            SelectChoice(Window.THREE_MONTHS.value, t("3 months")),
            SelectChoice(Window.SIX_MONTHS.value, t("6 months")),
            SelectChoice(Window.EVERYTHING.value, t("Everything")),
        ],
    )
