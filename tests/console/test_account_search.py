"""What the list of accounts finds, in which order, and what it says of each account, on both databases."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Credential, Health, Kind
from mailadmin.accounts.service import Login
from mailadmin.console import account_search
from mailadmin.console.account_search import Found, Wanted
from mailadmin.db import now
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, SignInMethod, TLSMode
from mailadmin.people import service as people
from mailadmin.permissions import SYSTEM
from tests.accounts.factories import a_provider, an_account, imap, smtp
from tests.conftest import both_databases
from tests.console.factories import OUT, a_healthy, a_troubled, fail

pytestmark = both_databases


def find(session: Session, **wanted: Any) -> Found:
    return account_search.find(session, Wanted(**wanted))


def names(session: Session, **wanted: Any) -> str:
    """The parts before the @, in order."""
    return " ".join(row.address.partition("@")[0] for row in find(session, **wanted).rows)


def method(session: Session, account: Account, wanted: SignInMethod) -> None:
    session.scalars(select(Credential).where(Credential.account_id == account.id)).one().method = wanted
    session.flush()


def test_a_search_needs_every_word_in_address_name_id_or_sender(session: Session) -> None:
    an_account(session, address="sales@example.net", name="Lamps", slug="lamp-desk")
    an_account(session, address="orders@example.net", name="Sales & orders", sender_name="Harbour Lamps")
    an_account(session, address="other@example.com", name="100%_", sender_address="buro@example.net")
    assert names(session, q="sales") == "orders sales"
    assert names(session, q="LAMP-DESK") == "sales"
    assert names(session, q="lamps sales net harbour") == "orders"
    assert names(session, q="buro@") == "other"
    assert names(session, q="0%_") == "other"
    assert names(session, q="%") == "other"
    assert names(session, q="netlamps") == ""  # never from one text into the next


@pytest.mark.parametrize("name", ["Büro Nord", "BÜRO NORD", "büro nord", "Ägäis"])
def test_a_search_knows_the_case_of_other_letters_as_they_are_usually_written(session: Session, name: str) -> None:
    an_account(session, name=name)
    for typed in (name, name.lower(), name.upper()):
        assert names(session, q=typed) == "billing", typed


def test_filters_narrow_together_and_the_tabs_count_with_them(session: Session) -> None:
    harbour = a_provider(session)
    a_healthy(session, "a@example.net", provider_id=harbour.id)
    accounts.pause(session, a_healthy(session, "b@example.net", provider_id=harbour.id), actor=SYSTEM)
    a_troubled(session, "c@example.org")
    an_account(session, address="d@example.org", is_set_up=False, team="Sales", kind=Kind.TEAM)
    an_account(session, address="e@example.org", deleting_at=now())
    at_harbour = find(session, provider=str(harbour.id))
    assert at_harbour.tallies == {
        "all": 2,
        "connected": 1,
        "partial": 0,
        "syncing": 0,
        "attention": 0,
        "paused": 1,
        "unfinished": 0,
    }
    assert names(session, provider=str(harbour.id), state="paused") == "b"
    assert names(session, provider="own") == "c d"
    assert names(session, kind="team") == names(session, team=str(people.team(session, "sales").id)) == "d"
    assert names(session, kind="team", state="connected") == ""
    assert names(session) == "a b c d"


def test_sign_in_methods_are_told_apart_and_legacy_is_a_password_despite_oauth(session: Session) -> None:
    modern = a_provider(session)
    modern.methods = "oauth,app password"
    plain = a_provider(session, name="Plain", domains=("example.org",))
    modern_ones = [an_account(session, address=f"{n}@example.net", provider_id=modern.id) for n in "abc"]
    for account, word in zip(modern_ones, SignInMethod, strict=True):
        method(session, account, word)
    an_account(session, address="d@example.org", provider_id=plain.id)
    an_account(session, address="e@example.org", login=Login("", None), is_begun=True, is_set_up=False)
    assert [names(session, method=word) for word in ("oauth", "app password", "password", "legacy")] == [
        "a",
        "b",
        "c d",
        "b c",
    ]
    assert [(row.method, row.is_legacy) for row in find(session).rows] == [
        (SignInMethod.OAUTH, False),
        (SignInMethod.APP_PASSWORD, True),
        (SignInMethod.PASSWORD, True),
        (SignInMethod.PASSWORD, False),
        (None, False),
    ]


def test_what_is_not_encrypted_is_found_wherever_the_server_comes_from(session: Session) -> None:
    old = a_provider(session)
    next(row for row in old.servers if row.direction is Direction.OUTGOING).tls_mode = TLSMode.NONE
    an_account(session, address="a@example.net", provider_id=old.id)
    an_account(session, address="b@example.net", provider_id=old.id, incoming=imap(), outgoing=smtp())
    an_account(session, address="c@example.org").servers[0].tls_mode = TLSMode.NONE
    an_account(session, address="d@example.org")
    session.flush()
    found = session.scalars(select(Account).order_by(Account.address)).unique()
    assert [row.is_unencrypted for row in find(session).rows] == [account.is_unencrypted for account in found]
    assert names(session, health="unencrypted") == "a c"


def test_each_order_goes_up_and_down_and_equal_ones_by_address(session: Session) -> None:
    harbour, quay = a_provider(session), a_provider(session, name="quay", domains=())
    earlier = now() - timedelta(hours=1)
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("a", {"name": "zoo", "provider_id": quay.id, "synced_at": now()}),
        ("b", {"name": "Yak", "provider_id": harbour.id}),
        ("c", {"name": "emu", "synced_at": earlier}),
        ("d", {"name": "Emu", "synced_at": earlier}),
    ]
    made = [a_healthy(session, f"{n}@example.net", **values) for n, values in wanted]
    fail(session, made[2], Category.NETWORK, "unreachable")
    fail(session, made[3])
    order = {
        "address": "a b c d",
        "-address": "d c b a",
        "name": "c d b a",
        "-name": "a b c d",
        "provider": "b a c d",
        "-provider": "a b c d",
        "synced": "b c d a",
        "-synced": "a c d b",
        "state": "d c a b",
        "-state": "a b c d",
    }
    assert {sort: names(session, sort=sort) for sort in order} == order
    assert {sort: names(session, sort=sort, q="example") for sort in order} == order


def test_the_last_page_stands_for_every_page_beyond_it(session: Session) -> None:
    for n in range(52):
        an_account(session, address=f"a{n:02}@example.net")
    found = find(session, page=999, sort="-address")
    assert (found.page, found.pages, found.total, found.first) == (2, 2, 52, 51)
    assert [row.address for row in found.rows] == ["a01@example.net", "a00@example.net"]
    assert find(session, page=-3).rows[0].address == "a00@example.net"
    assert find(session, page=10**30, sort="-address", kind="shared") == found
    assert find(session, page=2, q="a5").page == 1
    assert find(session, page=2, q="no such account").page == 1


def test_the_tabs_of_a_search_count_what_the_open_one_leaves_out(session: Session) -> None:
    a_healthy(session, "busy-sales@example.net").running_since = now()
    a_healthy(session, "poor-sales@example.net").incomplete = "Sent: the server does not let us open this folder."
    accounts.pause(session, a_healthy(session, "old-sales@example.net"), actor=SYSTEM)
    an_account(session, address="new-sales@example.org", is_set_up=False)
    a_troubled(session, "orders@example.org")
    an_account(session, address="gone-sales@example.org", deleting_at=now())
    found = find(session, q="sales", state="attention")
    assert (found.rows, found.total, found.page, found.pages) == ([], 0, 1, 1)
    tallies = {"all": 4, "connected": 0, "partial": 1, "syncing": 1, "attention": 0, "paused": 1, "unfinished": 1}
    assert found.tallies == tallies
    assert find(session, q="sales", state="syncing").tallies == found.tallies
    assert [names(session, q="sales", state=tab) for tab in found.tallies] == [
        "busy-sales new-sales old-sales poor-sales",
        "",
        "poor-sales",
        "busy-sales",
        "",
        "old-sales",
        "new-sales",
    ]
    assert account_search.elsewhere(session, Wanted(q="sales", state="attention")) == 4


def test_the_state_that_queries_work_out_is_the_one_on_every_other_page(session: Session) -> None:
    categories = (None, Category.AUTH, Category.OAUTH, Category.CONFIG, Category.NETWORK)
    for n, (health, category, outgoing, more) in enumerate(
        itertools.product(Health, categories, (Health.NEW, Health.UNREACHABLE, Health.NEEDS_ATTENTION), range(3))
    ):
        session.add(
            Account(
                address=f"{n}@example.net",
                name="",
                health=health,
                health_category=category,
                outgoing_health=outgoing,
                outgoing_category=categories[(n // 3) % 5],
                is_set_up=more != 0,
                running_since=now() if more == 2 else None,
            )
        )
    session.flush()
    pairs = session.execute(select(Account, accounts.state_column())).unique().all()
    assert len(pairs) == 5 * 5 * 3 * 3
    assert [account.address for account, state in pairs if accounts.state_of(account) != state] == []


def test_the_reason_is_that_of_the_direction_that_needs_somebody(session: Session) -> None:
    account = a_troubled(session, "a@example.net", Category.NETWORK, "Nobody answers")
    fail(session, account, Category.AUTH, "The password for sending was refused", direction=OUT)
    row = find(session).rows[0]
    assert (row.state, row.reason) == ("refused", "The password for sending was refused")
    a_healthy(session, "b@example.net")
    assert find(session).rows[1].reason == ""
