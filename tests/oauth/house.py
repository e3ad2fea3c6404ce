"""The harbour without a browser: accounts that are connected by calling what routes call, and the jobs."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.connections.jobs import drain_checks, drain_tokens
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, Grant
from mailadmin.permissions import SYSTEM
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from tests.oauth.harbour import PUBLIC_URL, Harbour

BINDER = "what only this browser holds"


class House:
    """`idp` is the OAuth server of `harbour`."""

    def __init__(self, harbour: Harbour) -> None:
        self.harbour, self.idp = harbour, harbour.idp

    def account(self, address: str = "wim@example.org", *, password: str = "") -> Account:
        """A stored account at the provider (made when first needed), set up, with a password if one is given."""
        with db.transaction() as session:
            provider = session.scalar(select(Provider))
            if provider is None:
                provider = self.harbour.provider(session)
                self.harbour.app(session, provider)
            login = Login(password=Secret(password)) if password else Login()
            wish = AccountWish(address=address, provider_id=provider.id, login=login, is_begun=not password)
            account = accounts.create(session, wish=wish, actor=SYSTEM)
            account.is_set_up = True
            return account

    def connected(self, address: str = "wim@example.org", *, expires_in: float | None = None) -> Account:
        """A stored account that was connected by its owner, and tested; its token ends in `expires_in` seconds."""
        account = self.account(address)
        assert self.connect(account, address).failed_message == ""
        if expires_in is not None:
            self.age(account, expires_in)
        return account

    def begin(self, account: Account, **given: Any) -> tuple[Attempt, str]:
        """An attempt for `account`, and the address to which its browser is sent."""
        with db.transaction() as session:
            found = accounts.get(session, account.id)
            about = {"binder": BINDER, "actor": SYSTEM, "came_from": "account", "public_url": PUBLIC_URL, **given}
            return oauth.begin(session, found, **about)

    def receive(self, attempt: Attempt, answer: dict[str, str], *, binder: str = BINDER, at: int = 0) -> Attempt:
        """The attempt after the browser came back with `answer`, at the address of the provider `at`."""
        with db.transaction() as session:
            provider_id = at or attempt.app.provider_id
            return oauth.receive(session, provider_id=provider_id, binder=binder, person_id=None, answer=answer)

    def answer(self, url: str, identity: str, **agreeing: Any) -> dict[str, str]:
        """What the browser brings back when `identity` has agreed."""
        return dict(parse_qsl(urlsplit(self.idp.agree(url, identity, **agreeing)).query))

    def connect(self, account: Account, identity: str, *, is_delegate: bool = False, **agreeing: Any) -> Attempt:
        """An attempt for `account` that `identity` agrees to, after the jobs have done their work."""
        attempt, url = self.begin(account, is_delegate=is_delegate)
        self.receive(attempt, self.answer(url, identity, **agreeing))
        self.work()
        return self.attempt(attempt.id)

    def work(self) -> None:
        """Let the jobs do what is due: tokens, tests, and what these make of it."""
        for _ in range(2):
            drain_tokens()
            drain_checks()

    def attempt(self, attempt_id: int) -> Attempt:
        """The attempt as it is now."""
        with db.reading() as session:
            return oauth.get_attempt(session, attempt_id)

    def grant(self, account: Account) -> Grant:
        """What `account` signs in with now."""
        with db.reading() as session:
            found = oauth.grant_of(session, account.id)
            assert found is not None
            return found

    def age(self, account: Account, seconds: float) -> None:
        """Let the access token of `account` be an hour old and end in `seconds`, as far as we know."""
        with db.transaction() as session:
            grant = oauth.grant_of(session, account.id)
            assert grant is not None
            grant.expires_at = db.now() + timedelta(seconds=seconds)
            grant.refreshed_at = db.now() - timedelta(hours=1)
