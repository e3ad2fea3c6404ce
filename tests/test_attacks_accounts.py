"""Attacks on accounts and what belongs to them: passwords led astray, odd numbers, two people at once."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import drafts
from mailadmin.accounts import service as accounts
from mailadmin.accounts.service import Change, Login, SecretsWanted
from mailadmin.connections import endings
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.probe import Task
from mailadmin.connections.result import Result
from mailadmin.mail.types import Direction
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.providers import service as providers
from mailadmin.sealed import Secret
from tests.accounts.factories import PASSWORD, a_provider, a_provider_wish, an_account, imap, smtp
from tests.conftest import both_databases
from tests.pages import Browser

IN, OUT = Direction.INCOMING, Direction.OUTGOING
ADA = Actor("Ada Lindqvist", 7, "192.0.2.1")
TYPED = Login("", Secret("typed for Harbour Mail"))


def wanted(account_id: int, *, by: Actor = ADA, **changes: Any) -> int:
    """A test that makes `changes` to the account when it passes, which was asked for `by` somebody; its id."""
    with db.transaction() as session:
        account = accounts.get(session, account_id)
        wish = replace(accounts.wish_of(account), **changes)
        legs = accounts.legs_if(session, account, wish=wish, version=account.version)
        change = Change(account.id, account.version, wish, by)
        check = connections.request_draft_check(session, legs=legs, address=account.address, actor=by, change=change)
        check.started_at = db.now()
        return check.id


def pass_it(check_id: int) -> Check:
    """The test after its job has ended it, all well."""
    with db.transaction() as session:
        check = session.get_one(Check, check_id)
        assert check.started_at
        assert check.draft
        legs = drafts.legs_of(session, check.draft)
        result = Result(Task(legs, check.id, check.started_at), proved=set(legs), is_over=True)
        endings.finish(session, result)
        return check


@both_databases
def test_change_passes_while_somebody_has_the_account_tested(booted: object) -> None:
    with db.transaction() as session:
        account_id = an_account(session).id
    check_id = wanted(account_id, login=TYPED)
    with db.transaction() as session:
        connections.request_check(session, account=accounts.get(session, account_id), actor=SYSTEM)
    assert pass_it(check_id).outcome is CheckOutcome.PASSED
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account_id), IN)
        assert leg
        assert leg.how.password == "typed for Harbour Mail"


def test_password_that_was_typed_for_a_provider_is_not_saved_for_the_servers_it_has_got_since(
    booted: object,
) -> None:
    with db.transaction() as session:
        account_id, provider = (
            an_account(session, incoming=imap("old.example.net"), outgoing=None).id,
            a_provider(session),
        )
        provider_id = provider.id
    check_id = wanted(account_id, provider_id=provider_id, incoming=None, outgoing=None, login=TYPED)
    with db.transaction() as session:  # Nobody has a password there yet, so nobody is asked.
        provider = providers.get(session, provider_id)
        wish = a_provider_wish(incoming=imap("evil.example.org"))
        providers.save(
            session, provider=provider, wish=wish, version=provider.version, has_passwords=False, actor=SYSTEM
        )
    ended = pass_it(check_id)
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account_id), IN)
    assert leg
    assert (leg.server.host, leg.how.password) == ("old.example.net", PASSWORD)
    assert ended.outcome is CheckOutcome.FAILED


def test_unfinished_account_sends_no_password_to_a_server_that_is_to_have_one_of_its_own(session: Session) -> None:
    account = an_account(session, is_set_up=False)
    wish = replace(accounts.wish_of(account), outgoing=smtp("evil.example.org"), sending=Login("relay"), is_begun=True)
    with pytest.raises(SecretsWanted):
        accounts.change(session, account, wish=wish, version=account.version, actor=SYSTEM)


@both_databases
@pytest.mark.parametrize("number", ["99999999999", "9" * 40, "-1", "٣"])
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/providers/new?copy={}", ""),
        ("/providers/test-servers?provider={}", "x"),
        ("/providers/domains?provider={}", "x"),
        ("/accounts/new?copy={}", ""),
        ("/accounts/new?account={}", ""),
        ("/accounts/new/detect?account={}", "address"),
        ("/accounts/bulk?do=test", "account"),
        ("/accounts?page={}&provider={}&team={}", ""),
        ("/contacts?page={}", ""),
        ("/accounts/1/activity?page={}", ""),
        ("/mail?page={}", ""),
        ("/accounts/1/reinitialise?folder={}", ""),
        ("/accounts/1/reinitialise", "folder"),
        ("/accounts/1/connection/repair", "check"),
    ],
)
def test_numbers_that_no_row_has_lead_nowhere(ada_at: Browser, path: str, field: str, number: str) -> None:
    with db.transaction() as session:
        account_id = an_account(session).id
    path = path.replace("/accounts/1/", f"/accounts/{account_id}/")
    path = path.replace("{}", number)
    page = ada_at.post(path, {field: number}) if field else ada_at.get(path)
    assert page.status < 500


@pytest.mark.parametrize("folder", ["99999999999", "abc", "", "0"])
def test_folder_that_is_none_does_not_have_the_whole_account_read_again(ada_at: Browser, folder: str) -> None:
    with db.transaction() as session:
        account_id = an_account(session).id
    assert ada_at.post(f"/accounts/{account_id}/reinitialise?folder={folder}", {}).status == 404


def test_change_of_somebody_who_may_do_nothing_any_more_is_not_made(booted: object, ada: Person) -> None:
    with db.transaction() as session:
        account_id = an_account(session).id
    check_id = wanted(account_id, by=Actor(ada.name, ada.id), incoming=imap("evil.example.org"), login=TYPED)
    with db.transaction() as session:
        session.get_one(Person, ada.id).deactivated_at = db.now()
    ended = pass_it(check_id)
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account_id), IN)
    assert leg
    assert leg.server.host == "imap.example.net"
    assert "Ada Lindqvist may not change accounts any more." in str(ended.diagnosis)


@pytest.mark.parametrize("name", ["\ud800", "\0", "x" * 200])
def test_file_whose_past_cannot_be_written_is_refused(session: Session, name: str) -> None:
    provider = a_provider(session)
    entry = json.loads(providers.export(session))["providers"][0]
    facts = {fact: value for fact, value in entry.items() if fact not in ("minimum_tls", "certificates")}
    entry["catalogue"] = {"key": "harbour", "said": {**facts, "name": name}}
    file = json.dumps({"mailadmin": "providers", "version": 1, "providers": [entry]}).encode()
    planned = providers.plan_import(session, file, has_passwords=accounts.has_passwords)
    assert planned.lines[0].kind == "refused"
    assert providers.export(session).encode()
    assert provider.catalogue_key is None
