"""What the third step of a new account asks: the servers, the user name, and what is sent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Credential, SentCopies
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.errors import RuleBroken
from mailadmin.form import VersionedForm, printable
from mailadmin.mail.types import Direction, LoginFormat, Server, ServerProtocol, SignInMethod, TLSMode
from mailadmin.providers import service as providers
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.wizard import choices
from mailadmin.wizard.step_forms import LONG, as_validator

SENT_WORDS = {
    SentCopies.AUTOMATIC: "Automatic",
    SentCopies.ALWAYS: "Always",
    SentCopies.NEVER: "Never",
}
USUAL = {ServerProtocol.IMAP: "993", ServerProtocol.POP3: "995", ServerProtocol.SMTP: "465"}


class StepServersForm(VersionedForm):
    """Step 3: the servers, the user name, and what is sent; the fields stand as on the page, and so do its mistakes.

    An account that signs in with OAuth has no password to type. What it was granted goes to no new server: whoever
    `signs_in_again` lets it be forgotten.
    """

    chooses_method = False  # whether a password can take the place of OAuth here

    protocol = RadioField(t("Protocol"))
    imap_host = StringField(t("IMAP server"))
    imap_port = StringField(t("IMAP port"))
    imap_tls_mode = SelectField(t("IMAP security"))
    pop3_host = StringField(t("POP3 server"))
    pop3_port = StringField(t("POP3 port"))
    pop3_tls_mode = SelectField(t("POP3 security"))
    login_format = SelectField(t("Login format"))
    password = PasswordField(t("Password"))
    username = StringField(t("User name"), [LONG])
    smtp_host = StringField(t("SMTP server"))
    smtp_port = StringField(t("SMTP port"))
    smtp_tls_mode = SelectField(t("SMTP security"))
    same_credentials = BooleanField(t("Use the same user name and password as for receiving"))
    sending_username = StringField(t("SMTP user name"), [LONG])
    sending_password = PasswordField(t("SMTP password"))
    signs_in_again = BooleanField(t("Forget the sign-in, and sign in again"))
    sent_copies = SelectField(t("Put a copy of sent messages into the Sent folder"))
    sender_address = EmailField(t("Sender address"), [LONG])
    reply_to = EmailField(t("Reply-to address"), [LONG])

    def __init__(self, account: Account, found: Sequence[Server] = (), **more: Any) -> None:
        """`found`: servers to propose where neither the account nor its provider has one for a protocol."""
        super().__init__(data={**_values(account, found), **more})
        self._account = account
        self.protocol.choices = [SelectChoice(p.value, p.upper()) for p in self.protocols(account)]
        if len(self.protocol.choices) == 1:
            self.protocol.data = self.protocol.choices[0].value
        for protocol in ServerProtocol:
            self[f"{protocol}_tls_mode"].choices = [
                SelectChoice(mode.value, t(providers.TLS_WORDS[mode])) for mode in _tls_modes(account)
            ]
        self.login_format.choices = [
            SelectChoice(f.value, words, {"data-reveals": True} if f is LoginFormat.BY_HAND else {})
            for f, words in login_words(account.address).items()
        ]
        self.sent_copies.choices = [SelectChoice(each.value, t(word)) for each, word in SENT_WORDS.items()]
        self.is_oauth = account.method is SignInMethod.OAUTH
        self.has_password = account.method is not None and not self.is_oauth
        if self.is_oauth:
            self.same_credentials.label.text = t("Sign in to send as for receiving")
        else:
            del self.signs_in_again
        if self.is_oauth and not self.chooses_method:
            del self.password
        self.has_sending_password = _own_sending(account) is not None

    def protocols(self, account: Account) -> list[ServerProtocol]:
        """IMAP and POP3, or the one of them that the account's provider has."""
        receiving = list(choices.BY_HAND.values())
        if account.provider is None or account.servers:
            return receiving
        return [p for p in receiving if account.provider.server(Direction.INCOMING, p)] or receiving

    def rename_server(self, direction: Direction, host: str) -> None:
        """Fill in `host` for `direction`, as a test proposed it, and ask for the password again."""
        protocol = self._account.protocol if direction is Direction.INCOMING else ServerProtocol.SMTP
        self[f"{protocol}_host"].data = printable(host)
        own = direction is Direction.OUTGOING and self.has_sending_password
        if self.is_oauth and not own:
            self[f"{protocol}_host"].errors = [t("Sign in again: this is another server.")]
            return
        field = self.sending_password if own else self.password
        field.errors = [t("Type the password again: it goes to another server.")]

    def refuse(self, broken: RuleBroken) -> None:
        """Show a broken rule at its field; servers have theirs by their protocol."""
        direction, _, part = (broken.field or "").partition("_")
        if direction in set(Direction) and part:
            protocol = ServerProtocol.SMTP if direction == Direction.OUTGOING else self.protocol.data
            broken = RuleBroken(broken.message, field=f"{protocol}_{part}")
        super().refuse(broken)

    @property
    def forgets(self) -> bool:
        """Whether the OAuth sign-in is to be forgotten, because somebody will sign in again."""
        return bool(self.signs_in_again and self.signs_in_again.data)

    def validate(self, extra_validators: object = None) -> bool:
        for protocol in ServerProtocol:
            mode, port = self[f"{protocol}_tls_mode"].data, self[f"{protocol}_port"]
            if mode in set(TLSMode):
                port.data = providers.given_port(protocol, TLSMode(mode), port.data or "")
        super().validate(extra_validators)
        receiving = ServerProtocol(self.protocol.data) if self.protocol.data in choices.BY_HAND else ServerProtocol.IMAP
        self._check_server(Direction.INCOMING, receiving)
        if (self.smtp_host.data or "").strip():
            self._check_server(Direction.OUTGOING, ServerProtocol.SMTP)
        return not self.errors

    def _check_server(self, direction: Direction, protocol: ServerProtocol) -> None:
        host, port, mode = (self[f"{protocol}_{part}"].data or "" for part in ("host", "port", "tls_mode"))
        if mode not in set(TLSMode):
            return
        found = providers.faults(
            direction, host=host, port=port, tls_mode=TLSMode(mode), protocol=protocol, prefix=protocol.value
        )
        for broken in found:
            self.refuse(broken)
        self._check_port(direction, protocol, TLSMode(mode))

    def _check_port(self, direction: Direction, protocol: ServerProtocol, mode: TLSMode) -> None:
        field, had = self[f"{protocol}_port"], accounts.server_of(self._account, direction)
        if why := providers.mixed_up(protocol, mode, field.data or "", had=had):
            self.refuse(RuleBroken(why, field=field.name))

    def validate_username(self, field: StringField) -> None:
        if self.login_format.data == LoginFormat.BY_HAND and not (field.data or "").strip():
            raise ValidationError(t("Type the user name."))

    def validate_password(self, field: PasswordField) -> None:
        self._check_password(field, is_stored=self.has_password)

    def validate_sending_password(self, field: PasswordField) -> None:
        if not self.same_credentials.data:
            self._check_password(field, is_stored=self.has_sending_password)

    def validate_reply_to(self, field: EmailField) -> None:
        if (field.data or "").strip():
            as_validator(lambda: accounts.check_address(field.data))

    validate_sender_address = validate_reply_to

    def _check_password(self, field: PasswordField, *, is_stored: bool) -> None:
        if not field.data and not is_stored:
            raise ValidationError(t("The password is missing."))
        as_validator(lambda: accounts.check_password(Secret(field.data or "")))

    def wish(self) -> AccountWish:
        """The account with what stands in the form. Servers that are its provider's own stay the provider's."""
        format_ = LoginFormat(self.login_format.data)
        servers = self._servers()
        at_provider = self._account.provider if servers["provider_id"] else None
        usual = at_provider.login_format if at_provider else None
        method = self._account.method or SignInMethod.PASSWORD
        typed = self.password.data if self.password else None
        sending = _login(self.sending_username.data, self.sending_password.data, SignInMethod.PASSWORD)
        return replace(
            accounts.wish_of(self._account),
            **servers,
            login_format=None if format_ is usual else format_,
            login=_login(self.username.data if format_ is LoginFormat.BY_HAND else "", typed, method),
            sending=None if self.same_credentials.data else sending,
            sent_copies=SentCopies(self.sent_copies.data),
            reply_to=self.reply_to.data or "",
            sender_address=self.sender_address.data or "",
            is_begun=False,
        )

    def _servers(self) -> dict[str, Any]:
        incoming = self._server(Direction.INCOMING, ServerProtocol(self.protocol.data))
        outgoing = (
            self._server(Direction.OUTGOING, ServerProtocol.SMTP) if (self.smtp_host.data or "").strip() else None
        )
        wanted: dict[str, Any] = {"protocol": incoming.protocol, "incoming": incoming, "outgoing": outgoing}
        provider = self._account.provider
        if provider is None:
            return {**wanted, "provider_id": None}
        theirs = provider.server(Direction.OUTGOING)
        if str(outgoing) == str(theirs):
            wanted["outgoing"] = None
            if str(incoming) == str(provider.server(Direction.INCOMING, incoming.protocol)):
                wanted["incoming"] = None
        elif outgoing is None:  # It only receives, which at a provider that also sends no account can.
            return {**wanted, "provider_id": None}
        return {**wanted, "provider_id": provider.id}

    def _server(self, direction: Direction, protocol: ServerProtocol) -> Server:
        host, port, mode = (self[f"{protocol}_{part}"].data for part in ("host", "port", "tls_mode"))
        return providers.checked_server(Server(protocol, host, int(port), TLSMode(mode)), direction)


def login_words(address: str) -> dict[LoginFormat, str]:
    """The login formats in words, with what each makes of `address`."""
    words = {
        LoginFormat.ADDRESS: t("Whole address"),
        LoginFormat.LOCAL_PART: t("Part before the @"),
        LoginFormat.WINDOWS: t("Windows domain"),
    }
    shown = {f: t("{words}: {name}", words=word, name=f.user_name(address)) for f, word in words.items()}
    return {**shown, LoginFormat.BY_HAND: t("Typed by hand")}


def _values(account: Account, found: Sequence[Server]) -> dict[str, Any]:
    credential, sending = account.credential(Direction.INCOMING), _own_sending(account)
    usual = account.provider.login_format if account.provider else LoginFormat.ADDRESS
    username = credential.username if credential else ""
    values: dict[str, Any] = {
        "version": account.version,
        "protocol": account.protocol.value,
        "login_format": LoginFormat.BY_HAND if username else account.login_format or usual,
        "username": username,
        "same_credentials": sending is None,
        "sending_username": sending.username if sending else "",
        "sent_copies": account.sent_copies,
        "reply_to": account.reply_to,
        "sender_address": account.sender_address,
    }
    for protocol in ServerProtocol:
        proposed = next((server for server in found if server.protocol is protocol), None)
        server = _prefilled(account, protocol) or proposed
        values |= {
            f"{protocol}_host": server.host if server else "",
            f"{protocol}_port": str(server.port) if server else USUAL[protocol],
            f"{protocol}_tls_mode": (server.tls_mode if server else TLSMode.IMPLICIT).value,
        }
    return values


def _prefilled(account: Account, protocol: ServerProtocol) -> Server | None:
    direction = Direction.OUTGOING if protocol is ServerProtocol.SMTP else Direction.INCOMING
    own = account.own_server(direction)
    if own is not None and own.protocol is protocol:
        return own
    return account.provider.server(direction, protocol) if account.provider else None


def _tls_modes(account: Account) -> list[TLSMode]:
    """Those that are allowed, and those that the account has already, so that the form shows the truth."""
    had = {server.tls_mode for d in Direction if (server := account.server(d))}
    return [mode for mode in providers.TLS_WORDS if mode in had or mode in providers.allowed_tls_modes()]


def _own_sending(account: Account) -> Credential | None:
    """The credential that is for sending alone, or None."""
    credential = account.credential(Direction.OUTGOING)
    return credential if credential and credential.direction is Direction.OUTGOING else None


def _login(username: str | None, password: str | None, method: SignInMethod) -> Login:
    return Login(username or "", Secret(password) if password else None, method)
