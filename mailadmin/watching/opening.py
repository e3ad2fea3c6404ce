"""Opens one account to wait for its server's word: read, talk, write, in a thread of the watcher."""

from dataclasses import dataclass

from mailadmin import boot, db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import hosts
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers, sasl
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import open_imap
from mailadmin.mail.imap_idle import Idle
from mailadmin.mail.types import Bearer, Direction
from mailadmin.oauth import service as oauth
from mailadmin.sync import manners, watching

OPEN_SECONDS = 25.0
BUDGET = 2_000_000  # bytes: nothing is read but what sign-in and the opening of a folder say
LONG_SECONDS = 24 * 3600.0  # until a server without IDLE is asked again whether it has learned it
REFUSED_SECONDS = 3600.0  # until one that only a person can mend is; a new version of the account comes before


@dataclass(frozen=True, slots=True)
class Opened:
    """How it went: the connection, or in how many seconds to try again; None: as the usual back-off says.

    `is_behind`: the inbox is another than the last sync left.
    """

    account_id: int
    stamp: watching.Stamp
    idle: Idle | None = None
    is_behind: bool = False
    again: float | None = None


def open_idle(account_id: int, stamp: watching.Stamp) -> Opened:
    """Open the inbox of the account and wait there for news; `stamp` is what it was when this was decided."""
    leg, again = _prepared(account_id, stamp)
    if leg is None:
        return Opened(account_id, stamp, again=again)
    try:
        oauth.make_fresh(account_id, boot.settings().rules)
        leg = _current(account_id) or leg
        try:
            return _opened(account_id, stamp, leg)
        except MailError as error:
            if error.category is not Category.OAUTH or not isinstance(leg.how, Bearer):
                raise
            oauth.make_fresh(account_id, boot.settings().rules, refused=leg.how.token)
        leg = _current(account_id) or leg
        try:
            return _opened(account_id, stamp, leg)
        except MailError as error:  # The new one as well: only people can help.
            error.permanent = error.permanent or error.category is Category.OAUTH
            raise
    except MailError as error:
        with db.transaction() as session:
            watching.note_failure(session, account_id, stamp.version, leg, error)
        wait = manners.wait_after(error)
        if error.permanent:
            return Opened(account_id, stamp, again=REFUSED_SECONDS)
        return Opened(account_id, stamp, again=wait.total_seconds() if wait else None)


def _prepared(account_id: int, stamp: watching.Stamp) -> tuple[accounts.Leg | None, float]:
    """Where and how to sign in; or None, and in how many seconds to ask again."""
    with db.transaction() as session:
        account = session.get(Account, account_id)
        if account is None or account.version != stamp.version or manners.is_waiting(account):
            return None, LONG_SECONDS  # Whoever watches notices by itself.
        try:
            leg = accounts.leg(session, account, Direction.INCOMING)
        except RuleBroken:  # The next sync says so.
            return None, LONG_SECONDS
        if leg is None or not _can_tell(leg):
            return None, LONG_SECONDS
        until = hosts.claim(session, leg.server)
        return (None, max((until - now()).total_seconds(), 1.0)) if until else (leg, 0.0)


def _can_tell(leg: accounts.Leg) -> bool:
    """Whether nothing is known of the provider that forbids to wait for its word."""
    known = known_providers.by_server_host(leg.server.host)
    return known is None or known.has_idle


def _current(account_id: int) -> accounts.Leg | None:
    """The leg with the token that the account has now."""
    with db.reading() as session:
        account = session.get(Account, account_id)
        try:
            return accounts.leg(session, account, Direction.INCOMING) if account else None
        except RuleBroken:
            return None


def _opened(account_id: int, stamp: watching.Stamp, leg: accounts.Leg) -> Opened:
    """Raises MailError."""
    deadline = Deadline(OPEN_SECONDS)
    imap = open_imap(leg.server, boot.settings().rules, deadline, budget=BUDGET, secrets=sasl.forms(leg.how))
    try:
        imap.sign_in(leg.how)
        if not imap.can_idle:
            imap.close()
            return Opened(account_id, stamp, again=LONG_SECONDS)
        state = imap.examine("INBOX")
        idle = imap.idle()
    except MailError:
        imap.close()
        raise
    with db.reading() as session:
        return Opened(account_id, stamp, idle, watching.is_behind(session, account_id, state))
