"""The forms with which people change mail: what to do with messages, and a new folder."""

from collections.abc import Sequence

from wtforms import SelectField, StringField
from wtforms.validators import Length

from mailadmin.form import Form, options
from mailadmin.mail.scrub import visible
from mailadmin.sync.models import Folder
from mailadmin.sync.new_folders import LONGEST_NAME
from mailadmin.text import t


def _called(folder: Folder) -> str:
    return t(str(folder.role).capitalize()) if folder.role else visible(folder.path)


class ActForm(Form):
    """Where messages go. The value is the id of a folder, or nothing."""

    target = SelectField(t("Move to"), validate_choice=False)

    def __init__(self, folders: Sequence[Folder], *, prefix: str = "") -> None:
        super().__init__(prefix=prefix)
        open_ones = [folder for folder in folders if not folder.locked]
        self.target.choices = options([("", t("Move to…")), *((folder.id, _called(folder)) for folder in open_ones)])


class NewFolderForm(Form):
    """What a new folder is called, and which one it is in."""

    name = StringField(t("Name"), validators=[Length(max=LONGEST_NAME)])
    parent = SelectField(t("Within"))

    def __init__(self, folders: Sequence[Folder]) -> None:
        super().__init__()
        holders = [folder for folder in folders if folder.delimiter and not folder.is_wished]
        self.parent.choices = options([("", t("No other folder")), *((f.id, _called(f)) for f in holders)])
