"""What the first two steps of a new account ask: the address, and how to sign in."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from wtforms import (
    EmailField,
    HiddenField,
    IntegerField,
    PasswordField,
    RadioField,
    SelectChoice,
    SelectField,
    StringField,
    ValidationError,
)
from wtforms.validators import Length, Optional
from wtforms.widgets import HiddenInput

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Kind
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.errors import RuleBroken
from mailadmin.form import VersionedForm
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.people.models import Person, Team
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.wizard.choices import Outlook
from mailadmin.wizard.forms import SHORT, KindForm
from mailadmin.wizard.ways import Ways

CHOOSE = "choose"  # somebody from the list
LONG = Length(max=254, message=t("At most 254 characters can stand here."))


def name_for(address: str) -> str:
    """What an account is called unless somebody names it: info.desk@example.com is Info Desk."""
    words = re.split(r"[._+-]+", address.strip().rpartition("@")[0])
    return " ".join(word[:1].upper() + word[1:] for word in words if word)[:120]


class AddressForm(KindForm):
    """Step 1. `asked` is the domain whose answers stood on the page: a choice is for that domain and no other."""

    address = EmailField(t("E-mail address"), [LONG])
    name = StringField(t("Account name"), [SHORT])
    sender_name = StringField(t("Sender name"), [SHORT])
    provider = SelectField(t("Provider"), validate_choice=False)
    way = RadioField(t("How is this mailbox reached?"), validate_choice=False)
    asked = HiddenField()
    copy = IntegerField(widget=HiddenInput(), validators=[Optional()])

    def __init__(self, *, people: Iterable[Person], teams: Iterable[Team], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offer_owners(people, teams)
        self.provider.choices, self.way.choices = [], []

    def validate_address(self, field: EmailField) -> None:
        as_validator(lambda: accounts.check_address(field.data or ""))

    def take_over(self, account: Account, *, is_itself: bool = False) -> None:
        """Fill in what `account` has; a copy gets another address and, where it had one, another name."""
        self.kind.data, self.owner_id.data = account.kind.value, account.owner_id or 0
        self.team.data = account.team.name if account.team else ""
        self.sender_name.data = account.sender_name
        if is_itself:
            self.address.data, self.name.data = account.address, account.name

    def chosen(self, seen: Outlook) -> str:
        """The key of what was chosen for this domain; empty where nobody has seen its answers yet, or has chosen."""
        if self.asked.data != seen.domain:
            return ""
        if self.way.data and self.way.data != CHOOSE:
            return str(self.way.data)
        return str(self.provider.data or "")

    def offer(self, everybody: Iterable[tuple[str, str, str]], ways: Sequence[tuple[str, str]], seen: Outlook) -> None:
        """Let somebody choose among `everybody` (key, name, group), and among `ways` where nothing is proposed."""
        options = [SelectChoice(key, name, optgroup=group or None) for key, name, group in everybody]
        if any(option.optgroup for option in options):  # A select is flat, or all of it is in groups.
            options = [replace(option, optgroup=option.optgroup or t("Found")) for option in options]
        # The list is sent even while nobody sees it: its first line must be nobody's.
        self.provider.choices = [*([SelectChoice("", t("Choose a provider…"))] if ways else []), *options]
        self.way.choices = [SelectChoice(key, name) for key, name in ways]
        if self.asked.data != seen.domain:
            self.provider.data = seen.proposed.key if seen.proposed else None
            self.way.data = ways[0][0] if ways and not (seen.gateway or seen.closed) else None
        elif seen.proposed and not self.provider.data:
            self.provider.data = seen.proposed.key
        self.asked.data = seen.domain

    def typed(self) -> dict[str, Any]:
        """Everything that was typed, for an address that brings it back. No secret is asked here."""
        names = ("address", "name", "sender_name", "kind", "team", "owner_id", "copy")
        return {name: self[name].data for name in names if self[name].data and self[name].data != self[name].default}

    def names(self) -> dict[str, Any]:
        """The parts of an AccountWish that stand in the form."""
        address = self.address.data or ""
        return {
            "address": address,
            "name": (self.name.data or "").strip() or name_for(address),
            "sender_name": self.sender_name.data or "",
            "kind": Kind(self.kind.data),
            "team": self.team.data or "",
            "owner_id": self.owner_id.data or None,
        }


class MethodForm(VersionedForm):
    """Step 2. A password that is stored stays when none is typed; it is never shown.

    Without a server there is no field for one: it is typed on the page where the server is, for that server alone. With
    OAuth it asks who signs in, unless the OAuth app is missing yet. With a `sender` a link for its owner can be sent.
    """

    method = RadioField(t("Sign-in method"))
    by = RadioField(t("Who signs in?"), validate_choice=False)
    send_to = EmailField(t("Send the link to"), [LONG])
    password = PasswordField(t("Password"))

    def __init__(self, account: Account, known: Ways, *, sender: Account | None) -> None:
        self.known, self.open_methods = known, {way.method for way in known.open}
        usual = account.method if account.method in self.open_methods else known.first and known.first.method
        by = known.who[0].key if known.who else None
        values = {"version": account.version, "method": usual, "by": by, "send_to": account.address}
        super().__init__(data=values)
        if sender is None:
            del self.send_to
        self.has_password = account.method not in (None, SignInMethod.OAUTH)
        if account.server(Direction.INCOMING) is None or not known.takes_passwords:
            del self.password
        self.method.choices = [SelectChoice(way.method.value, way.label) for way in known.all]
        self.by.choices = [SelectChoice(who.key, who.label) for who in known.who]
        if self.password:
            kinds = self.open_methods - {SignInMethod.OAUTH}
            word = t("App password or password") if len(kinds) > 1 else t("Password")
            word = t("App password") if kinds == {SignInMethod.APP_PASSWORD} else word
            self.password.label.text = t("{word} of {address}", word=word, address=account.address)

    @property
    def is_oauth(self) -> bool:
        """Whether OAuth was chosen."""
        return bool(self.method.data == SignInMethod.OAUTH)

    def validate_method(self, field: RadioField) -> None:
        if field.data not in self.open_methods:
            raise ValidationError(t("Choose a way to sign in that is possible here."))

    def validate_by(self, field: RadioField) -> None:
        if self.is_oauth and self.known.who and field.data not in {who.key for who in self.known.who}:
            raise ValidationError(t("Choose who signs in."))

    def validate_password(self, field: PasswordField) -> None:
        if self.is_oauth:
            return
        if not field.data and not self.has_password:
            raise ValidationError(t("The password is missing."))
        as_validator(lambda: accounts.check_password(Secret(field.data or "")))

    def wish(self, account: Account) -> AccountWish:
        """`account` with this way to sign in."""
        wish = accounts.wish_of(account)
        secret = Secret(self.password.data) if self.password and self.password.data else None
        login = Login(wish.login.username, secret, SignInMethod(self.method.data))
        return replace(wish, login=login, is_begun=True)


def as_validator(check: Any) -> None:
    try:
        check()
    except RuleBroken as broken:
        raise ValidationError(broken.message) from broken
