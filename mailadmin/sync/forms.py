"""The forms of the last two steps of a set-up: which folders, and how far back."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from wtforms import RadioField, SelectChoice, SelectField, SelectMultipleField, ValidationError
from wtforms.fields.choices import Choice
from wtforms.widgets import CheckboxInput

from mailadmin.accounts.models import Account, NewContacts, Window
from mailadmin.form import Form
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import Role, ServerProtocol
from mailadmin.sync.folders import MAPPED, Seen
from mailadmin.text import t

CREATE = "//create"  # instead of a path; a folder that is really called so cannot be created here
_MOST_CHOICES = 500
_NONE = {
    Role.INBOX: "Choose a folder…",
    Role.SENT: "No sent folder",
    Role.DRAFTS: "No drafts folder",
    Role.TRASH: "No trash",
    Role.JUNK: "No junk folder",
    Role.ARCHIVE: "No archive",
}


class Ticks(SelectMultipleField):
    """Checkboxes of which there may be ten thousand: whether one is ticked costs the same however many are."""

    def iter_choices(self) -> list[Choice]:
        """All choices; the values are texts."""
        ticked = set(self.data or ())
        return [Choice(c.value, c.label, c.value in ticked, c.render_kw) for c in self.choices or []]


class FoldersForm(Form):
    """Which folder has which role, and which folders are synced. The values are the folders' paths, or CREATE.

    `creatable` are the roles for which a folder can be created, with its path. With `only_active` no roles are asked
    for, as for POP3, which has one folder.
    """

    role_inbox = SelectField(t("Inbox"))
    role_sent = SelectField(t("Sent"))
    role_drafts = SelectField(t("Drafts"))
    role_trash = SelectField(t("Trash"))
    role_junk = SelectField(t("Junk"))
    role_archive = SelectField(t("Archive"))
    active = Ticks(t("Folders to sync"), option_widget=CheckboxInput())

    def __init__(
        self, folders: Sequence[Seen], *, creatable: Mapping[Role, str], only_active: bool = False, **kwargs: Any
    ) -> None:
        present = [f for f in folders if not f.is_gone]
        held = {f.role: CREATE if f.is_wished else f.path for f in present if f.role in MAPPED}
        chosen = {f"role_{role.value}": path for role, path in held.items() if role}
        likely = _likely([f for f in present if not f.locked and not f.is_wished])
        super().__init__(data={**chosen, "active": [f.path for f in present if f.is_active]}, **kwargs)
        for role, field in self.roles().items():
            if only_active:
                del self[f"role_{role.value}"]
                continue
            field.choices = [
                *self._new(role, creatable),
                *(SelectChoice(path, visible(path)) for path in likely),
                SelectChoice("", t(_NONE[role])),
            ]
            if field.raw_data is None:  # Nothing was sent, and without a folder the first choice must not seem chosen.
                field.data = field.data or ""
        self.active.choices = [SelectChoice(f.path, visible(f.path)) for f in present]

    def _new(self, role: Role, creatable: Mapping[Role, str]) -> list[SelectChoice]:
        if role not in creatable:
            return []
        return [SelectChoice(CREATE, t("Create “{name}” on the server", name=visible(creatable[role])))]

    def roles(self) -> Mapping[Role, SelectField]:
        """The select of each role that is asked for."""
        return {role: self[f"role_{role.value}"] for role in MAPPED if f"role_{role.value}" in self}

    def wished(self) -> Collection[Role]:
        """The roles for which a folder is to be created."""
        return [role for role, field in self.roles().items() if field.data == CREATE]


def _likely(folders: Sequence[Seen]) -> list[str]:
    """The paths of the folders that may be chosen for a purpose; of very many those that lie highest."""
    if len(folders) <= _MOST_CHOICES:
        return [folder.path for folder in folders]
    depths = {f.path: (f.role is None, f.path.count(f.delimiter) if f.delimiter else 0) for f in folders}
    kept = set(sorted(depths, key=lambda path: depths[path])[:_MOST_CHOICES])
    return [folder.path for folder in folders if folder.path in kept]


class WindowForm(Form):
    """How far back mail is synced, and whose addresses become contacts."""

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
    new_contacts = RadioField(
        t("New contacts"),
        choices=[
            SelectChoice(NewContacts.NOBODY.value, t("Nobody")),
            SelectChoice(NewContacts.WRITTEN_TO.value, t("Only people we wrote to")),
            SelectChoice(NewContacts.EVERYBODY.value, t("Everybody")),
        ],
    )

    def __init__(self, account: Account, chosen: Mapping[str, str]) -> None:
        """The last questions about `account`; `chosen` was answered before, on the way to a dry run.

        POP3 has no Sent folder that would say whom we wrote to.
        """
        self.has_sent = account.protocol is not ServerProtocol.POP3
        wanted = account.new_contacts
        if wanted is NewContacts.WRITTEN_TO and not self.has_sent:  # It was copied from an account with IMAP.
            wanted = NewContacts.NOBODY
        asked = {"window": account.window.value, "new_contacts": wanted.value}
        super().__init__(data={name: chosen.get(name, value) for name, value in asked.items()})

    def validate_new_contacts(self, field: RadioField) -> None:
        if field.data == NewContacts.WRITTEN_TO and not self.has_sent:
            raise ValidationError(t("POP3 has no Sent folder, so we cannot see whom you wrote to."))
