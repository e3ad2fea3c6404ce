"""Keeps access tokens fresh: one asks, everybody else waits for the answer.

How it works. Whoever needs the token of an account calls `make_fresh` first. If the token is good for five minutes
more, that is all. Otherwise the lease `token:<grant>` is taken; who does not get it looks again every tenth of a
second, and finds either a fresh token or the reason why there is none. Under the lease the grant is read once more, the
provider is asked outside any transaction, and the answer is committed, with the lease's fencing number, before anybody
uses it: providers that rotate refresh tokens (RFC 9700 4.14) take a second use of an old one for theft and end the
whole grant.

What can go wrong. `invalid_grant`: the grant is dead, the account needs attention, and nobody asks again until it is
connected anew. The app is refused (its secret ran out): the account needs attention, and asking begins again when the
app was mended or somebody tests. 5xx, 429, silence: the health of the account stays what it is, the next try waits a
minute, doubling to an hour, or as long as the provider says. When that has gone on for half an hour and the token has
ended, the account is unreachable: nothing is read with it. The process dies after the provider answered and before
the commit: a rotating provider has forgotten the old token, which no client can prevent; the next try says
`invalid_grant`, and the account asks to be reconnected. The lease was lost meanwhile (it lasts thrice as long as a
conversation may): what came is thrown away, since whoever has the lease asks with the same token.

This module commits, as an exception among those that are no job: a rotated token must be stored before it is used.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from mailadmin import authorization, db, leases, sealed
from mailadmin.accounts import credentials
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.authorization import Client, OAuthError, Tokens
from mailadmin.errors import RuleBroken
from mailadmin.mail import catalogue
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Rules, SignInMethod
from mailadmin.oauth import apps, grants
from mailadmin.oauth.models import Grant, GrantKind
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.vault import Unsealable

TALK_SECONDS = 10.0
LEASE_SECONDS = 3 * TALK_SECONDS
WAIT_SECONDS = 20.0
LOOK_SECONDS = 0.1
SEVERAL = 6  # failures in a row, which take half an hour or more: then nobody can say that all is well


@dataclass(frozen=True, slots=True)
class _Turn:
    """Ours to ask: with what, and under which lease."""

    grant_id: int
    granted_at: datetime
    account_id: int
    kind: GrantKind
    held: leases.Held
    client: Client | None
    refresh_token: str
    key_file: str
    token_url: str
    scopes: tuple[str, ...]
    mailbox: str


def make_fresh(account_id: int, rules: Rules, *, refused: str = "") -> None:
    """See to it that the access token of the account is good for some minutes, if it signs in with one.

    `refused` is a token that a server has just refused: it is not fresh, whatever the clock says. Waits up to twenty
    seconds, so never call this in a web request or within a transaction. Raises MailError when there is no token.
    """
    began, patience = db.now(), Deadline(WAIT_SECONDS)
    while True:
        if not _is_wanted(account_id, began, refused):
            return
        turn = _take_turn(account_id, began, refused)
        if turn is not None:
            _renew(turn, rules)
            return
        if patience.is_over:
            said = t("Another process asks for a new access token and has not come to an end.")
            raise MailError(Category.UNAVAILABLE, said)
        time.sleep(LOOK_SECONDS)


def _is_wanted(account_id: int, began: datetime, refused: str) -> bool:
    """Whether a token has to be asked for. Raises MailError if that has just failed, or cannot help any more."""
    with db.reading() as session:
        grant = grants.grant_of(session, account_id)  # Most accounts have none.
        account = session.get(Account, account_id) if grant else None
        if grant is None or account is None or account.deleting_at is not None:
            return False
        return _is_stale(session, account, grant, refused) and not _raise_trouble(grant, began)


def _is_stale(session: Session, account: Account, grant: Grant, refused: str) -> bool:
    if not grants.is_fresh(grant):
        return True
    return bool(refused) and _token(session, account) == refused


def _token(session: Session, account: Account) -> str:
    try:
        row = account.credential(Direction.INCOMING)
        return sealed.reveal(session, row.secret_id).reveal() if row else ""
    except (Unsealable, LookupError):
        return ""


def _raise_trouble(grant: Grant, began: datetime) -> bool:
    """Raise MailError if another process has just asked in vain, if we have to wait, or if asking is of no use.

    The answer is False. Somebody who wants a token now does not wait for the time of the next try.
    """
    is_asked_for = grant.wanted_at is not None and (grant.failed_at is None or grant.wanted_at >= grant.failed_at)
    waits = grant.next_try_at is not None and grant.next_try_at > db.now() and not is_asked_for
    if waits or grants.is_dead(grant):
        began = grant.failed_at or began
    if grant.failed_permanent and not is_asked_for and grant.failed_at is not None:
        began = grant.failed_at
    trouble = grants.trouble_of(grant, since=began)
    if trouble is not None:
        raise trouble
    return False


def _take_turn(account_id: int, began: datetime, refused: str) -> _Turn | None:
    """The lease with all that is needed to ask; None while somebody else has it, or has just been faster."""
    with db.transaction() as session:
        found = grants.grant_of(session, account_id)
        held = leases.take(session, f"token:{found.id}", seconds=LEASE_SECONDS) if found else None
        if found is None or held is None:
            return None
        session.refresh(found)
        account = session.get(Account, account_id)
        try:
            if account is not None and _is_stale(session, account, found, refused) and not _raise_trouble(found, began):
                return _turn(session, account, found, held)
        except RuleBroken as broken:
            error = MailError(Category.CONFIG, broken.message)
            _note_failure(session, found, error)
        except MailError:  # It is raised at the next look, since this transaction has to give the lease back.
            pass
        leases.release(session, held)
        return None


def _turn(session: Session, account: Account, grant: Grant, held: leases.Held) -> _Turn:
    """Raises RuleBroken."""
    app, refresh_token = grant.app, ""
    if grant.refresh_id is not None:
        try:
            refresh_token = sealed.reveal(session, grant.refresh_id).reveal()
        except (Unsealable, LookupError) as error:
            said = t("The stored permission cannot be opened with this installation's keys. Reconnect the account.")
            raise RuleBroken(said) from error
    elif grant.kind is GrantKind.PERSON:
        raise RuleBroken(t("The provider gave no refresh token, so the account has to be connected again."))
    is_service = grant.kind is GrantKind.SERVICE_ACCOUNT
    return _Turn(
        grant_id=grant.id,
        granted_at=grant.granted_at,
        account_id=account.id,
        kind=grant.kind,
        held=held,
        client=None if is_service else apps.client_of(session, app, grant.kind),
        refresh_token=refresh_token,
        key_file=apps.service_key(session, app) if is_service else "",
        token_url=apps.url(app, app.token_url),
        scopes=tuple(app.app_scopes.split()),
        mailbox=account.address,
    )


def _renew(turn: _Turn, rules: Rules) -> None:
    """Ask, and store what came; nobody uses it before. Raises MailError."""
    try:
        tokens = _ask(turn, rules)
    except MailError as error:
        with db.transaction() as session:
            _note_end(session, turn, error)
        raise
    with db.transaction(lasts=True) as session:  # The one before is worth nothing any more.
        _note_end(session, turn, tokens)


def _ask(turn: _Turn, rules: Rules) -> Tokens:
    deadline = Deadline(TALK_SECONDS)
    if turn.client is None:
        return authorization.service_account(
            turn.key_file, rules, deadline, subject=turn.mailbox, scopes=turn.scopes, token_url=turn.token_url
        )
    if turn.kind is GrantKind.APPLICATION:
        return authorization.client_credentials(turn.client, rules, deadline)
    return authorization.refresh(turn.client, rules, deadline, refresh_token=turn.refresh_token)


def _note_end(session: Session, turn: _Turn, end: Tokens | MailError) -> None:
    """Write what came, and give the lease back, unless we have lost it."""
    try:
        leases.beat(session, turn.held, seconds=LEASE_SECONDS)
    except leases.LeaseLost:
        return
    account = session.get(Account, turn.account_id, with_for_update={"of": Account}, populate_existing=True)
    grant = grants.grant_of(session, turn.account_id)
    # The number alone would not do: SQLite gives it to the next grant when the account is connected anew.
    is_same = grant is not None and (grant.id, grant.granted_at) == (turn.grant_id, turn.granted_at)
    if account is not None and grant is not None and is_same:
        if isinstance(end, MailError):
            _note_failure(session, grant, end)
        else:
            _store(session, account, grant, end)
    leases.release(session, turn.held)


def _store(session: Session, account: Account, grant: Grant, tokens: Tokens) -> None:
    credentials.renew_token(session, account, Secret(tokens.access))
    if grant.failed_permanent and account.is_set_up and account.health is not Health.PAUSED:
        account.next_sync_at = db.now()  # What stood in its way was mended; the sync will say whether all is well.
    if tokens.refresh and grant.refresh_id is not None:  # Google keeps the old one and says nothing.
        old, grant.refresh_id = grant.refresh_id, sealed.keep(session, Secret(tokens.refresh), purpose=grants.REFRESH)
        session.flush()
        sealed.forget(session, old)
    grant.expires_at, grant.refreshed_at = tokens.expires_at, db.now()
    if tokens.scopes is not None:
        grant.scopes = " ".join(sorted(tokens.scopes))
    grant.wanted_at = grant.started_at = grant.next_try_at = None
    grant.failures, grant.failed_at, grant.failed_category, grant.failed_permanent = 0, None, None, False
    grant.failed_code = grant.failed_message = grant.failed_detail = ""
    session.flush()


def _note_failure(session: Session, grant: Grant, error: MailError) -> None:
    """Keep why there is no token; what only people can mend is trouble of the account as well."""
    grant.failures += 1
    grant.failed_at, grant.failed_category, grant.failed_permanent = db.now(), error.category, error.permanent
    grant.failed_code, grant.failed_message, grant.failed_detail = error.code, error.message, error.detail
    wait = accounts.back_off(grant.failures)
    if isinstance(error, OAuthError) and error.retry_after:
        wait = max(wait, timedelta(seconds=error.retry_after))
    grant.next_try_at = db.now() + wait
    grant.wanted_at = grant.started_at = None
    account = grant.account
    is_over = grant.expires_at is None or grant.expires_at <= db.now()
    lasts = grant.failures >= SEVERAL and is_over and account.health is not Health.NEEDS_ATTENTION
    if (error.permanent or lasts) and account.credential(Direction.INCOMING):
        for direction in _users(account):
            accounts.record_failure(
                session,
                account,
                direction=direction,
                category=error.category,
                reason=_reason(error),
                permanent=error.permanent,
                sure=True,
            )
    session.flush()


def _reason(error: MailError) -> str:
    """Why there is no token, in the words that a test or a sync has for it too."""
    rule = catalogue.rule(error.code)
    return t(rule.title) if rule and "{" not in rule.title else error.message


def _users(account: Account) -> list[Direction]:
    """The directions for which `account` signs in with its token."""
    used = {d: account.credential(d) for d in Direction if accounts.server_of(account, d)}
    return [d for d, row in used.items() if row is not None and row.method is SignInMethod.OAUTH]
