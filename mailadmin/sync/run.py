"""One sync run: take the lease, open the account, follow its folders one after the other, say how it ended.

How it works. A run is a row; whoever holds the lease of its account works on it. The runner reads what it needs, talks
to the server, and writes in short transactions, never waiting for the server in one. Each transaction begins with a
beat of the lease and a look at the account (going.py), so a run whose account is deleted, paused or changed stops
before the next batch; while a server is silent, somebody looks every few seconds. The inbox comes first, then the
folders that made no trouble last time, then the others: a folder at which a server stumbles so badly that the
connection ends cannot keep the rest from being read.

What can go wrong. The connection breaks, or the password is refused: the run has failed, with a category; the account's
health decides when the next one comes. A folder is refused: that is its own trouble, the run goes on and ends partial.
The process is killed: the run stays open and its lease runs out, or is broken at once by the clock of the same machine;
the clock rings again and the next runner goes on. The lease was lost: somebody else works on the run, so nothing is
written any more, not even the end.

Why it may run twice. A run that has ended is left alone, one that somebody works on as well, and one that broke off is
simply worked on again: what is stored is compared with what the server has, whoever stored it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import bindparam, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, lazyload

from mailadmin import boot, db, leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.mail import dial, sasl
from mailadmin.mail.answers import Refused
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.incoming import open_incoming as open_server
from mailadmin.mail.types import Bearer, Direction, ServerProtocol
from mailadmin.oauth import service as oauth
from mailadmin.sync import audit, changes, passes, push, quiet, retention, settling, texts
from mailadmin.sync.beginning import begin, token_trouble
from mailadmin.sync.ending import Ending, broken_off, finish_run, stopped
from mailadmin.sync.going import LEASE_SECONDS, WATCH_SECONDS, FolderTrouble, Going, Stopped, Timed
from mailadmin.sync.models import Folder, RunKind, RunOutcome, SyncRun
from mailadmin.sync.numbering import Naming, Numbered
from mailadmin.sync.survey import survey
from mailadmin.text import t

OPEN_SECONDS = 25.0  # to connect and to sign in
POP3_SECONDS = 300.0  # Many POP3 servers let nobody else into the mailbox meanwhile.
BATCH = 500
BUDGET = 200_000_000  # bytes of one step: the flags of more than a million messages
NOT_OF_THE_FOLDER = {Category.AUTH, Category.OAUTH, Category.THROTTLED}

# Made once, for every run asks this, and to write a statement takes longer than to execute it.
_ACTIVE = (
    select(Folder.id, Folder.path, Folder.name, Folder.trouble, Folder.is_complete, Folder.is_wished)
    .where(Folder.account_id == bindparam("of_account"), Folder.is_active, Folder.is_gone.is_(False))
    .order_by(Folder.path)
)
_ACCOUNT = select(Account).where(Account.id == bindparam("of_account")).with_for_update(of=Account)
_ACCOUNT = _ACCOUNT.options(lazyload("*")).execution_options(populate_existing=True)
_RUN = select(SyncRun).where(SyncRun.id == bindparam("of_run")).with_for_update()

Opening = Callable[[accounts.Leg], Timed]
Visit = Callable[[Going, int], None]
log = logging.getLogger(__name__)


def open_incoming(leg: accounts.Leg, watch: Callable[[], None] | None = None, *, budget: int = BUDGET) -> Timed:
    """A signed-in connection. Raises MailError, and what `watch` raises while a server is waited for."""
    deadline = Deadline(OPEN_SECONDS, watch=watch, every=WATCH_SECONDS)
    incoming = open_server(leg.server, boot.settings().rules, deadline, budget=budget, secrets=sasl.forms(leg.how))
    with dial.closed_if_it_fails(incoming):
        incoming.sign_in(leg.how)
    return cast(Timed, incoming)  # What a POP3 session lacks, `Numbered` adds.


def perform(run_id: int, *, batch: int = BATCH, opening: Opening | None = None) -> None:
    """Work on a run until it has ended, in this process; see above.

    Returns at once if the run has ended or somebody else works on its account. Whatever is raised (a database that does
    not answer, a signal), the lease is given back and the run stays open: it can be performed again.
    """
    begun = begin(run_id, batch, token_trouble(run_id))
    if begun is None:
        return
    going, leg = begun
    is_over = is_lost = False
    try:
        broken = _work(going, leg, opening)
        is_over = _end(going, leg, broken)
    except leases.LeaseLost:
        is_lost = True
        log.warning("Run %s lost its lease; somebody else goes on with it.", run_id)
    finally:
        if not is_over:
            with suppress(SQLAlchemyError), db.transaction() as session:
                leases.release(session, going.held)
    if not is_over and not is_lost:
        perform(run_id, batch=batch, opening=opening)  # Somebody asked for more in the last moment.


def _work(going: Going, leg: accounts.Leg, opening: Opening | None) -> Ending | None:
    """Talk to the server about everything that is wanted; why it ended before that, or None. Raises LeaseLost."""
    try:
        with _connected(going, leg, opening):
            push.push(going)
            _visit(going, survey(going), passes.follow)
            if going.is_audit:
                _visit(going, set(), audit.compare)
                audit.sum_up(going)
            if _is_more_to_do(going):
                settling.settle(going)
                push.between(going, texts.fetch)
            push.push(going)
    except Stopped as stop:
        settling.settle_what_was_read(going)
        return stopped(stop)
    except MailError as error:
        settling.settle_what_was_read(going)
        return _failed(going, leg, error)
    return None


def _is_more_to_do(going: Going) -> bool:
    """Whether anything is left to do that is not about the folders: see settling.py and texts.py."""
    ids = [going.account_id]
    with db.reading() as session:
        if quiet.unfinished(session, ids) or settling.last_day(session, going.account_id) is not None:
            return True
        return going.since is not None and bool(retention.with_old_mail(session, ids))


def _failed(going: Going, leg: accounts.Leg, error: MailError) -> Ending:
    """The end of a run that `error` broke off, with its diagnosis."""
    with db.reading() as session:
        return broken_off(session, session.get(Account, going.account_id), leg, error)


def connected(going: Going, leg: accounts.Leg, opening: Opening | None) -> Timed:
    """A signed-in connection, with a new token if the server refuses the one there is. Raises MailError, Stopped."""
    try:
        return opening(leg) if opening else open_incoming(leg, going.watch)
    except MailError as error:
        if error.category is not Category.OAUTH or not isinstance(leg.how, Bearer) or opening:
            raise
        return _opened_again(going, leg, leg.how.token)


@contextmanager
def _connected(going: Going, leg: accounts.Leg, opening: Opening | None) -> Iterator[None]:
    going.incoming = connected(going, leg, opening)
    if leg.server.protocol is ServerProtocol.POP3:
        going.incoming = Numbered(going, cast(Naming, going.incoming))
        going.ends = Deadline(min(POP3_SECONDS, going.ends.left()))
    try:
        yield
    finally:
        going.incoming.close()


def _opened_again(going: Going, leg: accounts.Leg, refused: str) -> Timed:
    """A connection with a new token instead of `refused`; if the server refuses that too, only people can help."""
    new = _renewed(going, leg, refused)
    try:
        return open_incoming(new, going.watch)
    except MailError as error:
        error.permanent = error.permanent or error.category is Category.OAUTH
        raise


def _renewed(going: Going, leg: accounts.Leg, refused: str) -> accounts.Leg:
    """`leg` with another token than the one that the server has just `refused`. Raises MailError."""
    oauth.make_fresh(going.account_id, boot.settings().rules, refused=refused)
    with db.reading() as session:
        account = session.get(Account, going.account_id)
        new = accounts.leg(session, account, Direction.INCOMING) if account else None
    if new is None or new.server != leg.server:  # Somebody changed it; the run stops at its next look.
        raise MailError(Category.UNAVAILABLE, t("The account was changed meanwhile."))
    return new


def _visit(going: Going, done: set[int], visit: Visit) -> None:
    """`visit` each folder that is synced and not `done`. Raises MailError, Stopped, LeaseLost."""
    done -= push.push(going)  # Also what waited for a folder that has just been created.
    while left := _left(going, done):
        for folder_id in left:
            done.add(folder_id)
            _read(going, folder_id, visit)
            done -= push.push(going)


def _left(going: Going, done: set[int]) -> list[int]:
    """The folders that come next, in their order; asked again at the end, for somebody may add one meanwhile."""
    with db.reading() as session:
        going.look(session)
        active = _active(session, going.account_id)
    left = [folder for folder in active if folder.id not in done and not folder.is_wished]
    left.sort(key=lambda folder: (folder.path != "INBOX", bool(folder.trouble), folder.path.casefold()))
    return [folder.id for folder in left]


def _active(session: Session, account_id: int) -> Sequence[Any]:
    """What has to be known of the folders that are synced, by path; objects would cost as much as all else."""
    return session.connection().execute(_ACTIVE, {"of_account": account_id}).all()


def _read(going: Going, folder_id: int, visit: Visit) -> None:
    """Visit one folder; its own trouble is noted, everything else ends the run."""
    try:
        visit(going, folder_id)
    except FolderTrouble as trouble:
        _note_trouble(going, folder_id, str(trouble))
    except MailError as error:
        if error.category not in NOT_OF_THE_FOLDER:
            _note_trouble(going, folder_id, error.message)
        if not isinstance(error, Refused) or error.category in NOT_OF_THE_FOLDER:
            raise


def _note_trouble(going: Going, folder_id: int, sentence: str) -> None:
    with going.writing() as session:
        folder = session.get(Folder, folder_id)
        if folder is not None:
            folder.trouble, folder.is_complete, folder.synced_at = sentence, False, db.now()


def _end(going: Going, leg: accounts.Leg, broken: Ending | None) -> bool:
    """Close the run, and give the lease back in the same transaction. Raises LeaseLost; then nothing is written.

    False if somebody has made an audit of the run since its folders were read: then it stays open.
    """
    with db.transaction() as session:
        leases.beat(session, going.held, seconds=LEASE_SECONDS)
        account = session.scalars(_ACCOUNT, {"of_account": going.account_id}).one_or_none()
        run = session.scalars(_RUN, {"of_run": going.run_id}).one_or_none()
        if run is not None and account is not None:
            if broken is None and run.kind is RunKind.AUDIT and run.found is None:
                return False
            ending = broken or _judged(session, going)
            finish_run(session, run, account, replace(ending, server=leg.server))
            changes.go_on(session, account)
        leases.release(session, going.held)
    return True


def _judged(session: Session, going: Going) -> Ending:
    """Complete if every folder that is wanted is."""
    incomplete = [folder for folder in _active(session, going.account_id) if not folder.is_complete]
    if not incomplete:
        return Ending(RunOutcome.COMPLETE)
    first = incomplete[0]
    said = f"{first.name}: {first.trouble}"
    if len(incomplete) > 1:
        said = t("{n} folders are not complete.", n=len(incomplete)) + " " + said
    return Ending(RunOutcome.PARTIAL, said)
