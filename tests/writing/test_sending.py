"""Sending: through a real conversation, once and only once, and what a person learns when it does not work."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from mailadmin import db, leases
from mailadmin.accounts.models import Health
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.sync.models import SyncRun
from mailadmin.writing import jobs, outbox, sending, service
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import OutgoingFile, Progress
from tests.conftest import both_databases
from tests.servers.post import hang_up
from tests.sync.factories import account_now, change
from tests.writing.factories import LARGE, NORA, Desk, parsed, words_of


@both_databases
def test_a_message_is_sent_once_and_its_text_kept(desk: Desk) -> None:
    outgoing_id = desk.sent(cc="Ravi <ravi@shah.example>", bcc="boss@example.com", files=(("plan.pdf", b"%PDF" * 99),))
    drain_outgoing()
    drain_outgoing()
    ((sender, recipients, raw),) = desk.post.messages
    assert sender == desk.account.address
    assert recipients == ["nora@halden.example", "ravi@shah.example", "boss@example.com"]
    assert b"boss@" not in raw
    letter = desk.only
    assert str(letter["From"]) == f"Wim de Vries <{desk.account.address}>"
    assert (str(letter["To"]), str(letter["Cc"])) == ("Nora Feldt <nora@halden.example>", "Ravi <ravi@shah.example>")
    text, plan = letter.iter_parts()
    assert words_of(text) == "Dear Nora,\n\nhere it is.\n"
    assert (plan.get_filename(), plan.get_content()) == ("plan.pdf", b"%PDF" * 99)
    row = desk.row(outgoing_id)
    assert (row.progress, row.problem, row.tries, bool(row.sent_at)) == (Progress.SENT, "", 1, True)
    assert row.text
    with db.reading() as session:
        assert session.scalars(select(OutgoingFile.content)).all() == [None]
    assert account_now(desk.account).outgoing_health is Health.HEALTHY


def test_several_messages_go_in_one_conversation(desk: Desk) -> None:
    ids = [desk.sent(subject=f"News {n}") for n in range(4)]
    drain_outgoing()
    assert [raw.count(b"Subject: News %d" % n) for n, (_, _, raw) in enumerate(desk.post.messages)] == [1] * 4
    assert (desk.post.connections, len(desk.post.sign_ins)) == (1, 1)
    assert {desk.progress(id_) for id_ in ids} == {Progress.SENT}


def test_a_refused_recipient_keeps_it_from_everybody_and_is_named(desk: Desk) -> None:
    desk.post.does["rcpt b@x.example"] = [b"550 5.1.1 no such user here\r\n"]
    outgoing_id = desk.sent(cc="b@x.example, c@x.example")
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, row.next_try_at) == (Progress.DRAFT, None)
    assert "b@x.example" in row.problem
    assert "no such user here" in row.problem
    assert "Nothing was sent to anybody" in row.problem
    assert service.problem_field(row) == "cc"
    assert desk.post.messages == desk.post.given == []
    assert "rcpt TO:<c@x.example>" in desk.post.heard
    assert "rset" in desk.post.heard
    assert account_now(desk.account).outgoing_health is Health.HEALTHY
    desk.send(outgoing_id)
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert str(desk.only["Message-ID"]) == row.message_id


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
def test_what_the_server_refuses_for_now_is_tried_again_under_the_same_id(desk: Desk, step: str) -> None:
    desk.post.does[step] = [b"451 4.7.1 greylisted, come back later\r\n"]
    outgoing_id = desk.sent()
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, row.tries, row.started_at, row.handed_over_at) == (Progress.WAITING, 1, None, None)
    assert row.next_try_at
    assert timedelta(seconds=50) < row.next_try_at - db.now() <= timedelta(seconds=60)
    assert "come back later" in row.problem
    assert desk.post.messages == []
    drain_outgoing()
    assert desk.post.messages == []  # Not before its time.
    desk.make_due()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert str(desk.only["Message-ID"]) == row.message_id


@pytest.mark.parametrize("step", ["mail", "data", "dot"])
def test_what_the_server_refuses_for_good_is_a_draft_again_that_says_why(desk: Desk, step: str) -> None:
    desk.post.does[step] = [b"554 5.7.1 looks like spam to me\r\n"]
    outgoing_id = desk.sent()
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, row.next_try_at, row.started_at) == (Progress.DRAFT, None, None)
    assert "looks like spam to me" in row.problem
    assert desk.post.messages == []


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "content"])
def test_a_connection_that_breaks_before_the_end_of_the_message_means_that_it_was_not_sent(
    desk: Desk, step: str
) -> None:
    desk.post.does[step] = [hang_up]
    outgoing_id = desk.sent(files=LARGE if step == "content" else ())
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, row.handed_over_at, bool(row.problem)) == (Progress.WAITING, None, True)
    assert desk.post.given == []
    desk.make_due()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert len(desk.post.messages) == 1


@both_databases
def test_a_server_that_hangs_up_after_the_final_dot_leaves_it_unclear_and_it_is_not_sent_again(desk: Desk) -> None:
    desk.post.does["dot"] = [hang_up]
    outgoing_id = desk.sent()
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, row.next_try_at, row.started_at) == (Progress.UNCLEAR, None, None)
    assert row.handed_over_at
    desk.make_due()
    drain_outgoing()
    assert len(desk.post.given) == 1
    with db.transaction() as session:
        service.settle_unclear(session, desk.now(session, outgoing_id), has_arrived=False)
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    first, second = (parsed(raw) for raw in desk.post.given)
    assert first["Message-ID"] == second["Message-ID"]


def test_a_server_that_never_answers_the_final_dot_leaves_it_unclear(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ANSWER_SECONDS", 0.3)
    desk.post.does["dot"] = [desk.post.silence]
    outgoing_id = desk.sent()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.UNCLEAR
    with db.transaction() as session:
        service.settle_unclear(session, desk.now(session, outgoing_id), has_arrived=True)
    assert desk.progress(outgoing_id) is Progress.SENT
    assert [wish.kind for wish in desk.wishes()] == ["append"]
    with db.reading() as session:
        assert [run.rung_at for run in session.scalars(select(SyncRun))] == [None]  # The clock rings at its next tick.


def test_a_server_that_hangs_earlier_is_given_up_on_and_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MESSAGE_SECONDS", 0.3)
    desk.post.does["rcpt"] = [desk.post.silence]
    outgoing_id = desk.sent()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.WAITING
    assert desk.row(outgoing_id).problem


def test_it_is_tried_for_a_day_and_then_a_draft_again(desk: Desk) -> None:
    outgoing_id = desk.sent()
    waits = []
    for _ in range(6):
        desk.post.does["mail"] = [b"450 4.3.2 not now\r\n"]
        desk.make_due()
        drain_outgoing()
        row = desk.row(outgoing_id)
        assert row.next_try_at
        waits.append(round((row.next_try_at - db.now()).total_seconds() / 60))
    assert waits == [1, 5, 15, 60, 60, 60]
    with db.transaction() as session:
        desk.now(session, outgoing_id).wanted_at = db.now() - timedelta(hours=25)
    desk.post.does["mail"] = [b"450 4.3.2 not now\r\n"]
    desk.make_due()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.DRAFT
    assert "for a day" in desk.row(outgoing_id).problem


def test_a_second_message_that_finds_the_connection_closed_opens_another(desk: Desk) -> None:
    desk.post.does["mail"] = [b"250 ok\r\n", b"421 4.3.2 one message is enough\r\n"]
    ids = [desk.sent(), desk.sent()]
    drain_outgoing()
    assert {desk.progress(id_) for id_ in ids} == {Progress.SENT}
    assert desk.post.connections == 2


def test_a_refused_sign_in_is_trouble_of_the_account_and_nobody_knocks_again(desk: Desk) -> None:
    desk.post.does["auth"] = [b"535 5.7.8 bad user name or password\r\n"] * 3
    ids = [desk.sent(), desk.sent()]
    drain_outgoing()
    assert len(desk.post.sign_ins) == 1
    account = account_now(desk.account)
    assert (account.outgoing_health, account.outgoing_category) == (Health.NEEDS_ATTENTION, Category.AUTH)
    for id_ in ids:
        assert desk.progress(id_) is Progress.DRAFT
        assert desk.row(id_).problem
    with pytest.raises(RuleBroken, match="cannot send"):
        desk.send(ids[0])
    drain_outgoing()
    assert len(desk.post.sign_ins) == 1


def test_a_server_that_is_away_puts_off_everything_of_the_account(desk: Desk) -> None:
    ids = [desk.sent(), desk.sent()]
    desk.post.__exit__()
    drain_outgoing()
    assert {desk.progress(id_) for id_ in ids} == {Progress.WAITING}
    assert all(desk.row(id_).problem for id_ in ids)
    assert account_now(desk.account).outgoing_health is Health.UNREACHABLE


@both_databases
def test_two_jobs_at_once_send_each_message_once(desk: Desk) -> None:
    ids = [desk.sent(subject=f"News {n}") for n in range(6)]
    threads = [threading.Thread(target=drain_outgoing) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    drain_outgoing()  # What was due while the lease was somebody else's.
    assert {desk.progress(id_) for id_ in ids} == {Progress.SENT}
    assert len(desk.post.given) == 6


def test_a_job_that_lost_its_lease_sends_no_final_dot(desk: Desk) -> None:
    def slow() -> bytes:
        with db.transaction() as session:
            expired = {leases.Lease.expires_at: db.now() - timedelta(seconds=1)}
            session.execute(update(leases.Lease).where(leases.Lease.name.startswith(outbox.PREFIX)).values(expired))
        drain_outgoing()  # Another one takes over, and sends.
        return b"354 go on\r\n"

    desk.post.does["data"] = [slow]
    outgoing_id = desk.sent()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert len(desk.post.given) == 1


def test_a_job_that_is_told_to_stop_leaves_the_message_for_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(BaseException):
        pass

    def interrupted(*_: object, **__: object) -> None:
        desk.post.over.wait(0.05)
        raise Told

    desk.post.does["mail"] = [desk.post.silence]
    outgoing_id = desk.sent()
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "wait", interrupted)
        with pytest.raises(Told):
            drain_outgoing()
    assert (desk.progress(outgoing_id), desk.row(outgoing_id).started_at) == (Progress.WAITING, None)
    drain_outgoing()
    assert len(desk.post.given) == 1


@pytest.mark.parametrize("extensions", [(), ("SMTPUTF8", "8BITMIME")])
def test_letters_beyond_ascii_before_the_at_need_a_server_that_knows_them(
    desk: Desk, extensions: tuple[str, ...]
) -> None:
    desk.post._extensions = extensions
    outgoing_id = desk.sent(to="Jürgen <jürgen@büro.example>")
    drain_outgoing()
    row = desk.row(outgoing_id)
    if extensions:
        assert row.progress is Progress.SENT
        assert desk.post.messages[0][1] == ["jürgen@xn--bro-hoa.example"]
    else:
        assert (row.progress, desk.post.messages) == (Progress.DRAFT, [])
        assert row.problem


@pytest.mark.parametrize("extensions", [(), ("SMTPUTF8", "8BITMIME")])
def test_such_letters_in_where_answers_go_need_it_too(desk: Desk, extensions: tuple[str, ...]) -> None:
    change(desk.account, reply_to="büro@halden.example")
    desk.post._extensions = extensions
    outgoing_id = desk.sent()
    drain_outgoing()
    if extensions:
        assert any(line.startswith("mail") and "SMTPUTF8" in line for line in desk.post.heard)
        assert "Reply-To: büro@halden.example".encode() in desk.post.messages[0][2]
    else:
        assert (desk.progress(outgoing_id), desk.post.messages) == (Progress.DRAFT, [])
        assert desk.row(outgoing_id).problem


def test_a_message_that_is_too_large_for_the_server_is_not_even_begun(desk: Desk) -> None:
    desk.post._extensions = ("SIZE 100000",)
    outgoing_id = desk.sent(files=(("film.mp4", bytes(200_000)),))
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.DRAFT
    assert not any(line.startswith("mail") for line in desk.post.heard)
    assert "100 KB" in desk.row(outgoing_id).problem


def test_of_many_messages_that_wait_one_at_a_time_is_read(desk: Desk) -> None:
    ids = [desk.sent(text="x" * 1000) for _ in range(4)]
    with db.transaction() as session:
        desk.now(session, ids[0]).handed_over_at = db.now()  # Whoever had it died.
        held = leases.take(session, f"{outbox.PREFIX}{desk.account.id}", seconds=60)
        assert held
    read: list[int] = []
    with db.transaction() as session:
        event.listen(session, "loaded_as_persistent", lambda _, row: read.append(getattr(row, "id", 0)))
        work = outbox.take(session, held)
        assert work
        assert work.outgoing_id == ids[1]
        assert not {*ids[2:]} & {*read}
    assert desk.progress(ids[0]) is Progress.UNCLEAR


def test_our_own_fault_puts_it_off_and_sends_nothing_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    outgoing_id = desk.sent(to=NORA)
    with monkeypatch.context() as patch:
        patch.setattr(sending.Conversation, "send", lambda *_: 1 / 0)
        drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, row.started_at) == (Progress.WAITING, None)
    assert "on our side" in row.problem
    assert row.next_try_at
    assert row.next_try_at > db.now()


def test_what_follows_a_sent_message_may_fail_without_sending_it_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    outgoing_id = desk.sent()
    with monkeypatch.context() as patch:
        patch.setattr(outbox.sent, "hurried", lambda *_: 1 / 0)
        drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert len(desk.post.messages) == 1
