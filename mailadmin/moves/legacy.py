"""Which accounts still sign in with a password although their provider offers OAuth, counted by the database.

The rule is that of `Account.is_legacy`: the credential for receiving is a password, and OAuth is among the methods of
the provider.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Credential
from mailadmin.db import ascii_lower
from mailadmin.mail.advice import since_words
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.moves import ways
from mailadmin.moves.models import Move, MoveState, MoveWay
from mailadmin.oauth.models import OAuthApp
from mailadmin.people.models import Person
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider

PAGE = 50
OPEN = (MoveState.PREPARED, MoveState.WAITING, MoveState.TESTING)


@dataclass(frozen=True, slots=True)
class Used:
    """So many accounts use `method`, which the provider has refused `since`, in words; empty: it has not."""

    method: SignInMethod
    number: int
    since: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """What is left at one provider: `number` accounts with passwords, `under_way` of them prepared already.

    `possible` are the ways that its OAuth app has today, `lacks` says what stands in the way of all; `proof` is how
    "Verify set-up" went, one of the words of ways.py.
    """

    provider: Provider
    used: Sequence[Used]
    number: int
    under_way: int
    app: OAuthApp | None
    possible: Sequence[MoveWay]
    lacks: str
    proof: str

    @property
    def is_urgent(self) -> bool:
        """Whether the provider refuses what accounts here use."""
        return any(one.since for one in self.used)


@dataclass(frozen=True, slots=True)
class Report:
    """All live accounts that sign in somehow: at providers that offer OAuth, with it, and where there is nothing to do
    since nobody offers it (`without`, of which `own` have servers of their own)."""

    lines: Sequence[Line]
    with_oauth: int
    without: int
    own: int

    @property
    def number(self) -> int:
        """How many accounts still have a password that could go."""
        return sum(line.number for line in self.lines)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One account that could be moved. `is_ours`: an administrator is its owner, or has its address."""

    id: int
    address: str
    name: str
    owner: str | None
    method: SignInMethod
    is_ours: bool
    before: MoveState | None  # what became of an earlier move


def legacy(*columns: Any) -> Select[*tuple[Any, ...]]:
    """`columns` of the accounts that could leave their password; Account, Credential, Provider and Move are joined."""
    return (
        select(*columns)
        .select_from(Account)
        .join(Credential, (Credential.account_id == Account.id) & (Credential.direction == Direction.INCOMING))
        .join(Provider, Provider.id == Account.provider_id)
        .outerjoin(Move, Move.account_id == Account.id)
        .where(
            Account.deleting_at.is_(None),
            Credential.method != SignInMethod.OAUTH,
            Provider.methods.contains(SignInMethod.OAUTH.value),
        )
    )


def is_free() -> ColumnElement[bool]:
    """Whether no move of the account is under way."""
    return or_(Move.id.is_(None), Move.state.not_in(OPEN))


def count(session: Session, provider_id: int | None = None, *, free: bool = False) -> int:
    """How many accounts could leave their password, at one provider or at all; `free`: without those under way."""
    query = legacy(func.count(Account.id))
    if provider_id is not None:
        query = query.where(Account.provider_id == provider_id)
    return session.scalar(query.where(is_free()) if free else query) or 0


def by_method(session: Session, provider: Provider) -> dict[SignInMethod, int]:
    """How many accounts of `provider` could leave a password of which kind."""
    query = legacy(Credential.method, func.count(Account.id)).where(Account.provider_id == provider.id)
    return dict(session.execute(query.group_by(Credential.method)).all())


def report(session: Session, public_url: str) -> Report:
    """Where passwords are left, the urgent first, then where most are."""
    counted = _counted(session)
    offering = {p.id: p for p in session.scalars(select(Provider)) if SignInMethod.OAUTH in p.sign_in_methods}
    apps = {app.provider_id: app for app in session.scalars(select(OAuthApp))}
    used: dict[int, list[Used]] = {}
    under_way: dict[int, int] = {}
    with_oauth = without = own = 0
    for provider_id, method, number, open_ in counted:
        provider = offering.get(provider_id)
        if method is SignInMethod.OAUTH:
            with_oauth += number
        elif provider is None:
            without += number
            own += number if provider_id is None else 0
        else:
            used.setdefault(provider_id, []).append(Used(method, number, _since(provider, method)))
            under_way[provider_id] = under_way.get(provider_id, 0) + open_
    lines = [_line(offering[id_], found, under_way[id_], apps.get(id_), public_url) for id_, found in used.items()]
    lines.sort(key=lambda line: (not line.is_urgent, -line.number, line.provider.name.casefold()))
    return Report(lines, with_oauth, without, own)


def candidates(session: Session, provider: Provider, *, q: str, page: int) -> tuple[Sequence[Candidate], int]:
    """A page (from 1) of the accounts of `provider` that can be moved, by address, and how many there are.

    A page beyond the last one is the last one.
    """
    rules = _fitting(provider, q)
    total = session.scalar(legacy(func.count(Account.id)).where(*rules)) or 0
    page = min(page, max(1, -(-total // PAGE)))
    columns = (Account.id, Account.address, Account.name, Person.name, Credential.method, ways.is_ours(), Move.state)
    rows = legacy(*columns).outerjoin(Account.owner).where(*rules).order_by(Account.address)
    found = session.execute(rows.limit(PAGE).offset((page - 1) * PAGE))
    return [Candidate(*row) for row in found], total


def _fitting(provider: Provider, q: str) -> list[ColumnElement[bool]]:
    rules = [Account.provider_id == provider.id, is_free()]
    text = ascii_lower(Account.address + "\n" + Account.name)
    return rules + [text.contains(word, autoescape=True) for word in q.lower().split()[:10]]


def _counted(session: Session) -> Sequence[Any]:
    """Provider, method, how many live accounts, and how many of them are being moved."""
    query = (
        select(
            Account.provider_id,
            Credential.method,
            func.count(Account.id),
            func.count(Move.id).filter(Move.state.in_(OPEN)),
        )
        .join(Credential, (Credential.account_id == Account.id) & (Credential.direction == Direction.INCOMING))
        .outerjoin(Move, Move.account_id == Account.id)
        .where(Account.deleting_at.is_(None))
        .group_by(Account.provider_id, Credential.method)
        .order_by(Account.provider_id, Credential.method)
    )
    return session.execute(query).all()


def _line(provider: Provider, used: Sequence[Used], under_way: int, app: OAuthApp | None, public_url: str) -> Line:
    possible = [way for way in MoveWay if not ways.why_not(provider, app, way, public_url)]
    lacks = "" if possible else ways.why_not(provider, app, MoveWay.SIGN_IN, public_url)
    number = sum(one.number for one in used)
    return Line(provider, used, number, under_way, app, possible, lacks, ways.proof(app))


def _since(provider: Provider, method: SignInMethod) -> str:
    known = providers.known(provider)
    refusal = known.refuses(method) if known else None
    return since_words(refusal.since) if refusal else ""
