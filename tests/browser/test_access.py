"""Who reads which mail, walked in a browser: administrator, worker with five accounts, team member, owner, outsider.

Everything is put into the database directly; the one server that the accounts name accepts whoever comes and says
nothing, as a firewall can make any server do.
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from sqlalchemy import select

from mailadmin import db
from mailadmin.access import slots
from mailadmin.access.models import SLOTS
from mailadmin.access.service import Rights
from mailadmin.accounts.models import Account, Health, Kind
from mailadmin.db import now
from mailadmin.mail.text_parts import Choice, Section, Text
from mailadmin.mail.types import Envelope, Folder, Role
from mailadmin.people import service as people
from mailadmin.people import teams
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, PersonRole
from mailadmin.sync import rows, texts
from mailadmin.sync import service as sync
from mailadmin.sync.models import Folder as Stored
from mailadmin.sync.models import Message
from tests import factories
from tests.access.factories import give
from tests.accounts.factories import an_account, imap
from tests.browser.conftest import examine, give_password, listened_to, open_database, picture
from tests.real import Installation
from tests.sync.factories import NOON

pytestmark = pytest.mark.browser
DESKS = {
    "careers@example.com": "Careers",
    "jobs@example.com": "Job applications",
    "support@example.com": "Support",
    "finance@example.com": "Finance",
    "legal@example.com": "Legal",
    "hello@example.com": "Front desk",
}
TEAM, OWN = "sales@example.com", "olga.private@example.com"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`mailadmin up` with an administrator, the team Sales, and eight accounts; this process shares its database."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=50) as silent,
        open_database(Installation(tmp_path_factory.mktemp("access"))) as installation,
    ):
        with db.transaction() as session:
            factories.a_person(session, name="Ada Lindqvist", email=email_of("Ada"))
            for name in ("Sales", "People"):
                teams.create(session, name=name, actor=SYSTEM)
        olga_id = somebody("Olga Brandt")
        for address, name in DESKS.items():
            a_mailbox(address, silent, name=name)
        a_mailbox(TEAM, silent, name="Sales", kind=Kind.TEAM, team="Sales")
        a_mailbox(OWN, silent, name="Olga", kind=Kind.PERSONAL, owner_id=olga_id)
        yield installation
        silent.close()  # Nobody waits for it any more.


def somebody(name: str, *given: str, team: str = "") -> int:
    """A worker, in the team and with the accounts that are named; their id. They sign in by their first name."""
    with db.transaction() as session:
        person = factories.a_person(session, name=name, email=email_of(name), role=PersonRole.WORKER)
        for address in given:
            give(session, person, session.scalars(select(Account).where(Account.address == address)).one())
        if team:
            found = next(each for each in people.teams(session) if each.name == team)
            teams.add_member(session, found, person=person, actor=SYSTEM)
        return person.id


def email_of(name: str) -> str:
    return f"{name.split()[0].lower()}@example.com"


def a_mailbox(address: str, server: socket.socket, **wanted: Any) -> None:
    """An account with two letters: the text of the older one is here, that of the newer one at the silent server."""
    inbox = Folder("INBOX", "INBOX", "/", role=Role.INBOX, role_source="server")
    with db.transaction() as session:
        wanted |= {"incoming": imap("127.0.0.1", server.getsockname()[1]), "health": Health.HEALTHY, "synced_at": now()}
        account = an_account(session, address=address, **wanted)
        sync.adopt_folders(session, account=account, listed=[inbox])
        folder_id = session.scalars(select(Stored.id).where(Stored.account_id == account.id)).one()
        said: dict[str, Any] = {"from_name": "Nora Feldt", "from_address": "nora@halden.example", "size": 4321}
        letters = [
            Envelope(n, subject=f"{word} for {address}", received_at=NOON, **said)
            for n, word in ((1, "Offer"), (2, "Late"))
        ]
        rows.insert(session, folder_id, 0, letters)
        offer = session.scalars(select(Message.id).where(Message.folder_id == folder_id, Message.uid == 1)).one()
        text = Text(f"Only for {address}.", "", f"Only for {address}.")
        texts.store(session, {offer: texts.Found(Choice((Section(),)), text)}, 1)


def id_of(address: str) -> int:
    with db.reading() as session:
        return session.scalars(select(Account.id).where(Account.address == address)).one()


def take(person_id: int, address: str) -> None:
    """As an administrator does in another window."""
    with db.transaction() as session:
        account, person = session.get_one(Account, id_of(address)), session.get_one(Person, person_id)
        slots.take(session, person=person, account=account, actor=SYSTEM)


def enter(context: BrowserContext, name: str) -> Page:
    page = context.new_page()
    give_password(page, email_of(name))
    page.wait_for_url(lambda url: "sign-in" not in url)
    return page


def places(page: Page) -> Locator:
    return page.locator("#slots .slots > li")


def mine(page: Page) -> Locator:
    """The mailboxes in the navigation."""
    return page.get_by_role("list", name="Your mailboxes").get_by_role("link")


def test_an_administrator_fills_five_places_and_there_is_no_sixth(
    chromium: Browser, office: Installation, screenshots: Path
) -> None:
    mei_id = somebody("Mei Tanaka", team="People")
    five = list(DESKS)[:SLOTS]
    with listened_to(chromium, office) as context:
        page = enter(context, "Ada")
        page.goto(f"/workers/{mei_id}")
        for n, address in enumerate(five, 1):
            page.get_by_role("button", name="Add account…").click()
            dialog = page.get_by_role("dialog", name="Add an account for Mei Tanaka")
            dialog.get_by_label("Find an account").press_sequentially(address[:4], delay=50)
            expect(dialog.locator(".picker button")).to_have_count(1)
            if n == 1:
                dialog.get_by_text("Read only").click()
            expect(dialog.get_by_text(f"Takes place {n} of 5")).to_be_visible()
            dialog.get_by_role("button", name=address).click()
            expect(page.get_by_text(f"Mei Tanaka uses {address} now.")).to_be_visible()
            if n == 3:
                with_room = context.new_page()
                with_room.goto(page.url)
                with_room.get_by_role("button", name="Add account…").click()
        expect(places(page).get_by_role("link")).to_have_text(five)
        expect(page.get_by_text("All five places are used.")).to_be_visible()
        expect(page.get_by_role("button", name="Add account…")).to_have_count(0)
        examine(page, screenshots / "access-worker-full.png")
        with_room.get_by_role("button", name="hello@example.com").click()
        said = "Mei Tanaka already uses five accounts. Give one of them back, then add hello@example.com."
        expect(with_room.get_by_role("alert")).to_contain_text(said)
        expect(places(with_room).get_by_role("link", include_hidden=True)).to_have_text(five)  # behind the dialog
        examine(with_room, screenshots / "access-picker.png")
        page.reload()
        _arrange(page, five)
        page.get_by_role("button", name=f"Rights and place of {five[4]}").click()
        examine(page, screenshots / "access-worker.png")


def _arrange(page: Page, five: list[str]) -> None:
    """Order, star, rights and taking: each answers with the list as it is now."""
    page.get_by_role("button", name=f"Rights and place of {five[0]}").click()
    page.get_by_role("button", name="Move to place 3").click()
    expect(places(page).get_by_role("link")).to_have_text([five[2], five[1], five[0], *five[3:]])
    expect(places(page).nth(2)).to_contain_text("reads only")
    expect(page.get_by_role("button", name="Move to place 3")).to_be_hidden()
    page.get_by_role("button", name=f"Make {five[3]} the primary account").click()
    expect(page.get_by_role("button", name="Primary account:")).to_have_accessible_name(f"Primary account: {five[3]}")
    page.get_by_role("button", name=f"Rights and place of {five[0]}").click()
    page.get_by_role("button", name="Read and change").click()
    expect(places(page).nth(2)).to_contain_text("reads and changes")
    expect(page.get_by_role("button", name="Read and change")).to_be_hidden()
    page.get_by_role("button", name=f"Take {five[1]} from Mei Tanaka").click()
    expect(places(page).nth(1)).to_contain_text("Free")
    expect(places(page).nth(4)).to_contain_text(five[4])
    expect(places(page).nth(1).get_by_role("button", name="Add account…")).to_be_visible()
    expect(page.get_by_text("4 of 5 accounts are used.")).to_be_visible()


def test_the_keyboard_stays_where_something_was_done_to_a_place(chromium: Browser, office: Installation) -> None:
    first, second, third = list(DESKS)[:3]
    noor_id = somebody("Noor Haddad", first, second, third)
    menu = "Rights and place of {address}"
    with listened_to(chromium, office) as context:
        page = enter(context, "Ada")
        page.goto(f"/workers/{noor_id}")

        def press(name: str, *keys: str) -> None:
            page.get_by_role("button", name=name, exact=True).focus()
            for key in keys:
                page.keyboard.press(key)

        def has_focus(name: str) -> None:
            expect(page.get_by_role("button", name=name, exact=True)).to_be_focused()

        press(menu.format(address=second), "Enter", "Tab", "Tab", "Enter")
        expect(places(page).nth(1)).to_contain_text("reads and changes")
        has_focus(menu.format(address=second))
        press(menu.format(address=second), "Enter", *["Tab"] * 4, "Enter")  # Move to place 1
        expect(places(page).nth(0)).to_contain_text(second)
        has_focus(menu.format(address=second))
        press(f"Make {third} the primary account", "Enter")
        has_focus(f"Primary account: {third}")
        press(f"Take {second} from Noor Haddad", "Enter")
        has_focus(menu.format(address=first))
        press(f"Take {first} from Noor Haddad", "Enter")
        has_focus(menu.format(address=third))
        press(f"Take {third} from Noor Haddad", "Enter")
        expect(page.get_by_role("list", name="Five places")).to_be_focused()


def test_places_are_filled_and_freed_without_scripts(chromium: Browser, office: Installation) -> None:
    tomas_id = somebody("Tomas Rivera", "jobs@example.com")
    with listened_to(chromium, office, java_script_enabled=False) as context:
        page = enter(context, "Ada")
        page.goto(f"/workers/{tomas_id}")
        page.get_by_role("link", name="Add account…").click()
        page.get_by_label("Find an account").fill("legal")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("button", name="legal@example.com").click()
        expect(places(page).get_by_role("link").filter(has_text="@")).to_have_text(
            ["jobs@example.com", "legal@example.com"]
        )
        page.get_by_role("button", name="Make legal@example.com the primary account").click()
        expect(page.get_by_role("button", name="Primary account: legal@example.com")).to_be_visible()
        page.get_by_role("button", name="Take jobs@example.com from Tomas Rivera").click()
        expect(places(page).nth(0)).to_contain_text("Free")


def test_from_the_account_people_and_whole_teams_are_added(
    chromium: Browser, office: Installation, screenshots: Path
) -> None:
    somebody("Sam Adeyemi", *list(DESKS)[:SLOTS])
    for name in ("Lena Novak", "Jonas Weber"):
        somebody(name, team="Sales")
    with listened_to(chromium, office) as context:
        page = enter(context, "Ada")
        page.goto(f"/accounts/{id_of('hello@example.com')}/access")
        expect(page.get_by_role("heading", name="Nobody can open this mailbox")).to_be_visible()
        expect(page.get_by_role("button", name="Sam Adeyemi All 5 accounts used")).to_be_disabled()
        page.get_by_label("Find a person or a team").press_sequentially("lena", delay=50)
        expect(page.locator(".picker button")).to_have_count(1)
        page.get_by_label("May", exact=True).select_option("Read only")
        page.get_by_role("button", name="Lena Novak").click()
        expect(page.get_by_text("Lena Novak can open hello@example.com now.")).to_be_visible()
        page.get_by_label("Rights of Lena Novak").select_option("Read and change")
        expect(page.get_by_text("Lena Novak: read and change.")).to_be_visible()
        page.get_by_label("Find a person or a team").press_sequentially("sales", delay=50)
        page.get_by_role("button", name="The whole Sales team").click()
        expect(page.get_by_text("Jonas Weber can open it now.")).to_be_visible()
        expect(page.get_by_role("heading", name="2 people can open this mailbox")).to_be_visible()
        page.get_by_role("button", name="Take access from Jonas Weber").click()
        expect(page.get_by_role("heading", name="1 person can open this mailbox")).to_be_visible()
        page.goto(f"/accounts/{id_of('support@example.com')}/access")
        expect(page.get_by_role("row", name="Sam Adeyemi")).to_contain_text("5 of 5, full")
        examine(page, screenshots / "access-account.png")
        for name, path in {"workers": "/workers", "teams": "/teams", "team": "/teams/1"}.items():
            page.goto(path)
            examine(page, screenshots / f"access-{name}.png")
        page.goto("/audit?kind=access")
        expect(
            page.get_by_role("row", name="Ada Lindqvist gave Lena Novak access to hello@example.com")
        ).to_be_visible()
        picture(page, screenshots / "access-audit.png")


def test_a_worker_reads_five_mailboxes_in_their_order_and_no_other(
    chromium: Browser, office: Installation, screenshots: Path
) -> None:
    five = list(DESKS)[:SLOTS]
    wim_id = somebody("Wim de Vries", *five)
    with db.transaction() as session:
        person, starred = session.get_one(Person, wim_id), session.get_one(Account, id_of(five[2]))
        slots.make_primary(session, person=person, account=starred, actor=SYSTEM)
        slots.set_rights(session, person=person, account=starred, rights=Rights.READ, actor=SYSTEM)
    with listened_to(chromium, office) as context:
        page = enter(context, "Wim")
        expect(page).to_have_url(re.compile(f"/mailbox/{id_of(five[2])}$"))
        starred_first = [five[2], five[0], five[1], *five[3:]]
        expect(mine(page)).to_contain_text(starred_first)
        expect(mine(page)).to_have_count(SLOTS)
        page.get_by_role("link", name=f"Offer for {five[2]}").click()
        expect(page.locator("#message").get_by_text(f"Only for {five[2]}.")).to_be_visible()
        for deed in ("Flag", "Delete", "Move", "Mark as unread"):
            expect(page.get_by_role("button", name=deed, exact=True)).to_have_count(0)
        expect(page.get_by_role("checkbox")).to_have_count(0)
        mine(page).nth(1).click()
        expect(page.get_by_label(f"Tick Offer for {five[0]}")).to_be_visible()
        page.get_by_role("link", name=f"Offer for {five[0]}").click()
        expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()
        examine(page, screenshots / "access-mailbox.png")
        for path in (f"/mailbox/{id_of('hello@example.com')}", f"/mailbox/{id_of(TEAM)}", f"/mailbox/{id_of(OWN)}"):
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == 404
            assert "Offer" not in page.content()
        for path in ("/", "/workers", "/teams", f"/accounts/{id_of(five[0])}/access"):
            page.goto(path)
            assert page.url.endswith(f"/mailbox/{id_of(five[2])}") or "not open to you" in page.content()


def test_who_loses_an_account_is_sent_away_from_its_open_page(chromium: Browser, office: Installation) -> None:
    address = "finance@example.com"
    priya_id = somebody("Priya Nair", address, "legal@example.com")
    with listened_to(chromium, office) as context:
        page = enter(context, "Priya")
        page.get_by_role("link", name=f"Late for {address}").click()
        expect(page.get_by_text("is being fetched from the server")).to_be_visible()
        idle = context.new_page()
        idle.goto(f"/mailbox/{id_of(address)}")
        take(priya_id, address)
        for left in (page, idle):
            expect(left.get_by_text("There is no such mailbox, or it is not yours.")).to_be_visible()
            expect(left.get_by_text(f"for {address}")).to_have_count(0)
        page.goto("/")
        expect(page).to_have_url(re.compile(f"/mailbox/{id_of('legal@example.com')}$"))


def test_a_member_reads_the_mail_of_the_team_beside_five_places(chromium: Browser, office: Installation) -> None:
    ines_id = somebody("Ines Costa", *list(DESKS)[:SLOTS], team="Sales")
    with listened_to(chromium, office) as context, listened_to(chromium, office) as others:
        ada, page = enter(others, "Ada"), enter(context, "Ines")
        expect(mine(page)).to_have_count(SLOTS + 1)
        mine(page).filter(has_text=TEAM).click()
        page.get_by_role("link", name=f"Offer for {TEAM}").click()
        expect(page.locator("#message").get_by_text(f"Only for {TEAM}.")).to_be_visible()
        expect(page.get_by_role("button", name="Delete", exact=True)).to_be_visible()
        ada.goto(f"/workers/{ines_id}")
        expect(ada.get_by_text("As a member of Sales: reads and sends")).to_be_visible()
        ada.goto("/teams")
        ada.get_by_role("link", name="Sales", exact=True).click()
        ada.get_by_role("button", name="Take Ines Costa out of the team").click()
        expect(ada.get_by_role("button", name="Take Ines Costa out of the team")).to_have_count(0)
        page.reload()
        expect(page.get_by_text("There is no such mailbox, or it is not yours.")).to_be_visible()
        page.goto("/")
        expect(mine(page)).to_have_count(SLOTS)


def test_the_owner_alone_reads_a_personal_account_and_says_what_others_see(
    chromium: Browser, office: Installation, screenshots: Path
) -> None:
    with listened_to(chromium, office) as context:
        page = enter(context, "Olga")
        expect(page).to_have_url(re.compile(f"/mailbox/{id_of(OWN)}$"))
        expect(page.get_by_role("link", name=f"Offer for {OWN}")).to_be_visible()
        page.get_by_role("button", name="Olga Brandt").click()
        page.get_by_role("link", name="Your profile and signature").click()
        page.get_by_role("main").get_by_role("link", name=OWN, exact=True).last.click()
        page.get_by_label("Also its subject").check()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("What you changed is saved.")).to_be_visible()
        page.get_by_role("link", name=f"Settings of {OWN}").click()
        expect(page.get_by_label("Also its subject")).to_be_checked()
        examine(page, screenshots / "access-owner.png")
    with listened_to(chromium, office) as context:
        page = enter(context, "Ada")
        page.goto(f"/accounts/{id_of(OWN)}")
        expect(page.locator(".page-head").get_by_text("Connected")).to_be_visible()
        assert "Offer" not in page.content()
        page.goto(f"/mailbox/{id_of(OWN)}")
        expect(page.get_by_text("It is the personal account of Olga Brandt, who alone reads it.")).to_be_visible()
        expect(page.get_by_role("button", name="Give yourself access")).to_have_count(0)
        examine(page, screenshots / "access-closed.png")


def test_an_outsider_finds_only_the_way_to_sign_in(chromium: Browser, office: Installation) -> None:
    with listened_to(chromium, office) as context:
        page = context.new_page()
        inside = [f"/mailbox/{id_of(TEAM)}", f"/accounts/{id_of(TEAM)}/access", "/workers", "/teams", "/profile", "/"]
        for path in inside:
            page.goto(path)
            expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
            assert TEAM not in page.content()
    somebody("Wanda Reyes")
    with listened_to(chromium, office) as context:
        page = enter(context, "Wanda")
        expect(page.get_by_role("heading", name="No mailbox yet")).to_be_visible()
        for path in inside[:2]:
            page.goto(path)
            assert TEAM not in page.content()
