"""A stored password goes to the servers that it was typed for, and to none that is less safe: each way around it."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import boot
from mailadmin.accounts import guard, service
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import Login, SecretsWanted
from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, Server, ServerProtocol, SignInMethod, TLSMode, TLSVersion
from mailadmin.permissions import COMMAND_LINE
from mailadmin.providers.models import Provider, ProviderCertificate
from mailadmin.sealed import Secret
from tests.accounts.factories import a_provider, an_account, imap, pop3, smtp

IN, OUT = Direction.INCOMING, Direction.OUTGOING
PLAIN, STARTTLS = TLSMode.NONE, TLSMode.STARTTLS
RELAY = Login("relay", Secret("relay secret"))
TOKEN = Login("", Secret("granted"), SignInMethod.OAUTH)
PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"


def change(session: Session, account: Account, **wanted: Any) -> set[str]:
    """Change a part of `account`, as somebody who types no password unless one is wanted."""
    wish = replace(service.wish_of(account), **wanted)
    return service.change(session, account, wish=wish, version=account.version, actor=COMMAND_LINE)


def asked(session: Session, account: Account, **wanted: Any) -> dict[str | None, str]:
    """The fields at which a password is wanted for this change, each with its sentence; nothing is changed."""
    trial = session.begin_nested()
    try:
        change(session, account, **wanted)
    except SecretsWanted as wanting:
        return {each.field: each.message for each in wanting.all}
    finally:
        trial.rollback()
    return {}


@pytest.fixture
def plain_is_allowed(booted: Any) -> None:
    """This installation lets accounts do without encryption."""
    boot.start(replace(booted, rules=replace(booted.rules, plaintext=True)))


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"incoming": imap("evil.example.com")}, guard.NEW_HOST),
        ({"outgoing": smtp("evil.example.com")}, guard.NEW_HOST),
        ({"incoming": imap(port=9930)}, guard.NEW_PORT),
        ({"outgoing": smtp(port=2525)}, guard.NEW_PORT),
        ({"incoming": imap(port=143, tls_mode=STARTTLS)}, guard.NEW_PORT),
        ({"incoming": pop3("imap.example.net")}, guard.NEW_PORT),
        ({"incoming": imap("smtp.example.net")}, guard.NEW_PORT),
        ({"incoming": imap(tls_mode=PLAIN)}, guard.WEAKER),
        ({"outgoing": smtp(tls_mode=PLAIN)}, guard.WEAKER),
    ],
)
@pytest.mark.usefixtures("plain_is_allowed")
def test_new_host_or_port_or_less_safety_wants_the_password(
    session: Session, wanted: dict[str, Server], sentence: str
) -> None:
    account = an_account(session)
    assert asked(session, account, **wanted) == {"password": sentence}
    typed = Login("", Secret("typed again"))
    assert asked(session, account, **wanted, login=typed) == {}


@pytest.mark.parametrize(
    "wanted",
    [
        {"incoming": imap(tls_mode=STARTTLS)},
        {"outgoing": smtp(tls_mode=STARTTLS)},
        {"incoming": imap("IMAP.Example.NET")},
        {"incoming": pop3("imap.example.net"), "login": Login("", Secret("typed again"))},
        {"outgoing": None},
        {"name": "Billing"},
    ],
)
def test_what_is_as_safe_at_the_same_door_wants_none(session: Session, wanted: dict[str, Any]) -> None:
    assert asked(session, an_account(session), **wanted) == {}


@pytest.mark.usefixtures("plain_is_allowed")
def test_what_was_not_encrypted_before_may_stay_so_and_get_better(session: Session) -> None:
    account = an_account(session, incoming=imap(port=143, tls_mode=PLAIN), outgoing=smtp())
    assert asked(session, account, name="Billing") == {}
    assert asked(session, account, incoming=imap(port=143, tls_mode=STARTTLS)) == {}
    # What is sent to one server in plain text is no leave to send it to the other one so.
    assert asked(session, account, outgoing=smtp(tls_mode=PLAIN)) == {"password": guard.WEAKER}


def test_every_password_that_would_go_elsewhere_is_wanted_at_once(session: Session) -> None:
    account = an_account(session, sending=RELAY)
    both = {"incoming": imap("evil.example.com"), "outgoing": smtp(port=587)}
    assert asked(session, account, **both) == {"password": guard.NEW_HOST, "sending_password": guard.NEW_PORT}
    one = replace(RELAY, password=Secret("again"))
    assert asked(session, account, **both, sending=one) == {"password": guard.NEW_HOST}


def test_same_as_for_receiving_sends_that_password_to_a_server_that_did_not_know_it(session: Session) -> None:
    account = an_account(session, sending=RELAY)
    assert asked(session, account, sending=None) == {"password": guard.NEW_HOST}
    assert asked(session, account, sending=None, login=Login("", Secret("again"))) == {}
    same_machine = an_account(
        session, address="b@example.net", outgoing=smtp("imap.example.net"), incoming=imap(), sending=RELAY
    )
    assert asked(session, same_machine, sending=None) == {"password": guard.NEW_PORT}


def test_own_password_for_sending_takes_one_away_from_nobody(session: Session) -> None:
    account = an_account(session)
    with pytest.raises(RuleBroken, match="Type the password"):
        change(session, account, sending=Login("relay"))
    session.rollback()


def test_another_provider_with_other_servers_wants_the_password(session: Session) -> None:
    provider = a_provider(session)
    account = an_account(session, provider_id=provider.id)
    elsewhere = a_provider(session, name="Evil", domains=("evil.example",), incoming=imap("evil.example.com"))
    assert asked(session, account, provider_id=elsewhere.id) == {"password": guard.NEW_HOST}
    assert asked(session, account, incoming=imap("evil.example.com")) == {"password": guard.NEW_HOST}


def twin(session: Session, **attributes: Any) -> Provider:
    """A provider with the very servers of Harbour Mail, and something else that is different."""
    made = a_provider(session, name="Twin", domains=("twin.example",))
    for name, value in attributes.items():
        setattr(made, name, value)
    session.flush()
    return made


def a_certificate(provider: Provider, pem: str = PEM.format("QUJD")) -> None:
    moment = provider.created_at
    provider.certificates.append(
        ProviderCertificate(
            pem=pem, subject="x", issuer="x", starts_at=moment, ends_at=moment, sha256="ab" * 32, added_by="Ada"
        )
    )


def test_provider_with_the_same_servers_is_as_safe_unless_it_trusts_more(session: Session) -> None:
    account = an_account(session, provider_id=a_provider(session).id)
    other = twin(session)
    assert asked(session, account, provider_id=other.id) == {}
    other.minimum_tls = TLSVersion.TLS_1_3
    assert asked(session, account, provider_id=other.id) == {}
    other.minimum_tls = TLSVersion.TLS_1_1
    assert asked(session, account, provider_id=other.id) == {"password": guard.WEAKER}
    other.minimum_tls = TLSVersion.TLS_1_2
    a_certificate(other)
    session.flush()
    assert asked(session, account, provider_id=other.id) == {"password": guard.WEAKER}


def test_provider_that_trusts_less_is_as_safe(session: Session) -> None:
    provider = a_provider(session)
    a_certificate(provider)
    session.flush()
    account = an_account(session, provider_id=provider.id)
    assert asked(session, account, provider_id=twin(session).id) == {}
    assert asked(session, account, provider_id=None, incoming=imap(), outgoing=smtp()) == {}


def test_account_without_its_pin_is_less_safe(session: Session) -> None:
    account = an_account(session)
    service.pin(session, account, direction=IN, sha256="ab" * 32, actor=COMMAND_LINE)
    known = guard.knowing(account)
    guard.guard_secrets(account, service.wish_of(account), known)
    account.incoming_pin = ""
    with pytest.raises(SecretsWanted, match="less safe"):
        guard.guard_secrets(account, service.wish_of(account), known)


def test_own_servers_of_an_account_do_not_lose_its_provider_by_a_change_of_its_name(session: Session) -> None:
    provider = a_provider(session)
    provider.minimum_tls = TLSVersion.TLS_1_3
    account = an_account(session, provider_id=provider.id)
    door = imap(port=143, tls_mode=STARTTLS)
    service.use_server(session, account, direction=IN, server=door, actor=COMMAND_LINE)
    assert change(session, account, name="Billing") == {"name"}
    assert account.provider is provider
    server = service.server_of(account, IN)
    assert server is not None
    assert (server.port, server.trust.minimum) == (143, TLSVersion.TLS_1_3)


def test_door_that_a_test_has_opened_is_taken_with_one_click(session: Session) -> None:
    account = an_account(session)
    for server in (imap(port=143, tls_mode=STARTTLS), imap()):
        service.use_server(session, account, direction=IN, server=server, actor=COMMAND_LINE)
        assert service.server_of(account, IN) == server
    for elsewhere in (imap("evil.example.com"), imap(port=143, tls_mode=PLAIN)):
        with pytest.raises(RuleBroken):
            service.use_server(session, account, direction=IN, server=elsewhere, actor=COMMAND_LINE)
    assert "receiving server" in activity.of_account(session, account.id)[0].detail


def test_password_that_was_given_to_no_server_goes_to_none(session: Session) -> None:
    account = an_account(session, is_set_up=False)
    change(session, account, incoming=None, outgoing=None, provider_id=None)
    assert asked(session, account, incoming=imap("evil.example.com"), outgoing=None) == {"password": guard.NEW_HOST}


# What was granted by signing in.


def by_oauth(session: Session, **wanted: Any) -> Account:
    """An account that signs in with OAuth at a provider with IMAP, POP3 and SMTP."""
    provider = a_provider(session, pop3=pop3())
    return an_account(session, provider_id=provider.id, login=TOKEN, **wanted)


@pytest.mark.parametrize(
    ("wanted", "place", "reason"),
    [
        ({"incoming": imap("evil.example.com")}, "incoming_host", guard.NEW_HOST),
        ({"incoming": imap(), "outgoing": smtp("evil.example.com")}, "outgoing_host", guard.NEW_HOST),
        ({"incoming": imap(port=9930)}, "incoming_host", guard.NEW_PORT),
        ({"incoming": imap(tls_mode=PLAIN)}, "incoming_host", guard.WEAKER),
    ],
)
@pytest.mark.usefixtures("plain_is_allowed")
def test_token_goes_to_no_other_server_and_the_host_says_so(
    session: Session, wanted: dict[str, Server], place: str, reason: str
) -> None:
    assert asked(session, by_oauth(session), **wanted) == {place: guard.OF_TOKENS[reason]}


def test_token_goes_to_every_server_of_its_provider(session: Session) -> None:
    account = by_oauth(session)
    assert asked(session, account, protocol=ServerProtocol.POP3) == {}
    assert asked(session, account, incoming=pop3(), outgoing=smtp()) == {}


def test_token_goes_to_no_other_provider(session: Session) -> None:
    account = by_oauth(session)
    other = a_provider(
        session, name="Elsewhere", domains=("else.example",), incoming=imap("imap.else.example"), outgoing=None
    )
    assert asked(session, account, provider_id=other.id) == {"provider_id": guard.OF_TOKENS[guard.NEW_HOST]}


@pytest.mark.parametrize(("before", "after"), [("oauth", "password"), ("password", "oauth")])
def test_token_never_becomes_a_password_nor_a_password_a_token(session: Session, before: str, after: str) -> None:
    account = an_account(session, login=Login("", Secret("a secret"), SignInMethod(before)))
    with pytest.raises(RuleBroken) as refused:
        change(session, account, login=Login("", None, SignInMethod(after)))
    assert refused.value.field == "password"


def test_forgetting_the_sign_in_leaves_the_password_of_a_relay(session: Session) -> None:
    account = by_oauth(session, sending=RELAY)
    service.forget_credentials(session, account, only=SignInMethod.OAUTH)
    assert [row.direction for row in account.credentials] == [OUT]
