"""What needs somebody: accounts in trouble as causes, worst first, each with a reason and the one thing to do.

Accounts of one provider that fail alike are one cause, since it is the server and not the mailboxes. What only a person
can mend comes first, then what may pass by itself, then accounts that only cannot send, then those that wait for their
owners, then those whose sync is not complete; within each, what touches most accounts, then what lasts longest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select, true
from sqlalchemy.orm import Session, lazyload, load_only

from mailadmin.accounts.models import Account, Credential, Health
from mailadmin.accounts.service import state_column, state_of
from mailadmin.connections.models import Check
from mailadmin.console import queries, times
from mailadmin.console.queries import ATTENTION
from mailadmin.console.work import Work
from mailadmin.invites import service as invites
from mailadmin.invites.models import Invite
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.providers.models import Provider
from mailadmin.sync.models import SyncRun
from mailadmin.sync.service import IS_SYNC
from mailadmin.text import t

ROWS = 20
INCIDENT = 3  # So many accounts of one provider that fail alike are one cause.
BY_HAND, MAY_PASS, SENDING_ONLY, WAITING, NOT_COMPLETE = range(5)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
# Of two failures of one account the one that says more leads: the word that the lists show comes from it as well.
_LEADS = (
    Category.OAUTH,
    Category.AUTH,
    Category.PERMISSION,
    Category.POLICY,
    Category.UNSUPPORTED,
    Category.CONFIG,
)

_COLUMNS = (
    Account.address,
    Account.provider_id,
    Account.is_set_up,
    Account.asked_owner_at,
    Account.running_since,
    Account.synced_at,
    Account.incomplete,
    Account.health,
    Account.health_category,
    Account.health_reason,
    Account.health_since,
    Account.outgoing_health,
    Account.outgoing_category,
    Account.outgoing_reason,
    Account.outgoing_since,
)


@dataclass(frozen=True, slots=True)
class Fix:
    """The one button of a cause: its words, where it leads (without an endpoint: where the name does), and whether it
    does something (POST) or shows a page."""

    label: str
    endpoint: str
    acts: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: an account by its address, or `number` accounts of a provider by its name (then without account).

    `state` is a word of `accounts.service.state_of`, or "link" where one ran out; `when` says since when in words, `at`
    exactly.
    """

    name: str
    state: str
    when: str
    at: datetime | None
    why: str
    fix: Fix | None
    account_id: int | None
    provider_id: int | None
    number: int = 1


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What is wrong with one account, as far as its row tells. Without `direction` its sync is not complete; with an
    `invite` its owner was asked to mend it."""

    account: Account
    provider: str
    method: SignInMethod | None
    direction: Direction | None
    invite: Invite | None = None

    @property
    def health(self) -> Health:
        return self.account.outgoing_health if self.direction is Direction.OUTGOING else self.account.health

    @property
    def category(self) -> Category | None:
        outgoing = self.direction is Direction.OUTGOING
        return self.account.outgoing_category if outgoing else self.account.health_category

    @property
    def reason(self) -> str:
        if self.invite:
            return invites.why(self.invite)
        if self.direction is None:
            return self.account.incomplete
        outgoing = self.direction is Direction.OUTGOING
        return self.account.outgoing_reason if outgoing else self.account.health_reason

    @property
    def rank(self) -> int:
        if self.invite:
            return BY_HAND if invites.is_our_turn(self.invite) else WAITING
        if self.direction is None:
            return NOT_COMPLETE
        if self.account.health not in ATTENTION:
            return SENDING_ONLY
        return BY_HAND if self.health is Health.NEEDS_ATTENTION else MAY_PASS

    @property
    def at(self) -> datetime | None:
        if self.invite:
            return self.account.asked_owner_at or self.invite.created_at
        if self.direction is None:
            return self.account.synced_at
        return self.account.health_since if self.direction is Direction.INCOMING else self.account.outgoing_since

    @property
    def likeness(self) -> tuple[object, ...]:
        """Equal for accounts that fail alike; those without a provider or a category are like none."""
        if self.invite or self.account.provider_id is None or self.direction is None or self.category is None:
            return (self.account.id,)
        return (self.account.provider_id, self.rank, self.direction, self.health, self.category)


def causes(session: Session, *, limit: int = ROWS) -> tuple[list[Cause], int]:
    """The `limit` worst causes, worst first, and how many there are in all; three queries, however many accounts."""
    alike: dict[tuple[object, ...], list[_Trouble]] = defaultdict(list)
    for trouble in _troubles(session):
        alike[trouble.likeness].append(trouble)
    rows: list[list[_Trouble]] = []
    for group in alike.values():
        rows += [group] if len(group) >= INCIDENT else [[trouble] for trouble in group]
    rows.sort(key=_order)
    speakers = [_speaker(row) for row in rows[:limit]]
    diagnoses = _diagnoses(session, [trouble.account.id for trouble in speakers])
    return [_cause(*both, diagnoses) for both in zip(speakers, rows, strict=False)], len(rows)


def _speaker(row: Sequence[_Trouble]) -> _Trouble:
    """The account that speaks for all: its reason is the one that most of them have."""
    usual = Counter(trouble.reason for trouble in row).most_common(1)[0][0]
    return next(trouble for trouble in row if trouble.reason == usual)


def headline(tallies: dict[str, int], providers: int, looked: Work, *, all_well: bool) -> str:
    """The overview in two or three sentences; `all_well` says that there is no cause."""
    number = tallies["all"]
    said = t("1 account") if number == 1 else t("{n} accounts", n=f"{number:,}")
    if providers:
        said += " " + (t("at 1 provider") if providers == 1 else t("at {n} providers", n=f"{providers:,}"))
    parts = [f"{said}."]
    if bad := tallies["attention"]:
        parts.append(t("1 of them needs attention.") if bad == 1 else t("{n} of them need attention.", n=f"{bad:,}"))
    elif tallies["unfinished"] == tallies["all"]:
        parts.append(t("None of them is set up yet."))
    elif not all_well:
        parts.append(t("Not all of them are complete."))
    elif not looked.alarm:
        parts.append(t("None of them needs attention."))
    if looked.alarm:
        is_behind = looked.pace == "behind"
        parts.append(t("Background work is behind.") if is_behind else t("Background work has stopped."))
    return " ".join(parts)


def _order(row: Sequence[_Trouble]) -> tuple[int, int, datetime, str]:
    return row[0].rank, -len(row), _first(row) or LONG_AGO, row[0].account.address


def _first(row: Iterable[_Trouble]) -> datetime | None:
    return min((trouble.at for trouble in row if trouble.at), default=None)


def _troubles(session: Session) -> list[_Trouble]:
    """Everything that is wrong, an account at most once; no relationship is loaded, for there may be many."""
    query = (
        select(Account, Provider.name, Credential.method, Invite)
        .outerjoin(Provider, Provider.id == Account.provider_id)
        .outerjoin(Credential, (Credential.account_id == Account.id) & (Credential.direction == Direction.INCOMING))
        .outerjoin(Invite, (Invite.account_id == Account.id) & Invite.ended_at.is_(None))
        .where(
            Account.deleting_at.is_(None),
            or_(
                queries.TABS["attention"],
                queries.AT_WORK & (Account.incomplete != ""),
                state_column() == "waiting",
                Invite.asked_again_at.is_not(None),
                Invite.id.is_not(None) & ~Account.is_set_up,  # Its link ran out: nobody is waited for any more.
            ),
        )
        .options(load_only(*_COLUMNS), lazyload("*"))
        .order_by(Account.id)
    )
    found = (
        _Trouble(account, name or "", method, _lead(account), invite if _waits(account, invite) else None)
        for account, name, method, invite in session.execute(query)
    )
    return [trouble for trouble in found if trouble.invite or trouble.direction or trouble.account.incomplete]


def _waits(account: Account, invite: Invite | None) -> bool:
    """Whether it is the owner's turn, or the owner wants something of us, or the link is all that there was."""
    if invite is None or invites.is_own(invite):  # Owners who connect theirs alone want nothing of us.
        return invite is not None and invites.is_our_turn(invite)
    return invite.asked_again_at is not None or not account.is_set_up or state_of(account) == "waiting"


def _lead(account: Account) -> Direction | None:
    """The direction whose failure says more, or None where neither fails."""
    found = [
        (_weight(health, category), direction)
        for direction, health, category in (
            (Direction.INCOMING, account.health, account.health_category),
            (Direction.OUTGOING, account.outgoing_health, account.outgoing_category),
        )
        if health in ATTENTION
    ]
    return min(found, key=lambda one: one[0])[1] if found else None


def _weight(health: Health, category: Category | None) -> int:
    return _LEADS.index(category) if health is Health.NEEDS_ATTENTION and category in _LEADS else len(_LEADS)


def _diagnoses(session: Session, account_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """What the last test and the last run of each account found, the newer one first."""
    ends: dict[int, list[tuple[datetime, dict[str, Any]]]] = defaultdict(list)
    for kind, counts in ((Check, true()), (SyncRun, IS_SYNC)) if account_ids else ():
        last = (
            select(kind.id)
            .where(kind.account_id == Account.id, kind.finished_at.is_not(None), counts)
            .order_by(kind.requested_at.desc(), kind.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = select(kind.account_id, kind.finished_at, kind.diagnosis)
        wanted = select(last).where(Account.id.in_(account_ids))
        for account_id, ended, diagnosis in session.execute(query.where(kind.id.in_(wanted))):
            if diagnosis:
                ends[account_id].append((ended, diagnosis))
    by_age = {account_id: sorted(found, key=lambda end: end[0], reverse=True) for account_id, found in ends.items()}
    return {account_id: [diagnosis for _, diagnosis in found] for account_id, found in by_age.items()}


def _cause(trouble: _Trouble, row: Sequence[_Trouble], diagnoses: dict[int, list[dict[str, Any]]]) -> Cause:
    account, number = trouble.account, len(row)
    diagnosis = _fitting(diagnoses.get(account.id, []), trouble)
    fix = _fix(trouble, diagnosis)
    if number > 1 and fix:
        again = fix.endpoint == _TEST.endpoint
        fix = Fix(fix.label, "connections.test_provider", acts=True) if again else Fix(t("Show accounts"), "")
    return Cause(
        name=account.address if number == 1 else trouble.provider,
        state=_state(trouble),
        when=_when(row, number),
        at=_first(row),
        why=_why(trouble, diagnosis),
        fix=fix,
        account_id=account.id if number == 1 else None,
        provider_id=account.provider_id,
        number=number,
    )


def _state(trouble: _Trouble) -> str:
    if trouble.invite:
        return "waiting" if trouble.rank == WAITING else "draft" if invites.is_own(trouble.invite) else "link"
    return state_of(trouble.account) if trouble.direction else "partial"


def _fitting(diagnoses: Iterable[dict[str, Any]], trouble: _Trouble) -> dict[str, Any]:
    """The newest diagnosis that speaks of `trouble`, or nothing."""
    told = [each for diagnosis in diagnoses for each in (diagnosis, diagnosis.get("also")) if each]
    wanted = (trouble.direction, trouble.category)
    return next((each for each in told if (each.get("direction"), each.get("category")) == wanted), {})


def _when(row: Sequence[_Trouble], number: int) -> str:
    at, rank = _first(row), row[0].rank
    if at is None:
        said = t("never complete yet") if rank == NOT_COMPLETE else ""
    elif rank == NOT_COMPLETE:
        said = t("last complete {when}", when=times.since(at))
    else:
        said = t("since {when}", when=times.since(at))
    if number == 1:
        return said
    return ", ".join(filter(None, (t("{n} accounts", n=f"{number:,}"), said)))


def _why(trouble: _Trouble, diagnosis: dict[str, Any]) -> str:
    """One or two sentences: what happened, why, and whether the other direction works."""
    if trouble.invite:
        return trouble.reason
    title = diagnosis.get("title", "")
    said = [_sentence(trouble.reason or title)]
    if title and trouble.reason in ("", title):
        said.append(diagnosis["cause"])
    if trouble.rank == SENDING_ONLY:
        said.insert(0, t("Receiving works, sending does not."))
    elif trouble.direction is Direction.OUTGOING:
        said.append(t("Receiving does not work either."))
    elif trouble.direction and trouble.account.outgoing_health in ATTENTION:
        said.append(t("Sending does not work either."))
    return " ".join(filter(None, said))


def _sentence(words: str) -> str:
    return words if not words or words.endswith((".", "!", "?", "…")) else f"{words}."


_UPDATE = Fix("Update password", "wizard.settings")
_RECONNECT = Fix("Reconnect", "oauth.connect", acts=True)
_CHANGE = Fix("Change the settings", "wizard.settings")
_REVIEW = Fix("Review certificate", "connections.show")
_OFFER = Fix("See the fix", "connections.show")  # The test found what works instead; one click there does it.
_LOOK = Fix("See what to do", "console.account")
_TEST = Fix("Test again", "connections.begin", acts=True)
_RESUME = Fix("Go on with the set-up", "wizard.resume")
_LINK = Fix("Show the link", "invites.ask")
_LINK_AGAIN = Fix("Ask again", "invites.ask")
_FOLDERS = Fix("Show folders", "sync.folders")
_FIXES = {
    Category.AUTH: _UPDATE,
    Category.OAUTH: _LOOK,
    Category.TLS: _REVIEW,
    Category.CONFIG: _CHANGE,
    Category.POLICY: _LOOK,
    Category.UNSUPPORTED: _LOOK,
    Category.PERMISSION: _LOOK,
    Category.QUOTA: _LOOK,
}
# Rules of which the category does not say what mends them: another port or TLS mode, another version.
_OF_RULES = {
    "tls-port-is-plain": _CHANGE,
    "tls-port-is-encrypted": _CHANGE,
    "tls_wrong_version": _CHANGE,
    "tls-too-old": _LOOK,
    "tls_old_protocol": _LOOK,
    "tls_weak": _LOOK,
    "tls_client_certificate": _LOOK,
    "tls-preauth": _LOOK,
    "unsupported-starttls": _CHANGE,
}


def _fix(trouble: _Trouble, diagnosis: dict[str, Any]) -> Fix | None:
    """The thing to do, or None where it goes on by itself."""
    if trouble.invite:
        fix = _LINK if trouble.rank == WAITING else _RESUME if invites.is_own(trouble.invite) else _LINK_AGAIN
        return Fix(t(fix.label), fix.endpoint, fix.acts)
    if trouble.category is Category.THROTTLED:
        return None
    if diagnosis.get("fixes"):
        fix = _OFFER
    elif diagnosis.get("certificate"):
        fix = _REVIEW
    else:
        fix = _OF_RULES.get(diagnosis.get("rule", "")) or _usual(trouble)
    return Fix(t(fix.label), fix.endpoint, fix.acts)


def _usual(trouble: _Trouble) -> Fix:
    """What mends most failures of this category."""
    if trouble.direction is None:
        return _FOLDERS
    if trouble.category is Category.DNS and trouble.health is Health.NEEDS_ATTENTION:
        return _CHANGE  # There is no such name: testing again says the same.
    if trouble.category in (Category.AUTH, Category.OAUTH) and trouble.health is Health.UNREACHABLE:
        return _TEST  # The server cannot ask its list of passwords just now; ours may be right.
    if trouble.method is not SignInMethod.OAUTH:
        is_gone = trouble.category is Category.OAUTH and trouble.method is None
        return _RECONNECT if is_gone else _FIXES.get(trouble.category or Category.NETWORK, _TEST)
    by_token = {Category.OAUTH: _RECONNECT, Category.AUTH: _RECONNECT, Category.CONFIG: _LOOK}
    return by_token.get(trouble.category or Category.NETWORK) or _FIXES.get(trouble.category or Category.NETWORK, _TEST)
