"""A dry run: what a sync would bring, counted on the server, before anything is stored.

How it works. It is a row of `sync_run` of the kind DRY, so that an account has one of either, and it is rung for,
claimed and lost like a sync. But it never is one: it says nothing about the account's health, changes no folder, and
writes nothing except its own row. It has a lease of its own, and a sync that is asked for ends it at once, so the first
sync never waits. It counts for all windows and all rules about contacts together (counting.py), so that people compare
before they choose. After `SECONDS` it ends with what it has.

`SyncRun.found` begins with the sums: `folders` are chosen and so many `counted`; `messages` and `sizes` (bytes, exact
for the windows in `sized`) by window; `contacts` by rule and window; `least`: where there may be more than the number
says; `each`: seconds for one message, None where none was read. Then come the folders, as Counted.told says.

Why it may run twice. A dry run that broke off begins again if it has time left, and ends otherwise.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from mailadmin import db, leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, NewContacts, Window
from mailadmin.connections import service as connections
from mailadmin.contacts import service as contacts
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.answers import Refused
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Direction, ServerProtocol
from mailadmin.organisation import service as organisation
from mailadmin.sync.audited import synced
from mailadmin.sync.beginning import token_trouble
from mailadmin.sync.counting import WINDOWS, Counted, Counting, Newcomers, Starts
from mailadmin.sync.ending import Ending, broken_off, finish_run
from mailadmin.sync.going import Going, Stopped
from mailadmin.sync.models import Folder, RunKind, RunOutcome, SyncRun
from mailadmin.sync.progress import in_words
from mailadmin.sync.retention import kept_from
from mailadmin.sync.run import NOT_OF_THE_FOLDER, Opening, connected
from mailadmin.sync.service import dry_lease_name, open_run
from mailadmin.text import t

SECONDS = 50.0
LEASE_SECONDS = 90.0
NOTE_SECONDS = 1.0
LONGEST_SENTENCE = 200
WORTH_SAYING = 45.0  # seconds that a sync would take
RULES = (NewContacts.WRITTEN_TO, NewContacts.EVERYBODY)


# Asking for one.


def request(session: Session, *, account: Account, requested_by: str) -> SyncRun:
    """The open dry run of `account`, or a new one; ring for it after the commit.

    Raises RuleBroken where the connection is not known to work, no folder is chosen, or a sync goes on.
    """
    if not organisation.uses_mail(session):
        raise RuleBroken(organisation.why_off())
    if account.deleting_at is not None:
        raise RuleBroken(t("This account is being deleted."))
    if account.health is Health.PAUSED:
        raise RuleBroken(t("This account is paused. Resume it first."))
    is_untested = not account.is_set_up and connections.last_passed(session, account.id) is None
    if is_untested or account.health is Health.NEEDS_ATTENTION:
        raise RuleBroken(t("Test the connection first: nothing can be counted before it works."))
    if not chosen(session, account.id):
        raise RuleBroken(t("Choose the folders first."))
    run = open_run(session, account.id)
    if run is None:
        run = SyncRun(account_id=account.id, requested_by=requested_by, rung_at=now(), kind=RunKind.DRY)
        try:
            with session.begin_nested():
                session.add(run)
                session.flush()
        except IntegrityError:  # Somebody else was a moment faster.
            run = open_run(session, account.id)
    if run is None or run.kind is not RunKind.DRY:
        raise RuleBroken(t("A sync of this account goes on. Ask again when it has ended."))
    return run


def chosen(session: Session, account_id: int) -> Sequence[Folder]:
    """The folders that a sync would read, the inbox first; what is only wished for does not exist yet."""
    rows = [row for row in synced(session, account_id) if not row.is_wished]
    return sorted(rows, key=lambda row: (row.path != "INBOX", row.path.casefold()))


def latest(session: Session, account_id: int) -> SyncRun | None:
    """The newest dry run of the account, perhaps still open."""
    query = select(SyncRun).where(SyncRun.account_id == account_id, SyncRun.kind == RunKind.DRY)
    return session.scalars(query.order_by(SyncRun.requested_at.desc(), SyncRun.id.desc()).limit(1)).one_or_none()


# Doing it.


class _Dry(Going):
    """A dry run that goes on."""

    __slots__ = ()

    def watch(self) -> None:
        """Look whether it is still wanted, and was not ended by a sync. Raises Stopped."""
        super().watch()
        with db.reading() as session:
            self.row(session)

    def row(self, session: Session) -> SyncRun:
        """Its row. Raises Stopped when it has ended."""
        run = session.get(SyncRun, self.run_id)
        if run is None or run.finished_at is not None:
            raise Stopped(t("A sync began before everything was counted."))
        return run


def perform(run_id: int, *, opening: Opening | None = None, seconds: float = SECONDS) -> None:
    """Count for a dry run until it has ended, in this process, for at most `seconds`; see above."""
    begun = _begin(run_id, token_trouble(run_id), seconds)
    if begun is None:
        return
    going, leg, counting = begun
    try:
        ending = _work(going, leg, opening, counting)
        with suppress(Stopped):
            _note(going, counting)
        with db.transaction() as session:
            leases.beat(session, going.held, seconds=LEASE_SECONDS)
            _end(session, run_id, ending)
    except leases.LeaseLost:
        return
    finally:
        with suppress(SQLAlchemyError), db.transaction() as session:
            leases.release(session, going.held)


def _begin(run_id: int, trouble: MailError | None, seconds: float) -> tuple[_Dry, accounts.Leg, Counting] | None:
    with db.transaction() as session:
        run = session.get(SyncRun, run_id)
        if run is None or run.finished_at is not None:
            return None
        held = leases.take(session, dry_lease_name(run.account_id), seconds=LEASE_SECONDS)
        if held is None:
            return None
        account = session.get_one(Account, run.account_id)
        run.started_at = run.started_at or now()
        left = seconds - (now() - run.started_at).total_seconds()
        try:
            leg = accounts.leg(session, account, Direction.INCOMING)
            assert leg is not None  # Without a server for receiving there is RuleBroken.
            if trouble is not None:
                _end(session, run_id, broken_off(session, account, leg, trouble))
            elif left > 0:
                going = _Dry(run_id, account.id, account.version, account.window, None, held, 0, Deadline(left))
                return going, leg, _nothing_yet(session, account)
            else:
                _end(session, run_id, Ending(RunOutcome.PARTIAL, t("The counting broke off. Ask for it again.")))
        except RuleBroken as broken:
            _end(session, run_id, Ending(RunOutcome.FAILED, broken.message))
        leases.release(session, held)
        return None


def _end(session: Session, run_id: int, ending: Ending) -> None:
    run = session.get(SyncRun, run_id, with_for_update={"of": SyncRun}, populate_existing=True)
    if run is not None and run.finished_at is None:
        finish_run(session, run, run.account, ending)


def _nothing_yet(session: Session, account: Account) -> Counting:
    found = {wants: contacts.rule_of(session, account.id, wants) for wants in RULES}
    if account.protocol is ServerProtocol.POP3:  # It has no folder that says whom we wrote to.
        del found[NewContacts.WRITTEN_TO]
    rules = {wants: rule for wants, rule in found.items() if rule is not None}
    return Counting(starts(account), rules, len(chosen(session, account.id)))


def starts(account: Account) -> Starts:
    """From when on mail is wanted in each window, or as far back as mail of the account is kept."""
    moment = now()
    kept = kept_from(account.id, account.keep_months, moment)
    begins = {window: accounts.window_start(window, moment) for window in WINDOWS}
    return {w: max(filter(None, (start, kept)), default=None) for w, start in begins.items()}


def _work(going: _Dry, leg: accounts.Leg, opening: Opening | None, counting: Counting) -> Ending:
    """Talk to the server as long as there is time, and say how it went. Raises LeaseLost."""
    try:
        going.incoming = connected(going, leg, opening)
        try:
            _count(going, counting, searches=leg.server.protocol is not ServerProtocol.POP3)
        finally:
            going.incoming.close()
        return Ending(RunOutcome.COMPLETE)
    except Stopped as stop:
        return _out_of_time() if going.ends.is_over else Ending(RunOutcome.PARTIAL, stop.reason)
    except MailError as error:
        if going.ends.is_over and counting.folders:
            return _out_of_time()
        with db.reading() as session:
            return broken_off(session, session.get(Account, going.account_id), leg, error)


def _out_of_time() -> Ending:
    return Ending(RunOutcome.PARTIAL, t("The time was over before everything was counted, so there is more than this."))


def _count(going: _Dry, counting: Counting, *, searches: bool) -> None:
    """First all folders, then the headers. Raises MailError, Stopped, LeaseLost."""
    with db.reading() as session:
        folders = chosen(session, going.account_id)
    noted = 0.0
    for folder in folders:
        with _FolderAlone(counting):
            counting.count(going.step(), folder.path, folder.role)
        noted = _note_sometimes(going, counting, noted)
    for found in [each for each in counting.folders if each.messages]:
        with _FolderAlone(counting, found):
            for _ in counting.look(going.step, found, searches=searches):
                noted = _note_sometimes(going, counting, noted)


class _FolderAlone:
    """What the server refuses about one folder is that folder's trouble; everything else ends the run."""

    def __init__(self, counting: Counting, found: Counted | None = None) -> None:
        self._counting, self._found = counting, found

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Refused) or error.category in NOT_OF_THE_FOLDER:
            return False
        found = self._found or self._counting.folders[-1]
        found.trouble = error.message[:LONGEST_SENTENCE]
        return True


def _note_sometimes(going: _Dry, counting: Counting, noted: float) -> float:
    """Show what was counted until now, but not all the time; when that was last."""
    if time.monotonic() - noted < NOTE_SECONDS:
        return noted
    _note(going, counting)
    return time.monotonic()


def _note(going: _Dry, counting: Counting) -> None:
    """Store what was counted until now, if anything was. Raises Stopped, LeaseLost."""
    if not counting.folders:
        return
    with db.reading() as session:
        told = counting.told(_newcomers(session, counting))
    with going.writing() as session:
        going.row(session).found = told


def _newcomers(session: Session, counting: Counting) -> Newcomers:
    return lambda wants, people: contacts.newcomers(session, counting.rules[wants], people)


# What pages say.


def shown(session: Session, account: Account) -> dict[str, Any]:
    """What `sync/_dry.html` needs, under the one key `dry`; its `lines` are one for each window."""
    run = latest(session, account.id)
    found: list[dict[str, Any]] = list(run.found or ()) if run else []
    sums, folders = (found[0], found[1:]) if found else (None, [])
    rows = chosen(session, account.id)
    here = {row.path: row.stored for row in rows}
    is_open = run is not None and run.finished_at is None
    known = {folder["path"] for folder in folders}
    is_old = sums is not None and not is_open and (sums["folders"] != len(rows) or not known <= here.keys())
    return {
        "dry": {
            "run": run,
            "is_open": is_open,
            "sums": sums,
            "lines": [_line(account, sums, window, sum(here.values())) for window in WINDOWS] if sums else [],
            "folders": folders,
            "here": here,
            "stored": sum(here.values()),
            "is_old": is_old,
            "is_estimate": sums is not None and (any(sums["least"].values()) or len(sums["sized"]) < len(WINDOWS)),
            "has_sent": account.protocol is not ServerProtocol.POP3,
        }
    }


def _line(account: Account, sums: dict[str, Any], window: Window, here: int) -> dict[str, Any]:
    """One window: how much it holds, how long that takes to read, and whom it brings by each rule."""
    key, least = window.value, sums["least"]
    messages, each = sums["messages"][key], sums["each"]
    left = max(messages - here, 0)
    return {
        "window": key,
        "messages": messages,
        "is_least": key in least["messages"] or sums["counted"] < sums["folders"],
        "size": sums["sizes"][key],
        "is_about": key not in sums["sized"],
        "time": in_words(left * each) if each is not None and left * each >= WORTH_SAYING else "",
        "contacts": {
            wants.value: (sums["contacts"].get(wants.value, {}).get(key, 0), key in least.get(wants.value, ()))
            for wants in RULES
            if wants.value in least
        },
        "is_now": account.is_set_up and account.window is window,
    }
