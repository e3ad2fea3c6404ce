"""OAuth 2.0 as a client: the only importer of Authlib and joserfc. It knows no database.

Every request goes through mail/https.py: addresses are judged, certificates verified, answers limited to 1 MiB, nothing
is redirected, and all of it has one absolute deadline.

    contract.py  the values, and the error   requesting.py  the way through the browser, tokens, revocation
    session.py   requests under our rules    id_tokens.py   who signed in
    answers.py   what comes back             metadata.py    what an issuer publishes
    refusals.py  what an error means         keys.py        what signs for us
"""

from mailadmin.authorization.contract import Client, ClientAuth, Identity, Metadata, OAuthError, Tokens
from mailadmin.authorization.id_tokens import identity
from mailadmin.authorization.metadata import discover
from mailadmin.authorization.refusals import refusal
from mailadmin.authorization.requesting import (
    authorization_url,
    client_credentials,
    exchange,
    new_verifier,
    refresh,
    revoke,
    service_account,
    try_app,
)

__all__ = [
    "Client",
    "ClientAuth",
    "Identity",
    "Metadata",
    "OAuthError",
    "Tokens",
    "authorization_url",
    "client_credentials",
    "discover",
    "exchange",
    "identity",
    "new_verifier",
    "refresh",
    "refusal",
    "revoke",
    "service_account",
    "try_app",
]
