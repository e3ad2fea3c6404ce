"""Keys that sign for us: that of an app (RFC 7523 2.2), and that of a Google service account (RFC 7523 2.1)."""

import base64
import hashlib
import json
import re
import ssl
import time
import uuid
from typing import Any

from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from mailadmin.authorization.contract import Client, OAuthError
from mailadmin.mail.errors import Category

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_MINUTES = 300  # seconds that a signature of an app is good
_HOUR = 3600  # the most that Google allows
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY_FILE = "This is not the key file of a service account, as Google makes it (JSON)."


def app_signature(client: Client) -> tuple[RSAKey | ECKey, PrivateKeyJWT]:
    """The key of `client`, and how it shows with it who it is: PS256 or ES256, with the hash of its certificate, as
    Microsoft wants it. Raises OAuthError (config)."""
    key, algorithm = _key(client.key)
    now = int(time.time())
    headers = {"x5t#S256": thumbprint(client.certificate)} if client.certificate else {}
    claims = {"nbf": now, "exp": now + _MINUTES}
    return key, PrivateKeyJWT(client.token_url, claims=claims, headers=headers, alg=algorithm)


def _key(pem: str) -> tuple[RSAKey | ECKey, str]:
    for kind in (RSAKey, ECKey):
        try:
            key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            return key, "PS256" if isinstance(key, RSAKey) else _CURVES.get(key.curve_name, "ES256")
    raise OAuthError(Category.CONFIG, "The private key of our app cannot be read (PEM, without a password).")


def thumbprint(certificate: str) -> str:
    """The SHA-256 hash of a certificate (PEM), as `x5t#S256` has it (RFC 7515 4.1.8). Raises OAuthError."""
    found = _CERTIFICATE.search(certificate)
    try:
        der = ssl.PEM_cert_to_DER_cert(found[0]) if found else b""
    except ValueError:
        der = b""
    if not der:
        raise OAuthError(Category.CONFIG, "The certificate of our app cannot be read (PEM).")
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode("ascii")


def service_account_assertion(key_file: str, *, subject: str, scopes: tuple[str, ...], token_url: str) -> str:
    """The signed request of a service account for the mailbox `subject`. Where to send it is not for the file to say.

    Raises OAuthError (config); nothing of the file stands in it.
    """
    email, key, key_id = _read(key_file)
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": email,
        "sub": subject,
        "scope": " ".join(scopes),
        "aud": token_url,
        "iat": now,
        "exp": now + _HOUR,
        "jti": str(uuid.uuid4()),
    }
    header = {"alg": "RS256"} | ({"kid": key_id} if key_id else {})
    return jwt.encode(header, claims, key, algorithms=["RS256"])


def _read(key_file: str) -> tuple[str, RSAKey, str]:
    try:
        fields = json.loads(key_file)
        email, pem, key_id = fields["client_email"], fields["private_key"], fields.get("private_key_id", "")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise OAuthError(Category.CONFIG, _KEY_FILE) from None
    if not all(isinstance(text, str) for text in (email, pem, key_id)) or "@" not in email:
        raise OAuthError(Category.CONFIG, _KEY_FILE)
    try:
        key = RSAKey.import_key(pem)
    except (JoseError, ValueError, TypeError):
        raise OAuthError(Category.CONFIG, "The private key in the service account’s key file cannot be read.") from None
    if not key.is_private:
        raise OAuthError(Category.CONFIG, "The service account’s key file holds no private key.")
    return email, key, key_id
