"""What somebody wants an account to be, and whether that can be. It changes nothing."""

import dataclasses
from dataclasses import dataclass, field

from email_validator import EmailNotValidError, validate_email
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Kind
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.addresses import check_host
from mailadmin.mail.types import Direction, Server
from mailadmin.people.models import Person
from mailadmin.providers import service as providers
from mailadmin.providers.models import LoginFormat
from mailadmin.sealed import Secret
from mailadmin.text import t

NAME_LENGTH, ADDRESS_LENGTH = 120, 254


@dataclass(frozen=True, slots=True)
class Login:
    """A user name (empty: the provider's login format decides) and a password (None: the stored one stays)."""

    username: str = ""
    password: Secret | None = None


@dataclass(frozen=True, slots=True)
class AccountWish:
    """An account as somebody wants it: at a provider, or with own servers; with neither, the domain finds the provider.

    An empty `name` becomes the address. `sending` None: the same credentials as for receiving. `wanted_folders` is for
    set-up without a person, see Account.
    """

    address: str
    name: str = ""
    kind: Kind = Kind.SHARED
    owner_id: int | None = None
    sender_name: str = ""
    reply_to: str = ""
    provider_id: int | None = None
    incoming: Server | None = None
    outgoing: Server | None = None
    login: Login = field(default_factory=Login)
    sending: Login | None = None
    wanted_folders: str | None = None


def check_address(text: str, *, name: str = "address") -> str:
    """The e-mail address in `text`, lower case. Raises RuleBroken at the field `name`."""
    text = text.strip()
    if len(text) > ADDRESS_LENGTH:  # Asked first: the validator takes a second of work for a megabyte.
        raise _too_long(name)
    local, at, domain = text.rpartition("@")
    if not at or not local:
        raise RuleBroken(t("An address has a name, an @ and a domain: name@example.com."), field=name)
    try:
        # Only the part before the @ is judged by mail's own rules: names such as mail.local are right inside a company.
        validate_email(f"{local}@example.com", check_deliverability=False)
        host = check_host(domain)
    except EmailNotValidError as error:
        said = t("The part before the @ cannot be in an address. Check it for spaces and signs.")
        raise RuleBroken(said, field=name) from error
    except ValueError as error:
        raise RuleBroken(t("“{domain}” is not a domain.", domain=domain[:80]), field=name) from error
    if ":" in host or host.rpartition(".")[2].isdigit():
        raise RuleBroken(t("After the @ comes a domain, not a number."), field=name)
    # The domain stays as people write it; where it is compared, it is compared as the DNS knows it.
    address = f"{local}@{domain.strip().removesuffix('.')}".lower()
    if len(address) > ADDRESS_LENGTH:
        raise _too_long(name)
    return address


def _too_long(name: str) -> RuleBroken:
    return RuleBroken(t("An address has at most {n} characters.", n=ADDRESS_LENGTH), field=name)


def check_line(text: str, *, name: str, most: int = NAME_LENGTH) -> str:
    """`text` without spaces around it, if it is one printable line. Raises RuleBroken at the field `name`."""
    line = text.strip()
    if not line.isprintable():
        raise RuleBroken(t("Only one line of letters, digits and signs can stand here."), field=name)
    if len(line) > most:
        raise RuleBroken(t("At most {n} characters can stand here.", n=most), field=name)
    return line


def check_password(secret: Secret, *, name: str = "password") -> Secret:
    """`secret` as it was typed, spaces included. Raises RuleBroken at `name` if no mail protocol could send it."""
    value = secret.reveal()
    if any(c in value for c in "\r\n\0"):
        raise RuleBroken(t("A password cannot contain a line break or a NUL character."), field=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RuleBroken(t("The password has a character that cannot be sent."), field=name) from None
    return secret


def checked(session: Session, wish: AccountWish) -> AccountWish:
    """`wish` in the form in which it is stored. Raises RuleBroken at the field that has to change."""
    address = check_address(wish.address)
    wish = dataclasses.replace(
        wish,
        address=address,
        name=check_line(wish.name, name="name") or address[:NAME_LENGTH],
        sender_name=check_line(wish.sender_name, name="sender_name"),
        reply_to=check_address(wish.reply_to, name="reply_to") if wish.reply_to.strip() else "",
        owner_id=_owner(session, wish),
        login=_checked_login(wish.login, username="username", password="password"),  # noqa: S106
        sending=wish.sending and _checked_login(wish.sending, username="sending_username", password="sending_password"),  # noqa: S106
    )
    wish = _with_checked_servers(session, wish)
    _check_user_name(session, wish)
    return wish


def _owner(session: Session, wish: AccountWish) -> int | None:
    if wish.kind is not Kind.PERSONAL:
        return None
    person = session.get(Person, wish.owner_id) if wish.owner_id else None
    if person is None or not person.is_active:
        raise RuleBroken(t("Choose whose account it is."), field="owner_id")
    return person.id


def _checked_login(login: Login, *, username: str, password: str) -> Login:
    name = check_line(login.username, name=username, most=ADDRESS_LENGTH)
    return Login(name, check_password(login.password, name=password) if login.password else None)


def _with_checked_servers(session: Session, wish: AccountWish) -> AccountWish:
    if wish.incoming or wish.outgoing:
        return _with_own_servers(wish)
    if wish.provider_id is None:
        provider = providers.recognise(session, wish.address)
        if provider is None:
            domain = wish.address.rpartition("@")[2]
            said = t("No provider here has the domain {domain}. Choose one, or enter own servers.", domain=domain)
            raise RuleBroken(said, field="provider_id")
        return dataclasses.replace(wish, provider_id=provider.id)
    try:
        providers.get(session, wish.provider_id)
    except NotFound as error:
        raise RuleBroken(t("This provider was deleted. Choose another one."), field="provider_id") from error
    return wish


def _with_own_servers(wish: AccountWish) -> AccountWish:
    if wish.provider_id is not None:
        raise RuleBroken(t("Give a provider or own servers, not both."), field="provider_id")
    if wish.incoming is None:
        raise RuleBroken(t("Enter the server for receiving too."), field="incoming_host")
    return dataclasses.replace(
        wish,
        incoming=providers.checked_server(wish.incoming, Direction.INCOMING),
        outgoing=wish.outgoing and providers.checked_server(wish.outgoing, Direction.OUTGOING),
    )


def _check_user_name(session: Session, wish: AccountWish) -> None:
    if wish.provider_id is None:
        return
    provider = providers.get(session, wish.provider_id)
    if provider.login_format is not LoginFormat.BY_HAND:
        return
    said = t("{name} gives out user names of its own. Type it here.", name=provider.name)
    if not wish.login.username:
        raise RuleBroken(said, field="username")
    if wish.sending and not wish.sending.username:
        raise RuleBroken(said, field="sending_username")
