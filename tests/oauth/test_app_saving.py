"""An OAuth app is saved only as it can be used, and what is secret goes to no server that it was not typed for."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.activity.models import Activity
from mailadmin.authorization import ClientAuth
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.mail.known_providers import everyone, oauth_of
from mailadmin.mail.types import ServiceType, SignInMethod
from mailadmin.oauth import expiry, service
from mailadmin.oauth.models import Cloud, Grant, GrantKind, OAuthApp, Publishing
from mailadmin.oauth.service import AppRefused, AppWish
from mailadmin.permissions import SYSTEM
from mailadmin.providers.models import Provider
from mailadmin.sealed import SealedSecret, Secret
from tests.accounts.factories import a_provider, an_account
from tests.conftest import both_databases

TENANT = "8b6f0c3a-1111-4222-8333-444455556666"
USUAL = {
    "client_id": "mailadmin",
    "secret": Secret("hush"),
    "authorize_url": "https://id.example.net/authorize",
    "token_url": "https://id.example.net/token",
    "scopes": "mail openid",
}


def a_wish(**wanted: Any) -> AppWish:
    return AppWish(**{**USUAL, **wanted})


def saved(session: Session, provider: Provider, **wanted: Any) -> OAuthApp:
    """The app of `provider` after somebody has saved it as `a_wish` with what is `wanted`."""
    version = service.app_edition(service.app_of(session, provider))
    return service.save_app(session, provider, wish=a_wish(**wanted), version=version, actor=SYSTEM)


def refused(session: Session, provider: Provider, **wanted: Any) -> dict[str, str]:
    """The sentences at the fields that have to change."""
    with pytest.raises(AppRefused) as caught:
        saved(session, provider, **wanted)
    return {broken.field or "": broken.message for broken in caught.value.all}


def secret_of(session: Session, app: OAuthApp) -> str:
    assert app.secret_id
    return sealed.reveal(session, app.secret_id).reveal()


def secrets(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(SealedSecret)) or 0


def a_grant(session: Session, provider: Provider, app: OAuthApp, **wanted: Any) -> Grant:
    address = wanted.pop("address", "sales@example.net")
    account = an_account(session, address=address, provider_id=provider.id)
    grant = Grant(account_id=account.id, app_id=app.id, kind=GrantKind.PERSON, **wanted)
    session.add(grant)
    session.flush()
    return grant


def a_pair(*, days: int = 30, key: Any = None) -> tuple[str, str]:
    """A certificate and its private key, PEM."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name, today = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailadmin")]), datetime.now(UTC)
    draft = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    draft = draft.serial_number(7).not_valid_before(today - timedelta(days=90))
    made = draft.not_valid_after(today + timedelta(days=days)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    return a_pair()


def a_key_file(key: str, **wanted: Any) -> str:
    usual = {
        "type": "service_account",
        "client_email": "mail@harbour.iam.gserviceaccount.com",
        "client_id": "100000000000000000001",
        "private_key_id": "k1",
        "private_key": key,
        "token_uri": "https://elsewhere.test/token",
    }
    return json.dumps({**usual, **wanted})


@both_databases
def test_a_new_app_is_stored_with_its_secret_sealed_and_noted(session: Session) -> None:
    provider = a_provider(session)
    app = saved(session, provider)
    assert (app.client_id, app.token_url, secret_of(session, app)) == ("mailadmin", USUAL["token_url"], "hush")
    assert service.can(app, GrantKind.PERSON)
    noted = session.scalars(select(Activity).order_by(Activity.id.desc())).first()
    assert noted
    assert noted.what == "set up the OAuth app of Harbour Mail"
    assert "hush" not in noted.detail


@both_databases
def test_an_empty_secret_keeps_the_stored_one_and_a_new_one_replaces_it(session: Session) -> None:
    provider = a_provider(session)
    saved(session, provider)
    before = secrets(session)
    assert secret_of(session, saved(session, provider, secret=Secret(""), scopes="mail")) == "hush"
    assert secret_of(session, saved(session, provider, secret=Secret("newer"))) == "newer"
    assert secrets(session) == before
    app = saved(session, provider, secret=Secret(""), forgets=frozenset({"secret"}))
    assert app.secret_id is None
    assert secrets(session) == before - 1


def test_nothing_changed_is_nothing_noted(session: Session) -> None:
    provider = a_provider(session)
    app = saved(session, provider)
    count = select(func.count()).select_from(Activity)
    before, edition = session.scalar(count), service.app_edition(app)
    saved(session, provider, secret=Secret(""))
    assert (session.scalar(count), service.app_edition(app)) == (before, edition)


@both_databases
def test_the_second_of_two_administrators_is_told_about_the_first(session: Session) -> None:
    provider = a_provider(session)
    version = service.app_edition(saved(session, provider))
    saved(session, provider, scopes="mail")
    with pytest.raises(RuleBroken) as caught:
        service.save_app(session, provider, wish=a_wish(), version=version, actor=SYSTEM)
    assert caught.value.field == "version"


def test_verifying_is_no_change_by_another_administrator(session: Session) -> None:
    provider = a_provider(session)
    app = saved(session, provider)
    version = service.app_edition(app)
    service.want_verification(session, app, mailbox="sales@example.net")
    assert service.is_verifying(app)
    assert (
        service.save_app(session, provider, wish=a_wish(scopes="mail"), version=version, actor=SYSTEM).scopes == "mail"
    )


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("token_url", "http://id.example.net/token", "https://"),
        ("token_url", "https://wim:pw@id.example.net/token", "user name"),
        ("authorize_url", "https://id.example.net/authorize#now", "#"),
        ("issuer", "https://[broken", "cannot be read"),
        ("jwks_url", "https://id.example.net/{place}/keys", "letters"),
        ("userinfo_url", "https://id.example.net:0/info", "letters"),
        ("token_url", "", "Enter the token URL"),
        ("client_id", "", "Enter the client ID"),
        ("scopes", 'mail "all"', "scope"),
        ("parameters", "prompt", "access_type=offline"),
        ("parameters", "prompt=consent&state=1", "state"),
        ("tenant", "my company", "tenant"),
        ("secret_ends_on", date(2020, 1, 1), "over"),
        ("secret", Secret(""), "Paste"),
    ],
)
def test_each_wrong_field_is_told_at_the_field(session: Session, field: str, text: Any, words: str) -> None:
    assert words in refused(session, a_provider(session), **{field: text})[field]


def test_all_wrong_fields_are_told_at_once(session: Session) -> None:
    told = refused(session, a_provider(session), token_url="http://x.example/", tenant="?", parameters="x")
    assert set(told) == {"token_url", "tenant", "parameters"}


@pytest.mark.parametrize(
    ("scopes", "words"),
    [
        ("https://outlook.office.com/IMAP.AccessAsUser.All https://graph.microsoft.com/Mail.Send", "two services"),
        ("https://outlook.office.com/IMAP.AccessAsUser.All Mail.ReadWrite offline_access", "two services"),
        ("https://outlook.office.com/.default offline_access", "AADSTS70011"),
    ],
)
def test_scopes_of_two_services_of_microsoft_are_refused_in_the_words_of_the_catalogue(
    session: Session, scopes: str, words: str
) -> None:
    provider = a_provider(session, service_type=ServiceType.MICROSOFT)
    assert words in refused(session, provider, scopes=scopes)["scopes"]
    two_names = "https://outlook.office.com/SMTP.Send https://outlook.office365.com/IMAP.AccessAsUser.All openid"
    assert saved(session, provider, scopes=two_names).scopes == two_names


def test_the_id_of_a_secret_of_microsoft_is_not_taken_for_the_secret(session: Session) -> None:
    url = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    told = refused(session, a_provider(session), token_url=url, secret=Secret(TENANT))
    assert "Secret ID" in told["secret"]


def test_a_client_id_of_microsoft_looks_like_one(session: Session) -> None:
    provider = a_provider(session, service_type=ServiceType.MICROSOFT)
    url = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    assert "looks like 8b6f0c3a-…" in refused(session, provider, token_url=url, client_id="Mailadmin")["client_id"]
    assert saved(session, provider, token_url=url, client_id=TENANT).client_id == TENANT
    assert saved(session, a_provider(session, name="AD FS", domains=(), service_type=ServiceType.MICROSOFT))


@pytest.mark.parametrize("field", ["token_url", "authorize_url", "userinfo_url", "revocation_url", "issuer"])
def test_a_stored_secret_is_not_sent_to_a_new_server(session: Session, field: str) -> None:
    provider = a_provider(session)
    saved(session, provider)
    url = "https://id.elsewhere.example/token"
    assert "id.elsewhere.example" in refused(session, provider, secret=Secret(""), **{field: url})["secret"]
    assert getattr(saved(session, provider, **{field: url}), field) == url  # with the secret typed again


def test_another_path_on_the_same_server_keeps_the_secret_and_another_port_does_not(session: Session) -> None:
    provider = a_provider(session)
    saved(session, provider)
    assert saved(session, provider, secret=Secret(""), token_url="https://id.example.net:443/v2/token")
    told = refused(session, provider, secret=Secret(""), token_url="https://id.example.net:8443/token")
    assert "8443" in told["secret"]


def test_another_client_id_wants_its_own_secret(session: Session) -> None:
    provider = a_provider(session)
    saved(session, provider)
    assert "secret" in refused(session, provider, secret=Secret(""), client_id="another")


def test_tokens_of_accounts_go_to_a_new_server_only_when_somebody_vouches_for_it(session: Session) -> None:
    provider = a_provider(session)
    a_grant(session, provider, saved(session, provider))
    url = "https://id.elsewhere.example/token"
    assert set(refused(session, provider, token_url=url)) == {"is_same_company"}
    assert saved(session, provider, token_url=url, is_same_company=True).token_url == url


def test_certificate_and_key_are_taken_together(session: Session, pair: tuple[str, str]) -> None:
    provider, (certificate, key) = a_provider(session), pair
    app = saved(
        session, provider, client_auth=ClientAuth.KEY, secret=Secret(""), certificate=certificate, key=Secret(key)
    )
    assert app.certificate_ends_at
    assert (app.certificate_ends_at - now()).days in (29, 30)
    assert app.key_id
    assert sealed.reveal(session, app.key_id).reveal() == key
    client = service.client_of(session, app)
    assert (client.auth, client.key, client.certificate) == (ClientAuth.KEY, key, certificate)
    told = refused(session, provider, client_auth=ClientAuth.KEY, secret=Secret(""), forgets=frozenset({"key"}))
    assert "certificate" in told
    app = saved(session, provider, forgets=frozenset({"key"}))
    assert (app.key_id, app.certificate, app.certificate_ends_at) == (None, "", None)


def test_a_pair_that_cannot_be_used_is_told_where_it_is_wrong(session: Session, pair: tuple[str, str]) -> None:
    provider, (certificate, key) = a_provider(session), pair
    other, other_key = a_pair(days=-1)
    locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----"
    elliptic = a_pair(key=ec.generate_private_key(ec.SECP256R1()))
    for given, field, words in (
        ((certificate, ""), "key", "together"),
        (("", key), "certificate", "together"),
        (("nothing", key), "certificate", "no certificate"),
        ((certificate, other_key), "key", "does not belong"),
        ((other, other_key), "certificate", "expired"),
        ((certificate, "nothing"), "key", "no private key"),
        ((certificate, locked), "key", "private key"),
        (elliptic, "key", "RSA"),
    ):
        told = refused(session, provider, certificate=given[0], key=Secret(given[1]))
        assert words in told[field], (given[1][:40], told)


def test_of_a_service_account_key_only_what_is_needed_is_kept(session: Session, pair: tuple[str, str]) -> None:
    provider = a_provider(session)
    nothing = {"client_id": "", "secret": Secret(""), "app_scopes": "https://mail.google.com/"}
    app = saved(session, provider, service_key=Secret(a_key_file(pair[1])), **nothing)
    assert app.service_account == "mail@harbour.iam.gserviceaccount.com"
    assert app.service_key_id
    kept = json.loads(sealed.reveal(session, app.service_key_id).reveal())
    assert set(kept) == {"client_email", "client_id", "private_key", "private_key_id"}
    assert service.can(app, GrantKind.SERVICE_ACCOUNT)
    app = saved(session, provider, forgets=frozenset({"service_key"}))
    assert (app.service_account, app.service_key_id) == ("", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ('{"type": "authorized_user"}', "service account"),
        (a_key_file("nothing", client_email=7), "complete"),
        (a_key_file("nothing"), "private key"),
    ],
)
def test_a_file_that_is_no_key_of_a_service_account_is_refused(session: Session, text: str, words: str) -> None:
    assert words in refused(session, a_provider(session), service_key=Secret(text))["service_key"]


@both_databases
def test_an_app_that_accounts_use_is_not_deleted_and_another_takes_its_secrets_along(session: Session) -> None:
    provider = a_provider(session)
    app = saved(session, provider)
    grant = a_grant(session, provider, app)
    with pytest.raises(RuleBroken, match="1 account signs in"):
        service.delete_app(session, app, actor=SYSTEM)
    session.delete(grant)
    session.flush()
    before = secrets(session)
    service.delete_app(session, app, actor=SYSTEM)
    assert service.app_of(session, provider) is None
    assert secrets(session) == before - 1


def test_a_cloud_fills_in_its_addresses_and_leaves_what_a_person_changed() -> None:
    known = oauth_of(everyone()["microsoft-365"])
    wish = service.app_from(known)
    moved = service.settled_app(
        AppWish(cloud=Cloud.US, token_url=wish.token_url, scopes=wish.scopes, issuer="https://own/"), known
    )
    assert moved.token_url == "https://login.microsoftonline.us/{tenant}/oauth2/v2.0/token"
    assert "https://outlook.office365.us/SMTP.Send" in moved.scopes
    assert moved.issuer == "https://own/"


def test_providers_that_let_nobody_in_otherwise_need_an_app(session: Session) -> None:
    only = a_provider(session, methods=frozenset({SignInMethod.OAUTH}))
    a_provider(session, name="Other", domains=(), methods=frozenset({SignInMethod.OAUTH, SignInMethod.PASSWORD}))
    assert service.need_apps(session) == {only.id}
    saved(session, only)
    assert service.need_apps(session) == set()


@pytest.mark.parametrize(
    ("days", "tone", "stage"),
    [(31, None, None), (30, "warn", 30), (14, "warn", 14), (3, "bad", 3), (0, "bad", 3), (-1, "bad", 0)],
)
def test_the_end_of_a_secret_is_told_in_time(session: Session, days: int, tone: str | None, stage: int | None) -> None:
    app = saved(session, a_provider(session))
    app.secret_ends_on = now().date() + timedelta(days=days)
    found = service.app_troubles(app)
    assert [(one.tone, one.stage) for one in found] == ([(tone, stage)] if tone else [])
    assert bool(service.app_alarms(session)) == bool(tone)


def test_several_sign_ins_that_died_after_a_week_tell_that_the_app_is_in_testing(session: Session) -> None:
    provider = a_provider(session)
    app = saved(session, provider, token_url="https://oauth2.googleapis.com/token", publishing=Publishing.PRODUCTION)
    for n in range(2):
        died = now() - timedelta(hours=n)
        a_grant(
            session,
            provider,
            app,
            address=f"u{n}@example.net",
            granted_at=died - timedelta(days=7, hours=1),
            failed_at=died,
            failed_permanent=True,
            failed_category=Category.OAUTH,
        )
    [(found, [trouble])] = service.app_alarms(session)
    assert found is app
    assert (trouble.key, trouble.title) == ("seven-days", "2 sign-ins at Harbour Mail ended after seven days")


def test_an_app_in_testing_is_told_on_its_page_and_is_no_alarm(session: Session) -> None:
    app = saved(session, a_provider(session), publishing=Publishing.TESTING)
    assert [one.key for one in service.app_troubles(app)] == ["testing"]
    assert expiry.alarms(session) == []


def test_the_servers_of_a_provider_are_guarded_as_soon_as_its_app_opens_mailboxes_by_itself(session: Session) -> None:
    provider = a_provider(session)
    saved(session, provider)
    assert not service.holds_secrets(session, provider)
    saved(session, provider, app_scopes="mail")
    assert service.holds_secrets(session, provider)


def test_who_gives_keys_alone_was_trusted_with_nothing(session: Session) -> None:
    provider = a_provider(session)
    saved(session, provider, jwks_url="https://id.example.net/keys")
    saved(session, provider, secret=Secret(""), jwks_url="https://id.evil.example/keys")
    moved = {"token_url": "https://id.evil.example/token", "jwks_url": "https://id.evil.example/keys"}
    assert "id.evil.example is new" in refused(session, provider, secret=Secret(""), **moved)["secret"]
