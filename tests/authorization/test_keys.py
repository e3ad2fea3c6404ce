"""Signing instead of a secret: apps with a certificate, and Google's service accounts."""

import base64
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from mailadmin import authorization
from mailadmin.authorization import Client, ClientAuth, Tokens, keys
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category
from tests.authorization.conftest import BACK, WIM, client_of, exchanged, refreshed, refused
from tests.servers import oauth_odd
from tests.servers.oauth import OAuthServer

ROBOT = "robot@harbour.iam.gserviceaccount.com"
PRIVATE = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}


def pem(key: Any) -> str:
    no_password = serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password).decode())


def certificate(key: Any) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mailadmin")])
    now = datetime.now(UTC)
    draft = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    draft = draft.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=9))
    return str(draft.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())


def with_key(idp: OAuthServer, kind: str) -> Client:
    """An app that shows who it is with a key and its certificate."""
    key, made = PRIVATE[kind], certificate(PRIVATE[kind])
    public = (RSAKey if kind == "rsa" else ECKey).import_key(key.public_key())
    idp.add_app(
        "mailadmin",
        redirect_uris=(BACK,),
        auth=("private_key_jwt",),
        key=public,
        thumbprint=keys.thumbprint(made),
    )
    return client_of(idp, auth=ClientAuth.KEY, secret="", key=pem(key), certificate=made)


@pytest.mark.parametrize(("kind", "algorithm"), [("rsa", "PS256"), ("ec", "ES256")])
def test_an_app_shows_who_it_is_with_its_key(idp: OAuthServer, kind: str, algorithm: str) -> None:
    client = with_key(idp, kind)
    tokens = exchanged(idp, client)
    assert refreshed(idp, client, tokens.refresh).access
    assert authorization.client_credentials(client, idp.rules, Deadline(5)).access
    assert authorization.try_app(client, idp.rules, Deadline(5), redirect_uri=BACK) is None
    authorization.revoke(client, idp.rules, Deadline(5), token=tokens.refresh)
    asked = [fields for name, fields in idp.calls if name in {"token", "revoke"}]
    assert len({fields["client_assertion"] for fields in asked}) == 5  # Each is good once.
    header = jws.extract_compact(asked[0]["client_assertion"].encode()).headers()
    claims = idp.claims_of(asked[0]["client_assertion"])
    assert (header["alg"], header["x5t#S256"]) == (algorithm, keys.thumbprint(client.certificate))
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("mailadmin", "mailadmin", idp.token_url)
    assert claims["exp"] - claims["iat"] == 300
    assert "client_secret" not in asked[0]


def test_the_hash_of_a_certificate_is_that_of_its_der_form() -> None:
    made = x509.load_pem_x509_certificate(certificate(PRIVATE["rsa"]).encode())
    expected = base64.urlsafe_b64encode(made.fingerprint(hashes.SHA256())).decode().rstrip("=")
    assert keys.thumbprint("Bag Attributes\n" + made.public_bytes(serialization.Encoding.PEM).decode()) == expected


def test_another_key_is_not_accepted(idp: OAuthServer) -> None:
    client = with_key(idp, "rsa")
    other = rsa.generate_private_key(65537, 2048)
    for wrong in ({"key": pem(other)}, {"certificate": certificate(other)}):
        asking = dataclasses.replace(client, **wrong)
        error = refused(authorization.client_credentials, asking, idp.rules, Deadline(5))
        assert (error.error, error.category, error.permanent) == ("invalid_client", Category.CONFIG, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ""},
        {"key": "hush"},
        {"key": pem(PRIVATE["rsa"])[:300]},
        {"key": RSAKey.import_key(PRIVATE["rsa"].public_key()).as_pem(private=False).decode()},
        {"key": certificate(PRIVATE["rsa"])},
        {"certificate": "hush"},
        {"certificate": "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"},
    ],
)
def test_a_key_that_cannot_be_read_is_a_matter_of_the_settings(idp: OAuthServer, wrong: dict[str, str]) -> None:
    good = {"auth": ClientAuth.KEY, "key": pem(PRIVATE["rsa"]), "certificate": certificate(PRIVATE["rsa"])}
    error = refused(refreshed, idp, client_of(idp, **good | wrong))
    assert (error.category, error.permanent) == (Category.CONFIG, True)
    assert "hush" not in repr(error) + error.detail
    assert idp.count("token") == 0


def asked_for(idp: OAuthServer, file: str, *, mailbox: str = WIM, scopes: tuple[str, ...] = ("mail",)) -> Tokens:
    fields = {"subject": mailbox, "scopes": scopes, "token_url": idp.token_url}
    return authorization.service_account(file, idp.rules, Deadline(5), **fields)  # type: ignore[arg-type]


@pytest.fixture
def key_file(idp: OAuthServer) -> str:
    return idp.add_service_account(ROBOT, domains=("example.org",), scopes=("mail",))


def test_a_service_account_gets_a_token_for_a_mailbox(idp: OAuthServer, key_file: str) -> None:
    tokens = asked_for(idp, key_file)
    token = idp.store.access[tokens.access]
    assert (token.identity, token.client_id, tokens.refresh) == (WIM, ROBOT, "")
    assert [name for name, _ in idp.calls] == ["token"]  # Where the file says is not where we go.
    assert set(idp.calls[0][1]) == {"grant_type", "assertion"}
    claims = idp.claims_of(idp.calls[0][1]["assertion"])
    assert (claims["aud"], claims["exp"] - claims["iat"]) == (idp.token_url, 3600)


def test_a_service_account_that_may_not_is_told_by_google(idp: OAuthServer, key_file: str) -> None:
    idp.add_person("wim@other.test")
    for asked in ({"mailbox": "wim@other.test"}, {"scopes": ("mail", "calendar")}):
        error = refused(asked_for, idp, key_file, **asked)
        assert (error.error, error.category) == ("unauthorized_client", Category.CONFIG)
        assert "Client is unauthorized to retrieve access tokens" in error.detail
    error = refused(asked_for, idp, key_file, mailbox="nobody@example.org")
    assert (error.error, error.category) == ("invalid_grant", Category.OAUTH)


def test_a_key_that_google_has_dropped_is_not_accepted(idp: OAuthServer, key_file: str) -> None:
    idp.store.service_accounts.clear()
    assert refused(asked_for, idp, key_file).error == "invalid_grant"
    other = json.loads(key_file) | {"private_key": pem(PRIVATE["rsa"])}
    idp.add_service_account(ROBOT, domains=("example.org",), scopes=("mail",))
    error = refused(asked_for, idp, json.dumps(other))
    assert (error.error, error.code) == ("invalid_grant", "oauth_signature")


def broken_files(file: str) -> list[str]:
    good = json.loads(file)
    without = [json.dumps({k: v for k, v in good.items() if k != name}) for name in ("client_email", "private_key")]
    changed = [
        {"client_email": 5},
        {"client_email": "hush"},
        {"private_key": "hush"},
        {"private_key": None},
        {"private_key_id": ["hush"]},
        {"private_key": certificate(PRIVATE["rsa"])},
        {"private_key": pem(PRIVATE["ec"])},
    ]
    return ["", "hush", "[]", "null", "5", "[" * 100_000, *without, *(json.dumps(good | change) for change in changed)]


def test_a_broken_key_file_is_a_matter_of_the_settings_and_never_quoted(idp: OAuthServer, key_file: str) -> None:
    for file in broken_files(key_file):
        error = refused(asked_for, idp, file)
        assert (error.category, error.permanent) == (Category.CONFIG, True), file[:40]
        assert not {"hush", "PRIVATE KEY", ROBOT} & set((repr(error) + error.detail).split("'")), file[:40]
        assert error.__cause__ is None
    assert idp.count("token") == 0


def test_a_service_account_is_slowed_down_like_everybody(idp: OAuthServer, key_file: str) -> None:
    idp.odd["token"] = oauth_odd.throttled(30)
    error = refused(asked_for, idp, key_file)
    assert (error.category, error.retry_after, error.permanent) == (Category.THROTTLED, 30, False)
