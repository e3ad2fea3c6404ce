"""What a page offers to somebody they may do: from the overview on, every link and every button of every page.

Links are followed, buttons are not pressed: whether the guard lets their deed pass is asked of the route. Of pages that
are alike a few are looked at.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from itertools import count
from urllib.parse import urljoin, urlsplit

import pytest
from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from mailadmin import db, web
from mailadmin.accounts.models import Health
from mailadmin.mail.errors import Category
from mailadmin.people.models import CustomRole, Person
from mailadmin.people.staff import DIVISIBLE
from mailadmin.permissions import Permission, PersonRole
from tests.accounts.factories import a_provider
from tests.attack.world import plant
from tests.console.factories import OUT, a_healthy, a_troubled
from tests.factories import PASSWORD, a_person
from tests.pages import Browser, Page

ALIKE = 2  # addresses of one route
READS = {"a": "href", "form": "action"}
ASKS = (("hx-get", "GET"), ("hx-post", "POST"), ("formaction", "POST"))


@pytest.fixture
def everything(booted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts of all kinds and with all troubles, people, teams, providers; and no limits to how often one asks."""
    monkeypatch.setattr(web.limiter, "enabled", False)
    with db.transaction() as session:
        plant(session)
        provider, number = a_provider(session, name="Troubled", domains=("troubled.example",)), count()
        for category in Category:
            a_troubled(session, f"u{next(number)}@example.net", category)
        for _ in range(3):
            a_troubled(session, f"u{next(number)}@example.net", Category.TIMEOUT, provider_id=provider.id)
        a_troubled(session, f"u{next(number)}@example.net", direction=OUT)
        a_healthy(session, "partial@example.net").incomplete = "Not everything is here"
        a_troubled(session, "paused@example.net").health = Health.PAUSED


def somebody(session: Session, permission: Permission | None, role: PersonRole) -> Person:
    person = a_person(session, name="Sam Some", email="sam@example.com", role=role)
    person.custom_role = CustomRole(name="Part", words=permission.value) if permission else None
    session.flush()
    return person


def offered(page: Page, here: str) -> Iterator[tuple[str, str]]:
    """Everything that `page` leads to: method and address."""
    for element in page.root.iter():
        tag = str(element.tag).rpartition("}")[2]
        method = element.get("method", "get").upper() if tag == "form" else "GET"
        found = [(element.get(READS[tag], ""), method)] if tag in READS else []
        found += [(element.get(name, ""), method) for name, method in ASKS]
        for address, method in found:
            if address and not address.startswith("#"):
                there = urlsplit(urljoin(f"http://localhost{here}", address))
                if there.netloc == "localhost":
                    yield method, there.path + (f"?{there.query}" if there.query else "")


def walk(app: Flask, browser: Browser, person: Person) -> tuple[list[str], int]:
    """What was offered and is refused, as `page -> method address`, and how many pages were looked at."""
    refused: set[str] = set()
    seen, looked, waiting = {"/"}, Counter[str](), deque(["/"])
    addresses = app.url_map.bind("localhost")
    while waiting:
        here = waiting.popleft()
        page = browser.get(here)
        assert page.status < 400 or here.startswith("/mailbox/"), f"{here}: {page.status}"  # A closed one says why.
        leads = list(offered(page, here)) if page.is_html else []
        for method, there in [*leads, *([("GET", page.location)] if page.location else [])]:
            try:
                endpoint, _ = addresses.match(urlsplit(there).path, method)
            except HTTPException as error:
                raise AssertionError(f"{here} -> {method} {there}") from error
            wanted = getattr(app.view_functions[endpoint], "permission", None)
            if wanted is not None and not person.may(wanted):
                refused.add(re.sub(r"\d+", "1", f"{here} -> {method} {there}"))
            elif method == "GET" and there not in seen and looked[endpoint] < ALIKE and endpoint != "static":
                looked[endpoint] += 1
                seen.add(there)
                waiting.append(there)
    return sorted(refused), len(seen)


@pytest.mark.parametrize("permission", [*DIVISIBLE, None], ids=lambda each: each.value if each else "everything")
def test_no_page_offers_an_administrator_what_they_may_not_do(
    app: Flask, everything: None, permission: Permission | None
) -> None:
    with db.transaction() as session:
        person = somebody(session, permission, PersonRole.ADMINISTRATOR)
    browser = Browser(app)
    browser.sign_in(person.email, PASSWORD)
    refused, pages = walk(app, browser, person)
    assert not refused, "\n".join(refused)
    assert pages > 15


def test_no_page_offers_a_worker_what_they_may_not_do(app: Flask, everything: None) -> None:
    with db.transaction() as session:
        person = somebody(session, None, PersonRole.WORKER)
    browser = Browser(app)
    browser.sign_in(person.email, PASSWORD)
    refused, _ = walk(app, browser, person)
    assert not refused, "\n".join(refused)
