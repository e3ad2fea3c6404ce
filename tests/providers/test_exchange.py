"""Providers travel as a file: exactly, without secrets, shown before they are taken in, whole or not at all."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import LoginFormat, ServiceType, SignInMethod, TLSMode, TLSVersion
from mailadmin.permissions import SYSTEM
from mailadmin.providers import exchange, service
from mailadmin.providers.models import Provider
from tests.accounts.factories import PASSWORD, a_provider, an_account, imap, pop3, smtp
from tests.conftest import both_databases
from tests.providers.factories import LAKESIDE, Says

HARBOUR: dict[str, Any] = {"name": "Harbour Mail", "servers": ["imap:imap.example.net:993:implicit"]}
FULL: dict[str, Any] = {
    "domains": ("example.net", "bücher.example"),
    "incoming": imap("2606:4700::1111"),
    "pop3": pop3(),
    "outgoing": smtp(port=587, tls_mode=TLSMode.STARTTLS),
    "service_type": ServiceType.EXCHANGE,
    "login_format": LoginFormat.WINDOWS,
    "methods": frozenset(SignInMethod),
    "minimum_tls": TLSVersion.TLS_1_3,
    "files_sent": True,
    "most_connections": 3,
    "least_minutes": 15,
}


def a_file(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"mailadmin": "providers", "version": 1, "providers": list(entries), **more}).encode()


def plan(session: Session, content: bytes | str, *, has_passwords: bool = False) -> exchange.Plan:
    raw = content if isinstance(content, bytes) else content.encode()
    return service.plan_import(session, raw, has_passwords=lambda _session, _provider: has_passwords)


def take_in(session: Session, content: bytes | str, **how: Any) -> int:
    planned = plan(session, content, has_passwords=how.pop("has_passwords", False))
    return service.apply_import(session, planned, is_same_company=how.pop("is_same_company", False), actor=SYSTEM)


def refusals(session: Session, *entries: Any) -> list[str]:
    """Why entries are refused; nothing of such a file is taken in."""
    planned = plan(session, a_file(*entries))
    with pytest.raises(RuleBroken, match="Nothing is imported while"):
        service.apply_import(session, planned, is_same_company=True, actor=SYSTEM)
    return [reason for line in planned.lines for reason in line.reasons]


def forget_everything(session: Session) -> None:
    for provider in session.scalars(select(Provider)).all():
        service.delete(session, provider, actor=SYSTEM)
    session.commit()


def number(session: Session) -> int:
    return session.scalar(select(func.count(Provider.id))) or 0


@both_databases
def test_round_trip_is_exact(session: Session, catalogue: Says, pem: str) -> None:
    harbour = a_provider(session, **FULL)
    service.add_certificates(session, harbour, pem=pem, has_passwords=False, actor=SYSTEM)
    lakeside = service.adopt(session, LAKESIDE, domain="company.example", actor=SYSTEM)
    assert lakeside is not None
    lakeside.files_sent = False
    a_provider(session, name="Ärger & <b>Söhne</b>", domains=())
    session.commit()
    told = service.export(session)
    forget_everything(session)
    assert plan(session, told).count("new") == 3
    assert take_in(session, told) == 3
    session.commit()
    with db.reading() as other:
        assert service.export(other) == told
        again = service.find(other, "Lakeside")
        assert again is not None
        assert service.changed_here(again) == {"files_sent"}
    assert plan(session, told).count("same") == 3
    assert not plan(session, told).can_be_done


def test_file_holds_no_ids_and_no_secrets(session: Session) -> None:
    provider = a_provider(session)
    an_account(session, provider_id=provider.id)
    told = service.export(session)
    assert PASSWORD not in told
    assert "billing" not in told
    assert json.loads(told)["providers"][0].keys().isdisjoint({"id", "version", "created_at"})


def test_entry_needs_a_name_and_a_server_and_no_more(session: Session) -> None:
    take_in(session, a_file(HARBOUR))
    provider = service.find(session, "harbour mail")
    assert provider is not None
    assert provider.sign_in_methods == {SignInMethod.PASSWORD}


def test_provider_of_the_same_name_is_changed_and_the_changes_are_told(session: Session) -> None:
    provider = a_provider(session, outgoing=None)
    [line] = plan(session, a_file({**HARBOUR, "domains": ["example.org"], "least_minutes": 5})).lines
    assert (line.kind, line.provider) == ("changed", provider)
    assert line.changes == (("domains", ["example.net"], ["example.org"]), ("least_minutes", None, 5))
    take_in(session, a_file({**HARBOUR, "domains": ["example.org"], "least_minutes": 5}))
    assert ([row.domain for row in provider.domains], provider.least_minutes) == (["example.org"], 5)


def test_entry_of_the_catalogue_finds_its_provider_under_another_name(session: Session, catalogue: Says) -> None:
    lakeside = service.adopt(session, LAKESIDE, domain="lake.example", actor=SYSTEM)
    [entry] = json.loads(service.export(session))["providers"]
    take_in(session, a_file({**entry, "name": "Our lake"}))
    assert lakeside is not None
    assert (lakeside.name, number(session)) == ("Our lake", 1)


@both_databases
def test_domain_may_move_from_one_provider_to_another(session: Session) -> None:
    a_provider(session, domains=("a.example",), outgoing=None)
    quay = a_provider(session, name="Quay", domains=("b.example",), outgoing=None)
    entry = {**HARBOUR, "name": "Quay"}
    take_in(session, a_file({**HARBOUR, "domains": ["b.example"]}, {**entry, "domains": ["a.example"]}))
    session.commit()
    assert [row.domain for row in quay.domains] == ["a.example"]


def test_stored_passwords_go_nowhere_new_without_a_word(session: Session, pem: str) -> None:
    a_provider(session, outgoing=None)
    moved = a_file({**HARBOUR, "servers": ["imap:new.example.net:993:implicit"], "certificates": [pem]})
    [line] = plan(session, moved, has_passwords=True).lines
    assert line.exposures == (
        "new.example.net, port 993, is new.",
        "CN=Test authority of mailadmin would be trusted.",
    )
    with pytest.raises(RuleBroken) as caught:
        take_in(session, moved, has_passwords=True)
    assert caught.value.field == "is_same_company"
    assert take_in(session, moved, has_passwords=True, is_same_company=True) == 1


def test_fingerprint_tells_that_somebody_changed_something(session: Session) -> None:
    provider = a_provider(session, outgoing=None)
    content = a_file({**HARBOUR, "least_minutes": 5})
    before = plan(session, content).fingerprint
    assert plan(session, plan(session, content).content).fingerprint == before
    wish = replace(service.wish_of(provider), files_sent=True)
    service.save(session, provider=provider, wish=wish, version=1, actor=SYSTEM)
    assert plan(session, content).fingerprint != before


# What is no file of providers, or one that means harm.


NO_FILES: list[tuple[bytes, str]] = [
    (b"", "no JSON file"),
    (b"\xff\xfe\x00", "no JSON file"),
    (b"{", "no JSON file"),
    (b'{"mailadmin": NaN}', "no JSON file"),
    (b'{"version": 1, "version": 1}', "no JSON file"),
    (b"1" * 10_000, "no JSON file"),
    (b"[" * 200_000, "nested too deeply"),
    (b'{"a":' * 200_000, "nested too deeply"),
    (b"[]", "no file of providers"),
    (b'{"mailadmin": "accounts"}', "no file of providers"),
    (a_file(version=2), "another version"),
    (a_file(version=True), "another version"),
    (a_file(providers={}), "no list of providers"),
    (a_file(passwords=[]), "no list of providers"),
    (a_file(*[{}] * 2001), "more than 2,000"),
    (b" " * 10_000_000, "too large"),
]


def test_what_is_no_file_of_providers_ends_in_a_sentence(session: Session) -> None:
    for content, said in NO_FILES:
        with pytest.raises(RuleBroken, match=said) as caught:
            plan(session, content)
        assert caught.value.field == "file"


WRONG: dict[str, list[Any]] = {
    "name": [None, 7, "", " ", "x" * 121, "a\nb", "a\u202eb", "a\ud800b", ["a"]],
    "servers": [
        *(None, [], {}, [7], ["imap"], ["smtp:h.example:465:implicit"], ["imap:h.example:993:none"]),
        *(["imap:10.0.0.1:993:implicit"], HARBOUR["servers"] * 2),
    ],
    "domains": ["example.net", [7], ["exa_mple"], ["\ud800.example"], ["a"] * 1001],
    "methods": ["password", [], ["magic"], [["password"]]],
    "least_minutes": [True, "5", 0, -1, 1e300, 10**400],
    "certificates": ["x", ["x"], ["-----BEGIN CERTIFICATE-----"], [{}]],
    "catalogue": ["lakeside", {}, {"key": "a b", "said": {}}, {"key": 1, "said": 2}],
    **{fact: ["other thing"] for fact in ("service_type", "login_format", "minimum_tls", "files_sent")},
    **{fact: [1] for fact in ("password", "id")},
}
BAD: list[Any] = [
    None,
    7,
    "Harbour",
    [],
    {},
    *({**HARBOUR, fact: value} for fact, values in WRONG.items() for value in values),
]


def test_entries_that_cannot_be_are_refused_in_words(session: Session) -> None:
    planned = plan(session, a_file(HARBOUR, *BAD))
    assert (planned.count("new"), planned.count("refused")) == (1, len(BAD))
    for line in planned.lines[1:]:
        [reason] = line.reasons
        assert reason.endswith((".", "implicit."))
        assert (reason + line.name).isprintable()


def test_one_refused_entry_keeps_the_whole_file_out(session: Session) -> None:
    assert len(refusals(session, HARBOUR, BAD[0])) == 1
    assert number(session) == 0


def test_private_key_is_refused(session: Session, authority: Any) -> None:
    key = authority.issue("leaf")[1].read_text()
    [reason] = refusals(session, {**HARBOUR, "certificates": [key]})
    assert reason == "This file holds a private key. Upload the certificate alone."


def test_what_stands_twice_or_belongs_to_others_is_refused(session: Session) -> None:
    a_provider(session, name="Quay", domains=("quay.example",))
    other = {**HARBOUR, "name": "HARBOUR mail"}
    assert refusals(session, HARBOUR, other) == ["This provider stands twice in this file."] * 2
    twice = [{**HARBOUR, "domains": ["a.example"]}, {**HARBOUR, "name": "Other", "domains": ["A.example"]}]
    assert refusals(session, *twice) == ["a.example stands twice in this file."] * 2
    assert refusals(session, {**HARBOUR, "domains": ["quay.example"]}) == ["quay.example belongs to Quay already."]


def test_name_of_another_provider_is_refused(session: Session, catalogue: Says) -> None:
    service.adopt(session, LAKESIDE, domain="lake.example", actor=SYSTEM)
    [entry] = json.loads(service.export(session))["providers"]
    a_provider(session, name="Quay", domains=())
    assert refusals(session, {**entry, "name": "quay"}) == ["Another provider here has this name already."]
