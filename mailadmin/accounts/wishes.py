"""What somebody wants an account to be, and whether that can be. It changes nothing."""

import dataclasses
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Kind, NewContacts, SentCopies, Window
from mailadmin.accounts.typed import (
    ADDRESS_LENGTH,
    NAME_LENGTH,
    check_address,
    check_line,
    check_minutes,
    check_months,
    check_notes,
    check_password,
    check_slug,
)
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction, LoginFormat, Server, ServerProtocol, SignInMethod
from mailadmin.people.models import Person
from mailadmin.providers import service as providers
from mailadmin.sealed import Secret
from mailadmin.text import t


@dataclass(frozen=True, slots=True)
class Login:
    """A user name (empty: the login format decides) and a password (None: the stored one stays)."""

    username: str = ""
    password: Secret | None = None
    method: SignInMethod = SignInMethod.PASSWORD


@dataclass(frozen=True, slots=True)
class AccountWish:
    """An account as somebody wants it, at a provider, with own servers or both; else the domain finds the provider.

    Own servers at a provider come before its own, whose truststore and login format stay. An empty `name` becomes the
    address, an empty `slug` is made of it. `team` is a name, of a new team too. `sync_minutes` None: as often as the
    installation says; `keep_months` None: nothing is forgotten; `window` None: it stays. `protocol` chooses among the
    provider's servers for receiving. `sending` None: the same credentials as for receiving. With `is_begun` servers and
    password may be missing: they are asked for later, and no domain decides. `wanted_folders` is for set-up without a
    person, see Account.
    """

    address: str
    name: str = ""
    slug: str = ""
    kind: Kind = Kind.SHARED
    owner_id: int | None = None
    team: str = ""
    is_primary: bool = False
    notes: str = ""
    sender_name: str = ""
    sender_address: str = ""
    reply_to: str = ""
    sent_copies: SentCopies = SentCopies.AUTOMATIC
    new_contacts: NewContacts = NewContacts.EVERYBODY
    sync_minutes: int | None = None
    keep_months: int | None = None
    window: Window | None = None
    protocol: ServerProtocol = ServerProtocol.IMAP
    login_format: LoginFormat | None = None
    provider_id: int | None = None
    incoming: Server | None = None
    outgoing: Server | None = None
    login: Login = field(default_factory=Login)
    sending: Login | None = None
    wanted_folders: str | None = None
    is_begun: bool = False


def wish_of(account: Account) -> AccountWish:
    """`account` as it is, for somebody who wants a part of it to be different; stored passwords stay."""
    own = {row.direction: row for row in account.credentials}
    logins = {direction: Login(row.username, None, row.method) for direction, row in own.items()}
    return AccountWish(
        address=account.address,
        name=account.name,
        slug=account.slug or "",
        kind=account.kind,
        owner_id=account.owner_id,
        team=account.team.name if account.team else "",
        is_primary=account.is_primary,
        notes=account.notes,
        sender_name=account.sender_name,
        sender_address=account.sender_address,
        reply_to=account.reply_to,
        sent_copies=account.sent_copies,
        new_contacts=account.new_contacts,
        sync_minutes=account.sync_minutes,
        keep_months=account.keep_months,
        protocol=account.protocol,
        login_format=account.login_format,
        provider_id=account.provider_id,
        incoming=account.own_server(Direction.INCOMING),
        outgoing=account.own_server(Direction.OUTGOING),
        login=logins.get(Direction.INCOMING, Login()),
        sending=logins.get(Direction.OUTGOING),
        wanted_folders=account.wanted_folders,
        is_begun=not account.is_set_up,
    )


def checked(session: Session, wish: AccountWish) -> AccountWish:
    """`wish` in the form in which it is stored. Raises RuleBroken at the field that has to change."""
    address = check_address(wish.address)
    wish = dataclasses.replace(
        wish,
        address=address,
        name=check_line(wish.name, name="name") or address[:NAME_LENGTH],
        slug=check_slug(wish.slug) if wish.slug.strip() else "",
        team=_team(wish),
        notes=check_notes(wish.notes),
        sender_name=check_line(wish.sender_name, name="sender_name"),
        sender_address=_other_address(wish.sender_address, "sender_address"),
        reply_to=_other_address(wish.reply_to, "reply_to"),
        owner_id=_owner(session, wish),
        sync_minutes=check_minutes(wish.sync_minutes),
        keep_months=check_months(wish.keep_months),
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


def _team(wish: AccountWish) -> str:
    if wish.kind is not Kind.TEAM:
        return ""
    name = check_line(wish.team, name="team")
    if not name:
        raise RuleBroken(t("Choose the team, or type the name of a new one."), field="team")
    return name


def _other_address(text: str, name: str) -> str:
    return check_address(text, name=name) if text.strip() else ""


def _checked_login(login: Login, *, username: str, password: str) -> Login:
    name = check_line(login.username, name=username, most=ADDRESS_LENGTH)
    secret = check_password(login.password, name=password) if login.password else None
    return dataclasses.replace(login, username=name, password=secret)


def _with_checked_servers(session: Session, wish: AccountWish) -> AccountWish:
    if wish.incoming or wish.outgoing:
        wish = _with_own_servers(wish)
    elif wish.provider_id is None and not wish.is_begun:
        provider = providers.recognise(session, wish.address)
        if provider is None:
            domain = wish.address.rpartition("@")[2]
            said = t("No provider here has the domain {domain}. Choose one, or enter own servers.", domain=domain)
            raise RuleBroken(said, field="provider_id")
        wish = dataclasses.replace(wish, provider_id=provider.id)
    if wish.provider_id is not None:
        _check_provider(session, wish)
    return wish


def _check_provider(session: Session, wish: AccountWish) -> None:
    """Raise RuleBroken unless the provider is there and has a server for receiving, where it has to give one."""
    assert wish.provider_id is not None
    try:
        provider = providers.get(session, wish.provider_id)
    except NotFound as error:
        raise RuleBroken(t("This provider was deleted. Choose another one."), field="provider_id") from error
    if wish.incoming or wish.is_begun or provider.server(Direction.INCOMING, wish.protocol):
        return
    said = t("{name} has no server for {protocol} here.", name=provider.name, protocol=wish.protocol.upper())
    raise RuleBroken(said, field="protocol")


def _with_own_servers(wish: AccountWish) -> AccountWish:
    if wish.incoming is None:
        raise RuleBroken(t("Enter the server for receiving too."), field="incoming_host")
    return dataclasses.replace(
        wish,
        incoming=providers.checked_server(wish.incoming, Direction.INCOMING),
        outgoing=wish.outgoing and providers.checked_server(wish.outgoing, Direction.OUTGOING),
    )


def _check_user_name(session: Session, wish: AccountWish) -> None:
    if wish.is_begun:
        return
    provider = providers.get(session, wish.provider_id) if wish.provider_id is not None else None
    says = wish.login_format or (provider.login_format if provider else LoginFormat.ADDRESS)
    if says is not LoginFormat.BY_HAND:
        return
    said = t("Type the user name.")
    if provider and wish.login_format is None:
        said = t("{name} gives out user names of its own. Type it here.", name=provider.name)
    if not wish.login.username:
        raise RuleBroken(said, field="username")
    if wish.sending and not wish.sending.username:
        raise RuleBroken(said, field="sending_username")
