"""Which domains are the organisation's own, and whether free mail counts: typed, checked, and what follows at once."""

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.activity.models import Activity
from mailadmin.contacts.models import Contact
from mailadmin.errors import RuleBroken
from mailadmin.organisation import contact_rules
from mailadmin.people.models import Person
from tests.conftest import both_databases
from tests.pages import Browser
from tests.sync.settling import a_letter, a_mailbox, put, settle

USUAL = {"name": "Example Ltd", "uses_mail": "y", "free_mail_contacts": "y"}


def contacts() -> list[str]:
    with db.reading() as session:
        return list(session.scalars(select(Contact.address).order_by(Contact.address)))


@both_databases
def test_people_at_a_domain_of_our_own_go_and_come_back_with_it(ada_at: Browser, ada: Person) -> None:
    account = a_mailbox()
    senders = ["ada@sister.example", "bo@sub.sister.example", "cy@example.org"]
    put(account, *(a_letter(n, sender=sender) for n, sender in enumerate(senders, 1)))
    settle(account)
    assert contacts() == senders
    page = ada_at.post("/settings", {**USUAL, "own_domains": "Sister.example, b\u00fccher.example"}, follow=True)
    assert page.value("own_domains").split() == ["sister.example", "xn--bcher-kva.example"]
    assert contacts() == senders[1:]
    settle(account)
    assert contacts() == senders[1:]
    ada_at.post("/settings", {**USUAL, "own_domains": ""}, follow=True)
    settle(account)
    assert contacts() == senders
    with db.reading() as session:
        told = session.scalars(select(Activity.what).where(Activity.what.contains("own domains"))).all()
    assert len(told) == 2


def test_free_mail_comes_when_it_is_switched_on(ada_at: Browser) -> None:
    account = a_mailbox()
    ada_at.post("/settings", {"name": "Example Ltd", "uses_mail": "y"})
    put(account, a_letter(1, sender="ada@gmail.com"))
    settle(account)
    assert contacts() == []
    ada_at.post("/settings", USUAL)
    settle(account)
    assert contacts() == ["ada@gmail.com"]


@pytest.mark.parametrize("text", ["nodot", "a b.c d", "http://example.com", "-x.example", "x..example", "a@b.example"])
def test_what_is_no_domain_is_told(text: str) -> None:
    with pytest.raises(RuleBroken) as broken:
        contact_rules.checked_domains(text)
    assert broken.value.field == "own_domains"


def test_it_is_told_at_the_field_and_what_was_typed_stays(ada_at: Browser) -> None:
    page = ada_at.post("/settings", {**USUAL, "own_domains": "not a domain"}, htmx=True)
    assert page.status == 422
    assert "not a domain" in page.value("own_domains")
    assert page.error("own_domains")
    many = " ".join(f"d{n}.example" for n in range(contact_rules.MOST_DOMAINS + 1))
    assert ada_at.post("/settings", {**USUAL, "own_domains": many}, htmx=True).error("own_domains")
