"""A campaign: which accounts of a provider are moved and how, what that will mean, and preparing it.

Preparing only writes down who is to be moved; settling.py begins moves a few at a time, and an account is changed by
nothing but a test that has passed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.moves import ways
from mailadmin.moves.legacy import OPEN, is_free, legacy
from mailadmin.moves.models import Move, MoveState, MoveWay
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Actor
from mailadmin.providers.models import Provider
from mailadmin.text import t

_STEP = 500  # ids in one statement


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody chose: the accounts `ids` (None: all of the provider), by a word of MoveWay or ways.PEOPLE;
    `exceptions` has other ways for some of them."""

    by: str
    ids: tuple[int, ...] | None = None
    exceptions: Mapping[int, MoveWay] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen: how many accounts in each way, `why_not` where a way cannot be used.

    `addresses` are the accounts if few were chosen; `left_out` is how many of those do not need it any more; links are
    sent from `sender`, or handed over by administrators.
    """

    numbers: Mapping[MoveWay, int]
    why_not: Mapping[MoveWay, str]
    addresses: Mapping[MoveWay, list[str]]
    left_out: int
    sender: str
    proof: str

    @property
    def total(self) -> int:
        """How many accounts are moved."""
        return sum(self.numbers.values())

    @property
    def can_begin(self) -> bool:
        """Whether it can be prepared like this."""
        return self.total > 0 and not self.why_not


def preview(session: Session, provider: Provider, wish: Wish, *, public_url: str) -> Preview:
    """What `wish` means today. Writes nothing."""
    chosen = _chosen(session, provider, wish)
    numbers = Counter(way for _, _, way in chosen)
    app, sender = oauth.app_of(session, provider), system_mail.sender(session)
    broken = {way: ways.why_not(provider, app, way, public_url) for way in numbers}
    named: dict[MoveWay, list[str]] = {}
    for _, address, way in chosen if wish.ids is not None else ():
        named.setdefault(way, []).append(address)
    return Preview(
        {way: numbers[way] for way in MoveWay if way in numbers},
        {way: said for way, said in broken.items() if said},
        named,
        len(set(wish.ids)) - len(chosen) if wish.ids is not None else 0,
        sender.address if sender else "",
        ways.proof(app),
    )


def prepare(session: Session, provider: Provider, wish: Wish, *, public_url: str, actor: Actor) -> int:
    """Prepare the move of what `wish` names, and say how many accounts that are.

    Those that an administrator signs in to wait for that from now on; all others are begun by the clock. Raises
    RuleBroken if nothing is left to move, or in a way that cannot be used.
    """
    found = preview(session, provider, wish, public_url=public_url)
    if found.why_not:
        raise RuleBroken(next(iter(found.why_not.values())))
    chosen = [(id_, way) for id_, _, way in _chosen(session, provider, wish)]
    if not chosen:
        raise RuleBroken(t("None of these accounts has a password left to leave, or all of them are under way."))
    try:
        with session.begin_nested():
            _write(session, chosen, actor)
    except IntegrityError as error:  # Two administrators at once; the unique column has the last word.
        raise _too_late() from error
    told = ", ".join(f"{number} by {way}" for way, number in found.numbers.items())
    activity.record(
        session, actor, f"prepared {len(chosen)} accounts at {provider.name} to leave passwords", detail=told
    )
    return len(chosen)


def first_state(way: MoveWay) -> MoveState:
    """Where a move begins: nothing can be prepared for a person at this screen."""
    return MoveState.WAITING if way is MoveWay.SIGN_IN else MoveState.PREPARED


def _chosen(session: Session, provider: Provider, wish: Wish) -> list[tuple[int, str, MoveWay]]:
    """The accounts that are moved: id, address, way; in the order of their addresses."""
    query = legacy(Account.id, Account.address, ways.is_ours()).where(Account.provider_id == provider.id, is_free())
    if wish.ids is not None:
        query = query.where(Account.id.in_(wish.ids))
    rows = session.execute(query.order_by(Account.address))
    return [(id_, address, _way(wish, id_, bool(is_ours))) for id_, address, is_ours in rows]


def _way(wish: Wish, account_id: int, is_ours: bool) -> MoveWay:
    if account_id in wish.exceptions:
        return wish.exceptions[account_id]
    if wish.by == ways.PEOPLE:
        return MoveWay.SIGN_IN if is_ours else MoveWay.OWNER
    return MoveWay(wish.by)


def _write(session: Session, chosen: list[tuple[int, MoveWay]], actor: Actor) -> None:
    moment = now()
    fresh = {
        "reason": "",
        "invite_id": None,
        "attempt_id": None,
        "requested_by": actor.name,
        "requested_by_id": actor.person_id,
        "created_at": moment,
        "changed_at": moment,
        "moved_at": None,
    }
    for first in range(0, len(chosen), _STEP):
        part = dict(chosen[first : first + _STEP])
        locked = select(Move.account_id, Move.state).where(Move.account_id.in_(part)).with_for_update()
        there = dict(session.execute(locked).all())
        if any(state in OPEN for state in there.values()):
            raise _too_late()
        for way in set(part.values()):
            again = [id_ for id_ in there if part[id_] is way]
            values = {**fresh, "way": way, "state": first_state(way)}
            change = update(Move).where(Move.account_id.in_(again)).values(**values)
            session.execute(change.execution_options(synchronize_session=False))
        new = [{"account_id": i, "way": w, "state": first_state(w), **fresh} for i, w in part.items() if i not in there]
        if new:
            session.execute(insert(Move), new)


def _too_late() -> RuleBroken:
    return RuleBroken(
        t("Somebody else prepared some of these accounts a moment ago. Look at what is left, then go on.")
    )
