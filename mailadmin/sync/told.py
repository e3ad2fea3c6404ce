"""How telling the server of one change ended, and what its refusals mean for the person who asked."""

from dataclasses import dataclass

from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category
from mailadmin.sync.models import ChangeState, Folder, PendingChange
from mailadmin.text import t

MOST_TRIES = 5
_NOT_NOW = {Category.UNAVAILABLE, Category.TIMEOUT, Category.NETWORK}
_GONE = ("[TRYCREATE]", "[NONEXISTENT]")


@dataclass(frozen=True, slots=True)
class End:
    """The `state` of a change after a try, with the `reason` as a sentence where there is something to say."""

    state: ChangeState
    reason: str = ""

    @classmethod
    def done(cls, remark: str = "") -> "End":
        """The server has it; `remark` is what the person should know of how."""
        return cls(ChangeState.DONE, remark)

    @classmethod
    def refused(cls, reason: str) -> "End":
        """It will never be, for this reason."""
        return cls(ChangeState.REFUSED, reason)

    @classmethod
    def later(cls, reason: str) -> "End":
        """Not now; the next run tries again."""
        return cls(ChangeState.WAITING, reason)

    @property
    def is_done(self) -> bool:
        """Whether the server has it."""
        return self.state is ChangeState.DONE

    @property
    def is_gone(self) -> bool:
        """Whether a message that was to leave its folder has left it."""
        return self.is_done and not self.reason


def refusal(refused: Refused, change: PendingChange, folder: Folder) -> End:
    """What it means for `change` that the server `refused` a command about `folder`."""
    said = refused.detail or refused.message
    if refused.category is Category.QUOTA or "[OVERQUOTA]" in said.upper():
        return End.refused(t("The mailbox is full, so the server did not take it. Delete something for good first."))
    if any(code in said.upper() for code in _GONE):
        return End.refused(t("The folder “{name}” is not on the server any more.", name=folder.name))
    if refused.category is Category.PERMISSION:
        return End.refused(t("The server does not permit this in “{name}”: {said}", name=folder.name, said=said))
    if refused.category in _NOT_NOW and change.tries + 1 < MOST_TRIES:
        return End.later(t("The server could not do it at the moment: {said}", said=said))
    return End.refused(t("The server refused it: {said}", said=said))
