"""What accounts were granted: how they take a grant, what becomes of the password before it, and the end of both."""

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.guard import stray
from mailadmin.accounts.models import Account, Credential
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, LoginFormat, ServiceType, SignInMethod
from mailadmin.oauth import consent, revoking
from mailadmin.oauth.consent import OWNERS
from mailadmin.oauth.models import Attempt, AttemptState, Grant, GrantKind, KeptPassword, OAuthApp
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.vault import Unsealable

REFRESH, KEPT = "refresh token", "kept password"
KEPT_FOR = timedelta(days=14)
EARLY = timedelta(minutes=5)
IDLE = timedelta(days=30)  # Microsoft forgets a refresh token that nobody used for 90 days, Google after six months.


def grant_of(session: Session, account_id: int) -> Grant | None:
    """The grant with which the account receives; None where it signs in with a password, or with nothing yet."""
    uses = exists().where(
        Credential.account_id == account_id,
        Credential.direction == Direction.INCOMING,
        Credential.method == SignInMethod.OAUTH,
    )
    return session.scalar(select(Grant).where(Grant.account_id == account_id, uses))


def is_fresh(grant: Grant) -> bool:
    """Whether the access token is good for five minutes more, or for half of a life that is shorter than ten."""
    return _is_good(grant.expires_at, grant.refreshed_at)


def fresh_among(session: Session, account_ids: Collection[int]) -> set[int]:
    """Those of these accounts that have a grant whose access token is fresh, with one statement."""
    query = select(Grant.account_id, Grant.expires_at, Grant.refreshed_at).where(Grant.account_id.in_(account_ids))
    return {id_ for id_, expires_at, refreshed_at in session.execute(query) if _is_good(expires_at, refreshed_at)}


def _is_good(expires_at: datetime | None, refreshed_at: datetime) -> bool:
    if expires_at is None:
        return False
    return expires_at - min(EARLY, (expires_at - refreshed_at) / 2) > now()


def is_dead(grant: Grant) -> bool:
    """Whether only a new consent can help, so that asking again would be knocking at a closed door."""
    return grant.failed_permanent and grant.failed_category is Category.OAUTH


def want_token(session: Session, grant: Grant, *, refused: bool = False) -> None:
    """Ask for a new access token; `refused`: the one there is is worth nothing. Ring "token" after the commit."""
    if refused:
        grant.expires_at = None
    if grant.wanted_at is None or refused:
        grant.wanted_at, grant.started_at = now(), None
    session.flush()


def trouble_of(grant: Grant, *, since: datetime | None = None) -> MailError | None:
    """Why there is no access token, if the last try failed (and, unless it is final, not before `since`)."""
    if grant.failed_at is None or grant.failed_category is None:
        return None
    if since is not None and not is_dead(grant) and grant.failed_at < since:
        return None
    return MailError(
        grant.failed_category,
        grant.failed_message,
        detail=grant.failed_detail,
        permanent=grant.failed_permanent,
        code=grant.failed_code,
    )


def next_try_at(session: Session, account_id: int) -> datetime:
    """When a token is asked for again after one was not to be had."""
    grant = grant_of(session, account_id)
    return (grant.next_try_at if grant else None) or now() + timedelta(minutes=1)


def wish_with(session: Session, account: Account, attempt: Attempt) -> AccountWish:
    """`account` as it would be with the tokens of `attempt`. Raises Unsealable, LookupError, or RuleBroken if they
    would go to servers that they are not for.

    A password of its own for sending goes too, unless it is for a server of somebody else's, such as a relay.
    """
    wish, provider = accounts.wish_of(account), account.provider
    if attempt.app.provider_id != account.provider_id:
        raise RuleBroken(t("The account has another provider by now than the one that was asked. Start again."))
    is_big = provider is not None and provider.service_type in (ServiceType.GOOGLE, ServiceType.MICROSOFT)
    username = "" if is_big else wish.login.username
    token = Secret(consent.opened(session, attempt)["access"])
    theirs = provider.server(Direction.OUTGOING) if provider else None
    used = accounts.server_of(account, Direction.OUTGOING)
    is_relay = used is not None and (theirs is None or used.host != theirs.host)
    if said := why_astray(account, attempt.kind, attempt.came_from, sends=not (is_relay and wish.sending)):
        raise RuleBroken(said)
    return replace(
        wish,
        login=Login(username, token, SignInMethod.OAUTH),
        sending=wish.sending if is_relay else None,
        login_format=None if is_big else wish.login_format,
    )


def why_astray(account: Account, kind: GrantKind, came_from: str, *, sends: bool = True) -> str:
    """Why a grant of this kind may not be used at the servers of `account`, a sentence; empty: it may.

    What the organisation, or an owner with a connect link, lets us into goes to no server that somebody chose for one
    account: neither of them sees it. Who signs in at this console has chosen that server, or can look. `sends`: the
    token is for sending as well.
    """
    if kind is GrantKind.PERSON and came_from != OWNERS:
        return ""
    found = stray(account, Direction if sends else (Direction.INCOMING,))
    if found is None:
        return ""
    said = "{server} is a server of this account alone, and what a provider grants goes to its own servers."
    return t(said, server=f"{found.host}:{found.port}")


def take_grant(
    session: Session, account: Account, attempt: Attempt, *, actor: Actor, version: int | None = None
) -> None:
    """Let `account` sign in with what `attempt` was granted; the password that it had is kept for the way back.

    `version` is that of the account as it was tested. Raises RuleBroken if somebody changed it meanwhile.
    """
    if attempt.state is not AttemptState.GRANTED:
        raise RuleBroken(t("This sign-in has ended already. Start again."))
    known = consent.opened(session, attempt)
    kept = _password_of(session, account)
    wish = wish_with(session, account, attempt)
    accounts.change(session, account, wish=wish, version=account.version if version is None else version, actor=actor)
    if kept is not None:
        _keep(session, account, kept)
    _forget(session, session.scalar(select(Grant).where(Grant.account_id == account.id)))
    refresh = known.get("refresh")
    session.add(
        Grant(
            account_id=account.id,
            app_id=attempt.app_id,
            kind=attempt.kind,
            identity=attempt.identity,
            is_delegate=attempt.is_delegate,
            scopes=attempt.scopes,
            refresh_id=sealed.keep(session, Secret(refresh), purpose=REFRESH) if refresh else None,
            expires_at=datetime.fromisoformat(known["expires_at"]),
        )
    )
    attempt.state, attempt.ended_at = AttemptState.DONE, now()
    consent.put(session, attempt, None)
    who = f"as {attempt.identity}" if attempt.identity else attempt.kind.value
    activity.record(session, actor, f"connected {account.address} with OAuth", detail=who, account_id=account.id)
    session.flush()


def forget_orphans(session: Session) -> None:
    """Forget grants of accounts that sign in with a password again."""
    uses = exists().where(
        Credential.account_id == Grant.account_id,
        Credential.direction == Direction.INCOMING,
        Credential.method == SignInMethod.OAUTH,
    )
    for grant in session.scalars(select(Grant).where(~uses)):
        _forget(session, grant)


def want_idle(session: Session) -> int:
    """Ask for new tokens for the grants that nobody used for a month, so that none dies of it; how many there are."""
    idle = select(Grant).join(Account).where(Grant.refreshed_at < now() - IDLE, Grant.refresh_id.is_not(None))
    alive = idle.where(Account.deleting_at.is_(None), Grant.wanted_at.is_(None), Grant.failed_permanent.is_(False))
    found = session.scalars(alive.limit(1000)).all()
    for grant in found:
        want_token(session, grant, refused=True)
    return len(found)


def app_changed(session: Session, app: OAuthApp) -> None:
    """The app was mended: what failed because of it is tried again. Ring "token" after the commit."""
    failed = select(Grant).where(Grant.app_id == app.id, Grant.failed_category.is_not(None))
    for grant in session.scalars(failed.where(Grant.failed_category != Category.OAUTH)):
        grant.next_try_at = None
        want_token(session, grant)


# The way back.


def kept_password(session: Session, account_id: int) -> KeptPassword | None:
    """The password that the account had before its grant, as long as it is kept."""
    return session.scalar(select(KeptPassword).where(KeptPassword.account_id == account_id))


def restore_password(session: Session, account: Account, *, actor: Actor) -> None:
    """Let `account` sign in with the password that it had before OAuth. Ask for a test afterwards.

    Raises RuleBroken if it is gone, or was for another server.
    """
    kept = kept_password(session, account.id)
    if kept is None:
        raise RuleBroken(t("The old password was destroyed already. Type it in the settings."))
    try:
        known: dict[str, Any] = json.loads(sealed.reveal(session, kept.secret_id).reveal())
    except (Unsealable, LookupError) as error:
        said = t("The old password cannot be opened with this installation's keys. Type it in the settings.")
        raise RuleBroken(said) from error
    if known["servers"] != _doors(account):
        raise RuleBroken(t("The servers have changed since, and the old password was not typed for them."))
    wish = replace(
        accounts.wish_of(account),
        login=_login(known["incoming"]),
        sending=known["outgoing"] and _login(known["outgoing"]),
        login_format=known["login_format"] and LoginFormat(known["login_format"]),
    )
    accounts.change(session, account, wish=wish, version=account.version, actor=actor)
    _forget(session, session.scalar(select(Grant).where(Grant.account_id == account.id)))
    forget_kept(session, account.id)
    activity.record(session, actor, f"moved {account.address} back to its password", account_id=account.id)
    session.flush()


def forget_kept(session: Session, account_id: int) -> None:
    """Destroy the old password of the account, if there is one."""
    kept = kept_password(session, account_id)
    if kept is not None:
        session.delete(kept)
        session.flush()
        sealed.forget(session, kept.secret_id)


def destroy_old_passwords(session: Session) -> int:
    """Destroy the passwords whose fourteen days are over, and say how many."""
    over = session.scalars(select(KeptPassword).where(KeptPassword.ends_at <= now())).all()
    for kept in over:
        what = f"destroyed the old password of {kept.account.address}"
        activity.record(session, SYSTEM, what, detail="after 14 days", account_id=kept.account_id)
        forget_kept(session, kept.account_id)
    return len(over)


def secrets_of(session: Session, account_id: int) -> list[UUID]:
    """Every secret that OAuth holds for the account, for whoever deletes it."""
    found = [
        *session.scalars(select(Grant.refresh_id).where(Grant.account_id == account_id)),
        *session.scalars(select(Attempt.secret_id).where(Attempt.account_id == account_id)),
        *session.scalars(select(KeptPassword.secret_id).where(KeptPassword.account_id == account_id)),
    ]
    return [secret_id for secret_id in found if secret_id is not None]


def forget_account(session: Session, account_id: int) -> None:
    """Delete what points to the account; its secrets go afterwards, see `secrets_of`."""
    for table in (Grant, Attempt, KeptPassword):
        session.execute(
            delete(table).where(table.account_id == account_id).execution_options(synchronize_session=False)
        )


def _password_of(session: Session, account: Account) -> dict[str, Any] | None:
    """How `account` signs in with passwords now; None if it does not, or if they do not open."""
    if account.method in (None, SignInMethod.OAUTH):
        return None
    try:
        found = {row.direction: _opened(session, row) for row in account.credentials}
    except (Unsealable, LookupError):
        return None
    return {
        "incoming": found[Direction.INCOMING],
        "outgoing": found.get(Direction.OUTGOING),
        "login_format": account.login_format,
        "servers": _doors(account),
    }


def _opened(session: Session, row: Credential) -> dict[str, str]:
    password = sealed.reveal(session, row.secret_id).reveal()
    return {"username": row.username, "method": row.method.value, "password": password}


def _login(known: dict[str, str]) -> Login:
    return Login(known["username"], Secret(known["password"]), SignInMethod(known["method"]))


def _doors(account: Account) -> list[str]:
    """Where `account` goes, and how these servers are judged: a password is for them as they are."""
    used = [server for direction in Direction if (server := accounts.server_of(account, direction))]
    trusts = (f"{each.trust!r}{each.trust.authorities}".encode() for each in used)
    return [f"{each} {hashlib.sha256(trust).hexdigest()}" for each, trust in zip(used, trusts, strict=True)]


def _keep(session: Session, account: Account, known: dict[str, Any]) -> None:
    forget_kept(session, account.id)
    secret_id = sealed.keep(session, Secret(json.dumps(known)), purpose=KEPT)
    session.add(KeptPassword(account_id=account.id, secret_id=secret_id, ends_at=now() + KEPT_FOR))
    session.flush()


def _forget(session: Session, grant: Grant | None) -> None:
    if grant is None:
        return
    secret_id = grant.refresh_id
    if secret_id is not None:
        with suppress(Unsealable, LookupError):
            refresh = sealed.reveal(session, secret_id).reveal()
            revoking.hand_over(session, grant.app, identity=grant.identity, refresh=refresh)
    session.delete(grant)
    session.flush()
    if secret_id is not None:
        sealed.forget(session, secret_id)
