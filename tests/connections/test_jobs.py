"""Connection tests against real servers, from the click to the row."""

import logging
import os
import signal
import threading
import time

import pytest
from sqlalchemy import text

from mailadmin import boot, db, queue
from mailadmin.accounts.models import Health
from mailadmin.accounts.service import Login
from mailadmin.config import Settings
from mailadmin.connections import jobs, service
from mailadmin.connections.children import Children
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.probe import Task
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.sealed import Secret
from tests.conftest import both_databases
from tests.connections.conftest import Servers
from tests.connections.factories import a_check, after_test, an_account, begin_with, change_password, moved, stored
from tests.ports import free_port
from tests.servers.silent import Listener, drip, imap_script, silence

pytestmark = pytest.mark.usefixtures("booted")
INCOMING = ["dns", "tcp", "tls", "greeting", "sign-in", "folders"]
ENOUGH = 4.0  # seconds for a test that passes, on a busy machine, beside one that takes all of them


def outcomes(check: Check, direction: str) -> dict[str, str]:
    return {s["name"]: s["outcome"] for s in check.stages if s["direction"] == direction}


def loopback(port: int, mode: TLSMode = TLSMode.IMPLICIT) -> Server:
    return Server(ServerProtocol.IMAP, "127.0.0.1", port, mode)


@both_databases
def test_a_good_account_passes_every_stage_in_order(servers: Servers) -> None:
    check = after_test(an_account(servers.imap, servers.outgoing))
    assert check.outcome is CheckOutcome.PASSED
    assert outcomes(check, "incoming") == dict.fromkeys(INCOMING, "passed")
    assert list(outcomes(check, "outgoing")) == INCOMING[:5]
    assert (check.category, check.diagnosis) == (None, None)
    assert check.account.health is check.account.outgoing_health is Health.HEALTHY


def test_starttls_greets_before_it_encrypts(servers: Servers) -> None:
    check = after_test(an_account(servers.imap_starttls))
    assert list(outcomes(check, "incoming")) == ["dns", "tcp", "greeting", "tls", "sign-in", "folders"]
    assert check.outcome is CheckOutcome.PASSED


def test_the_folders_stay_with_the_check(servers: Servers) -> None:
    check = after_test(an_account(servers.imap))
    folders = {folder["path"]: folder for folder in check.folders}
    assert folders["INBOX"]["role"] == "inbox"
    assert folders["INBOX"]["messages"] == 3
    assert folders["Sent"]["role_source"] == "server"


def test_a_refused_password_needs_attention_and_is_not_tried_a_second_time(servers: Servers) -> None:
    before = servers.smtp.sign_ins
    check = after_test(an_account(servers.imap, servers.outgoing, password="wrong"))
    assert (check.outcome, check.category) == (CheckOutcome.FAILED, Category.AUTH)
    assert outcomes(check, "incoming") == dict.fromkeys(INCOMING[:4], "passed") | {
        "sign-in": "failed",
        "folders": "skipped",
    }
    assert outcomes(check, "outgoing")["sign-in"] == "skipped"
    assert servers.smtp.sign_ins == before
    assert check.account.health is Health.NEEDS_ATTENTION
    assert check.account.outgoing_health is Health.NEW
    assert check.diagnosis
    assert check.diagnosis["rule"] == "auth_failed"
    assert "AUTHENTICATIONFAILED" in check.diagnosis["server_text"]


def test_a_refused_password_for_sending_leaves_receiving_healthy(servers: Servers) -> None:
    sending = Login(username="wim@example.org", password=Secret("wrong"))
    check = after_test(an_account(servers.imap, servers.outgoing, sending=sending))
    assert (check.outcome, check.category) == (CheckOutcome.FAILED, Category.AUTH)
    assert check.account.health is Health.HEALTHY
    assert check.account.outgoing_health is Health.NEEDS_ATTENTION


def test_a_port_without_a_server_is_refused(servers: Servers) -> None:
    check = after_test(an_account(loopback(free_port()), servers.outgoing))
    assert check.category is Category.REFUSED
    assert outcomes(check, "incoming")["tcp"] == "failed"
    assert set(outcomes(check, "outgoing").values()) == {"passed"}
    assert check.account.health is Health.UNREACHABLE
    assert check.account.outgoing_health is Health.HEALTHY


@pytest.mark.parametrize(
    ("mode", "port", "rule"),
    [
        (TLSMode.STARTTLS, "imaps", "tls-port-is-encrypted"),
        (TLSMode.IMPLICIT, "imap", "tls-port-is-plain"),
    ],
)
def test_the_wrong_tls_mode_is_named(servers: Servers, mode: TLSMode, port: str, rule: str) -> None:
    check = after_test(an_account(moved(servers.imap, tls_mode=mode, port=servers.dovecot.ports[port])))
    assert check.category is Category.TLS
    assert check.diagnosis
    assert check.diagnosis["rule"] == rule
    assert check.account.health is Health.NEEDS_ATTENTION


def test_an_untrusted_certificate_ends_the_test_before_the_password(servers: Servers) -> None:
    begin_with(ca_file=None)
    check = after_test(an_account(servers.imap))
    assert check.diagnosis
    assert check.diagnosis["rule"] == "tls-unknown-authority"
    assert outcomes(check, "incoming")["sign-in"] == "skipped"


def test_an_unknown_name_says_so(servers: Servers) -> None:
    check = after_test(an_account(moved(servers.imap, host="no-such-host.invalid")))
    assert check.category is Category.DNS


def test_our_own_policy_says_which_setting_allows_the_network(servers: Servers) -> None:
    account = an_account(servers.imap)
    begin_with(networks=())
    check = after_test(account)
    assert check.diagnosis
    assert check.diagnosis["rule"] == "policy-network"
    assert "MAILADMIN_ALLOWED_NETWORKS" in check.diagnosis["action"][0]


def test_a_silent_server_ends_at_its_deadline_and_delays_nobody(servers: Servers) -> None:
    begin_with(check_seconds=ENOUGH)
    with Listener(silence) as silent:
        slow = a_check(an_account(loopback(silent.port), address="slow@example.org"))
        good = a_check(an_account(servers.imap))
        jobs.drain_checks()
    slow, good = stored(slow), stored(good)
    assert slow.category is Category.TIMEOUT
    assert good.outcome is CheckOutcome.PASSED
    assert good.finished_at
    assert slow.finished_at
    assert good.finished_at < slow.finished_at


def test_a_dripping_server_ends_too(servers: Servers) -> None:
    begin_with(check_seconds=ENOUGH)
    with Listener(drip(b"* OK " + b"x" * 200, seconds=0.1)) as dripping:
        check = after_test(an_account(loopback(dripping.port, TLSMode.STARTTLS), servers.outgoing))
    assert check.category is Category.TIMEOUT
    assert set(outcomes(check, "outgoing").values()) == {"passed"}


def test_a_child_that_is_killed_breaks_the_test_off_and_blames_nobody(servers: Servers) -> None:
    with Listener(silence) as silent:
        check = a_check(an_account(loopback(silent.port)))
        killer = threading.Thread(target=kill_the_next_child, args=(children(),))
        killer.start()
        jobs.drain_checks()
        killer.join()
    check = stored(check)
    assert check.outcome is CheckOutcome.FAILED
    assert check.diagnosis
    assert check.diagnosis["rule"] == "broken-off"
    assert check.account.health is Health.NEW


def test_a_child_that_is_ended_with_everything_else_is_tested_again(servers: Servers) -> None:
    begin_with(check_seconds=1.0)
    with Listener(silence) as silent:
        check = a_check(an_account(loopback(silent.port)))
        killer = threading.Thread(target=kill_the_next_child, args=(children(), signal.SIGTERM))
        killer.start()
        jobs.drain_checks()
        killer.join()
    assert stored(check).category is Category.TIMEOUT


def children() -> set[int]:
    """The process ids of our children."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return {int(pid) for pid in file.read().split()}


def kill_the_next_child(known: set[int], how: signal.Signals = signal.SIGKILL) -> None:
    end = time.monotonic() + 60
    while not children() - known and time.monotonic() < end:
        time.sleep(0.02)
    for pid in children() - known:
        os.kill(pid, how)


def test_a_check_whose_account_lacks_something_fails_with_the_sentence(servers: Servers) -> None:
    account = an_account(servers.imap)
    with db.transaction() as session:
        session.execute(text("DELETE FROM account_server"))
    check = after_test(account)
    assert (check.outcome, check.category) == (CheckOutcome.FAILED, Category.CONFIG)
    assert check.diagnosis
    assert "no server for receiving" in check.diagnosis["cause"]


def test_settings_that_changed_meanwhile_keep_their_health(servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing)
    check = a_check(account)
    with db.transaction() as session:
        [task] = service.claim_due(session)
    change_password(account, "another one")
    talk_and_finish(task)
    assert stored(check).outcome is CheckOutcome.PASSED
    assert stored(check).account.health is Health.NEW


def talk_and_finish(task: Task) -> None:
    """What the job does with a task that it has claimed."""
    with Children(boot.settings().rules, 30.0) as running:
        running.start(task)
        while len(running):
            moved_on = running.wait(1.0)
    with db.transaction() as session:
        service.finish(session, moved_on[0].result)


def test_a_deleted_account_takes_its_check_along(servers: Servers) -> None:
    account = an_account(servers.imap)
    a_check(account)
    with db.transaction() as session:
        [task] = service.claim_due(session)
        session.execute(text("DELETE FROM credential"))
    with db.transaction() as session:
        session.execute(text("DELETE FROM account"))
    talk_and_finish(task)
    with db.reading() as session:
        assert service.latest(session, account.id) is None


def test_a_click_while_the_job_runs_is_done_by_the_same_job(servers: Servers) -> None:
    begin_with(check_seconds=ENOUGH)
    late: list[Check] = []
    with Listener(silence) as silent:
        a_check(an_account(loopback(silent.port), address="slow@example.org"))
        account = an_account(servers.imap)
        click = threading.Timer(0.1, lambda: late.append(a_check(account)))
        click.start()
        jobs.drain_checks()
        click.join()
    jobs.drain_checks()
    assert stored(late[0]).outcome is CheckOutcome.PASSED


def test_the_password_is_nowhere_afterwards(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "correct horse 71"
    heard: list[str] = []
    answers = {
        "CAPABILITY": [b"* CAPABILITY IMAP4rev1\r\n", b"TAG OK done\r\n"],
        "LOGIN": [b"TAG NO wrong: " + secret.encode() + b"\r\n"],
        "LOGOUT": [b"* BYE\r\n", b"TAG OK\r\n"],
    }
    begin_with(plaintext=True)
    with Listener(imap_script(answers, heard)) as echo:
        check = after_test(an_account(loopback(echo.port, TLSMode.NONE), password=secret))
    assert any(secret in command for command in heard)
    assert check.category is Category.AUTH
    assert check.diagnosis
    assert "***" in check.diagnosis["server_text"]
    with db.reading() as session:
        for row in session.execute(text("SELECT * FROM connection_check")):
            assert secret not in str(row)
        for row in session.execute(text("SELECT * FROM account")):
            assert secret not in str(row)
    assert secret not in caplog.text


def test_the_job_is_one_that_the_queue_may_run(booted: Settings) -> None:
    assert queue.JOBS["check"].path == f"{jobs.__name__}.{jobs.drain_checks.__name__}"
