"""Accounts are created and changed by the rules, and secrets stay where they belong."""

import dataclasses
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Kind, Window
from mailadmin.accounts.service import Login
from mailadmin.activity import service as activity
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction, TLSMode
from mailadmin.people.models import Person
from mailadmin.permissions import COMMAND_LINE, SYSTEM
from mailadmin.providers.models import LoginFormat
from mailadmin.sealed import SealedSecret, Secret
from tests.accounts.factories import PASSWORD, a_provider, a_wish, an_account, imap, smtp
from tests.conftest import both_databases

KEPT = Login("", None)


def refused(session: Session, **wanted: object) -> str | None:
    """The field at which an account like this is refused."""
    with pytest.raises(RuleBroken) as caught:
        service.create(session, wish=a_wish(**wanted), actor=SYSTEM)
    return caught.value.field


@both_databases
def test_account_is_stored_with_its_servers_and_a_sealed_password(session: Session) -> None:
    made = an_account(session, address="Billing@Example.NET", sender_name="Example Ltd")
    session.commit()
    with db.reading() as other:
        account = service.get(other, made.id)
        legs = service.legs(other, account)
    assert (account.address, account.name) == ("billing@example.net", "billing@example.net")
    assert (legs[Direction.INCOMING].server, legs[Direction.OUTGOING].server) == (imap(), smtp())
    assert legs[Direction.OUTGOING].how.username == "billing@example.net"
    assert legs[Direction.OUTGOING].how.password == PASSWORD


@both_databases
def test_second_live_account_for_an_address_is_refused(session: Session) -> None:
    account = an_account(session)
    assert refused(session) == "address"
    service.request_deletion(session, account, actor=SYSTEM)
    assert an_account(session).id != account.id
    with pytest.raises(NotFound):
        service.get(session, account.id)


@both_databases
def test_of_two_who_add_the_same_address_at_once_one_is_told(booted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "find", lambda session, address: None)  # Both looked before either wrote.
    outcomes: list[str] = []

    def add() -> None:
        try:
            with db.transaction() as session:
                service.create(session, wish=a_wish(), actor=SYSTEM)
            outcomes.append("made")
        except RuleBroken as broken:
            outcomes.append(broken.field or "")

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["address", "made"]


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("address", {"address": "nobody"}),
        ("address", {"address": "a b@example.net"}),
        ("address", {"address": "a@exa_mple..net"}),
        ("address", {"address": "a@[127.0.0.1]"}),
        ("name", {"name": "two\nlines"}),
        ("reply_to", {"reply_to": "x"}),
        ("owner_id", {"kind": Kind.PERSONAL}),
        ("username", {"login": Login("a\r\nb", Secret("x"))}),
        ("password", {"login": Login("", Secret("a\nb"))}),
        ("password", {"login": Login("", Secret("a\0b"))}),
        ("password", {"login": KEPT}),
        ("sending_password", {"sending": KEPT}),
        ("incoming_host", {"incoming": imap("https://mail.example.com")}),
        ("incoming_host", {"incoming": imap("10.0.0.1")}),
        ("incoming_port", {"incoming": imap(port=0)}),
        ("incoming_port", {"incoming": imap(port=465)}),
        ("outgoing_port", {"incoming": imap(), "outgoing": smtp(port=993)}),
        ("outgoing_host", {"incoming": imap(), "outgoing": imap()}),
        ("incoming_tls_mode", {"incoming": imap(tls_mode=TLSMode.NONE)}),
        ("incoming_host", {"incoming": None, "outgoing": smtp()}),
        ("provider_id", {"provider_id": 77}),
        ("provider_id", {"provider_id": None}),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(session: Session, field: str, wanted: dict[str, object]) -> None:
    assert refused(session, **wanted) == field


def test_addresses_inside_a_company_and_in_other_scripts_are_accepted(booted: object) -> None:
    for address in ("ann@mail.local", "ann@localhost", "jörg@bücher.example", "a+b@example.test"):
        assert service.check_address(address) == address


def test_domain_finds_the_provider_when_none_was_chosen(session: Session) -> None:
    provider = a_provider(session, login_format=LoginFormat.LOCAL_PART)
    account = an_account(session, provider_id=None)
    assert account.provider is provider
    assert service.user_name(account, Direction.OUTGOING) == "billing"
    assert service.server_of(account, Direction.INCOMING) == imap()
    assert service.using(session, provider) == [account]


def test_provider_with_names_of_its_own_wants_one_typed(session: Session) -> None:
    a_provider(session, login_format=LoginFormat.BY_HAND)
    assert refused(session, provider_id=None) == "username"
    account = an_account(session, provider_id=None, login=Login("u1234", Secret("x")))
    assert service.user_name(account, Direction.INCOMING) == "u1234"


def test_personal_account_belongs_to_somebody_active(session: Session, ada: Person) -> None:
    assert an_account(session, kind=Kind.PERSONAL, owner_id=ada.id).owner_id == ada.id
    session.get_one(Person, ada.id).deactivated_at = db.now()
    session.flush()
    assert refused(session, kind=Kind.PERSONAL, owner_id=ada.id, address="b@example.net") == "owner_id"


@both_databases
def test_second_of_two_administrators_is_told(session: Session) -> None:
    account = an_account(session)
    seen = account.version
    change(session, account, name="First")
    with pytest.raises(RuleBroken) as caught:
        service.change(session, account, wish=a_wish(name="Second"), version=seen, actor=SYSTEM)
    assert caught.value.field == "version"
    assert (account.name, account.version) == ("First", seen + 1)


def change(session: Session, account: Account, **wanted: object) -> set[str]:
    """Change `account` as somebody who types no password unless one is wanted."""
    wish = a_wish(**{"login": KEPT, **wanted})
    return service.change(session, account, wish=wish, version=account.version, actor=COMMAND_LINE)


def test_change_of_nothing_leaves_the_version_alone(session: Session) -> None:
    account = an_account(session)
    assert change(session, account) == set()
    assert account.version == 1
    assert change(session, account, name="Billing") == {"name"}
    assert account.version == 2


@both_databases
def test_new_password_replaces_and_forgets_the_old_one(session: Session) -> None:
    account = an_account(session)
    assert change(session, account, login=Login("", Secret(" new "))) == {"password"}
    assert service.legs(session, account)[Direction.INCOMING].how.password == " new "
    assert session.scalar(select(func.count(SealedSecret.id))) == 1


def test_stored_password_is_not_sent_to_a_new_server(session: Session) -> None:
    account, other = an_account(session), a_provider(session, incoming=imap("evil.example.com"))
    session.commit()
    for wanted in (
        {"incoming": imap("evil.example.com"), "outgoing": smtp()},
        {"incoming": imap(), "outgoing": smtp("evil.example.com")},
        {"provider_id": other.id},
    ):
        with pytest.raises(RuleBroken) as caught:
            change(session, account, **wanted)
        assert caught.value.field == "password"
        session.rollback()
    changed = change(session, account, incoming=imap("evil.example.com"), login=Login("", Secret("typed again")))
    assert "receiving server" in changed


def test_separate_credentials_for_sending_come_and_go(session: Session) -> None:
    account = an_account(session)
    change(session, account, sending=Login("relay", Secret("relay secret")))
    leg = service.legs(session, account)[Direction.OUTGOING]
    assert (leg.how.username, leg.how.password) == ("relay", "relay secret")
    with pytest.raises(RuleBroken) as caught:  # The password for receiving was never given to smtp.example.net.
        change(session, account)
    assert caught.value.field == "password"
    session.rollback()


def test_address_of_an_account_that_is_set_up_is_fixed(session: Session) -> None:
    draft = an_account(session, is_set_up=False)
    assert change(session, draft, address="sales@example.net") >= {"address"}
    draft.is_set_up = True
    with pytest.raises(RuleBroken) as caught:
        change(session, draft, address="other@example.net")
    assert caught.value.field == "address"


def test_audit_trail_names_the_fields_and_no_secret(session: Session) -> None:
    account = an_account(session)
    change(session, account, name="Billing", login=Login("", Secret("brand new")))
    service.pause(session, account, actor=COMMAND_LINE)
    service.resume(session, account, actor=COMMAND_LINE)
    service.request_deletion(session, account, actor=COMMAND_LINE)
    entries = activity.of_account(session, account.id)
    assert [e.what.split()[0] for e in entries] == ["deleted", "resumed", "paused", "changed", "added"]
    assert entries[3].detail == "name: “billing@example.net” to “Billing”; password"
    assert not [e for e in entries if "brand new" in e.what + e.detail or PASSWORD in e.what + e.detail]


def test_wish_never_shows_its_passwords() -> None:
    assert PASSWORD not in repr(a_wish())


def test_window_is_fixed_when_it_is_chosen(session: Session) -> None:
    account = an_account(session, is_set_up=False)
    service.choose_window(session, account, window=Window.THREE_MONTHS)
    chosen = account.since
    assert chosen is not None
    assert 88 <= (db.now() - chosen).days <= 93
    account.is_set_up, account.next_sync_at = True, db.now()
    service.choose_window(session, account, window=Window.THREE_MONTHS)
    assert (account.since, account.version) == (chosen, 1)
    service.choose_window(session, account, window=Window.EVERYTHING)
    assert (account.since, account.version) == (None, 2)


@pytest.mark.parametrize(
    ("window", "moment", "start"),
    [
        (Window.NOW, (2026, 5, 31), (2026, 5, 31)),
        (Window.ONE_MONTH, (2026, 3, 31), (2026, 2, 28)),
        (Window.THREE_MONTHS, (2026, 2, 3), (2025, 11, 3)),
        (Window.SIX_MONTHS, (2024, 8, 31), (2024, 2, 29)),
    ],
)
def test_window_counts_calendar_months(window: Window, moment: tuple[int, ...], start: tuple[int, ...]) -> None:
    assert service.window_start(window, datetime(*moment, 12, tzinfo=UTC)) == datetime(*start, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["imap:mail.example.com:993:implicit", "smtp:[::1]:587:starttls"])
def test_server_is_read_as_it_is_written(text: str) -> None:
    assert str(service.parse_server(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "imap", "imap:host:993", "jmap:h.example:995:implicit", "imap::993:implicit", "imap:h:99999:implicit"),
        *("imap:h:993:ssl", "imap:::1:993:implicit", "smtp:h:x:implicit", "imap:[x]:993:implicit"),
    ],
)
def test_server_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RuleBroken):
        service.parse_server(text)


def test_password_that_no_key_opens_is_told_as_a_sentence(session: Session) -> None:
    account = an_account(session)
    session.get_one(SealedSecret, account.credentials[0].secret_id).sealed = b"\0" * 60
    session.flush()
    with pytest.raises(RuleBroken, match="Type it again"):
        service.legs(session, account)


def test_account_without_a_server_for_sending_only_receives(session: Session) -> None:
    account = an_account(session, incoming=imap())
    assert set(service.legs(session, account)) == {Direction.INCOMING}
    assert dataclasses.is_dataclass(service.Leg)


def test_a_very_long_address_is_refused_before_it_costs_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("mailadmin.accounts.typed.validate_email")
    with pytest.raises(RuleBroken, match="at most 254"):
        service.check_address("a" * 900_000 + "@example.com")
