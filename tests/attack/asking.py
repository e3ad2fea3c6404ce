"""How every route of the console is asked: its address filled in, what is typed, and who may come in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from mailadmin.permissions import Permission
from tests import factories
from tests.attack.world import COMMON, Planted, Somebody, World

# What stands in addresses besides numbers of rows: what is asked there belongs to no account.
WORDS = {"token": "no-such-link", "code": "no-such-code", "filename": "favicon.svg", "key": "no-such-key"}
_TYPED = {"to": "x@x.example", "text": "x", "version": "2", "account_id": "{account_id}"}
# What workers may post, and what with: "{x}" is a number of the account that is attacked. Whoever adds a route of this
# kind says here how it is used, so that the test really does what the page would.
POSTED: dict[str, list[dict[str, Any]]] = {
    "console.choose_primary": [{}],
    "console.own_account_settings": [
        {"sender_name": "X", "sent_copies": "never", "visibility": "everything", "version": "1"}
    ],
    "console.own_account_deed": [{"do": "sync"}, {"do": "pause"}, {"do": "resume"}],
    "console.own_account_remove": [{"confirm": "X"}, {"confirm": "{address}"}],
    "console.own_account_new": [{"address": "new@example.net"}, {"address": "new@example.net", "asked": "example.net"}],
    "console.own_account_without_servers": [{"address": "new@example.net"}],
    "invites.try_own": [{"password": "typed by somebody"}],
    "invites.ask_for_help": [{}],
    "actions.act": [
        *(
            {"message": "{message_id}", "do": deed}
            for deed in ("read", "unread", "flag", "answered", "delete", "destroy")
        ),
        {"message": "{message_id}", "do": "move", "target": "{other_id}"},
    ],
    "actions.take_back": [{"change": "{change_id}"}],
    "actions.dismiss": [{"up_to": "{change_id}"}],
    "actions.new_folder": [{"name": "New"}, {"name": "New", "parent": "{other_id}"}],
    "mailbox.fetch": [{}, {"place": "0"}],
    "mailbox.seen": [{}],
    "writing.write": [{}, {"to": "x@x.example"}],
    "writing.reply": [{}, {"all": "1"}],
    "writing.forward": [{}],
    **{f"writing.{deed}": [_TYPED] for deed in ("save", "send", "attach")},
    "writing.detach": [{**_TYPED, "remove": "{file_id}"}],
    "writing.put_template": [{**_TYPED, "template": "{template_id}"}],
    "writing.take_back": [{}],
    "writing.settle": [{"arrived": "yes"}, {"arrived": "no"}],
    "writing.discard": [{}],
}
# Their own name, password, keys and sessions: nothing of an account is named there.
THEIR_OWN = ("console.profile", "console.change_password", "console.end_", "people.")
SHOW_MAIL = ("mailbox.", "actions.", "writing.", "console.contact")
# How a page may be asked beside its plain address.
QUERIES = (
    {},
    {"q": COMMON, "folder": "all"},
    {"q": COMMON, "folder": "{folder_id}", "page": "1", "account": "{account_id}"},
)


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask: the address, the account whose numbers stand in it, and perhaps a form."""

    method: str
    path: str
    endpoint: str
    query: Mapping[str, str]
    form: Mapping[str, str] | None = None
    htmx: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path} {dict(self.query)} {dict(self.form or {})}{' htmx' if self.htmx else ''}"


def client_of(app: Flask, somebody: Somebody) -> tuple[FlaskClient, str]:
    """A browser that keeps nothing, and the cookie with which `somebody` is signed in."""
    if somebody.person is None:
        return app.test_client(use_cookies=False), ""
    client = app.test_client()
    answer = client.post("/sign-in", data={"email": somebody.person.email, "password": factories.PASSWORD})
    assert answer.status_code == 303, answer.get_data(as_text=True)
    cookie = "; ".join(f"{name}={kept.value}" for (_, _, name), kept in client._cookies.items())  # type: ignore[attr-defined]
    return app.test_client(use_cookies=False), cookie


def permission(app: Flask, rule: Rule) -> Permission | None:
    """What the route asks of whoever comes."""
    found: Permission | None = app.view_functions[rule.endpoint].permission  # type: ignore[attr-defined]
    return found


def may_enter(app: Flask, rule: Rule, somebody: Somebody) -> bool:
    """Whether `somebody` comes past the guard."""
    wanted = permission(app, rule)
    return wanted is None or (somebody.person is not None and somebody.person.may(wanted))


def addresses(app: Flask, rule: Rule, world: World, target: Planted, own: Planted | None) -> Iterator[str]:
    """The address of `rule` with the numbers of `target`; also with the account of `own` and the rest of `target`'s.

    A route with something in its address that is not known here fails: then it has to be said what to put there.
    """
    known: dict[str, Any] = {**WORDS, **world.ids, **target.ids}
    unknown = rule.arguments - known.keys() - (rule.defaults or {}).keys()
    assert not unknown, f"{rule} has {unknown}: plant it in tests/attack/world.py, or name it in asking.py"
    values = [{name: known[name] for name in rule.arguments if name in known}]
    if own is not None and "account_id" in rule.arguments and len(rule.arguments) > 1:
        values.append({**values[0], "account_id": own.account_id})
    with app.test_request_context():  # Left before anybody asks: what is kept in it would be theirs.
        built = [rule.build(each, append_unknown=False) for each in values]
    for each in built:
        assert each, rule
        yield each[1]


def requests(
    app: Flask, rule: Rule, world: World, target: Planted, own: Planted | None, *, is_open: bool
) -> Iterator[Request]:
    """Everything to ask of `rule` about `target`; where the guard lets nobody in (not `is_open`), once is enough."""
    for path in addresses(app, rule, world, target, own):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if not is_open:
                yield Request(method, path, rule.endpoint, {})
            elif method == "GET":
                for query, htmx in _variants(rule):
                    yield Request(method, path, rule.endpoint, _fill(query, target), htmx=htmx)
            else:
                for form in forms(app, rule, target):
                    yield Request(method, path, rule.endpoint, {}, form)


def _variants(rule: Rule) -> list[tuple[Mapping[str, str], bool]]:
    """How a page is asked: what shows mail in every way, everything else plainly and as a partial with all words."""
    if rule.endpoint == "writing.people":
        return [({"field": field, field: "zq"}, htmx) for field in ("to", "bcc") for htmx in (False, True)]
    if rule.endpoint.startswith(SHOW_MAIL):
        return [(query, htmx) for query in QUERIES for htmx in (False, True)]
    return [(QUERIES[0], False), (QUERIES[-1], True)]


def forms(app: Flask, rule: Rule, target: Planted) -> list[dict[str, str]]:
    """What is posted to `rule`."""
    if rule.endpoint in POSTED:
        return [_fill(form, target) for form in POSTED[rule.endpoint]]
    is_workers = permission(app, rule) is Permission.READ_MAIL and not rule.endpoint.startswith(THEIR_OWN)
    assert not is_workers, f"{rule.endpoint}: say in tests/attack/asking.py what is posted there"
    every = {"account": "{account_id}", "message": "{message_id}", "folder": "{folder_id}", "worker": "0", "do": "test"}
    return [_fill(every, target)]


def ask(client: FlaskClient, cookie: str, request: Request) -> str:
    """Everything that comes back: headers and body, whatever its status."""
    headers = {"HX-Request": "true"} if request.htmx else {}
    if cookie:
        headers["Cookie"] = cookie
    answer = client.open(
        request.path, method=request.method, query_string=request.query, data=request.form, headers=headers
    )
    assert answer.status_code < 500 or request.endpoint == "console.readyz", f"{answer.status_code} for {request}"
    return f"{answer.headers}{answer.get_data().decode('utf-8', 'replace')}"


def _fill(values: Mapping[str, Any], target: Planted) -> dict[str, str]:
    known = {**target.ids, "address": target.address}
    return {name: str(value).format(**known) for name, value in values.items()}
