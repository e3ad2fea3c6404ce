"""Everything that an account is, in one form: what the set-up asks about its servers, and the rest."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from wtforms import (
    BooleanField,
    EmailField,
    Field,
    PasswordField,
    RadioField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
    ValidationError,
)

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Kind, NewContacts, SentCopies, Window
from mailadmin.accounts.service import AccountWish, Login, SecretsWanted
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, LoginFormat, Server, ServerProtocol, SignInMethod
from mailadmin.people.models import Person, Team
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.wizard import choices
from mailadmin.wizard.forms import CONTACT_WORDS, KEEP_WORDS, METHOD_WORDS, SHORT, WINDOW_WORDS, KindForm
from mailadmin.wizard.servers_form import StepServersForm
from mailadmin.wizard.step_forms import as_validator

_RECEIVING = tuple(choices.BY_HAND.values())
_ON_THE_PAGE = (
    *("address", "name", "slug", "sender_name", "sender_address", "reply_to", "kind", "team", "owner_id", "is_primary"),
    *("method", "password", "login_format", "username", "provider_id", "protocol", "own_servers"),
    *(f"{protocol}_{part}" for protocol in ServerProtocol for part in ("host", "port", "tls_mode")),
    *("signs_in_again", "same_credentials", "sending_username", "sending_password", "sent_copies"),
    *("window", "keep_months", "sync_minutes", "new_contacts", "notes", "at_once"),
)


class SettingsForm(KindForm, StepServersForm):
    """An account as it is. What a person typed as a password is never shown again."""

    chooses_method = True

    address = EmailField(t("E-mail address"))
    slug = StringField(t("Account ID"))
    name = StringField(t("Account name"), [SHORT])
    sender_name = StringField(t("Sender name"), [SHORT])
    is_primary = BooleanField(t("Primary account"))
    notes = TextAreaField(t("Notes"))
    method = RadioField(t("Sign-in method"))
    provider_id = SelectField(t("Provider"), coerce=int)
    own_servers = BooleanField(t("Use other servers for this account alone"))
    window = SelectField(t("Sync messages from"))
    keep_months = SelectField(t("Keep here"))
    sync_minutes = StringField(t("Minutes between two syncs"))
    new_contacts = RadioField(t("Create contacts"))
    at_once = BooleanField(t("Save at once, and test afterwards"))

    def __init__(
        self, account: Account, *, providers_: Iterable[Provider], people: Iterable[Person], teams: Iterable[Team]
    ) -> None:
        super().__init__(account, **_values(account))
        self._providers = list(providers_)
        self.offer_owners(people, teams)
        self.provider_id.choices = [
            SelectChoice("0", t("None: only its own servers") if account.servers else t("By the address’s domain")),
            *(SelectChoice(str(provider.id), provider.name) for provider in self._providers),
        ]
        words = {SignInMethod.OAUTH: "OAuth", **METHOD_WORDS} if self.is_oauth else METHOD_WORDS
        self.method.choices = _worded(words)
        self.new_contacts.choices = _worded(CONTACT_WORDS)
        self.window.choices = _worded(WINDOW_WORDS)
        self.keep_months.choices = [SelectChoice(str(months or ""), t(word)) for months, word in KEEP_WORDS.items()]
        if not account.is_set_up:  # The set-up asks for it.
            del self.window, self.at_once

    def __iter__(self) -> Iterator[Field]:
        """The fields as they stand on the page: so its mistakes are told."""
        return iter(sorted(super().__iter__(), key=lambda field: (*_ON_THE_PAGE, field.name).index(field.name)))

    def protocols(self, account: Account) -> list[ServerProtocol]:
        """Both: another provider may be chosen, or own servers."""
        return list(_RECEIVING)

    def rename_server(self, direction: Direction, host: str) -> None:
        """As in the set-up; it is this account's own server then."""
        self.own_servers.data = True
        super().rename_server(direction, host)

    def _check_server(self, direction: Direction, protocol: ServerProtocol) -> None:
        if self.own_servers.data:
            super()._check_server(direction, protocol)

    def validate_address(self, field: EmailField) -> None:
        as_validator(lambda: accounts.check_address(field.data or ""))

    def validate_slug(self, field: StringField) -> None:
        as_validator(lambda: accounts.check_slug(field.data or ""))

    def validate_notes(self, field: TextAreaField) -> None:
        as_validator(lambda: accounts.check_notes(field.data or ""))

    def validate_new_contacts(self, field: RadioField) -> None:
        pointless = (ServerProtocol.POP3, NewContacts.WRITTEN_TO)
        if (self._account.protocol, self._account.new_contacts) == pointless:
            return  # It was so before: whoever changes something else is not held up.
        if (self.protocol.data, field.data) == pointless:
            raise ValidationError(t("POP3 has no Sent folder, so we cannot see whom you wrote to. Choose another."))

    def validate_sync_minutes(self, field: StringField) -> None:
        text = (field.data or "").strip()
        if text and not (text.isascii() and text.isdigit() and len(text) < 6):
            raise ValidationError(t("Write a number of minutes, or leave it empty."))

    def validate_password(self, field: PasswordField) -> None:
        if self.method.data == SignInMethod.OAUTH or (self._account.method is None and not field.data):
            return  # Somebody signs in again, or has to be asked for it: what else was typed can be saved.
        if field.data or self._account.is_set_up:  # Until then the set-up asks for it.
            super().validate_password(field)

    def refuse(self, broken: RuleBroken) -> None:
        """Show a broken rule at its field: all passwords that are wanted at once."""
        if isinstance(broken, SecretsWanted):
            for each in broken.all:
                super().refuse(each)
            return
        super().refuse(broken)

    def ask_again(self) -> None:
        """A password that was typed does not come back with the form: say so where it has to be typed again."""
        for field in (self.password, self.sending_password):
            if field and field.data and not field.errors:
                field.errors = [t("Type it again: a password is never written into a page.")]

    def wish(self) -> AccountWish:
        """What was typed, as the service takes it. Raises RuleBroken."""
        provider_id, sending = self.provider_id.data or None, self._sending()
        incoming, outgoing = self._own_servers()
        by_hand = self.login_format.data == LoginFormat.BY_HAND
        minutes = (self.sync_minutes.data or "").strip()
        return replace(
            accounts.wish_of(self._account),
            address=self.address.data or "",
            slug=self.slug.data or "",
            name=self.name.data or "",
            kind=Kind(self.kind.data),
            team=self.team.data or "",
            owner_id=self.owner_id.data or None,
            is_primary=self.is_primary.data,
            notes=self.notes.data or "",
            sender_name=self.sender_name.data or "",
            sender_address=self.sender_address.data or "",
            reply_to=self.reply_to.data or "",
            sent_copies=SentCopies(self.sent_copies.data),
            new_contacts=NewContacts(self.new_contacts.data),
            sync_minutes=int(minutes) if minutes else None,
            keep_months=int(self.keep_months.data) if self.keep_months.data else None,
            window=Window(self.window.data) if self.window else None,
            protocol=ServerProtocol(self.protocol.data),
            login_format=self._login_format(provider_id),
            provider_id=provider_id,
            incoming=incoming,
            outgoing=outgoing,
            login=Login(
                (self.username.data or "") if by_hand else "",
                _secret(self.password) if self.method.data != SignInMethod.OAUTH else None,
                SignInMethod(self.method.data),
            ),
            sending=sending,
        )

    def _own_servers(self) -> tuple[Server | None, Server | None]:
        if not self.own_servers.data:
            return None, None
        has_outgoing = bool((self.smtp_host.data or "").strip())
        incoming = self._server(Direction.INCOMING, ServerProtocol(self.protocol.data))
        return incoming, self._server(Direction.OUTGOING, ServerProtocol.SMTP) if has_outgoing else None

    def _login_format(self, provider_id: int | None) -> LoginFormat | None:
        """None follows the provider: where it did before and nothing else was chosen, or where that is the same."""
        chosen, before = LoginFormat(self.login_format.data), self._account.login_format
        old, new = self._account.provider, next((p for p in self._providers if p.id == provider_id), None)
        followed = old.login_format if old else LoginFormat.ADDRESS
        if before is None and chosen is followed:
            return None
        return None if new is not None and chosen is new.login_format else chosen

    def _sending(self) -> Login | None:
        if self.same_credentials.data:
            return None
        stored = self._account.credential(Direction.OUTGOING)
        method = stored.method if stored and self.has_sending_password else SignInMethod.PASSWORD
        return Login(self.sending_username.data or "", _secret(self.sending_password), method)


def _values(account: Account) -> dict[str, Any]:
    """What stands in the form beside the servers."""
    return {
        "address": account.address,
        "slug": account.slug,
        "name": account.name,
        "sender_name": account.sender_name,
        "kind": account.kind.value,
        "team": account.team.name if account.team else "",
        "owner_id": account.owner_id or 0,
        "is_primary": account.is_primary,
        "notes": account.notes,
        "method": (account.method or SignInMethod.PASSWORD).value,
        "provider_id": account.provider_id or 0,
        "own_servers": bool(account.servers),
        "window": account.window.value,
        "sync_minutes": str(account.sync_minutes or ""),
        "keep_months": str(account.keep_months or ""),
        "new_contacts": account.new_contacts.value,
    }


def _worded(words: dict[Any, str]) -> list[SelectChoice]:
    return [SelectChoice(value.value, t(word)) for value, word in words.items()]


def _secret(field: PasswordField) -> Secret | None:
    return Secret(field.data) if field.data else None
