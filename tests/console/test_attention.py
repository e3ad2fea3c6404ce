"""What needs somebody: which causes there are, in which order, why, and what mends them."""

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.console.attention import Cause, causes
from mailadmin.mail.errors import Category
from mailadmin.permissions import SYSTEM
from mailadmin.sync.models import RunOutcome
from tests.accounts.factories import a_provider, an_account
from tests.console.factories import OUT, a_failed_check, a_healthy, a_troubled, an_ended_run, fail


def found(session: Session, limit: int = 20) -> list[Cause]:
    return causes(session, limit=limit)[0]


def names(session: Session) -> list[str]:
    return [cause.name for cause in found(session)]


def test_nothing_to_mend_is_no_cause(session: Session) -> None:
    a_healthy(session, "a@example.net")
    accounts.pause(session, a_troubled(session, "paused@example.net"), actor=SYSTEM)
    fail(session, an_account(session, address="new@example.net", is_set_up=False))
    accounts.request_deletion(session, a_troubled(session, "gone@example.net"), actor=SYSTEM)
    assert causes(session) == ([], 0)


def test_worst_comes_first_and_what_lasts_longest_within(session: Session) -> None:
    a_healthy(session, "partial@example.net").incomplete = "Sent: the server does not let us open this folder."
    a_troubled(session, "sending@example.net", direction=OUT)
    a_troubled(session, "away@example.net", Category.TIMEOUT, hours=90)
    a_troubled(session, "refused@example.net", hours=2)
    a_troubled(session, "setting@example.net", Category.POLICY, hours=3)
    assert names(session) == [f"{n}@example.net" for n in ("setting", "refused", "away", "sending", "partial")]


def test_three_of_one_provider_that_fail_alike_are_one_cause(session: Session) -> None:
    provider = a_provider(session)
    for n in range(3):
        a_troubled(session, f"u{n}@example.net", Category.TIMEOUT, "No answer", hours=n, provider_id=provider.id)
    a_troubled(session, "other@example.net", Category.AUTH, provider_id=provider.id)
    other, incident = found(session)
    assert other.name == "other@example.net"
    assert (incident.name, incident.number, incident.account_id) == ("Harbour Mail", 3, None)
    assert incident.when.startswith("3 accounts, since ")
    assert incident.why == "No answer."
    assert incident.fix
    assert (incident.fix.endpoint, incident.fix.acts) == ("connections.test_provider", True)


def test_what_touches_many_accounts_comes_before_what_lasts_longer(session: Session) -> None:
    provider = a_provider(session)
    a_troubled(session, "long@example.org", hours=90)
    for n in range(3):
        a_troubled(session, f"u{n}@example.net", hours=n, provider_id=provider.id)
    assert names(session) == ["Harbour Mail", "long@example.org"]


def test_two_are_no_incident_and_neither_are_three_without_a_provider(session: Session) -> None:
    provider = a_provider(session)
    for n in range(2):
        a_troubled(session, f"u{n}@example.net", provider_id=provider.id)
    for n in range(3):
        a_troubled(session, f"own{n}@example.org")
    assert len(names(session)) == 5


def test_the_reason_of_most_accounts_is_that_of_the_incident(session: Session) -> None:
    provider = a_provider(session)
    for n, reason in enumerate(["Odd", "Usual", "Usual"]):
        account = a_troubled(session, f"u{n}@example.net", Category.TLS, reason, provider_id=provider.id)
        a_failed_check(session, account, "tls-expired", f"Cause of {reason}.")
    assert [cause.why for cause in found(session)] == ["Usual. Cause of Usual."]


def test_the_newest_test_adds_the_cause_while_it_speaks_of_the_same(session: Session) -> None:
    account = a_troubled(session, "a@example.net")
    a_failed_check(session, account, "auth-refused", "An older one.", hours=5)
    a_failed_check(session, account, "auth-refused", "It said no.")
    assert found(session)[0].why == "The server refused the password. It said no."
    fail(session, account, Category.TIMEOUT, "No answer came")
    assert found(session)[0].why == "No answer came."


def test_the_last_run_adds_the_cause_too(session: Session) -> None:
    account = a_troubled(session, "a@example.net", Category.TIMEOUT, "No answer came")
    a_failed_check(session, account, "timeout", "From the test.", hours=2)
    run = an_ended_run(session, account, ended=db.now(), outcome=RunOutcome.FAILED)
    told = {"rule": "timeout", "title": "No answer came", "cause": "From the run."}
    run.diagnosis = {**told, "direction": "incoming", "category": "timeout"}
    session.flush()
    assert found(session)[0].why == "No answer came. From the run."


def test_receiving_and_sending_are_told_apart(session: Session) -> None:
    account = a_troubled(session, "a@example.net", direction=OUT)
    a_failed_check(session, account, "auth-refused", "It said no.")
    only = found(session)[0]
    assert only.why == "Receiving works, sending does not. The server refused the password. It said no."
    assert only.when.startswith("since ")
    fail(session, account, Category.AUTH, "Both refused")
    assert found(session)[0].why == "Both refused. Sending does not work either."


def test_the_failure_that_says_more_leads(session: Session) -> None:
    account = a_troubled(session, "a@example.net", Category.TIMEOUT, "No answer")
    fail(session, account, Category.AUTH, "The password was refused", direction=OUT)
    cause = found(session)[0]
    assert (cause.state, cause.why) == ("refused", "The password was refused. Receiving does not work either.")


@pytest.mark.parametrize(
    ("category", "permanent", "rule", "endpoint"),
    [
        (Category.AUTH, True, "", "wizard.settings"),
        (Category.AUTH, False, "", "connections.begin"),
        (Category.OAUTH, True, "", "console.account"),
        (Category.TLS, True, "tls-expired", "connections.show"),
        (Category.TLS, True, "", "connections.show"),
        (Category.TLS, True, "tls-port-is-plain", "wizard.settings"),
        (Category.CONFIG, True, "", "wizard.settings"),
        (Category.POLICY, True, "", "console.account"),
        (Category.QUOTA, False, "", "console.account"),
        (Category.DNS, False, "", "connections.begin"),
        (Category.DNS, True, "", "wizard.settings"),
        (Category.REFUSED, False, "", "connections.begin"),
        (Category.UNAVAILABLE, False, "", "connections.begin"),
    ],
)
def test_one_button_mends_it(session: Session, category: Category, permanent: bool, rule: str, endpoint: str) -> None:
    account = a_troubled(session, "a@example.net", category, "Something", permanent=permanent)
    if rule:
        a_failed_check(session, account, rule, "Because.")
    fix = found(session)[0].fix
    assert fix
    assert (fix.endpoint, fix.acts) == (endpoint, endpoint == "connections.begin")


def test_what_a_test_found_to_work_comes_before_the_usual_way(session: Session) -> None:
    account = a_troubled(session, "a@example.net", Category.REFUSED, "Nothing listens on port 993", permanent=False)
    check = a_failed_check(session, account, "refused-port", "Because.")
    offer = {"direction": "incoming", "kind": "door", "server": "imap:imap.example.net:143:starttls"}
    check.diagnosis = {**(check.diagnosis or {}), "fixes": [offer]}
    session.flush()
    fix = found(session)[0].fix
    assert fix
    assert (fix.label, fix.endpoint) == ("See the fix", "connections.show")


def test_a_server_that_wants_a_pause_needs_nobody(session: Session) -> None:
    a_troubled(session, "a@example.net", Category.THROTTLED, "Too often", permanent=False)
    assert found(session)[0].fix is None


def test_a_sync_that_is_not_complete_says_which_folder(session: Session) -> None:
    a_healthy(session, "a@example.net").incomplete = "Sent: the server does not let us open this folder."
    session.flush()
    cause = found(session)[0]
    assert (cause.state, cause.when) == ("partial", "never complete yet")
    assert cause.why == "Sent: the server does not let us open this folder."
    assert cause.fix
    assert cause.fix.endpoint == "sync.folders"


def test_only_the_worst_are_shown_and_all_are_counted(session: Session) -> None:
    for n in range(5):
        a_troubled(session, f"u{n}@example.net", hours=n)
    shown, number = causes(session, limit=2)
    assert ([cause.name for cause in shown], number) == (["u4@example.net", "u3@example.net"], 5)
