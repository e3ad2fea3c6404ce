"""What is asked about an account: one form for a new one and for the settings of one that exists."""

from wtforms import (
    BooleanField,
    EmailField,
    PasswordField,
    RadioField,
    SelectChoice,
    SelectField,
    StringField,
    ValidationError,
)
from wtforms.validators import Length

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Kind, Window
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.errors import RuleBroken
from mailadmin.form import VersionedForm, printable
from mailadmin.mail.types import Direction, Server, TLSMode
from mailadmin.people.models import Person
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from mailadmin.text import t

KIND_WORDS = {Kind.SHARED: "Shared", Kind.PERSONAL: "Personal"}
WINDOW_WORDS = {
    Window.NOW: "Now on",
    Window.ONE_MONTH: "1 month ago",
    Window.THREE_MONTHS: "3 months ago",
    Window.SIX_MONTHS: "6 months ago",
    Window.EVERYTHING: "The beginning",
}
SHORT = Length(max=120, message=t("At most 120 letters can stand here."))
LONG = Length(max=254, message=t("At most 254 letters can stand here."))


class AccountForm(VersionedForm):
    """An account, new or as it is. What a person typed as a password is never shown again."""

    address = EmailField(t("E-mail address"))
    name = StringField(t("Account name"), [SHORT])
    sender_name = StringField(t("Sender name"), [SHORT])
    reply_to = EmailField(t("Reply-to address"))
    kind = RadioField(
        t("Kind"), choices=[SelectChoice(k.value, t(word)) for k, word in KIND_WORDS.items()], default=Kind.SHARED
    )
    owner_id = SelectField(t("Owner"), coerce=int, default=0)
    username = StringField(t("User name"), [LONG])
    password = PasswordField(t("Password"))
    provider_id = SelectField(t("Provider"), coerce=int, default=0)
    own_servers = BooleanField(t("Use own servers for this account"))
    incoming_host = StringField(t("IMAP server"))
    incoming_port = StringField(t("IMAP port"), default="993")
    incoming_tls_mode = SelectField(t("IMAP security"), default=TLSMode.IMPLICIT)
    outgoing_host = StringField(t("SMTP server"))
    outgoing_port = StringField(t("SMTP port"), default="465")
    outgoing_tls_mode = SelectField(t("SMTP security"), default=TLSMode.IMPLICIT)
    same_credentials = BooleanField(t("Use the same user name and password as for receiving"), default=True)
    sending_username = StringField(t("SMTP user name"), [LONG])
    sending_password = PasswordField(t("SMTP password"))
    window = SelectField(
        t("Sync messages from"),
        choices=[SelectChoice(w.value, t(word)) for w, word in WINDOW_WORDS.items()],
        default=Window.THREE_MONTHS,
        validate_choice=True,
    )

    def __init__(self, account: Account | None, *, providers_: list[Provider], people: list[Person]) -> None:
        super().__init__(data=_values(account) if account else None)
        self._account = account
        self.provider_id.choices = [
            SelectChoice("0", t("Recognise by the address’s domain")),
            *(SelectChoice(str(provider.id), provider.name) for provider in providers_),
        ]
        self.owner_id.choices = [
            SelectChoice("0", t("Choose a person")),
            *(SelectChoice(str(person.id), person.name) for person in people),
        ]
        for direction in Direction:
            self[f"{direction}_tls_mode"].choices = [
                SelectChoice(m.value, t(providers.TLS_WORDS[m])) for m in _offered(account)
            ]
        if account is None or not account.is_set_up:
            del self.window

    def validate(self, extra_validators: object = None) -> bool:
        super().validate(extra_validators)
        for direction in self._directions():
            host, port, tls_mode = self._typed(direction)
            if tls_mode in set(TLSMode):
                for broken in providers.faults(direction, host=host, port=port, tls_mode=TLSMode(tls_mode)):
                    self.refuse(broken)
        return not self.errors

    def validate_address(self, field: EmailField) -> None:
        _as_validator(lambda: accounts.check_address(field.data or ""))

    def validate_reply_to(self, field: EmailField) -> None:
        if (field.data or "").strip():
            _as_validator(lambda: accounts.check_address(field.data))

    def validate_owner_id(self, field: SelectField) -> None:
        if self.kind.data == Kind.PERSONAL and not field.data:
            raise ValidationError(t("Choose whose account it is."))

    def validate_password(self, field: PasswordField) -> None:
        self._validate_password(field, is_stored=self.has_password)

    def validate_sending_password(self, field: PasswordField) -> None:
        if not self.same_credentials.data:
            self._validate_password(field, is_stored=self.has_sending_password)

    def _validate_password(self, field: PasswordField, *, is_stored: bool) -> None:
        if not field.data and not is_stored:
            raise ValidationError(t("Type the password."))
        _as_validator(lambda: accounts.check_password(Secret(field.data or "")))

    @property
    def has_password(self) -> bool:
        """Whether a password is stored, so that an empty field keeps it."""
        return self._account is not None and self._account.credential(Direction.INCOMING) is not None

    @property
    def has_sending_password(self) -> bool:
        """Whether a password of its own is stored for sending."""
        return self._account is not None and _own_sending_name(self._account) is not None

    def rename_server(self, direction: str, host: str) -> None:
        """Fill in `host` as the account's own server for `direction`, and ask for the password again."""
        if self._account is None or direction not in set(Direction) or not host:
            return
        self.own_servers.data = True
        for each in Direction:
            if server := accounts.server_of(self._account, each):
                self[f"{each}_host"].data, self[f"{each}_port"].data = server.host, str(server.port)
                self[f"{each}_tls_mode"].data = server.tls_mode.value
        self[f"{direction}_host"].data = printable(host)
        self.password.errors = [t(accounts.TYPE_AGAIN)]

    def wish(self) -> AccountWish:
        """What was typed, as the service takes it."""
        servers = {direction: self._server(direction) for direction in self._directions()}
        sending = None if self.same_credentials.data else _login(self.sending_username, self.sending_password)
        return AccountWish(
            address=self.address.data,
            name=self.name.data or "",
            kind=Kind(self.kind.data),
            owner_id=self.owner_id.data or None,
            sender_name=self.sender_name.data or "",
            reply_to=self.reply_to.data or "",
            provider_id=None if self.own_servers.data else self.provider_id.data or None,
            incoming=servers.get(Direction.INCOMING),
            outgoing=servers.get(Direction.OUTGOING),
            login=_login(self.username, self.password),
            sending=sending,
        )

    def _directions(self) -> list[Direction]:
        """The directions for which own servers were typed; without a host there is none for sending."""
        if not self.own_servers.data:
            return []
        return list(Direction) if (self.outgoing_host.data or "").strip() else [Direction.INCOMING]

    def _typed(self, direction: Direction) -> tuple[str, str, str]:
        host, port, tls_mode = (self[f"{direction}_{part}"].data or "" for part in ("host", "port", "tls_mode"))
        return host, port, tls_mode

    def _server(self, direction: Direction) -> Server:
        host, port, tls_mode = self._typed(direction)
        return Server(providers.PROTOCOLS[direction], host, int(port), TLSMode(tls_mode))


def _as_validator(check: object) -> None:
    try:
        check()  # type: ignore[operator]
    except RuleBroken as broken:
        raise ValidationError(broken.message) from broken


def _login(username: StringField, password: PasswordField) -> Login:
    return Login(username.data or "", Secret(password.data) if password.data else None)


def _offered(account: Account | None) -> list[TLSMode]:
    """The TLS modes to choose from; what an account has already is among them, so that the form shows the truth."""
    had = {row.tls_mode for row in account.servers} if account else set()
    return [mode for mode in providers.TLS_WORDS if mode in had or mode in providers.allowed_tls_modes()]


def _own_sending_name(account: Account) -> str | None:
    """The user name of the account's own credential for sending, or None where it has none."""
    credential = account.credential(Direction.OUTGOING)
    return credential.username if credential and credential.direction is Direction.OUTGOING else None


def _values(account: Account) -> dict[str, object]:
    receiving, sending = account.credential(Direction.INCOMING), _own_sending_name(account)
    values: dict[str, object] = {
        "version": account.version,
        "address": account.address,
        "name": account.name,
        "sender_name": account.sender_name,
        "reply_to": account.reply_to,
        "kind": account.kind.value,
        "owner_id": account.owner_id or 0,
        "username": receiving.username if receiving else "",
        "provider_id": account.provider_id or 0,
        "own_servers": bool(account.servers),
        "same_credentials": sending is None,
        "sending_username": sending or "",
        "window": account.window.value,
    }
    for row in account.servers:
        prefix = row.direction.value
        values |= {
            f"{prefix}_host": row.host,
            f"{prefix}_port": str(row.port),
            f"{prefix}_tls_mode": row.tls_mode.value,
        }
    return values
