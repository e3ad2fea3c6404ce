"""Errors whose message is a sentence for the person at the screen."""


class MailAdminError(Exception):
    """Something that a person can read and act on; `message` is the sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(MailAdminError):
    """There is no such thing, or it is not for this person; the page answers 404."""


class RuleBroken(MailAdminError):
    """The wish breaks a rule; `field` names the form field that has to change, where there is one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class SettingMissing(MailAdminError):
    """The installation lacks a setting; the message says which and how to give it."""
