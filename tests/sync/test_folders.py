"""Which folders an account has after a list, and what people may choose."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Folder as Listed
from mailadmin.mail.types import Role
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service
from mailadmin.sync.folders import merged
from mailadmin.sync.models import Folder, RoleSource
from tests.accounts import factories as accounts

INBOX = Listed("INBOX", "INBOX", "/", role=Role.INBOX, role_source="server")
SENT = Listed("Sent", "Sent", "/", role=Role.SENT, role_source="name")
TRASH = Listed("Trash", "Trash", "/", role=Role.TRASH, role_source="server")
JUNK = Listed("Junk", "Junk", "/", role=Role.JUNK, role_source="server")
OFFERS = Listed("Offers", "Offers", "/", messages=12)
CALENDAR = Listed("Calendar", "Calendar", "/", locked="Holds appointments, not mail")
CONTAINER = Listed("Lists", "Lists", "/", selectable=False)
ALL = [INBOX, SENT, TRASH, JUNK, OFFERS, CALENDAR, CONTAINER]


@pytest.fixture
def account(session: Session) -> Account:
    return accounts.an_account(session)


def adopt(session: Session, account: Account, *listed: Any) -> dict[str, Folder]:
    return {f.path: f for f in service.adopt_folders(session, account=account, listed=listed)}


def ids(folders: dict[str, Folder], *paths: str) -> set[int]:
    return {folders[path].id for path in paths}


def test_first_list_activates_mail_but_not_junk_and_trash(session: Session, account: Account) -> None:
    folders = adopt(session, account, *ALL)
    assert {path for path, f in folders.items() if f.is_active} == {"INBOX", "Sent", "Offers"}
    assert folders["Lists"].locked == "Cannot be opened"
    assert folders["Offers"].messages == 12


def test_folder_that_appears_later_starts_inactive(session: Session, account: Account) -> None:
    adopt(session, account, INBOX)
    assert not adopt(session, account, INBOX, OFFERS)["Offers"].is_active


def test_folder_that_is_not_listed_is_gone_and_comes_back_as_it_was(session: Session, account: Account) -> None:
    adopt(session, account, INBOX, OFFERS)
    assert adopt(session, account, INBOX)["Offers"].is_gone
    back = adopt(session, account, INBOX, OFFERS)["Offers"]
    assert (back.is_gone, back.is_active) == (False, True)


def test_list_is_taken_as_the_check_keeps_it(session: Session, account: Account) -> None:
    kept = {"path": "Gesendet", "name": "Gesendet", "delimiter": ".", "role": "sent", "role_source": "name"}
    folder = adopt(session, account, kept)["Gesendet"]
    assert (folder.role, folder.role_source, folder.delimiter) == (Role.SENT, RoleSource.NAME, ".")


@pytest.mark.parametrize("path", ["", "a\0b", "a\ud800", "x" * 1001])
def test_folder_whose_name_cannot_be_stored_is_left_out(path: str) -> None:
    assert merged([], [INBOX, Listed(path, path, "/")]) == merged([], [INBOX])


def test_inbox_has_one_spelling_and_no_folder_comes_twice() -> None:
    found = merged([], [Listed("InBox", "InBox", "/"), OFFERS, OFFERS])
    assert [folder.path for folder in found] == ["INBOX", "Offers"]


def test_role_that_two_folders_claim_goes_to_the_one_that_the_server_names() -> None:
    found = {
        f.path: f.role for f in merged([], [SENT, Listed("Out", "Out", "/", role=Role.SENT, role_source="server")])
    }
    assert found == {"Out": Role.SENT, "Sent": None}


def test_what_a_person_decided_outweighs_the_server(session: Session, account: Account) -> None:
    folders = adopt(session, account, INBOX, SENT, OFFERS)
    wish = {Role.SENT: folders["Offers"].id}
    service.choose_folders(session, account, active=ids(folders, "INBOX"), roles=wish, actor=SYSTEM)
    folders = adopt(session, account, INBOX, Listed("Sent", "Sent", "/", role=Role.SENT, role_source="server"), OFFERS)
    assert (folders["Offers"].role, folders["Offers"].role_source) == (Role.SENT, RoleSource.PERSON)
    assert folders["Sent"].role is None


def test_two_roles_can_change_places(session: Session, account: Account) -> None:
    folders = adopt(session, account, INBOX, SENT, TRASH)
    wish = {Role.SENT: folders["Trash"].id, Role.TRASH: folders["Sent"].id}
    service.choose_folders(session, account, active=ids(folders, "INBOX"), roles=wish, actor=SYSTEM)
    assert (folders["Trash"].role, folders["Sent"].role) == (Role.SENT, Role.TRASH)


def test_choice_that_changes_nothing_says_so(session: Session, account: Account) -> None:
    folders = adopt(session, account, INBOX, SENT)
    wish = {Role.SENT: folders["Sent"].id, Role.JUNK: None}
    active = ids(folders, "INBOX", "Sent")
    assert not service.choose_folders(session, account, active=active, roles=wish, actor=SYSTEM)
    assert folders["Sent"].role_source is RoleSource.NAME


@pytest.mark.parametrize(
    ("active", "roles", "field"),
    [
        ([], {}, "active"),
        (["Calendar"], {}, "active"),
        (["INBOX"], {Role.SENT: "Calendar"}, "role_sent"),
        (["INBOX"], {Role.SENT: "Offers", Role.DRAFTS: "Offers"}, "role_drafts"),
    ],
)
def test_impossible_choice_is_refused_at_its_field(
    session: Session, account: Account, active: list[str], roles: dict[Role, str], field: str
) -> None:
    folders = adopt(session, account, *ALL)
    wish: Any = {role: folders[path].id for role, path in roles.items()}
    with pytest.raises(RuleBroken) as broken:
        service.choose_folders(session, account, active=ids(folders, *active), roles=wish, actor=SYSTEM)
    assert broken.value.field == field


def test_folder_of_another_account_cannot_be_chosen(session: Session, account: Account) -> None:
    other = adopt(session, accounts.an_account(session, address="other@example.net"), INBOX)
    adopt(session, account, INBOX)
    with pytest.raises(RuleBroken):
        service.choose_folders(session, account, active=ids(other, "INBOX"), roles={}, actor=SYSTEM)
    assert session.scalars(select(Folder).where(Folder.account_id == account.id)).one().is_active
