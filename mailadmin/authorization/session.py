"""Sessions of Authlib under the rules for everything that we dial."""

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from authlib.integrations.requests_client import OAuth2Session

from mailadmin.authorization import answers, keys
from mailadmin.authorization.contract import Client, ClientAuth, OAuthError
from mailadmin.mail import https
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Rules

LARGEST = 1024 * 1024  # bytes of an answer

# At debug level Authlib writes verifiers and tokens into the log, and urllib3 URLs, in which Mail.ru wants a token;
# whoever turns everything on does not mean that.
for _name in ("authlib", "urllib3.connectionpool"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Session(OAuth2Session):
    """One that reads answers the way we do."""

    def parse_response_token(self, resp: Any) -> dict[str, Any]:
        return answers.read(resp)


@contextmanager
def opened(client: Client, rules: Rules, deadline: Deadline) -> Iterator[OAuth2Session]:
    """A session of the app `client`. What is raised in it is MailError (OAuthError among them)."""
    secret: Any = client.secret
    method: Any = client.auth.value
    if client.auth is ClientAuth.KEY:
        secret, method = keys.app_signature(client)
    elif client.auth is ClientAuth.BASIC:
        method = _basic
    asking = _Session(
        client.client_id,
        secret,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        code_challenge_method="S256",
    )
    with https.translated(), https.tame(asking, rules, deadline, largest=LARGEST):
        yield asking


def _basic(client: Any, method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    """Id and secret in a header, each encoded first, as RFC 6749 2.3.1 says and Authlib does not."""
    text = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
    headers["Authorization"] = f"Basic {base64.b64encode(text.encode()).decode('ascii')}"
    return uri, headers, body


def fetched(url: str, rules: Rules, deadline: Deadline, *, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The JSON object at `url`. Raises OAuthError or MailError."""
    check(url)
    with https.translated(), https.session(rules, deadline, largest=LARGEST) as asking:
        return answers.read(asking.get(url, headers={"Accept": "application/json", **(headers or {})}))


def check(url: str) -> str:
    """Return `url` if it is one that we call. Raises OAuthError (config)."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment
    except ValueError:
        is_good = False
    if not is_good or not url.isascii() or not url.isprintable() or " " in url:
        raise OAuthError(Category.CONFIG, "A URL of the provider is missing, or does not begin with https://.")
    return url
