"""A provider with an OAuth server and mail servers that take its tokens, for whoever connects accounts to it."""

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from mailadmin import db, sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.config import Settings
from mailadmin.connections.jobs import drain_checks, drain_tokens
from mailadmin.mail.types import Server, ServerProtocol, SignInMethod, TLSMode
from mailadmin.oauth.apps import SECRET, redirect_uri
from mailadmin.oauth.models import OAuthApp
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.providers.service import ProviderWish
from mailadmin.sealed import Secret
from tests.pages import Browser, Page
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.oauth import SCOPES, OAuthServer
from tests.servers.smtp import Sink

SALES, TOMAS = "sales@example.org", "tomas@example.org"
PEOPLE = (SALES, TOMAS, "wim@example.org", "support@example.org")
PASSWORD = "old password 3"
PUBLIC_URL = "https://console.example.com"
CLIENT_SECRET = "hush, a client secret"


class Harbour:
    """The servers of one provider; PEOPLE have mailboxes there, with PASSWORD too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.idp = OAuthServer(folder)

    def __enter__(self) -> Self:
        self.idp.__enter__()
        url, users = self.idp.introspection_url, dict.fromkeys(PEOPLE, PASSWORD)
        self.dovecot = Dovecot(users, introspection_url=url).__enter__()
        self.sink = Sink(self.folder, "implicit", users=users, introspection_url=url).__enter__()
        self.dovecot.deliver([a_message(1)], user=SALES)
        self.ca_file = self.folder / "harbour.pem"
        authorities = (self.idp.ca_file, self.dovecot.ca_file, self.sink.ca_file)
        self.ca_file.write_bytes(b"".join(file.read_bytes() for file in authorities))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sink.__exit__(kind, error, trace)
        self.dovecot.__exit__(kind, error, trace)
        self.idp.__exit__(kind, error, trace)

    def settings(self, settings: Settings, **more: Any) -> Settings:
        """An installation that trusts these servers and knows under which address it is reached."""
        rules = replace(settings.rules, ca_file=str(self.ca_file))
        return replace(settings, rules=rules, check_seconds=8.0, **{"public_url": PUBLIC_URL, **more})

    def fresh(self) -> None:
        """Forget what the OAuth server was taught by another test."""
        self.idp.reset()
        for address in PEOPLE:
            self.idp.add_person(address)

    @property
    def imap(self) -> Server:
        return Server(ServerProtocol.IMAP, "localhost", self.dovecot.ports["imaps"], TLSMode.IMPLICIT)

    @property
    def smtp(self) -> Server:
        return Server(ServerProtocol.SMTP, "localhost", self.sink.port, TLSMode.IMPLICIT)

    def provider(self, session: Session, **wanted: Any) -> Provider:
        """The provider, which offers OAuth and passwords."""
        methods = frozenset({SignInMethod.OAUTH, SignInMethod.PASSWORD})
        usual = {"name": "Harbour", "domains": ("example.org",), "servers": (self.imap, self.smtp), "methods": methods}
        return providers.save(session, wish=ProviderWish(**{**usual, **wanted}), actor=SYSTEM)

    def app(self, session: Session, provider: Provider, **changes: Any) -> OAuthApp:
        """Its OAuth app, registered on both sides."""
        idp = self.idp
        idp.add_app("mailadmin", secret=CLIENT_SECRET, redirect_uris=(redirect_uri(provider.id, PUBLIC_URL),))
        app = OAuthApp(
            provider=provider,
            client_id="mailadmin",
            secret_id=sealed.keep(session, Secret(CLIENT_SECRET), purpose=SECRET),
            issuer=idp.issuer,
            authorize_url=idp.authorize_url,
            token_url=idp.token_url,
            jwks_url=idp.jwks_url,
            userinfo_url=idp.userinfo_url,
            revocation_url=idp.revocation_url,
            scopes=" ".join(SCOPES),
            app_scopes="mail",
        )
        for name, value in changes.items():
            setattr(app, name, value)
        session.add(app)
        session.flush()
        return app

    def account(self, *, is_set_up: bool = True, with_password: bool = True, has_app: bool = True) -> Account:
        """SALES at this provider, stored."""
        with db.transaction() as session:
            provider = self.provider(session)
            if has_app:
                self.app(session, provider)
            login = Login("", Secret(PASSWORD)) if with_password else Login()
            wish = AccountWish(SALES, provider_id=provider.id, login=login, is_begun=not with_password)
            account = accounts.create(session, wish=wish, actor=SYSTEM)
            account.is_set_up = is_set_up
            return account


# What a person does at a browser.


def begun(browser: Browser, account: Account, **typed: str) -> str:
    """Press Reconnect; the answer is the address at the provider to which the page leads."""
    page = browser.post(f"/accounts/{account.id}/oauth", {"came_from": "account", **typed})
    assert page.status == 200, page.words()
    return page.one("a", rel="noreferrer").get("href", "")


def path_of(address: str) -> str:
    """What a browser asks of us at `address`: path and query."""
    parts = urlsplit(address)
    assert f"{parts.scheme}://{parts.netloc}" == PUBLIC_URL
    return f"{parts.path}?{parts.query}"


def work() -> None:
    """What runners do meanwhile."""
    drain_tokens()
    drain_checks()


def connected(browser: Browser, harbour: Harbour, account: Account, who: str = SALES, **typed: str) -> Page:
    """Connect `account`, signing in at the provider as `who`; the page of the attempt when all is done."""
    back = browser.get(path_of(harbour.idp.agree(begun(browser, account, **typed), who)))
    assert back.status == 303, back.words()
    work()
    return browser.get(back.location)
