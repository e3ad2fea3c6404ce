"""Makers of providers and accounts: each takes only what matters."""

from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import service
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service as providers
from mailadmin.providers.models import LoginFormat, Provider
from mailadmin.providers.service import ProviderWish
from mailadmin.sealed import Secret

PASSWORD = "correct horse 42"


def imap(host: str = "imap.example.net", port: int = 993, tls_mode: TLSMode = TLSMode.IMPLICIT) -> Server:
    """A server for receiving."""
    return Server(ServerProtocol.IMAP, host, port, tls_mode)


def pop3(host: str = "pop.example.net", port: int = 995, tls_mode: TLSMode = TLSMode.IMPLICIT) -> Server:
    """A server for receiving that has one folder."""
    return Server(ServerProtocol.POP3, host, port, tls_mode)


def smtp(host: str = "smtp.example.net", port: int = 465, tls_mode: TLSMode = TLSMode.IMPLICIT) -> Server:
    """A server for sending."""
    return Server(ServerProtocol.SMTP, host, port, tls_mode)


def a_provider_wish(**wanted: Any) -> ProviderWish:
    """Harbour Mail, for addresses at example.net."""
    servers = (wanted.pop("incoming", imap()), wanted.pop("pop3", None), wanted.pop("outgoing", smtp()))
    usual = {"name": "Harbour Mail", "domains": ("example.net",), "servers": tuple(s for s in servers if s)}
    return ProviderWish(**{**usual, **wanted})


def a_provider(session: Session, *, login_format: LoginFormat = LoginFormat.ADDRESS, **wanted: Any) -> Provider:
    """Harbour Mail, stored."""
    wish = a_provider_wish(login_format=login_format, **wanted)
    return providers.save(session, wish=wish, actor=SYSTEM)


def a_wish(**wanted: Any) -> AccountWish:
    """billing@example.net with own servers, unless a provider is wanted."""
    usual: dict[str, Any] = {"address": "billing@example.net", "login": Login("", Secret(PASSWORD))}
    if "provider_id" not in wanted and "incoming" not in wanted:
        usual |= {"incoming": imap(), "outgoing": smtp()}
    return AccountWish(**{**usual, **wanted})


def an_account(session: Session, *, is_set_up: bool = True, **wanted: Any) -> Account:
    """An account that `a_wish` describes; attributes of Account that a wish does not know are set as they come."""
    known = {name: value for name, value in wanted.items() if name in AccountWish.__dataclass_fields__}
    account = service.create(session, wish=a_wish(**known), actor=SYSTEM)
    account.is_set_up = is_set_up
    for name in wanted.keys() - known.keys():
        setattr(account, name, wanted[name])
    session.flush()
    return account
