"""Somebody's own accounts as they see them: how each is, in words for its owner, and which new ones can be added.

No web in here.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import owners
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.accounts.service import AccountWish
from mailadmin.errors import RuleBroken
from mailadmin.invites import own
from mailadmin.invites.models import Invite
from mailadmin.invites.progress import progress
from mailadmin.mail.types import LoginFormat, ServerProtocol, TLSMode
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.permissions import Actor
from mailadmin.sync import service as sync
from mailadmin.text import t
from mailadmin.wizard import choices
from mailadmin.wizard.choices import Candidate, Outlook
from mailadmin.wizard.step_forms import name_for

CONNECT, HELP, RESUME = "connect", "help", "resume"  # what an owner does about an account
_RECEIVING = (ServerProtocol.IMAP, ServerProtocol.POP3)


@dataclass(frozen=True, slots=True)
class Said:
    """What is wrong with an account, for its owner: in one line, then what to do; `deed` is the one that helps."""

    tone: str
    title: str
    text: str
    deed: str = ""


@dataclass(frozen=True, slots=True)
class Own:
    """An account on its owner's page. `said` is what is wrong; `goes_on`: look again soon, something is being done."""

    account: Account
    state: str
    said: Said | None
    goes_on: bool


def listed(session: Session, person: Person) -> list[Own]:
    """The accounts of `person`, by address."""
    return [_own(session, account, person) for account in owners.owned_by(session, person)]


def _own(session: Session, account: Account, person: Person) -> Own:
    state, invite = accounts.state_of(account), own.open_question(session, account)
    is_tried = invite is not None and progress(session, invite).goes_on
    sets_up = not account.is_set_up and account.health is Health.HEALTHY
    is_new = state == "connected" and account.synced_at is None
    waits = sets_up or is_new or sync.open_run(session, account.id) is not None
    goes_on = is_tried or (waits and organisation.uses_mail(session))
    said = _paused(account, person) if state == "paused" else _said(session, account, state, invite)
    return Own(account, state, None if is_tried or sets_up else said, goes_on)


def _paused(account: Account, person: Person) -> Said:
    if not owners.may_resume(account, person):
        text = t("Ask an administrator to resume it. Nothing is synced until then. No mail is lost.")
        return Said("off", t("An administrator paused it"), text)
    return Said("off", t("It is paused"), t("Nothing is synced until somebody resumes it. No mail is lost."), RESUME)


def _said(session: Session, account: Account, state: str, invite: Invite | None) -> Said | None:
    """What is wrong with `account`, or None."""
    if not account.is_set_up:
        return _unfinished(session, account, invite)
    if state == "waiting":
        return Said("warn", t("An administrator asks you to connect it anew"), _lost_nothing(), CONNECT)
    if state in ("refused", "signin"):
        return _refused(session, account, state)
    if state in ("setting", "unreachable"):
        return _broken(session, account, state)
    if state == "partial":
        return Said("warn", t("Not everything is here yet"), account.incomplete)
    return None


def _unfinished(session: Session, account: Account, invite: Invite | None) -> Said:
    is_asked = invite is not None and invite.asked_again_at is not None
    if own.way(session, account) is not None:
        text = t("What is needed is set up. Sign in once, and its mail is read.") if is_asked else ""
        if invite is not None and invite.problem:
            text = t("The last try failed: {problem}", problem=invite.problem)
        return Said("run", t("It is not connected yet"), text, CONNECT)
    if is_asked:
        text = t("You find here when you can go on.")
        return Said("run", t("Your administrators were asked for help"), text)
    text = t("Something has to be set up first, which administrators can do.")
    return Said("warn", t("It cannot be connected yet"), text, HELP)


def _refused(session: Session, account: Account, state: str) -> Said:
    name = account.provider.name if account.provider else t("Its provider")
    found = _found(session, account)
    if own.way(session, account) is None:
        return Said("bad", _reason(account), _lost_nothing(), HELP)
    if state == "signin":
        return Said("bad", t("{name} wants you to sign in again", name=name), _lost_nothing(), CONNECT)
    text = t("It may have changed, or it has to be a new app password.")
    if found.get("turn") == "owner" and found.get("rule") != found.get("category"):  # Not the rule for all others.
        text = str(found.get("cause") or text)
    return Said("bad", t("The server refuses the password"), f"{text} {_lost_nothing()}", CONNECT)


def _broken(session: Session, account: Account, state: str) -> Said:
    found = _found(session, account)
    if state == "unreachable":
        text = t("It is tried again by itself.")
        return Said("warn", _reason(account), f"{text} {_lost_nothing()}")
    if found.get("turn") == "owner":
        return Said("warn", _reason(account), f"{found.get('cause', '')} {_lost_nothing()}".strip(), CONNECT)
    return Said("warn", _reason(account), f"{t('An administrator can mend this.')} {_lost_nothing()}", HELP)


def _found(session: Session, account: Account) -> dict[str, Any]:
    return sync.diagnosis(session, account.id) or {}


def _reason(account: Account) -> str:
    return account.health_reason or account.outgoing_reason or t("It does not work at the moment")


def _lost_nothing() -> str:
    return t("No mail is lost.")


# A new one.


def look(session: Session, address: str) -> Outlook:
    """What is known of the domain of `address`; asks no network. Raises RuleBroken at `address`."""
    return choices.outlook(session, address)


def fitting(seen: Outlook) -> Candidate | None:
    """Who runs the mailbox, if its owner can go on with that alone: nobody types servers or user names there."""
    best = seen.proposed
    if best is None:
        return None
    if best.provider is not None:
        has_server = any(row.protocol in _RECEIVING for row in best.provider.servers)
        return best if has_server and best.provider.login_format is not LoginFormat.BY_HAND else None
    incoming = best.server(*_RECEIVING)
    is_safe = all(server.tls_mode is not TLSMode.NONE for server in best.servers)
    return best if incoming and is_safe and best.login is not LoginFormat.BY_HAND else None


def begin(session: Session, person: Person, *, address: str, chosen: Candidate, actor: Actor) -> Account:
    """A new account of `person` where `chosen` says. Raises RuleBroken."""
    owners.check_room(session, person)  # Before the catalogue's provider is taken over.
    seen = choices.outlook(session, address)
    parts = choices.parts(session, seen, chosen.key, base=None, actor=actor)
    return owners.add(session, person, wish=_wish(person, address, parts), actor=actor)


def begin_without_servers(session: Session, person: Person, *, address: str, actor: Actor) -> Account:
    """A new account of `person` for which an administrator has to choose who runs the mailbox. Raises RuleBroken."""
    if fitting(look(session, address)) is not None:
        raise RuleBroken(t("The provider is known. You can go on by yourself."), field="address")
    account = owners.add(session, person, wish=_wish(person, address, {}), actor=actor)
    own.ask_for_help(session, account, person=person, actor=actor)
    return account


def _wish(person: Person, address: str, parts: dict[str, Any]) -> AccountWish:
    return AccountWish(address, name=name_for(address), sender_name=person.name, **parts)
