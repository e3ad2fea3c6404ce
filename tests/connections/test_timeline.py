"""How a connection test is told: what each stage learned, in the words of the approved pictures."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailadmin.accounts.models import Account
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.timeline import Line, Timeline, timeline
from mailadmin.db import now
from mailadmin.mail.errors import Category

IMAP, SMTP = "imap:imap.example.net:993:implicit", "smtp:smtp.example.net:465:implicit"
WHO = "orders@example.net"


def a_certificate(days: float = 100, **changed: Any) -> dict[str, Any]:
    """A certificate that ends in `days`."""
    ends = datetime.now(UTC) + timedelta(days=days)
    starts = ends - timedelta(days=400)
    told = {"names": ["imap.example.net"], "subject": "CN=imap.example.net", "issuer": "CN=Authority"}
    return {**told, "starts": starts.isoformat(), "ends": ends.isoformat(), "sha256": "ab" * 32, **changed}


def day(certificate: dict[str, Any]) -> str:
    ends = datetime.fromisoformat(certificate["ends"])
    return f"{ends.day} {ends:%b %Y}"


def stage(
    name: str, outcome: str = "passed", *, ms: float = 12.0, side: str = "incoming", **more: Any
) -> dict[str, Any]:
    """One stage; `detail` is its phrase, everything else its facts."""
    detail = more.pop("detail", "")
    return {"direction": side, "name": name, "outcome": outcome, "ms": ms, "detail": detail, "facts": more}


def a_check(*stages: dict[str, Any], passed: bool | None = None, **more: Any) -> Check:
    """A test that goes on, or ended as `passed` says."""
    ended = {} if passed is None else {"finished_at": now(), "seconds": 3.2}
    outcome = None if passed is None else CheckOutcome.PASSED if passed else CheckOutcome.FAILED
    known: dict[str, Any] = {
        "servers": {"incoming": IMAP, "outgoing": SMTP},
        "users": {"incoming": WHO, "outgoing": WHO},
    }
    known |= {"account_id": 7, "account": Account(address=WHO, is_set_up=True), "address": WHO, "folders": []}
    return Check(**{**known, "stages": list(stages), "started_at": now(), "outcome": outcome, **ended, **more})


def a_failure(side: str, at: str, title: str = "It failed", **more: Any) -> dict[str, Any]:
    told = {"rule": "x", "title": title, "cause": "C", "action": ["A."], "server_text": "", "category": "auth"}
    return {**told, "direction": side, "stage": at, "also": None, **more}


def line(test: Timeline, what: str, side: int = 0) -> Line:
    return next(line for line in test.sides[side].lines if line.what.startswith(what))


def only(*stages: dict[str, Any], **more: Any) -> Line:
    """The last of the lines of receiving that have been told so far."""
    return [line for line in timeline(a_check(*stages, **more)).sides[0].lines if line.tone != "wait"][-1]


def test_a_passed_test_reads_as_in_the_picture() -> None:
    certificate = a_certificate()
    test = timeline(
        a_check(
            stage("dns", addresses=["192.0.2.25"], detail="192.0.2.25"),
            stage("tcp", ms=31, address="192.0.2.25"),
            stage("tls", ms=58, version="1.3", cipher="X", certificate=certificate, pinned=False),
            stage("greeting", ms=9, text="* OK [CAPABILITY IMAP4rev1 IDLE] Dovecot ready."),
            stage("sign-in", ms=212, mechanism="SCRAM-SHA-256", capabilities=["IDLE"]),
            stage("folders", ms=1943, folders=14, messages=3218, unseen=2),
            passed=True,
            servers={"incoming": IMAP},
        )
    )
    assert [(row.tone, row.what, row.detail or row.said, row.took) for row in test.sides[0].lines] == [
        ("ok", "Find the server", "imap.example.net is 192.0.2.25", "12 ms"),
        ("ok", "Reach port 993", "Connection accepted", "31 ms"),
        ("ok", "Agree on encryption", f"TLS 1.3, certificate valid until {day(certificate)}", "58 ms"),
        ("ok", "Hear the greeting", "* OK Dovecot ready.", "9 ms"),
        ("ok", f"Sign in as {WHO}", "Password accepted (SCRAM-SHA-256)", "212 ms"),
        ("ok", "List folders", "14 folders, 3,218 messages", "1.9 s"),
    ]
    assert (test.passed, test.steps, test.took, test.pushes) == (6, 6, "3.2 s", True)
    assert (test.title, test.lede, test.status) == ("The connection works", "Mail can be synced.", "The test passed.")
    assert test.sides[1].remark == "This account has no server for it, so nothing was tested."


def test_of_several_addresses_the_one_that_was_reached_is_named() -> None:
    found = stage("dns", addresses=["192.0.2.25", "2001:db8::1"])
    assert only(found).detail == "imap.example.net is 192.0.2.25, 2001:db8::1"
    assert only(found, stage("tcp", address="2001:db8::1")).detail == "2001:db8::1 accepted the connection"


@pytest.mark.parametrize(
    ("days", "pinned", "tone", "said"),
    [
        (100, False, "ok", "TLS 1.2, certificate valid until {day}"),
        (13, False, "warn", "TLS 1.2, the certificate ends soon: on {day}"),
        (3, True, "ok", "TLS 1.2, pinned certificate"),
        (-3, True, "warn", "TLS 1.2, pinned certificate, which ended on {day}"),
    ],
)
def test_the_end_of_a_certificate_is_told_in_time(days: int, pinned: bool, tone: str, said: str) -> None:
    certificate = a_certificate(days)
    row = only(stage("tls", version="1.2", certificate=certificate, pinned=pinned))
    assert (row.tone, row.detail) == (tone, said.format(day=day(certificate)))


@pytest.mark.parametrize(
    ("used", "tone", "said"),
    [(3_250_586, "ok", "62 % of 5.0 GB used"), (5_000_000, "warn", "95 % of 5.0 GB used"), (9, "ok", "5.0 GB of room")],
)
def test_how_full_the_mailbox_is_stands_with_its_folders(used: int, tone: str, said: str) -> None:
    row = only(stage("folders", folders=1, messages=1, quota={"used": used, "limit": 5_242_880}))
    assert (row.tone, row.detail) == (tone, f"1 folder, 1 message, {said}")


SENT = stage("message", side="outgoing", ms=300, recipient=WHO)


@pytest.mark.parametrize(
    ("to", "awaits", "arrival", "tone", "said"),
    [
        (WHO, True, stage("arrival", side="outgoing", ms=2100, seconds=2.1), "ok", "To itself; arrived after 2.1 s"),
        (WHO, True, stage("arrival", "running", side="outgoing"), "run", "To itself; waiting for its arrival"),
        (WHO, True, stage("arrival", side="outgoing", seconds=0.0), "ok", "To itself; arrived at once"),
        (WHO, True, None, "run", "To itself; handed over"),
        ("x@example.com", False, None, "ok", "To x@example.com; handed over"),
        (WHO, True, stage("arrival", "failed", side="outgoing"), "bad", "To itself; handed over"),
        (WHO, True, stage("arrival", "skipped", side="outgoing"), "ok", "To itself; handed over"),
    ],
)
def test_a_test_message_and_its_arrival_are_one_line(to: str, awaits: bool, arrival: Any, tone: str, said: str) -> None:
    stages = [SENT, arrival] if arrival else [SENT]
    test = timeline(a_check(*stages, message_to=to, awaits=awaits))
    row = line(test, "Send a test message", side=1)
    assert (row.tone, row.detail) == (tone, said)
    assert [other.what for other in test.sides[1].lines].count("Send a test message") == 1


def test_without_a_wish_for_a_message_no_line_speaks_of_one() -> None:
    assert "Send a test message" not in [row.what for row in timeline(a_check()).sides[1].lines]


def test_the_diagnosis_that_leads_gives_the_title_when_both_fail() -> None:
    refused = a_failure("outgoing", "sign-in", "The server refused the password")
    leading = refused | {"also": a_failure("incoming", "tcp", "Nothing listens", category="refused")}
    stages = stage("tcp", "failed"), stage("sign-in", "failed", side="outgoing")
    test = timeline(a_check(*stages, passed=False, diagnosis=leading, category=Category.AUTH))
    assert test.title == "Signing in did not work"
    both = "Receiving and sending both failed. Begin with sending: The server refused the password."
    assert test.lede == f"{both} Nothing is lost: mail waits at the provider."
    told = [row.diagnosis["title"] for side in test.sides for row in side.lines if row.diagnosis]
    assert told == ["Nothing listens", "The server refused the password"]


@pytest.mark.parametrize(
    ("broken", "lede"),
    [
        ("outgoing", "Receiving works; sending does not."),
        ("incoming", "Sending works; receiving does not. Nothing is lost: mail waits at the provider."),
    ],
)
def test_one_direction_in_trouble_does_not_speak_for_the_other(broken: str, lede: str) -> None:
    well = "incoming" if broken == "outgoing" else "outgoing"
    stages = stage("sign-in", side=well), stage("tcp", "failed", side=broken)
    test = timeline(a_check(*stages, passed=False, diagnosis=a_failure(broken, "tcp"), category=Category.REFUSED))
    assert (test.title, test.lede) == ("The server was not reached", lede)


def test_a_direction_that_was_only_skipped_is_not_said_to_work() -> None:
    stages = stage("sign-in", "failed"), stage("sign-in", "skipped", side="outgoing")
    test = timeline(a_check(*stages, passed=False, diagnosis=a_failure("incoming", "sign-in"), category=Category.AUTH))
    assert test.lede == "One step failed. Nothing is lost: mail waits at the provider."


def test_a_message_that_does_not_come_is_not_called_a_silent_server() -> None:
    late = a_failure("outgoing", "arrival", category="timeout")
    check = a_check(SENT, stage("arrival", "failed", side="outgoing"), passed=False, diagnosis=late)
    check.category, check.message_to, check.awaits = Category.TIMEOUT, WHO, True
    assert timeline(check).title == "The test message did not arrive"


def test_another_user_name_that_works_changes_nothing_by_itself() -> None:
    lede = timeline(a_check(stage("sign-in"), passed=True, user_name="orders")).lede
    assert lede == "orders is accepted as the user name. The account itself is unchanged."


def test_another_user_name_that_is_refused_too_is_told_as_that() -> None:
    refused = stage("sign-in", "failed")
    check = a_check(refused, passed=False, user_name="orders", diagnosis=a_failure("incoming", "sign-in"))
    check.category = Category.AUTH
    assert timeline(check).lede == "orders is not accepted as the user name either. The account itself is unchanged."


@pytest.mark.parametrize(
    ("category", "title"),
    [
        (Category.NETWORK, "The server did not greet"),
        (Category.TLS, "Encryption did not work"),
        (Category.CONFIG, "Something else answered"),
        (Category.PROTOCOL, "Something else answered"),
        (Category.UNAVAILABLE, "The server turned us away"),
    ],
)
def test_a_greeting_that_is_wrong_is_not_called_missing(category: Category, title: str) -> None:
    diagnosis = a_failure("incoming", "greeting", category=category.value)
    check = a_check(stage("greeting", "failed"), passed=False, diagnosis=diagnosis, category=category)
    assert timeline(check).title == title


def test_what_is_not_saved_is_to_be_saved_when_it_works() -> None:
    draft: dict[str, Any] = {"account": None, "account_id": None}
    assert timeline(a_check(passed=True, **draft)).lede == "These settings work. Save them to use them."
    failed = a_check(stage("tcp", "failed"), passed=False, diagnosis=a_failure("incoming", "tcp"), **draft)
    assert timeline(failed).lede == "One step failed. Nothing was saved."


def test_servers_without_an_account_are_only_greeted() -> None:
    skipped = stage("sign-in", "skipped", detail="Skipped, because only the server is tested")
    check = a_check(
        skipped, passed=True, account=None, account_id=None, users={}, servers={"incoming": IMAP}, address=""
    )
    test = timeline(check)
    assert [row.what for row in test.sides[0].lines if row.tone == "off"][:1] == ["Sign in"]
    assert {row.detail for row in test.sides[0].lines} == {"Skipped, because only the server is tested"}
    assert test.sides[1].remark == "There is no server for it, so nothing was tested."
    assert test.title == "The servers answer"
    assert "Nobody has signed in" in test.lede
    assert not test.signs_in


def test_the_details_say_what_the_servers_can_do() -> None:
    told = stage("sign-in", mechanism="PLAIN", capabilities=["QRESYNC", "COMPRESS=DEFLATE"])
    tls = stage("tls", version="1.3", cipher="TLS_AES_256_GCM_SHA384", certificate=a_certificate())
    test = timeline(a_check(tls, told, stage("sign-in", side="outgoing", capabilities=["SIZE 100"])))
    details = test.sides[0].details
    assert details
    assert details.certificate
    assert (details.cipher, details.mechanism) == ("TLS_AES_256_GCM_SHA384", "PLAIN")
    assert details.certificate.fingerprint.startswith("ABAB ABAB")
    assert [a.name for a in details.abilities if a.is_there] == ["CONDSTORE", "QRESYNC", "COMPRESS"]
    outgoing = test.sides[1].details
    assert outgoing
    assert [a.name for a in outgoing.abilities if a.is_there] == ["SIZE"]
    assert timeline(a_check(stage("dns"))).sides[0].details is None


def test_plain_text_is_marked() -> None:
    check = a_check(servers={"incoming": "imap:imap.example.net:143:none"})
    assert [side.is_plain for side in timeline(check).sides] == [True, False]


def test_a_test_of_an_older_version_is_told_by_its_phrases() -> None:
    stages = [stage("dns", detail="192.0.2.25"), stage("tls", detail="TLSv1.3"), stage("greeting"), stage("sign-in")]
    for each in stages:
        del each["facts"]
    test = timeline(a_check(*stages, passed=True))
    assert [row.detail for row in test.sides[0].lines[:4]] == [
        "imap.example.net is 192.0.2.25",
        "TLS 1.3, the certificate is trusted",
        "The server greets",
        "Password accepted",
    ]
