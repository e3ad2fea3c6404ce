"""The jobs that do the connection tests, and ask providers for tokens."""

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress

from mailadmin import boot, db, queue
from mailadmin.connections import claims, endings, granted, notices, tokens
from mailadmin.connections.children import MOST, Child, Children
from mailadmin.connections.message import ARRIVAL_SECONDS
from mailadmin.connections.probe import Task
from mailadmin.errors import MailAdminError
from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Rules
from mailadmin.oauth import service as oauth
from mailadmin.oauth.refresh import make_fresh

TAKING_SECONDS = 40.0  # Then a new job goes on, so that this one ends within its time at the queue.
LOOK_SECONDS = 1.0
MOST_ASKED = 32  # providers at once
log = logging.getLogger(__name__)


def drain_tokens() -> None:
    """Ask providers for everything that is due: tokens, and whether apps are set up right; and end when nothing is.

    Repeatable: each thing is asked for by one job at a time, and what its job did not finish is due again after a
    minute. They wait in threads, since most of the time is spent waiting for the provider.
    """
    settings = boot.settings()
    until = time.monotonic() + TAKING_SECONDS
    waiting: set[Future[None]] = set()
    with ThreadPoolExecutor(MOST_ASKED) as threads:
        while True:
            if time.monotonic() < until:
                with db.transaction() as session:
                    due = tokens.claim(session, limit=MOST_ASKED - len(waiting))
                waiting |= {threads.submit(_ask, work, settings.rules, settings.public_url) for work in due}
            if not waiting:
                break
            done, waiting = wait(waiting, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            if done:
                queue.ring("check")  # Tests wait for tokens.
    if time.monotonic() >= until:
        queue.ring("token")


def _ask(work: tokens.Work, rules: Rules, public_url: str) -> None:
    try:
        if work.attempt_id is not None:
            oauth.ask(work.attempt_id, rules)
            with db.transaction() as session:
                granted.begin_test(session, work.attempt_id)
        if work.app_id is not None:
            oauth.verify(work.app_id, rules, public_url)
        if work.account_id is not None:
            _renew(work.account_id, rules)
        if work.revocation_id is not None:
            oauth.revoke_waiting(work.revocation_id, rules)
    except Exception:
        log.exception("Asking for %s broke off.", work)
        with db.transaction() as session:
            tokens.give_up(session, work)


def _renew(account_id: int, rules: Rules) -> None:
    try:
        oauth.make_fresh(account_id, rules)
    except MailError as error:
        log.info("There is no new access token for account %s (%s).", account_id, error.category)
    with db.transaction() as session:
        tokens.end(session, account_id)


def drain_checks() -> None:
    """Do all due checks, many at once, and end when none is due.

    Repeatable: a check is taken by one job at a time, a finished one is left alone, and one whose job died is due again
    after a minute.
    """
    settings = boot.settings()
    until = time.monotonic() + TAKING_SECONDS
    look_at = 0.0
    with Children(settings.rules, settings.check_seconds) as children:
        try:
            while True:
                if look_at <= time.monotonic() < until:
                    look_at = time.monotonic() + LOOK_SECONDS
                    for task in _claim(MOST - len(children), settings.check_seconds):
                        children.start(task)
                if not len(children):
                    break
                moved = children.wait(LOOK_SECONDS)
                _write(moved)
                if any(child.is_gone for child in moved):
                    look_at = 0.0  # There is room for another, perhaps at the same host.
        finally:
            _give_back(children.tasks)  # None, unless the queue ended us.
    if time.monotonic() >= until:
        queue.ring("check")


def _claim(free: int, seconds: float) -> list[Task]:
    if free <= 0:
        return []
    lost_after = max(claims.LOST_SECONDS, seconds + ARRIVAL_SECONDS + 15)
    with db.transaction() as session:
        tasks = claims.claim_due(session, limit=free, lost_after=lost_after)
        some_wait = tokens.are_waiting(session)
    if some_wait:
        queue.ring("token")
    return tasks


def _write(moved: list[Child]) -> None:
    if not moved:
        return
    with db.transaction() as session:
        for child in moved:
            if child.was_stopped:
                claims.give_back(session, [child.result.task])
            elif child.is_gone:
                endings.finish(session, child.result)
            else:
                claims.note_stages(session, child.result)


def _give_back(tasks: list[Task]) -> None:
    if tasks:
        with db.transaction() as session:
            claims.give_back(session, tasks)


def drain_notices() -> None:
    """Send the e-mail that we ourselves owe somebody, and end when none is due.

    Repeatable: a notice is taken by one job at a time, and one whose job died is due again after two minutes. Such a
    one may come twice, under the same Message-ID.
    """
    rules, until = boot.settings().rules, time.monotonic() + TAKING_SECONDS
    while time.monotonic() < until:
        with db.reading() as session:
            account_id = notices.sender_id(session)
        trouble = None
        try:
            if account_id is not None:
                make_fresh(account_id, rules)
        except MailError as error:
            trouble = error
        with db.transaction() as session:
            batch = notices.claim(session, trouble=trouble)
        if not batch.letters:
            return
        ends = notices.send(batch, rules)
        if token := notices.refused_token(batch, ends):
            with suppress(MailAdminError, MailError):  # Otherwise the refusal stands.
                make_fresh(batch.account_id, rules, refused=token)
                with db.reading() as session:
                    batch = notices.renewed(session, batch)
                ends = notices.send(batch, rules)
        with db.transaction() as session:
            notices.write(session, batch, ends)
    queue.ring("notice")
