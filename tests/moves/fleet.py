"""Accounts with passwords at a provider that offers OAuth, and what the clock and the runners do for their moves."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import clock, db
from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.connections.jobs import drain_checks, drain_tokens
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.moves import service
from mailadmin.moves.campaign import Wish
from mailadmin.moves.models import Move, MoveState
from mailadmin.oauth.models import OAuthApp
from mailadmin.permissions import SYSTEM
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from tests.oauth.harbour import PASSWORD, PEOPLE, PUBLIC_URL, Harbour

SALES, TOMAS, WIM, SUPPORT = PEOPLE
MACHINE = "mailadmin"  # the client id, as which Dovecot sees the app when it acts alone


class Fleet:
    """`provider` is made with the first account; its app may do what `app` says."""

    def __init__(self, harbour: Harbour) -> None:
        self.harbour, self.idp = harbour, harbour.idp
        self.provider_id = 0

    def begin(self, *addresses: str, has_app: bool = True, **app: Any) -> list[Account]:
        """Accounts at these addresses, at work with the password that Dovecot knows."""
        with db.transaction() as session:
            provider = session.scalar(select(Provider)) or self.harbour.provider(session)
            self.provider_id = provider.id
            if has_app and session.scalar(select(OAuthApp)) is None:
                self.harbour.app(session, provider, **app)
            made = []
            for address in addresses:
                wish = AccountWish(address, provider_id=provider.id, login=Login("", Secret(PASSWORD)))
                account = accounts.create(session, wish=wish, actor=SYSTEM)
                account.is_set_up = True
                for direction in Direction:
                    accounts.record_success(session, account, direction=direction)
                made.append(account)
            return made

    def let_in(self, *addresses: str) -> None:
        """The administrator of the provider lets the app open these mailboxes without a person."""
        for address in addresses:
            self.idp.may_open.add((MACHINE, address))

    def choose_sender(self) -> None:
        """The console writes through SUPPORT, whose provider this is."""
        with db.transaction() as session:
            found = session.scalars(select(Account).where(Account.address == SUPPORT)).unique().one()
            system_mail.choose_sender(session, found.id, actor=SYSTEM)

    @property
    def path(self) -> str:
        """The address of the campaign."""
        return f"/moves/providers/{self.provider_id}"

    def prepare(self, by: str) -> int:
        """Prepare the move of all accounts, without a browser."""
        with db.transaction() as session:
            return self.prepare_in(session, by)

    def prepare_in(self, session: Session, by: str) -> int:
        """The same in a transaction that goes on."""
        provider = session.get_one(Provider, self.provider_id)
        return service.prepare(session, provider, Wish(by), public_url=PUBLIC_URL, actor=SYSTEM)

    def go_on(self) -> None:
        """What clock and runners do meanwhile."""
        clock.settle_invites()
        clock.settle_moves()
        drain_tokens()
        drain_checks()
        clock.settle_invites()
        clock.settle_moves()

    def account(self, address: str) -> Account:
        """The account as it is now."""
        with db.reading() as session:
            return session.scalars(select(Account).where(Account.address == address)).unique().one()

    def method(self, address: str) -> SignInMethod | None:
        """How it signs in now."""
        return self.account(address).method

    def move(self, address: str) -> Move:
        """Its move as it was written down."""
        with db.reading() as session:
            query = select(Move).join(Account, Account.id == Move.account_id).where(Account.address == address)
            return session.scalars(query).one()

    def change(self, address: str, **values: Any) -> None:
        """Let the account be different."""
        with db.transaction() as session:
            found = session.scalars(select(Account).where(Account.address == address)).unique().one()
            for name, value in values.items():
                setattr(found, name, value)

    def states(self) -> dict[str, MoveState]:
        """The states of all moves, by address."""
        with db.reading() as session:
            query = select(Account.address, Move.state).join(Move, Move.account_id == Account.id)
            return dict(session.execute(query).all())
