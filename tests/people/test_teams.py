"""Teams: their names, their members, their one account, and what leaving one means."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.access import service as access
from mailadmin.access import teams as access_teams
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Kind
from mailadmin.activity.models import Activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import teams
from mailadmin.people.models import Person, Team
from mailadmin.permissions import SYSTEM
from tests.access.factories import give
from tests.accounts.factories import an_account
from tests.conftest import both_databases


def a_team(session: Session, name: str = "Sales") -> Team:
    return teams.create(session, name=name, actor=SYSTEM)


@both_databases
def test_name_is_taken_however_it_is_capitalised(session: Session) -> None:
    team = a_team(session, "Vertrieb Süd")
    for name in ("vertrieb süd", " VERTRIEB  SÜD "):
        with pytest.raises(RuleBroken, match="There is a team called") as refused:
            a_team(session, name)
        assert refused.value.field == "name"
    teams.rename(session, team, name="VERTRIEB SÜD", actor=SYSTEM)
    assert team.name == "VERTRIEB SÜD"
    other = a_team(session)
    with pytest.raises(RuleBroken):
        teams.rename(session, other, name="Vertrieb süd", actor=SYSTEM)
    for wrong in ("", " ", "a\u0000b", "x" * 121):
        with pytest.raises(RuleBroken):
            a_team(session, wrong)


def test_members_come_and_go_and_the_trail_says_so(session: Session, wim: Person) -> None:
    team = a_team(session)
    for _ in range(2):
        access_teams.join(session, team, person=wim, actor=SYSTEM)
    assert [person.name for person in teams.members(session, team)] == ["Wim de Vries"]
    assert teams.sizes(session) == {team.id: 1}
    for _ in range(2):
        access_teams.leave(session, team, person=wim, actor=SYSTEM)
    assert teams.members(session, team) == []
    session.flush()
    said = [entry.what for entry in session.query(Activity).filter_by(kind="people").order_by(Activity.id)][-3:]
    assert said == [
        "made the team Sales",
        "put Wim de Vries into the team Sales",
        "took Wim de Vries out of the team Sales",
    ]


def test_teams_of_a_person_are_set_at_once(session: Session, wim: Person) -> None:
    sales, press = a_team(session), a_team(session, "Press")
    access_teams.set_teams(session, person=wim, wanted=[sales.id], actor=SYSTEM)
    access_teams.set_teams(session, person=wim, wanted=[press.id], actor=SYSTEM)
    assert teams.of_people(session, [wim.id]) == {wim.id: [press]}
    with pytest.raises(NotFound, match="This team does not exist any more"):
        access_teams.set_teams(session, person=wim, wanted=[press.id, 99999], actor=SYSTEM)


def test_nobody_who_is_deactivated_joins(session: Session, wim: Person) -> None:
    team = a_team(session)
    session.get_one(Person, wim.id).deactivated_at = now()
    with pytest.raises(RuleBroken, match="Wim de Vries is deactivated"):
        access_teams.join(session, team, person=wim, actor=SYSTEM)


@both_databases
def test_team_has_one_account_unless_the_organisation_allows_more(session: Session) -> None:
    first = an_account(session, kind=Kind.TEAM, team="Sales")
    with pytest.raises(RuleBroken) as refused:
        an_account(session, address="b@example.net", kind=Kind.TEAM, team="sales")
    assert refused.value.field == "team"
    assert refused.value.message.startswith("The team Sales has its account already: billing@example.net.")
    session.rollback()
    first = an_account(session, kind=Kind.TEAM, team="Sales")
    organisation.change_teams(session, use_slots=False, have_many_accounts=True, actor=SYSTEM)
    second = an_account(session, address="b@example.net", kind=Kind.TEAM, team="Sales")
    organisation.change_teams(session, use_slots=False, have_many_accounts=False, actor=SYSTEM)
    wish = accounts.wish_of(second)
    accounts.change(session, second, wish=wish, version=second.version, actor=SYSTEM)  # What it has it keeps.
    accounts.request_deletion(session, first, actor=SYSTEM)
    accounts.request_deletion(session, second, actor=SYSTEM)
    assert an_account(session, address="c@example.net", kind=Kind.TEAM, team="Sales").team is first.team


@both_databases
def test_of_many_who_give_a_team_its_account_at_once_one_does(session: Session) -> None:
    team_id = a_team(session).id
    session.commit()

    def insist(number: int) -> str | None:
        try:
            with db.transaction() as own:
                an_account(own, address=f"a{number}@example.net", kind=Kind.TEAM, team="Sales")
        except RuleBroken as refused:
            return refused.field
        return "taken"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(map(str, pool.map(insist, range(24)))) == ["taken", *["team"] * 23]
    with db.reading() as fresh:
        assert fresh.query(Account).filter_by(team_id=team_id).count() == 1


def test_account_of_a_deleted_team_is_shared_and_read_by_those_alone_who_were_given_it(
    session: Session, ada: Person, wim: Person
) -> None:
    team = a_team(session)
    access_teams.join(session, team, person=wim, actor=SYSTEM)
    account = an_account(session, kind=Kind.TEAM, team="Sales")
    give(session, ada, account)
    version = account.version
    assert {person.name for person in access.readers(session, account)} == {"Ada Lindqvist", "Wim de Vries"}
    access_teams.delete(session, team, actor=SYSTEM)
    assert (account.kind, account.team, account.version) == (Kind.SHARED, None, version + 1)
    assert [person.name for person in access.readers(session, account)] == ["Ada Lindqvist"]


@both_databases
def test_counted_accounts_of_teams_leave_less_places_and_keep_people_out_of_teams(
    session: Session, wim: Person
) -> None:
    organisation.change_teams(session, use_slots=True, have_many_accounts=False, actor=SYSTEM)
    sales, press = a_team(session), a_team(session, "Press")
    an_account(session, address="sales@example.net", kind=Kind.TEAM, team="Sales")
    an_account(session, address="press@example.net", kind=Kind.TEAM, team="Press")
    made = [an_account(session, address=f"a{i}@example.net") for i in range(5)]
    access_teams.join(session, sales, person=wim, actor=SYSTEM)
    for account in made[:4]:
        give(session, wim, account)
    with pytest.raises(RuleBroken, match="already uses five accounts"):
        give(session, wim, made[4])
    with pytest.raises(RuleBroken, match="Wim de Vries would use more than five accounts in the team Press"):
        access_teams.join(session, press, person=wim, actor=SYSTEM)
    assert teams.members(session, press) == []
    ours = accounts.find(session, "sales@example.net")
    assert ours is not None
    give(session, wim, ours)  # One account in both ways is one account.
    support = a_team(session, "Support")
    access_teams.join(session, support, person=wim, actor=SYSTEM)
    theirs = an_account(session, address="support@example.net", kind=Kind.TEAM, team="Support")
    with pytest.raises(RuleBroken, match=r"more than five accounts with support@example\.net") as refused:
        access_teams.check_members(session, theirs)
    assert refused.value.field == "team"


def test_counting_begins_only_when_nobody_would_have_six(session: Session, wim: Person) -> None:
    sales = a_team(session)
    an_account(session, address="sales@example.net", kind=Kind.TEAM, team="Sales")
    access_teams.join(session, sales, person=wim, actor=SYSTEM)
    access_teams.check_counting(session)
    for i in range(5):
        give(session, wim, an_account(session, address=f"a{i}@example.net"))
    with pytest.raises(RuleBroken, match="Wim de Vries would use more than five accounts if accounts of teams counted"):
        access_teams.check_counting(session)
