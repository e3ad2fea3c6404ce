"""The jobs of sync: work on a run, and remove an account that was deleted."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from mailadmin import boot, db, leases, queue, sealed
from mailadmin.accounts.models import Account, AccountServer, Credential
from mailadmin.connections.models import Check
from mailadmin.contacts import service as contacts
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt
from mailadmin.sync import claims, dry, fetching, looking, rows
from mailadmin.sync.draining import drain
from mailadmin.sync.lookable import Look
from mailadmin.sync.looked import Looked
from mailadmin.sync.models import Folder, RunKind, RunOutcome, SyncRun
from mailadmin.sync.run import perform
from mailadmin.sync.service import Ending, dry_lease_name, finish_run, lease_name
from mailadmin.text import t

PURGE = 5000
log = logging.getLogger(__name__)


def run_sync(run_id: int) -> None:
    """Work on a run, and on all others that wait. Repeatable: what has ended is left alone, what broke off goes on.

    The first run of an account is left to those who have time for it. When the runner shuts down it interrupts us with
    a BaseException: runs stay open, and the clock rings again.
    """
    with db.reading() as session:
        run = session.get(SyncRun, run_id)
        is_first = run is not None and run.finished_at is None and claims.is_first(run)
    if is_first:
        queue.ring(claims.FIRST, run_id)
    drain(_work_on, first=False, wanted=None if is_first else run_id)


def run_first_sync(run_id: int) -> None:
    """Work on the first run of an account, and on all others that wait. Repeatable, as `run_sync` is."""
    drain(_work_on, first=True, wanted=run_id)


def look_around() -> None:
    """Look at all accounts that are due and need no more than that. Repeatable: what is not written is due still."""
    looking.look_around(_look_at, is_done)


def _look_at(look: Look) -> Looked:
    try:
        return looking.look_at(look)
    except Exception:
        log.exception("The look at account %s broke off.", look.account_id)
        return Looked(look, is_new=True)  # The run tells what is wrong.


def is_done(account_ids: Collection[int], deed: Callable[[], None]) -> bool:
    """Do something about accounts; False where a fault of ours keeps it from being done."""
    try:
        deed()
    except (OperationalError, InterfaceError):
        raise  # The database is away, which is nobody's fault.
    except Exception:
        log.exception("The looks at the accounts %s broke off.", [*account_ids])
        return False
    return True


def _work_on(run_id: int) -> None:
    with db.reading() as session:
        is_dry = session.scalar(select(SyncRun.kind).where(SyncRun.id == run_id)) is RunKind.DRY
    try:
        (dry.perform if is_dry else perform)(run_id)
    except Exception:
        log.exception("Run %s broke off.", run_id)
        _give_up(run_id)


def _give_up(run_id: int) -> None:
    """Close a run that met a fault of ours, so that the page says so; the next one comes at the usual time."""
    reason = t("Something broke on our side. The next sync tries again; the log has the details.")
    with db.transaction() as session:
        run = session.get(SyncRun, run_id)
        if run is None or run.finished_at is not None:
            return
        reason = _ours() if run.kind is RunKind.DRY else reason
        held = leases.take(session, lease_name(run.account_id), seconds=60)
        account = session.get(Account, run.account_id, with_for_update={"of": Account})
        if held is None or account is None:
            return  # Somebody else works on it already.
        finish_run(session, run, account, Ending(RunOutcome.FAILED, reason))
        leases.release(session, held)


def fetch_text(message_id: int) -> None:
    """Fetch the text of a message that somebody opened. Repeatable: what is there is not fetched again."""
    try:
        fetching.fetch_text(message_id)
    except Exception:
        log.exception("The text of message %s was not fetched.", message_id)
        fetching.note(message_id, _ours(), None)


def fetch_files(message_id: int, *places: int) -> None:
    """Fetch files of a message that somebody asked for. Repeatable: what is there is not fetched again."""
    try:
        fetching.fetch_files(message_id, places)
    except Exception:
        log.exception("The files of message %s were not fetched.", message_id)
        for place in places:
            fetching.note(message_id, _ours(), place)


def _ours() -> str:
    return t("Something broke on our side. The log has the details.")


def purge(account_id: int) -> None:
    """Remove an account that was deleted, with its mail and its secrets. Repeatable: it goes on where it was.

    A sync that still runs stops at its next batch, because it looks at the account in every transaction, and keeps the
    account's row locked against the deletion while it writes.
    """
    with db.reading() as session:
        account = session.get(Account, account_id)
        if account is None or account.deleting_at is None:
            return
        folder_ids = session.scalars(select(Folder.id).where(Folder.account_id == account_id)).all()
    deleted = PURGE
    while deleted == PURGE and folder_ids:
        with db.transaction() as session:
            deleted = rows.delete_some(session, folder_ids, limit=PURGE)
    oauth.revoke_of(account_id, boot.settings().rules)
    with db.transaction() as session:
        _remove(session, account_id)


def _remove(session: Session, account_id: int) -> None:
    """Delete everything that points to the account, then the account, then the secrets that its credentials held."""
    # The lease first: a sync that is writing holds it, and so we wait for each other in one order.
    session.execute(
        delete(leases.Lease)
        .where(leases.Lease.name.in_([lease_name(account_id), dry_lease_name(account_id)]))
        .execution_options(synchronize_session=False)
    )
    contacts.forget_account(session, account_id)
    _delete(session, account_id, Folder, SyncRun, Check)
    # Then what whoever asks for a token holds, in their order; what they stored by now is among the secrets.
    session.execute(select(Attempt.id).where(Attempt.account_id == account_id).with_for_update())
    session.execute(select(Account.id).where(Account.id == account_id).with_for_update())
    credentials = select(Credential.secret_id).where(Credential.account_id == account_id)
    secrets: Sequence[UUID] = [*session.scalars(credentials), *oauth.secrets_of(session, account_id)]
    _delete(session, account_id, Credential, AccountServer)
    oauth.forget_account(session, account_id)
    session.execute(delete(Account).where(Account.id == account_id).execution_options(synchronize_session=False))
    for secret_id in secrets:
        sealed.forget(session, secret_id)


def _delete(session: Session, account_id: int, *tables: Any) -> None:
    for table in tables:
        session.execute(
            delete(table).where(table.account_id == account_id).execution_options(synchronize_session=False)
        )
