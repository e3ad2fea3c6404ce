"""Role and teams of a person: one form. And whom somebody with a role of the organisation's own may change."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.access import slots
from mailadmin.access.models import SLOTS
from mailadmin.accounts.models import Account, Kind
from mailadmin.activity.models import Activity
from mailadmin.organisation import service as organisation
from mailadmin.people import teams
from mailadmin.people.models import CustomRole, Person, Team
from mailadmin.permissions import SYSTEM, PersonRole
from tests.access.factories import give
from tests.accounts.factories import an_account
from tests.factories import PASSWORD, a_person
from tests.pages import Browser, Page
from tests.wizard.test_settings import AS_IT_IS


def kept(session: Session, row: Any) -> Any:
    """`row` as it is stored, of no session any more: reading it holds no lock, which others would wait for."""
    session.commit()
    session.refresh(row)
    session.expunge_all()
    session.rollback()
    return row


@pytest.fixture
def sales(session: Session) -> Team:
    return kept(session, teams.create(session, name="Sales", actor=SYSTEM))  # type: ignore[no-any-return]


@pytest.fixture
def press(session: Session) -> Team:
    return kept(session, teams.create(session, name="Press", actor=SYSTEM))  # type: ignore[no-any-return]


@pytest.fixture
def clerk(session: Session) -> Person:
    """Somebody who manages people and nothing else."""
    role = CustomRole(name="Clerk", words="manage people")
    person = a_person(session, name="Cleo Clerk", email="clerk@example.com", role=PersonRole.ADMINISTRATOR)
    person.custom_role = role
    return kept(session, person)  # type: ignore[no-any-return]


@pytest.fixture
def clerk_at(app: Flask, ada: Person, clerk: Person) -> Browser:
    browser = Browser(app)
    browser.sign_in(clerk.email, PASSWORD)
    return browser


def standing(session: Session, person: Person) -> tuple[str, list[str]]:
    """Role and teams, as the database has them now."""
    session.rollback()
    found = session.get_one(Person, person.id)
    role = found.custom_role.name if found.custom_role else found.role.value
    names = [team.name for team in teams.of_people(session, [person.id])[person.id]]
    session.rollback()  # Or SQLite would wait for it.
    return role, names


def noted(session: Session) -> list[str]:
    found = list(session.scalars(select(Activity.what).order_by(Activity.id)))
    session.rollback()
    return [what for what in found if "Wim" in what and not what.startswith("added")]


def send(browser: Browser, person: Person, **fields: Any) -> Page:
    return browser.post(f"/workers/{person.id}/role", fields, htmx=True)


def ticked(page: Page) -> set[str | None]:
    return {box.get("value") for box in page.all("input", name="teams", checked="")}


def test_role_and_teams_are_saved_together_with_one_entry_each(
    ada_at: Browser, session: Session, wim: Person, sales: Team, press: Team
) -> None:
    version = ada_at.get(f"/workers/{wim.id}").value("version")
    answer = send(ada_at, wim, role="administrator", teams=[sales.id, press.id], version=version)
    assert answer.headers["HX-Redirect"] == f"/workers/{wim.id}"
    assert standing(session, wim) == ("administrator", ["Press", "Sales"])
    assert noted(session) == [
        "changed the role of Wim de Vries",
        "put Wim de Vries into the team Sales",
        "put Wim de Vries into the team Press",
    ]
    page = ada_at.get(f"/workers/{wim.id}")
    assert ticked(page) == {str(sales.id), str(press.id)}
    send(ada_at, wim, role="administrator", teams=[press.id, sales.id], version=page.value("version"))
    assert len(noted(session)) == 3, "what is as before is told nowhere"
    send(ada_at, wim, role="worker")
    assert standing(session, wim) == ("worker", [])


def test_everything_that_is_refused_is_told_at_its_field_and_nothing_is_done_or_lost(
    ada_at: Browser, session: Session, ada: Person, sales: Team, press: Team
) -> None:
    organisation.change_teams(session, use_slots=True, have_many_accounts=False, actor=SYSTEM)
    an_account(session, address="sales@example.net", kind=Kind.TEAM, team="Sales")
    for n in range(SLOTS):
        give(session, ada, an_account(session, address=f"a{n}@example.net"))
    session.commit()
    page = send(ada_at, ada, role="worker", teams=[sales.id, press.id])
    assert page.status == 422
    assert "Please correct 2 fields" in page.words()
    assert "is the last administrator who can sign in" in page.error("role")
    assert "would use more than five accounts in the team Sales" in page.error("teams")
    assert [e.get("value") for e in page.all("input", name="role", checked="")] == ["worker"]
    assert ticked(page) == {str(sales.id), str(press.id)}
    assert standing(session, ada) == ("administrator", [])
    whole = ada_at.post(f"/workers/{ada.id}/role", {"role": "worker"})
    assert (whole.status, whole.title) == (422, "Ada Lindqvist · Mailadmin"), "without scripts it is the whole page"


def test_what_does_not_exist_any_more_is_told_at_its_field(ada_at: Browser, wim: Person) -> None:
    page = send(ada_at, wim, role="77", teams=["99999"])
    assert page.error("role") == "This role does not exist any more. Choose another one."
    assert page.error("teams") == "One of these teams does not exist any more."
    assert send(ada_at, wim, role="worker", teams=["x"]).status == 422


def test_who_saves_what_somebody_else_changed_meanwhile_is_told_first(
    ada_at: Browser, session: Session, wim: Person, sales: Team, press: Team
) -> None:
    old = ada_at.get(f"/workers/{wim.id}").value("version")
    send(ada_at, wim, role="administrator", teams=[sales.id], version=old)
    page = send(ada_at, wim, role="worker", teams=[press.id], version=old)
    assert page.status == 422
    assert "Somebody else changed the role or the teams meanwhile." in page.words()
    assert ticked(page) == {str(press.id)}
    assert standing(session, wim) == ("administrator", ["Sales"])
    again = send(ada_at, wim, role="worker", teams=[press.id], version=page.value("version"))
    assert "HX-Redirect" in again.headers
    assert standing(session, wim) == ("worker", ["Press"])


def test_a_form_changes_only_what_it_shows(ada_at: Browser, session: Session, wim: Person) -> None:
    before = (wim.email, wim.password_hash, wim.name, wim.deactivated_at)
    more = {"email": "eve@example.com", "password_hash": "x", "custom_role_id": "1", "deactivated_at": "2020-01-01"}
    send(ada_at, wim, role="worker", name="Eve", id="1", **more)
    now = session.get_one(Person, wim.id)
    assert (now.email, now.password_hash, now.name, now.deactivated_at) == before
    assert now.custom_role_id is None


# Nobody gives what they do not have.


def test_who_manages_people_makes_nobody_an_administrator(
    clerk_at: Browser, session: Session, wim: Person, clerk: Person
) -> None:
    page = clerk_at.get(f"/workers/{wim.id}")
    closed = {e.get("value") for e in page.all("input", name="role") if e.get("disabled") is not None}
    assert closed == {"administrator", str(clerk.custom_role_id)}
    for role in sorted(closed):
        page = send(clerk_at, wim, role=role)
        assert "Only somebody who is an administrator for everything" in page.error("role")
        fields = {"name": "Eve", "email": "eve@example.com", "role": role, "way": "link"}
        assert clerk_at.post("/workers/new", fields).status == 422
    assert standing(session, wim) == ("worker", [])


@pytest.mark.parametrize("who", ["ada", "clerk"])
def test_who_manages_people_changes_no_administrator_and_not_themselves(
    clerk_at: Browser, session: Session, ada: Person, clerk: Person, sales: Team, who: str
) -> None:
    whom = {"ada": ada, "clerk": clerk}[who]
    account = an_account(session)
    other = an_account(session, address="b@example.net")
    give(session, whom, other)
    teams.add_member(session, sales, person=whom, actor=SYSTEM)
    kept(session, other)
    account = kept(session, session.get_one(Account, account.id))
    at, chosen = f"/workers/{whom.id}", {"account": account.id, "worker": whom.id, "person": whom.id, "may": "send"}
    for path in (
        *(f"{at}/accounts", f"{at}/signature", f"{at}/role", f"{at}/link", f"{at}/reset-factor", f"{at}/deactivate"),
        *(f"{at}/accounts/remove", f"{at}/accounts/rights", f"{at}/accounts/move", f"{at}/primary", f"{at}/reactivate"),
        *(f"/accounts/{other.id}/access/{whom.id}/rights", f"/accounts/{other.id}/access/{whom.id}/remove"),
        f"/teams/{sales.id}/members/{whom.id}/remove",
    ):
        asked = {**chosen, "account": other.id} if path.endswith(("remove", "rights", "move", "primary")) else chosen
        assert clerk_at.post(path, asked).status == 409, path
    assert clerk_at.post(f"{at}/delete", {"accounts": "heir"}).status == 422
    assert "administrator for everything" in clerk_at.post(f"/accounts/{account.id}/access", chosen).words()
    page = clerk_at.get(at)
    assert "You can look at this, but not change it" in page.words()
    assert not [form for form in page.one("main").iter() if form.get("method") == "post"]
    session.rollback()
    assert [slot and slot.account_id for slot in slots.of(session, whom)] == [other.id, None, None, None, None]


def test_a_whole_team_gets_an_account_but_for_the_administrators_in_it(
    clerk_at: Browser, session: Session, wim: Person, clerk: Person, sales: Team
) -> None:
    for person in (wim, clerk):
        teams.add_member(session, sales, person=person, actor=SYSTEM)
    account = an_account(session)
    session.commit()
    page = clerk_at.post(f"/accounts/{account.id}/access", {"team": sales.id, "may": "send"}, follow=True)
    assert "Wim de Vries can open it now. Administrators, whom you cannot change: Cleo Clerk." in page.words()
    assert [slot.person_id for slot in slots.of_account(session, account)] == [wim.id]


def test_who_manages_people_does_not_inherit_the_accounts_of_whom_they_delete(
    clerk_at: Browser, session: Session, wim: Person, clerk: Person
) -> None:
    own = an_account(session, kind=Kind.PERSONAL, owner_id=wim.id)
    session.commit()
    page = clerk_at.get(f"/workers/{wim.id}/delete")
    assert str(clerk.id) not in {o.get("value") for o in page.one("select", id="heir").iter()}
    refused = clerk_at.post(f"/workers/{wim.id}/delete", {"accounts": "heir", "heir": str(clerk.id)})
    assert refused.status == 422
    session.rollback()
    assert session.get_one(Account, own.id).owner_id == wim.id


@pytest.mark.parametrize(("kind", "field"), [("personal", "owner_id"), ("team", "team")])
def test_who_manages_accounts_does_not_make_one_their_own_and_read_its_mail(
    app: Flask, session: Session, ada: Person, sales: Team, kind: str, field: str
) -> None:
    keeper = a_person(session, name="Kim Keeper", email="kim@example.com", role=PersonRole.ADMINISTRATOR)
    keeper.custom_role = CustomRole(name="Keeper", words="manage accounts")
    teams.add_member(session, sales, person=keeper, actor=SYSTEM)
    account = an_account(session)
    account_id, version, keeper_id = account.id, account.version, keeper.id
    session.commit()
    form = {**AS_IT_IS, "kind": kind, "owner_id": str(keeper_id), "team": "SALES", "version": version}
    for email, status in (("kim@example.com", 422), (ada.email, 303)):
        browser = Browser(app)
        browser.sign_in(email, PASSWORD)
        page = browser.post(f"/accounts/{account_id}/settings", form)
        assert page.status == status
        assert status == 303 or "You would read its mail then." in page.error(field)
