"""A job that is killed at any step of a conversation: the message is sent once, or unclear; never twice, never lost."""

import os
import signal
from collections.abc import Callable

import pytest

from mailadmin import db, leases, queue
from mailadmin.writing import outbox
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import Progress
from tests.conftest import both_databases
from tests.writing.factories import LARGE, Desk

# The other threads of this process wait for connections and hold no lock.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work_in_a_process(before: Callable[[], None] = lambda: None) -> tuple[int, Callable[[], int]]:
    """Do the job in a fork of this process: its number, and what waits for its end and says how it was."""
    db.database().engine.dispose()  # No connection may cross the fork.
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.read(ours, 1)  # Until we know its number.
            before()
            drain_outgoing()
            status = 0
        finally:
            os._exit(status)

    def end() -> int:
        os.write(theirs, b"!")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(ours)
        os.close(theirs)
        return status

    return pid, end


def take_up_again(desk: Desk) -> None:
    """What a runner and its clock do afterwards."""
    with db.transaction() as session:
        assert leases.break_dead(session) == 1
    with db.reading() as session:
        assert outbox.are_due(session)
    drain_outgoing()
    drain_outgoing()


@pytest.mark.parametrize("step", ["auth", "mail", "rcpt", "data", "content"])
def test_one_that_is_killed_before_the_message_is_complete_is_followed_by_one_that_sends_it(
    desk: Desk, step: str
) -> None:
    outgoing_id = desk.sent(files=LARGE if step == "content" else ())
    pid, end = work_in_a_process()

    def strike() -> bytes:
        os.kill(pid, signal.SIGKILL)
        return b"250 ok\r\n"

    desk.post.does[step] = [strike]
    assert end() == -signal.SIGKILL
    row = desk.row(outgoing_id)
    assert (row.progress, row.handed_over_at, bool(row.started_at)) == (Progress.WAITING, None, True)
    assert desk.post.given == []
    take_up_again(desk)
    assert desk.progress(outgoing_id) is Progress.SENT
    assert len(desk.post.given) == 1


@both_databases
def test_one_that_is_killed_before_the_answer_to_the_final_dot_leaves_it_unclear(desk: Desk) -> None:
    outgoing_id = desk.sent()
    pid, end = work_in_a_process()

    def strike() -> bytes:
        os.kill(pid, signal.SIGKILL)
        return b"250 ok\r\n"

    desk.post.does["dot"] = [strike]
    assert end() == -signal.SIGKILL
    take_up_again(desk)
    assert desk.progress(outgoing_id) is Progress.UNCLEAR
    assert len(desk.post.given) == 1


@pytest.mark.parametrize("moment", ["before", "within"])
def test_one_that_is_killed_after_the_answer_and_before_the_commit_leaves_it_unclear(desk: Desk, moment: str) -> None:
    outgoing_id = desk.sent()
    note = outbox.note_sent

    def killed(*args: object) -> None:
        if moment == "within":
            note(*args)  # type: ignore[arg-type]
        kill()

    def before() -> None:
        outbox.note_sent = killed  # type: ignore[assignment]

    _, end = work_in_a_process(before)
    assert end() == -signal.SIGKILL
    assert len(desk.post.messages) == 1
    take_up_again(desk)
    assert desk.progress(outgoing_id) is Progress.UNCLEAR
    assert len(desk.post.given) == 1
    assert desk.wishes() == []


def test_one_that_is_killed_right_before_the_final_dot_leaves_it_unclear(desk: Desk) -> None:
    """The one moment in which nothing was sent and nobody can know."""
    outgoing_id = desk.sent()
    hand_over = outbox.hand_over

    def before() -> None:
        class Killed:
            def __call__(self, *args: object) -> None:
                hand_over(*args)  # type: ignore[arg-type]
                args[0].commit()  # type: ignore[attr-defined]
                kill()

        outbox.hand_over = Killed()  # type: ignore[assignment]

    _, end = work_in_a_process(before)
    assert end() == -signal.SIGKILL
    assert desk.post.given == []
    take_up_again(desk)
    assert desk.progress(outgoing_id) is Progress.UNCLEAR
    assert desk.post.given == []
    assert queue.waiting() is not None
