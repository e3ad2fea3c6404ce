"""Attempts to get a grant: how one begins, and what the browser brings back.

What an attempt knows in secret is one sealed object: `verifier` (RFC 7636) and `nonce` from the beginning, `code` and
who says to have sent it (`issuer`, RFC 9207) once the browser is back, then `access`, `refresh`, `expires_at` once
there are tokens. What travels through the browser is `state`, of which only a hash is kept: it is good once, for ten
minutes, for the browser that holds the binder, for the person who began, and at the address of its own provider
(RFC 9700 4.4, mix-up).
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mailadmin import authorization, sealed
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.authorization import Client
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import ServiceType
from mailadmin.oauth import revoking
from mailadmin.oauth.apps import app_of, client_of, redirect_uri, why_not
from mailadmin.oauth.models import Attempt, AttemptState, GrantKind, OAuthApp
from mailadmin.permissions import Actor
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.vault import Unsealable

PURPOSE = "oauth attempt"
LIFE = timedelta(minutes=10)
PATIENCE = timedelta(hours=1)  # with jobs
KEPT = timedelta(days=30)  # for the page of an attempt; its secrets go with its life
WRONG_IDENTITY = "oauth_wrong_identity"
OWNERS = "invite"  # where the attempts of owners with a connect link come from


def begin(
    session: Session,
    account: Account,
    *,
    binder: str,
    actor: Actor,
    came_from: str,
    public_url: str,
    is_delegate: bool = False,
    chooses: bool = False,
) -> tuple[Attempt, str]:
    """Begin an attempt by which a person signs in, and say where the browser has to go.

    `binder` is what only this browser holds. With `chooses` the provider asks which of its accounts to use. Raises
    RuleBroken if the provider has no OAuth app that can, or nobody said how this console is reached.
    """
    app = _usable(session, account, GrantKind.PERSON)
    if not public_url:
        said = t("Set PUBLIC_URL first: without it the provider would not know where to send the browser back to.")
        raise RuleBroken(said)
    client = _choosing(client_of(session, app), app) if chooses else client_of(session, app)
    state, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    verifier = authorization.new_verifier()
    attempt = _new(session, account, app, GrantKind.PERSON, actor, came_from, {"verifier": verifier, "nonce": nonce})
    attempt.state_hash, attempt.binder_hash = _hash(state), _hash(binder)
    attempt.redirect_uri, attempt.is_delegate = redirect_uri(app.provider_id, public_url), is_delegate
    session.flush()
    address = authorization.authorization_url(
        client,
        redirect_uri=attempt.redirect_uri,
        state=state,
        verifier=verifier,
        nonce=nonce,
        login_hint="" if is_delegate or chooses else account.address,
    )
    return attempt, address


def begin_alone(session: Session, account: Account, *, kind: GrantKind, actor: Actor, came_from: str) -> Attempt:
    """Begin an attempt in which nobody signs in: the organisation lets us in. Ring "token" after the commit.

    Who asks twice, with a double click, gets the same one. Raises RuleBroken if the provider has no OAuth app that can.
    """
    app = _usable(session, account, kind)
    begun = _begun_alone(session, account, app, kind, actor, came_from)
    if begun is not None:
        return begun
    attempt = _new(session, account, app, kind, actor, came_from, {})
    attempt.state, attempt.answered_at = AttemptState.ANSWERED, now()
    session.flush()
    return attempt


def _begun_alone(
    session: Session, account: Account, app: OAuthApp, kind: GrantKind, actor: Actor, came_from: str
) -> Attempt | None:
    """The same attempt, if it was begun already and the account is as it was."""
    session.execute(select(Account.id).where(Account.id == account.id).with_for_update())  # One click after the other.
    same = (
        Attempt.account_id == account.id,
        Attempt.account_version == account.version,
        Attempt.app_id == app.id,
        Attempt.kind == kind,
        Attempt.person_id == actor.person_id,
        Attempt.came_from == came_from,
    )
    is_open = (Attempt.state.in_((AttemptState.ANSWERED, AttemptState.GRANTED)), Attempt.expires_at > now())
    return session.scalars(select(Attempt).where(*same, *is_open).order_by(Attempt.id.desc()).limit(1)).first()


def receive(
    session: Session, *, provider_id: int, binder: str, person_id: int | None, answer: Mapping[str, str]
) -> Attempt:
    """Take what the browser brings back from the provider (RFC 6749 4.1.2); once. Ring "token" after the commit.

    The attempt is ANSWERED, or REFUSED if the owner or the provider said no. Raises RuleBroken if the answer is not one
    to a question of this browser and this person.
    """
    state = answer.get("state", "")
    query = select(Attempt).where(Attempt.state_hash == _hash(state)).with_for_update(of=Attempt)
    attempt = session.scalars(query).one_or_none() if state else None
    if attempt is None or attempt.state is not AttemptState.WAITING:
        raise RuleBroken(t("This sign-in was used already, or was not begun here. Start again."))
    is_theirs = attempt.person_id in (None, person_id)  # An owner who was sent a link need not sign in here.
    is_ours = is_theirs and hmac.compare_digest(attempt.binder_hash or b"", _hash(binder))
    if not is_ours:
        raise RuleBroken(t("This sign-in was begun in another browser, or by somebody else. Start again here."))
    attempt.state_hash = None  # Whatever comes now, it is the answer.
    if attempt.app.provider_id != provider_id or _is_of_another(session, attempt, answer.get("iss", "")):
        said = t("The answer came from another server than the one that was asked, so it was not used.")
        refuse(session, attempt, MailError(Category.POLICY, said, code="oauth_issuer"))
    elif attempt.expires_at <= now():
        said = t("The sign-in took longer than ten minutes, so its answer is not taken any more.")
        refuse(session, attempt, MailError(Category.OAUTH, said, code="oauth_state_mismatch"))
    elif answer.get("error") or not answer.get("code"):
        error, description = answer.get("error") or "invalid_request", answer.get("error_description", "")
        refuse(session, attempt, authorization.refusal(error, description, host=_host(attempt.app)))
    else:
        known = opened(session, attempt)
        put(session, attempt, {**known, "code": answer["code"], "issuer": answer.get("iss", "")})
        attempt.state, attempt.answered_at = AttemptState.ANSWERED, now()
    session.flush()
    return attempt


def get_attempt(session: Session, attempt_id: int) -> Attempt:
    """The attempt `attempt_id`. Raises NotFound."""
    attempt = session.get(Attempt, attempt_id)
    if attempt is None:
        raise NotFound(t("This sign-in does not exist any more."))
    return attempt


def accept_delegate(session: Session, attempt: Attempt, *, actor: Actor) -> None:
    """Take the grant of somebody else than the mailbox: a delegate of it, says an administrator. Ring "token" then.

    Raises RuleBroken if there is nothing to accept, or not any more.
    """
    session.refresh(attempt, with_for_update={"of": Attempt})
    is_open = attempt.state is AttemptState.REFUSED and attempt.failed_code == WRONG_IDENTITY
    if attempt.came_from == OWNERS:  # Somebody meant to open their own mailbox, and was mistaken in the account.
        raise RuleBroken(t("The owner signed in with another account. Ask them to sign in once more."))
    if not is_open or attempt.secret_id is None or attempt.expires_at <= now():
        raise RuleBroken(t("This sign-in is too old to go on with. Start again."))
    attempt.is_delegate, attempt.state, attempt.ended_at, attempt.started_at = True, AttemptState.ANSWERED, None, None
    attempt.answered_at = now()
    attempt.failed_category, attempt.failed_code, attempt.failed_message, attempt.failed_detail = None, "", "", ""
    what = f"accepted {attempt.identity} as a delegate of {attempt.account.address}"
    activity.record(session, actor, what, account_id=attempt.account_id)
    session.flush()


# For the pieces of oauth/ that carry an attempt on.


def opened(session: Session, attempt: Attempt) -> dict[str, Any]:
    """What `attempt` knows in secret. Raises Unsealable or LookupError."""
    if attempt.secret_id is None:
        raise LookupError
    known: dict[str, Any] = json.loads(sealed.reveal(session, attempt.secret_id).reveal())
    return known


def put(session: Session, attempt: Attempt, known: dict[str, Any] | None) -> None:
    """Seal what `attempt` knows in secret from now on; None: nothing any more."""
    old = attempt.secret_id
    attempt.secret_id = sealed.keep(session, Secret(json.dumps(known)), purpose=PURPOSE) if known is not None else None
    session.flush()
    if old is not None:
        sealed.forget(session, old)


def refuse(session: Session, attempt: Attempt, error: MailError) -> None:
    """End `attempt` with `error`. Tokens of somebody else are kept: an administrator may say that it is a delegate,
    unless an owner came with them; then they are given back."""
    attempt.state, attempt.ended_at, attempt.state_hash = AttemptState.REFUSED, now(), None
    attempt.failed_category, attempt.failed_code = error.category, error.code
    attempt.failed_message, attempt.failed_detail = error.message, error.detail
    if error.code != WRONG_IDENTITY or attempt.came_from == OWNERS:
        _drop(session, attempt)
    session.flush()


def failure_of(attempt: Attempt) -> MailError:
    """Why `attempt` was refused."""
    return MailError(
        attempt.failed_category or Category.OAUTH,
        attempt.failed_message,
        detail=attempt.failed_detail,
        code=attempt.failed_code,
    )


def forget_old_attempts(session: Session) -> None:
    """Forget the secrets of attempts that nobody ended in time, and what is older than a month."""
    held = select(Attempt).where(Attempt.secret_id.is_not(None), Attempt.expires_at < now() - PATIENCE)
    for attempt in session.scalars(held):
        if attempt.state in (AttemptState.ANSWERED, AttemptState.GRANTED):
            refuse(session, attempt, MailError(Category.UNAVAILABLE, t("It was not finished within an hour.")))
        _drop(session, attempt)
    old = select(Attempt).where(Attempt.created_at < now() - KEPT)
    for attempt in session.scalars(old):
        _drop(session, attempt)
        session.execute(delete(Attempt).where(Attempt.id == attempt.id))


def _drop(session: Session, attempt: Attempt) -> None:
    """Forget what `attempt` knows in secret; what somebody else granted by mistake is given back."""
    if attempt.failed_code == WRONG_IDENTITY:
        with suppress(Unsealable, LookupError):
            refresh = opened(session, attempt).get("refresh", "")
            revoking.hand_over(session, attempt.app, identity=attempt.identity, refresh=refresh)
    put(session, attempt, None)


def _usable(session: Session, account: Account, kind: GrantKind) -> OAuthApp:
    app = app_of(session, account.provider)
    if app is None or why_not(app, kind):
        raise RuleBroken(why_not(app, kind))
    return app


def _new(
    session: Session,
    account: Account,
    app: OAuthApp,
    kind: GrantKind,
    actor: Actor,
    came_from: str,
    known: dict[str, Any],
) -> Attempt:
    attempt = Attempt(
        account=account,
        app=app,
        kind=kind,
        came_from=came_from,
        person_id=actor.person_id,
        requested_by=actor.name,
        from_address=actor.address,
        account_version=account.version,
        expires_at=now() + LIFE,
    )
    session.add(attempt)
    put(session, attempt, known)
    return attempt


def _choosing(client: Client, app: OAuthApp) -> Client:
    """`client`, asking the provider to let the person choose one of its accounts."""
    asked = dict(client.parameters)
    is_one_word = app.provider.service_type is ServiceType.MICROSOFT or not asked.get("prompt")
    asked["prompt"] = "select_account" if is_one_word else f"{asked['prompt']} select_account"
    return replace(client, parameters=tuple(asked.items()))


def _is_of_another(session: Session, attempt: Attempt, issuer: str) -> bool:
    """Whether the answer names an issuer that is not the app's (RFC 9207); Microsoft's names a tenant of its own."""
    expected = client_of(session, attempt.app).issuer
    return bool(issuer and expected) and "{" not in expected and issuer != expected


def _host(app: OAuthApp) -> str:
    return app.token_url.partition("//")[2].partition("/")[0]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
