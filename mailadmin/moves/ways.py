"""The ways from a password to OAuth: which of them a provider has, what each needs, and who can give the grant."""

from sqlalchemy import ColumnElement, func, or_, select

from mailadmin.accounts.models import Account
from mailadmin.mail.types import ServiceType, StageOutcome
from mailadmin.moves.models import MoveWay
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import GrantKind, OAuthApp
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from mailadmin.providers.models import Provider
from mailadmin.text import t

KIND = {
    MoveWay.SIGN_IN: GrantKind.PERSON,
    MoveWay.OWNER: GrantKind.PERSON,
    MoveWay.APPLICATION: GrantKind.APPLICATION,
    MoveWay.SERVICE_ACCOUNT: GrantKind.SERVICE_ACCOUNT,
}
ALONE = (MoveWay.APPLICATION, MoveWay.SERVICE_ACCOUNT)  # Nobody has to do anything.
PEOPLE = "people"  # beside the words of MoveWay: SIGN_IN for accounts of administrators, OWNER for all others
VERIFIED, FAILED, OLD, UNVERIFIED = "verified", "failed", "old", "unverified"  # how "Verify set-up" went


def of(provider: Provider) -> list[MoveWay]:
    """The ways that make sense at `provider`: Google knows service accounts, everybody else apps that act alone."""
    other = MoveWay.APPLICATION if provider.service_type is ServiceType.GOOGLE else MoveWay.SERVICE_ACCOUNT
    return [way for way in MoveWay if way is not other]


def why_not(provider: Provider, app: OAuthApp | None, way: MoveWay, public_url: str) -> str:
    """What stands in the way of moving accounts of `provider` like this, a sentence; empty: nothing."""
    if way not in of(provider):
        return t("{name} has no such way.", name=provider.name)
    if missing := oauth.why_not(app, KIND[way]):
        return missing
    if way not in ALONE and not public_url:
        return t("Set PUBLIC_URL first: without it the provider cannot send people back to this console.")
    return ""


def is_ours() -> ColumnElement[bool]:
    """Whether an administrator can sign in as the account: its owner is one, or it is the address of one."""
    active = (Person.role == PersonRole.ADMINISTRATOR, Person.deactivated_at.is_(None))
    owned = Account.owner_id.in_(select(Person.id).where(*active))
    return or_(func.coalesce(owned, False), Account.address.in_(select(Person.email).where(*active)))


def proof(app: OAuthApp | None) -> str:
    """How "Verify set-up" went for `app` as it is now."""
    if app is None or app.verified_at is None or not app.verification:
        return UNVERIFIED
    if app.changed_at > app.verified_at:
        return OLD
    has_failed = any(step["outcome"] == StageOutcome.FAILED for step in app.verification)
    return FAILED if has_failed else VERIFIED
