"""No foreign row: every route, asked in every way by everybody about every account, shows nothing of others' mail.

What is asked is taken from the application itself, so a new route is walked without anybody thinking of it; one that
cannot be filled in fails, see asking.py. Posts are really done, in transactions that are rolled back.
"""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, true
from sqlalchemy.orm import ORMExecuteState, Session

from mailadmin import db, web
from mailadmin.access import service as access
from mailadmin.access.models import Access
from mailadmin.permissions import Permission
from mailadmin.sync.models import Message, MessageText, PendingChange
from mailadmin.writing.models import OutgoingFile, OutgoingMessage
from tests.attack.asking import SHOW_MAIL, Request, ask, client_of, may_enter, requests
from tests.attack.world import Planted, Somebody, World, draft_word, mail_word, plant, settings_word

EVERYBODY = ("nobody", "outsider", "reader", "writer", "sender", "owner", "member", "administrator")
USUAL = ("shared", "personal")  # the accounts about which pages are asked that show no mail
# What whoever only reads may do: note that a reason was seen, and fetch a text once more.
READING = ("actions.dismiss", "mailbox.fetch")
ROWS_OF_MAIL = (Message, MessageText, PendingChange, OutgoingMessage, OutgoingFile)
WRITTEN = {"OutgoingMessage", "OutgoingFile"}


@pytest.fixture
def world(app: Flask, monkeypatch: pytest.MonkeyPatch) -> World:
    """Everything planted, forms without tokens, and no limits to how often somebody asks."""
    monkeypatch.setitem(app.config, "WTF_CSRF_ENABLED", False)
    monkeypatch.setattr(web.limiter, "enabled", False)
    with db.transaction() as session:
        return plant(session)


@pytest.fixture
def touched() -> Iterator[list[str]]:
    """What has been written to rows of mail."""
    found: list[str] = []

    def on_flush(session: Session, *_: object) -> None:
        rows = [*session.new, *session.dirty, *session.deleted]
        found.extend(type(row).__name__ for row in rows if isinstance(row, ROWS_OF_MAIL) and session.is_modified(row))
        found.extend(type(row).__name__ for row in session.deleted if isinstance(row, ROWS_OF_MAIL))

    def on_execute(state: ORMExecuteState) -> None:
        if state.is_update or state.is_delete or state.is_insert:
            mapper = state.bind_mapper
            found.extend(m.__name__ for m in ROWS_OF_MAIL if mapper is not None and mapper.class_ is m)

    event.listen(Session, "before_flush", on_flush)
    event.listen(Session, "do_orm_execute", on_execute)
    yield found
    event.remove(Session, "before_flush", on_flush)
    event.remove(Session, "do_orm_execute", on_execute)


def walk(
    app: Flask, world: World, somebody: Somebody, signed_in: tuple[FlaskClient, str], *, posts: bool
) -> Iterator[tuple[Request, Planted, str]]:
    """Ask everything, and give what came back.

    What all workers are kept out of is tried once, by the outsider, and about one account that they do not read.
    """
    client, cookie = signed_in
    foreign = [planted for key, planted in world.accounts.items() if key not in somebody.reads]
    own = next((world.accounts[key] for key in somebody.reads), None)
    for rule in app.url_map.iter_rules():
        is_open = may_enter(app, rule, somebody)
        if not is_open and somebody.reads:
            continue
        has_account = bool(rule.arguments & foreign[0].ids.keys())
        targets = world.accounts.values() if rule.endpoint.startswith(SHOW_MAIL) else [world.accounts[k] for k in USUAL]
        for target in targets if is_open and has_account else foreign[:1]:
            for request in requests(app, rule, world, target, own, is_open=is_open):
                if (request.method == "GET") is not posts:
                    yield request, target, ask(client, cookie, request)


def leaks(world: World, somebody: Somebody, answer: str) -> list[str]:
    """The planted words in `answer` that `somebody` must not see."""
    sees_settings = somebody.person is not None and somebody.person.may(Permission.SEE_CONSOLE)
    foreign = [key for key in world.accounts if key not in somebody.reads]
    words = [mail_word(key) for key in foreign] + [
        draft_word(key) for key in world.accounts if key not in somebody.sends
    ]
    words += [] if sees_settings else [settings_word(key) for key in foreign]
    return [word for word in words if word in answer]


def names(request: Request, planted: Planted) -> bool:
    """Whether the address names the account, or what is written in it."""
    return request.path.startswith(
        (f"/mailbox/{planted.account_id}/", f"/mailbox/drafts/{planted.ids['outgoing_id']}/")
    )


@pytest.mark.parametrize("who", EVERYBODY)
def test_no_page_partial_search_count_or_download_shows_a_word_of_others(app: Flask, world: World, who: str) -> None:
    somebody = world.people[who]
    shown: set[str] = set()
    drafts: set[str] = set()
    wrong: list[str] = []
    for request, _, answer in walk(app, world, somebody, client_of(app, somebody), posts=False):
        shown |= {key for key in world.accounts if mail_word(key) in answer}
        drafts |= {key for key in world.accounts if draft_word(key) in answer}
        wrong += [f"{request}: {words}"] if (words := leaks(world, somebody, answer)) else []
    assert wrong == []
    assert (shown, drafts) == (set(somebody.reads), set(somebody.sends))  # And what is theirs was there to be seen.


@pytest.mark.parametrize("who", EVERYBODY)
def test_no_post_shows_a_word_of_others_or_touches_their_mail(
    app: Flask, world: World, touched: list[str], monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    somebody = world.people[who]
    signed_in = client_of(app, somebody)
    monkeypatch.setattr(Session, "commit", Session.flush)  # What a request did is rolled back when it ends.
    wrong: list[str] = []
    did: set[str] = set()
    sent: set[str] = set()
    touched.clear()
    for request, target, answer in walk(app, world, somebody, signed_in, posts=True):
        wrong += [f"{request}: {words}"] if (words := leaks(world, somebody, answer)) else []
        if touched and request.endpoint.startswith("writing."):
            is_own = any(names(request, world.accounts[key]) for key in somebody.sends)
            sent |= {key for key in somebody.sends if names(request, world.accounts[key])}
            wrong += [] if is_own and set(touched) <= WRITTEN else [f"{request} touched {sorted(set(touched))}"]
            touched.clear()
        is_theirs = target.key in somebody.writes and f"/{target.account_id}/" in request.path
        if touched and is_theirs:
            did.add(target.key)
        elif touched and not (request.endpoint in READING and target.key in somebody.reads):
            wrong.append(f"{request} touched {sorted(set(touched))}")
        touched.clear()
    assert wrong == []
    assert (did, sent) == (set(somebody.writes), set(somebody.sends))  # And what they may do was done.


def test_walk_finds_what_a_broken_rule_lets_through(app: Flask, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_is_read_by", lambda _: true())
    somebody = world.people["outsider"]
    found: dict[str, set[str]] = {}
    for request, _, answer in walk(app, world, somebody, client_of(app, somebody), posts=False):
        for word in leaks(world, somebody, answer):
            found.setdefault(word, set()).add(request.endpoint)
    for key in world.accounts:
        contact = {"console.contact"} if key != "personal" else set()  # Those have a second rule.
        assert found[mail_word(key)] > {"mailbox.show", "mailbox.message", "mailbox.body"} | contact, key


def test_access_that_is_taken_is_gone_with_the_next_request(app: Flask, world: World) -> None:
    sender, shared = world.people["sender"], world.accounts["shared"]
    client, cookie = client_of(app, sender)
    page = Request("GET", f"/mailbox/{shared.account_id}/messages/{shared.ids['message_id']}", "mailbox.message", {})
    assert mail_word("shared") in ask(client, cookie, page)
    with db.transaction() as session:
        session.query(Access).filter_by(account_id=shared.account_id).delete()
    assert leaks(world, Somebody(sender.person), ask(client, cookie, page)) == []
    polled = Request("GET", f"{page.path}/text", "mailbox.text", {}, htmx=True)
    answer = ask(client, cookie, polled)
    assert f"HX-Redirect: /mailbox/{shared.account_id}" in answer
    assert leaks(world, Somebody(sender.person), answer) == []
