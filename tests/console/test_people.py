"""Workers, their five accounts, their teams, and the Access tab of an account."""

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.access import slots
from mailadmin.access.models import SLOTS
from mailadmin.access.service import Rights
from mailadmin.accounts.models import Account, Kind
from mailadmin.activity.models import Activity
from mailadmin.organisation import service as organisation
from mailadmin.people import teams
from mailadmin.people.models import Person, Team
from mailadmin.permissions import SYSTEM, PersonRole
from tests import factories
from tests.access.factories import give
from tests.accounts.factories import an_account
from tests.pages import HTML, Browser, Page


@pytest.fixture
def made(session: Session) -> list[Account]:
    """Six accounts."""
    found = [an_account(session, address=f"a{i}@example.net", name=f"Desk {i}") for i in range(1, SLOTS + 2)]
    session.commit()
    return found


def filled(session: Session, person: Person, accounts: list[Account]) -> None:
    for account in accounts:
        give(session, person, account)
    session.commit()


def a_team(session: Session, *members: Person, name: str = "Sales") -> Team:
    team = teams.create(session, name=name, actor=SYSTEM)
    for person in members:
        teams.add_member(session, team, person=person, actor=SYSTEM)
    session.commit()
    return team


def places(page: Page) -> list[str]:
    """What stands in the five places: the address or "Free"."""
    links = [[a for a in item.iter(f"{HTML}a") if "@" in page.words(a)] for item in page.all("li", class_="slot")]
    return [page.words(found[0]) if found else "Free" for found in links]


# The list.


def test_list_says_who_is_here_with_teams_accounts_and_star(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    a_team(session, wim)
    filled(session, wim, made[:2])
    page = ada_at.get("/workers")
    assert "2 people. Each can use up to five accounts." in page.words()
    rows = [page.words(row) for row in page.all("tr")[1:]]
    assert rows[0].startswith("AL Ada Lindqvistada@example.com Administrator – 0 of 5 –")
    assert rows[1].startswith("WV Wim de Vrieswim@example.com Worker Sales 2 of 5 a1@example.net Never")
    assert page.one("span", aria_label="2 of 5 accounts") is not None
    side = page.one("nav", id="nav")
    assert "Workers2" in page.words(side)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=wim", ["Wim de Vries"]),
        ("q=EXAMPLE.COM+ada", ["Ada Lindqvist"]),
        ("q=sales", ["Wim de Vries"]),
        ("q=100%25", []),
        ("role=administrator", ["Ada Lindqvist"]),
        ("role=nonsense", ["Ada Lindqvist", "Wim de Vries"]),
        ("team=999999999999", ["Ada Lindqvist", "Wim de Vries"]),
        ("page=77", ["Ada Lindqvist", "Wim de Vries"]),
    ],
)
def test_list_is_narrowed_by_words_team_and_role(
    ada_at: Browser, session: Session, wim: Person, query: str, found: list[str]
) -> None:
    a_team(session, wim)
    page = ada_at.get(f"/workers?{query}")
    assert page.status == 200
    assert [page.words(a) for row in page.all("tr")[1:] for a in row.iter(f"{HTML}a")] == found
    assert ("Nobody found" in page.words()) is (not found)


def test_list_of_many_is_paged_and_narrowed_to_a_team(ada_at: Browser, session: Session) -> None:
    people = [
        Person(name=f"Worker {i:03}", email=f"w{i}@example.com", role=PersonRole.WORKER, password_hash="-")
        for i in range(60)
    ]
    session.add_all(people)
    team = a_team(session, *people[:7])
    page = ada_at.get("/workers?role=worker")
    assert "1–50 of 60" in page.words()
    assert page.one("a", rel="next").get("href") == "/workers?role=worker&page=2"
    assert "51–60 of 60" in ada_at.get("/workers?role=worker&page=2").words()
    assert "1–7 of 7" in ada_at.get(f"/workers?team={team.id}").words()


# A worker's page.


def test_picker_finds_accounts_and_giving_one_fills_the_next_place(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    own = an_account(session, address="o@example.net", kind=Kind.PERSONAL, owner_id=wim.id)
    filled(session, wim, made[:1])
    for path, htmx in ((f"/workers/{wim.id}/accounts/new", False), (f"/workers/{wim.id}/accounts/new", True)):
        page = ada_at.get(path, htmx=htmx)
        assert "Takes place 2 of 5" in page.words()
        offered = [b.get("value") for b in page.all("button", name="account")]
        assert offered == [str(a.id) for a in made[1:]]
        assert "o@example.net" in page.words()
        assert "Personal, not shareable" in page.words()
    found = ada_at.get(f"/workers/{wim.id}/accounts/found?q=desk+3", htmx=True)
    assert [b.get("value") for b in found.all("button", name="account")] == [str(made[2].id)]
    path = f"/workers/{wim.id}/accounts"
    page = ada_at.post(path, {"account": made[2].id, "may": "read"}, follow=True)
    assert places(page) == ["a1@example.net", "a3@example.net", "Free", "Free", "Free"]
    assert "Desk 3, reads only" in page.words()
    assert "Wim de Vries uses a3@example.net now." in page.words()
    assert ada_at.post(path, {"account": made[3].id}, htmx=True).headers["HX-Redirect"] == f"/workers/{wim.id}"
    refused = ada_at.post(path, {"account": own.id, "may": "send"})
    assert refused.status == 422
    assert "only its owner reads it" in refused.words(refused.one("div", role="alert"))


def test_sixth_account_is_refused_on_the_page_and_in_the_picker(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    filled(session, wim, made[:SLOTS])
    assert "All five places are used." in ada_at.get(f"/workers/{wim.id}").words()
    for htmx in (False, True):
        page = ada_at.post(f"/workers/{wim.id}/accounts", {"account": made[5].id, "may": "send"}, htmx=htmx)
        assert page.status == 422
        said = page.words(page.one("div", role="alert"))
        assert said.startswith("a6@example.net was not added")
        assert "Wim de Vries already uses five accounts. Give one of them back" in said


@pytest.mark.parametrize("htmx", [False, True])
def test_star_order_rights_and_taking_answer_with_the_whole_list(
    ada_at: Browser, session: Session, wim: Person, made: list[Account], htmx: bool
) -> None:
    filled(session, wim, made[:3])

    def do(what: str, account: Account, **more: str) -> Page:
        page = ada_at.post(f"/workers/{wim.id}/{what}", {"account": account.id, **more}, htmx=htmx, follow=True)
        assert page.status == 200
        assert len(page.all("li", class_="slot")) == SLOTS
        return page

    page = do("primary", made[1])
    stars = {b.get("value"): b.get("aria-pressed") for b in page.all("button", class_="star")}
    assert stars == {str(made[0].id): "false", str(made[1].id): "true", str(made[2].id): "false"}
    assert places(do("accounts/move", made[0], position="5")) == [
        *("Free", "a2@example.net", "a3@example.net", "Free", "a1@example.net"),
    ]
    assert "Desk 3, reads only" in do("accounts/rights", made[2], may="read").words()
    assert places(do("accounts/remove", made[1])) == ["Free", "Free", "a3@example.net", "Free", "a1@example.net"]
    session.expire_all()
    third = slots.of(session, wim)[2]
    assert third is not None
    assert third.is_primary


def test_what_is_not_there_or_not_a_place_is_refused(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    filled(session, wim, made[:1])
    at = f"/workers/{wim.id}"
    assert ada_at.post(f"{at}/accounts/move", {"account": made[0].id, "position": "6"}).status == 422
    assert ada_at.post(f"{at}/accounts/remove", {"account": made[1].id}).status == 404
    assert ada_at.post(f"{at}/primary", {"account": "x"}).status == 404
    assert ada_at.post(f"{at}/accounts", {"account": 99999, "may": "send"}).status == 404
    assert ada_at.get("/workers/99999").status == 404
    ada_at.post(f"{at}/accounts/rights", {"account": made[0].id, "may": "everything"})
    session.expire_all()
    slot = slots.of(session, wim)[0]
    assert slot is not None
    assert (slot.may_write, slot.may_send) == (False, False)  # What nobody offered counts as the least.


def test_page_names_accounts_of_teams_and_own_ones_beside_the_places(
    ada_at: Browser, session: Session, wim: Person
) -> None:
    a_team(session, wim)
    an_account(session, address="sales@example.net", kind=Kind.TEAM, team="Sales")
    an_account(session, address="wim@example.net", kind=Kind.PERSONAL, owner_id=wim.id)
    session.commit()
    words = ada_at.get(f"/workers/{wim.id}").words()
    assert "sales@example.netAs a member of Sales: reads and sends" in words
    assert "wim@example.netTheir own: nobody else reads it" in words
    assert "0 of 5 accounts are used." in words
    organisation.change_teams(session, use_slots=True, have_many_accounts=False, actor=SYSTEM)
    session.commit()
    assert "1 of 5 accounts are used." in ada_at.get(f"/workers/{wim.id}").words()


def test_signature_is_saved_and_shown_as_it_will_look(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    a_team(session, wim)
    filled(session, wim, made[:1])
    text = "{name}\n{team} team, {other} <b>\nWrite to us: {account}"
    path = f"/workers/{wim.id}/signature"
    page = ada_at.post(path, {"signature": text}, follow=True)
    preview = page.words(page.one("div", id="signature-preview"))
    assert preview == "Looks like this Wim de VriesSales team, {other} <b>Write to us: a1@example.net"
    typed = ada_at.get(f"{path}/preview?signature=%7Bname%7D!", htmx=True)
    assert typed.words() == "Looks like this Wim de Vries!"
    assert ada_at.get(f"{path}/preview").status == 303
    refused = ada_at.post(path, {"signature": "x" * 2001})
    assert refused.status == 422
    assert refused.error("signature") == "A signature can have 2000 letters at most."
    with db.reading() as fresh:
        assert fresh.get_one(Person, wim.id).signature == text
        assert fresh.query(Activity).filter_by(what="changed the signature of Wim de Vries").count() == 1


# An account's tab.


def test_access_tab_lists_everybody_with_rights_and_offers_who_has_room(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    olga = factories.a_person(session, name="Olga Full", email="olga@example.com", role=PersonRole.WORKER)
    filled(session, olga, made[1:])
    give(session, wim, made[0], Rights.READ)
    team = a_team(session, wim, olga)
    page = ada_at.get(f"/accounts/{made[0].id}/access")
    assert "1 person can open this mailbox" in page.words()
    assert page.words(page.one("nav", aria_label="Account")) == "OverviewSettingsFoldersAccess1Activity"
    assert page.value("may-new") is None or page.one("select", id="may-new") is not None
    chosen = page.one("select", aria_label="Rights of Wim de Vries")
    assert [o.get("value") for o in chosen.iter() if o.get("selected") is not None] == ["read"]
    full = page.one("button", name="worker", value=str(olga.id))
    assert full.get("disabled") is not None
    assert "All 5 accounts used" in page.words(full)
    found = ada_at.get(f"/accounts/{made[0].id}/access/people?q=sales", htmx=True)
    assert "The whole Sales team2 people, 1 have access" in found.words()
    page = ada_at.post(f"/accounts/{made[0].id}/access", {"team": team.id, "may": "send"}, follow=True)
    assert "Nobody was added. Without a free place: Olga Full." in page.words()


def test_access_is_given_changed_and_taken_from_the_account(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    path = f"/accounts/{made[0].id}/access"
    assert "Nobody can open this mailbox" in ada_at.get(path).words()
    page = ada_at.post(path, {"worker": wim.id, "may": "write"}, follow=True)
    assert "Wim de Vries can open a1@example.net now." in page.words()
    again = ada_at.post(path, {"worker": wim.id, "may": "write"})
    assert again.status == 422
    assert "Wim de Vries uses a1@example.net already." in again.words()
    page = ada_at.post(f"{path}/{wim.id}/rights", {"may": "send"}, follow=True)
    assert "Wim de Vries: read and send." in page.words()
    page = ada_at.post(f"{path}/{wim.id}/remove", follow=True)
    assert "Wim de Vries cannot open a1@example.net any more." in page.words()
    assert ada_at.post(f"{path}/{wim.id}/remove").status == 404
    assert [(e.what, e.person_name) for e in session.query(Activity).filter_by(account_id=made[0].id)][-3:] == [
        ("gave Wim de Vries access to a1@example.net", "Ada Lindqvist"),
        ("changed what Wim de Vries may do with a1@example.net", "Ada Lindqvist"),
        ("took access to a1@example.net from Wim de Vries", "Ada Lindqvist"),
    ]


def test_administrator_without_access_is_told_why_and_may_give_it_to_themselves(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    page = ada_at.get(f"/mailbox/{made[0].id}")
    assert page.status == 404
    assert "only the mail of accounts that they were given" in page.words()
    assert page.all("a", href=f"/accounts/{made[0].id}/access")
    button = page.one("button", name="worker")
    assert button.get("value")
    form = {"worker": button.get("value"), "may": "send", "then": "mailbox"}
    opened = ada_at.post(f"/accounts/{made[0].id}/access", form, follow=True)
    assert opened.status == 200
    assert "Mailbox a1@example.net" in opened.title
    own = an_account(session, address="wim@example.net", kind=Kind.PERSONAL, owner_id=wim.id)
    session.commit()
    page = ada_at.get(f"/mailbox/{own.id}")
    assert page.status == 404
    assert "It is the personal account of Wim de Vries, who alone reads it." in page.words()
    assert not page.all("button", name="worker")
    assert "Only Wim de Vries reads it." in ada_at.get(f"/accounts/{own.id}/access").words()
    assert "There is no such mailbox" in ada_at.get("/mailbox/99999").words()


def test_who_loses_access_is_sent_away_from_the_open_page_with_the_next_request(
    browser: Browser, session: Session, ada: Person, wim: Person, made: list[Account]
) -> None:
    filled(session, wim, made[:2])
    browser.sign_in(wim.email, factories.PASSWORD)
    page = browser.get(f"/mailbox/{made[0].id}")
    assert page.status == 200
    mine = page.words(page.one("ul", aria_labelledby="your-mailboxes"))
    assert mine == "a1@example.net a2@example.net"
    slots.take(session, person=wim, account=made[0], actor=SYSTEM)
    session.commit()
    asked = browser.get(f"/mailbox/{made[0].id}", htmx=True)
    assert (asked.status, asked.headers["HX-Redirect"]) == (204, f"/mailbox/{made[0].id}")
    page = browser.get(f"/mailbox/{made[0].id}")
    assert page.status == 404
    assert "There is no such mailbox, or it is not yours." in page.words()


@pytest.mark.parametrize("path", ["/workers", "/teams", "/workers/{id}", "/workers/{id}/accounts/new"])
def test_workers_do_not_manage_people(browser: Browser, ada: Person, wim: Person, path: str) -> None:
    browser.sign_in(wim.email, factories.PASSWORD)
    assert browser.get(path.format(id=wim.id)).status == 403


# Teams.


def test_team_is_made_filled_renamed_and_deleted(ada_at: Browser, session: Session, wim: Person) -> None:
    page = ada_at.post("/teams", {"name": " Sales "}, follow=True)
    assert "The team Sales is there." in page.words()
    team = session.query(Team).one()
    session.commit()  # Here and below: or SQLite would wait for it.
    again = ada_at.post("/teams", {"name": "SALES"})
    assert (again.status, again.error("name")) == (422, "There is a team called SALES already.")
    at = f"/teams/{team.id}"
    assert "Wim de Vries is in the team." in ada_at.post(f"{at}/members", {"person": wim.id}, follow=True).words()
    assert ada_at.post(f"{at}/members", {"person": 0}).status == 422
    assert ada_at.post(f"{at}/name", {"name": "Support"}, follow=True).words().count("Support") > 1
    account = an_account(session, kind=Kind.TEAM, team="Support")
    session.commit()
    page = ada_at.get("/teams")
    assert "Support 1 billing@example.net" in page.words(page.one("tbody"))
    asked = ada_at.get(f"{at}/delete", htmx=True)
    assert "billing@example.net becomes a shared account." in asked.words()
    assert session.query(Team).count() == 1
    session.commit()
    assert "The team Support is no more." in ada_at.post(f"{at}/delete", follow=True).words()
    session.refresh(account)
    session.commit()
    assert (account.kind, account.team_id) == (Kind.SHARED, None)
    assert ada_at.get(at).status == 404


def test_member_leaves_on_a_click(ada_at: Browser, session: Session, wim: Person) -> None:
    team = a_team(session, wim)
    page = ada_at.post(f"/teams/{team.id}/members/{wim.id}/remove", follow=True)
    assert "Wim de Vries left the team." in page.words()
    assert "Nobody is in this team yet." in page.words()


def test_counting_team_accounts_is_refused_where_somebody_would_have_six(
    ada_at: Browser, session: Session, wim: Person, made: list[Account]
) -> None:
    a_team(session, wim)
    an_account(session, address="sales@example.net", kind=Kind.TEAM, team="Sales")
    filled(session, wim, made[:SLOTS])
    form = {"name": "Example", "uses_mail": "y", "team_accounts_use_slots": "y"}
    page = ada_at.post("/settings", form)
    assert page.status == 422
    assert "Wim de Vries would use more than five accounts if accounts of teams counted." in page.words()
    slots.take(session, person=wim, account=made[0], actor=SYSTEM)
    session.commit()
    assert ada_at.post("/settings", form).status == 303
    assert organisation.team_accounts_use_slots(session)
    session.commit()  # Or SQLite would wait for it.
    refused = ada_at.post(f"/workers/{wim.id}/accounts", {"account": made[0].id, "may": "send"})
    assert "Wim de Vries already uses five accounts" in refused.words()
