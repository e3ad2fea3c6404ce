"""The list of the last tests: each says what was different from the one before."""

from typing import Any

import pytest

from mailadmin.connections.history import history
from mailadmin.connections.models import Check
from mailadmin.mail.errors import Category
from tests.connections.test_timeline import IMAP, a_certificate, a_failure, day, stage
from tests.connections.test_timeline import a_check as any_check


def a_check(*stages: dict[str, Any], passed: bool = True, **more: Any) -> Check:
    return any_check(*stages, **{"passed": passed, "requested_by": "Ada", **more})


def changes(new: Check, old: Check) -> list[str]:
    return history([new, old])[0].changes


def test_each_test_is_compared_with_the_one_before_it() -> None:
    failed = a_check(passed=False, diagnosis=a_failure("incoming", "sign-in", "Refused"), category=Category.AUTH)
    past = history([a_check(), failed, a_check()])
    assert [(each.has_passed, each.outcome, each.took, each.by) for each in past] == [
        (True, "Everything works", "3.2 s", "Ada"),
        (False, "Refused", "3.2 s", "Ada"),
        (True, "Everything works", "3.2 s", "Ada"),
    ]
    assert [each.changes for each in past] == [["Works again"], ["Failed, worked before"], []]


def test_nothing_changed_says_nothing() -> None:
    same = stage("tls", version="1.3", certificate=a_certificate()), stage("sign-in", capabilities=["IDLE"])
    assert changes(a_check(*same), a_check(*same)) == []


def test_a_test_that_sent_a_message_says_so() -> None:
    assert changes(a_check(message_to="orders@example.net"), a_check()) == ["With a test message"]


def test_another_failure_is_another_cause() -> None:
    first = a_check(passed=False, diagnosis=a_failure("incoming", "tcp"), category=Category.REFUSED)
    second = a_check(passed=False, diagnosis=a_failure("incoming", "tcp", rule="y"), category=Category.REFUSED)
    assert changes(second, first) == ["Another cause than before"]
    assert changes(first, first) == []


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"servers": {"incoming": "imap:mx:993:implicit"}}, "Receiving: mx:993 instead of imap.example.net:993"),
        ({"servers": {"incoming": IMAP.replace("implicit", "starttls")}}, "Receiving: STARTTLS instead of SSL/TLS"),
        ({"servers": {"outgoing": "smtp:mx:465:implicit"}}, "Sending: mx:465 instead of smtp.example.net:465"),
        ({"users": {"incoming": "orders"}}, "Receiving: user name orders instead of orders@example.net"),
    ],
)
def test_other_settings_are_named(new: dict[str, Any], said: str) -> None:
    assert changes(a_check(**new), a_check()) == [said]


def test_what_the_server_shows_of_itself_otherwise_is_named() -> None:
    renewed = a_certificate(300, sha256="cd" * 32)
    old = a_check(
        stage("tcp", address="192.0.2.25"),
        stage("tls", version="1.3", certificate=a_certificate()),
        stage("sign-in", capabilities=["IDLE", "LITERAL+"]),
    )
    new = a_check(
        stage("tcp", address="192.0.2.26"),
        stage("tls", version="1.2", certificate=renewed),
        stage("sign-in", capabilities=["MOVE"]),
    )
    assert changes(new, old) == [
        "Receiving: reached at 192.0.2.26 instead of 192.0.2.25",
        "Receiving: TLS 1.2 instead of TLS 1.3",
        f"Receiving: a new certificate, valid until {day(renewed)}",
        "Receiving: now offers MOVE",
        "Receiving: no longer offers IDLE",
    ]


def test_a_test_that_did_not_come_that_far_is_not_compared_there() -> None:
    far = a_check(stage("tcp", address="192.0.2.25"), stage("sign-in", capabilities=["IDLE"]))
    short = a_check(stage("tcp", "failed"), passed=False)
    assert changes(short, far) == ["Failed, worked before"]


@pytest.mark.parametrize(
    ("folders", "messages", "said"),
    [
        (15, 1000, ["15 folders instead of 14"]),
        (14, 1150, []),
        (14, 1300, ["1,300 messages instead of 1,000"]),
        (14, 0, ["0 messages instead of 1,000"]),
    ],
)
def test_folders_and_many_messages_more_or_less_are_named(folders: int, messages: int, said: list[str]) -> None:
    old = a_check(stage("folders", folders=14, messages=1000))
    assert changes(a_check(stage("folders", folders=folders, messages=messages)), old) == said


def test_tests_of_an_older_version_are_compared_as_far_as_they_tell() -> None:
    old = a_check(stage("folders"), servers=None, users=None, folders=[{"messages": 3}])
    assert changes(a_check(stage("folders", folders=2, messages=3)), old) == ["2 folders instead of 1"]
