"""An administrator asks the owner of a mailbox, sees how far the question is, and takes it back."""

from datetime import timedelta

import pytest
from flask import Flask

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account, Health
from mailadmin.connections.jobs import drain_notices
from mailadmin.console import attention
from mailadmin.errors import RuleBroken
from mailadmin.invites import links, progress, service
from mailadmin.invites.models import Invite
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.notices import service as notices
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, Actor
from tests.accounts.factories import an_account
from tests.conftest import both_databases
from tests.invites.post import (
    a_company,
    account_now,
    asked,
    done,
    invite_of,
    letters,
    link_in,
    refused,
    run_out,
    without_oauth,
)
from tests.oauth.harbour import PASSWORD, SALES, Harbour, connected
from tests.pages import Browser

ADA = Actor("Ada Lindqvist")
URL = "https://console.example.com"


def ask(session: object, account: Account, send_to: str = "") -> Invite:
    return service.ask(session, account, send_to=send_to, actor=ADA, public_url=URL)  # type: ignore[arg-type]


def test_link_is_shown_sent_and_taken_back(harbour: Harbour, ada_at: Browser, app: Flask) -> None:
    a_company(harbour)
    account = without_oauth(harbour)
    harbour.sink.messages.clear()
    page = ada_at.get(f"/accounts/{account.id}/invite")
    assert page.value("send_to") == SALES
    link = asked(ada_at, account, "tomas@example.org")
    page = ada_at.get(f"/accounts/{account.id}/invite")
    assert "tomas@example.org, waits to be sent" in page.words()
    assert "Not opened yet" in page.words()
    done()
    assert [str(letter["To"]) for letter in letters(harbour)] == ["tomas@example.org"]
    assert link_in(letters(harbour)[0]) == link
    assert "tomas@example.org, just now" in ada_at.get(f"/accounts/{account.id}/invite").words()
    Browser(app).get(link)
    assert "Openedjust now" in ada_at.get(f"/accounts/{account.id}/invite").words()
    page = ada_at.post(f"/accounts/{account.id}/invite/revoke", follow=True)
    assert "The last link was taken back" in page.words()
    assert page.value("send_to") == SALES
    page = Browser(app).get(link)
    assert (page.status, "This link was taken back" in page.words()) == (410, True)
    assert accounts.state_of(account_now(account)) == "draft"
    assert ada_at.post(f"/accounts/{account.id}/invite/resend").status == 404


def test_letter_that_was_not_sent_yet_is_not_sent_after_all(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour)
    account = without_oauth(harbour)
    harbour.sink.messages.clear()
    asked(ada_at, account, SALES)
    ada_at.post(f"/accounts/{account.id}/invite/resend")
    ada_at.post(f"/accounts/{account.id}/invite/revoke")
    done()
    assert letters(harbour) == []


def test_without_an_account_to_send_through_the_link_is_handed_over(
    harbour: Harbour, ada_at: Browser, app: Flask
) -> None:
    a_company(harbour, has_sender=False)
    account = without_oauth(harbour)
    page = ada_at.get(f"/accounts/{account.id}/invite")
    assert "You get the link to pass on" in page.words()
    assert ada_at.post(f"/accounts/{account.id}/invite", {"send_to": SALES}).status == 422
    link = asked(ada_at, account)
    assert "Nobody: you hand it over yourself" in ada_at.get(f"/accounts/{account.id}/invite").words()
    owner = Browser(app)
    owner.post(link, {"password": PASSWORD})
    done()
    assert "Ada Lindqvist can see it." in owner.get(link).words()


def test_owner_is_only_asked_for_what_they_can_do(harbour: Harbour, ada_at: Browser) -> None:
    with db.transaction() as session:
        bare = an_account(session, is_set_up=False, address="bare@example.net")
        bare.servers.clear()
        only = harbour.provider(session, methods=frozenset({SignInMethod.OAUTH}))
        other = an_account(session, is_set_up=False, address="o@example.org", provider_id=only.id)
    page = ada_at.post(f"/accounts/{bare.id}/invite", {"send_to": ""})
    assert page.status == 422
    assert "has no server for receiving yet" in page.words()
    assert "Harbour lets its owners in with OAuth alone" in ada_at.get(f"/accounts/{other.id}/invite").words()
    with db.transaction() as session, pytest.raises(RuleBroken):
        ask(session, accounts.get(session, other.id))


def test_lists_say_that_somebody_is_waited_for(harbour: Harbour, ada_at: Browser, ada: Person) -> None:
    a_company(harbour)
    account = without_oauth(harbour, is_set_up=True)
    refused(account)
    overview = ada_at.get("/")
    assert [overview.words(a) for a in overview.all("a", href=f"/accounts/{account.id}/invite")] == ["Ask the owner"]
    assert "Ask the owner" in ada_at.get(f"/accounts/{account.id}").words()
    asked(ada_at, account)
    assert "Waiting for owner" in ada_at.get("/accounts").words()
    assert SALES in ada_at.get("/accounts?health=waiting").words()
    assert SALES not in ada_at.get("/accounts?health=refused").words(ada_at.get("/accounts?health=refused").one("main"))
    overview = ada_at.get("/")
    assert "Waiting for owner" in overview.words()
    assert "The connect link was not opened yet." in overview.words()
    page = ada_at.get(f"/accounts/{account.id}")
    assert "The owner was asked to connect it" in page.words()
    with db.reading() as session:
        assert accounts.count_by_state(session)["waiting"] == 1
        assert [cause.state for cause in attention.causes(session)[0]] == ["waiting"]
        listed = session.execute(db.Base.metadata.tables["account"].select().with_only_columns(accounts.state_column()))
        assert sorted(listed.scalars()) == ["connected", "waiting"]


def test_link_that_ran_out_is_work_for_an_administrator(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour)
    account = without_oauth(harbour)
    asked(ada_at, account, SALES)
    assert "No account needs attention" not in ada_at.get("/").words()
    with db.reading() as session:
        assert [(cause.state, cause.fix.label) for cause in attention.causes(session)[0] if cause.fix] == [
            ("waiting", "Show the link")
        ]
    assert ada_at.get(f"/accounts/{account.id}/invite").all("form", action=f"/accounts/{account.id}/invite/revoke")
    run_out(account)
    overview = ada_at.get("/")
    assert "Link has run out" in overview.words()
    assert "The connect link has run out." in overview.words()
    assert "None of them needs attention." not in overview.words(overview.one("p", id="headline"))
    (button,) = overview.all("a", href=f"/accounts/{account.id}/invite")
    assert overview.words(button) == "Ask again"
    page = ada_at.get(f"/accounts/{account.id}/invite")
    assert [page.words(each) for each in page.all("button", class_="primary")] == ["Send a new link"]
    assert not page.all("form", action=f"/accounts/{account.id}/invite/revoke")
    ada_at.post(f"/accounts/{account.id}/invite/resend")
    with db.reading() as session:
        assert [cause.state for cause in attention.causes(session)[0]] == ["waiting"]


def test_link_that_ran_out_is_told_before_the_clock_has_seen_it(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour)
    account = without_oauth(harbour, is_set_up=True)
    refused(account)
    asked(ada_at, account)
    with db.transaction() as session:
        service.get_open(session, account.id).expires_at = db.now() - timedelta(minutes=1)
    with db.reading() as session:
        assert [cause.state for cause in attention.causes(session)[0]] == ["link"]
    page = ada_at.get(f"/accounts/{account.id}")
    assert "The owner has not connected it" in page.words()
    assert "Ask again" in [page.words(a) for a in page.all("a", href=f"/accounts/{account.id}/invite")]
    with db.transaction() as session:
        service.settle_all(session)
    with db.reading() as session:
        assert [cause.state for cause in attention.causes(session)[0]] == ["refused"]


def test_old_link_of_an_account_that_works_is_nobodys_trouble(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour)
    account = without_oauth(harbour, is_set_up=True)
    asked(ada_at, account)
    run_out(account)
    with db.reading() as session:
        assert attention.causes(session) == ([], 0)


def test_letter_that_nobody_takes_is_told_where_the_link_is(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour)
    account = without_oauth(harbour)
    asked(ada_at, account, SALES)
    with db.transaction() as session:
        sender = system_mail.sender(session)
        assert sender is not None
        sender.is_system_mail = False
    done()
    done()
    assert "The e-mail was not sent" in ada_at.get(f"/accounts/{account.id}/invite").words()
    assert "The e-mail with the link was not sent. No account is chosen" in ada_at.get("/").words()


def test_link_of_another_address_is_ended(booted: object) -> None:
    with db.transaction() as session:
        account = an_account(session, is_set_up=False)
        invite_id = ask(session, account).id
        account.address = "another@example.net"
    with db.transaction() as session:
        service.settle_all(session)
        invite = session.get_one(Invite, invite_id)
        assert (invite.ending, invite.account.asked_owner_at) == (service.REVOKED, None)


@both_databases
def test_new_link_ends_the_old_one_and_begins_at_nought(booted: object) -> None:
    with db.transaction() as session:
        account = an_account(session, is_set_up=False)
        invite = ask(session, account)
        first = links.token_of(invite)
        invite.tries, invite.problem, invite.opened_at = 7, "It failed.", db.now()
        invite.expires_at = db.now() - timedelta(days=2)
        session.flush()
        again = ask(session, account)
        assert again.id == invite.id
        assert (again.tries, again.problem, again.opened_at) == (0, "", None)
        assert again.expires_at > db.now() + timedelta(days=6)
        assert links.find(session, links.token_of(again)) is again
        with pytest.raises(Exception, match="a newer one was sent"):
            links.find(session, first)


@both_databases
def test_state_is_worked_out_alike_here_and_in_the_database(booted: object) -> None:
    with db.transaction() as session:
        for n, health in enumerate(Health):
            for is_set_up in (True, False):
                an_account(
                    session,
                    address=f"a{n}{is_set_up}@example.net",
                    is_set_up=is_set_up,
                    health=health,
                    outgoing_health=Health.HEALTHY,
                    asked_owner_at=db.now(),
                )
    with db.reading() as session:
        rows = session.execute(
            db.Base.metadata.tables["account"].select().with_only_columns(Account.id, accounts.state_column())
        ).all()
        assert {id_: accounts.state_of(accounts.get(session, id_)) for id_, _ in rows} == dict(map(tuple, rows))  # type: ignore[arg-type]
        counted = accounts.count_by_state(session)
    assert counted == {"waiting": 6, "connected": 2, "unreachable": 1, "paused": 1}


@both_databases
def test_clock_ends_what_has_been_answered_and_leaves_the_rest(booted: object) -> None:
    with db.transaction() as session:
        kept = ask(session, an_account(session, address="a@example.net", is_set_up=False))
        late = ask(session, an_account(session, address="b@example.net", is_set_up=False))
        late.expires_at = db.now() - timedelta(seconds=1)
    for _ in range(2):
        with db.transaction() as session:
            service.settle_all(session)
    with db.reading() as session:
        found = {invite.id: invite.account.asked_owner_at for invite in session.query(Invite)}
        assert found[kept.id] is not None
        assert found[late.id] is None
        assert all(invite.ended_at is None for invite in session.query(Invite))


def test_test_that_somebody_else_asked_for_is_not_the_owners(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour)
    account = without_oauth(harbour, is_set_up=True)
    refused(account)
    asked(ada_at, account)
    ada_at.post(f"/accounts/{account.id}/connection")
    done()
    invite = invite_of(account)
    with db.reading() as session:
        assert progress.progress(session, session.get_one(Invite, invite.id)).stage == progress.IDLE
        newest = accounts.get(session, account.id)
        assert newest.health is Health.HEALTHY
    assert invite.ended_at is None
    assert accounts.state_of(account_now(account)) == "connected"


def test_link_goes_with_its_account(booted: object) -> None:
    with db.transaction() as session:
        account = an_account(session, is_set_up=False)
        invite_id = ask(session, account).id
        accounts.request_deletion(session, account, actor=SYSTEM)
        session.delete(account)
        session.flush()
        session.expire_all()
        assert session.get(Invite, invite_id) is None
        assert notices.are_due(session) is False


def test_letters_go_through_an_account_with_oauth_whose_token_was_withdrawn(harbour: Harbour, ada_at: Browser) -> None:
    sender = harbour.account()
    assert connected(ada_at, harbour, sender).status == 200
    harbour.sink.messages.clear()
    with db.transaction() as session:
        system_mail.choose_sender(session, sender.id, actor=SYSTEM)
        for word in ("first", "second"):
            notices.put(session, recipient="ada@example.com", subject=word, text="Hello.", about=word)
        leg = accounts.leg(session, accounts.get(session, sender.id), Direction.OUTGOING)
    assert leg is not None
    harbour.idp.expire(leg.how.secret)
    drain_notices()
    assert [str(letter["Subject"]) for letter in letters(harbour)] == ["first", "second"]
    assert harbour.idp.count("token", grant_type="refresh_token") == 1
    assert account_now(sender).outgoing_health is Health.HEALTHY
