"""Fetches from web sites under the rules for mail servers, for libraries that use requests as well; https only.

Every connection comes from dial.py: the name is resolved once, its addresses are judged, the certificate is verified
whatever a library asks for, and all of it has one absolute deadline. An answer is read at once, up to a limit, and not
unpacked, since what is small when packed may be huge. Environment variables (proxies, netrc) change nothing, and
redirects are not followed unless `fetch` does so itself, where each of them is judged like the first address.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError

from mailadmin.mail import dial
from mailadmin.mail.deadline import Deadline, too_much
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules

LARGEST = 256 * 1024  # bytes of an answer
MOST_REDIRECTS = 3
PORT = 443
_HEADERS = 64 * 1024  # bytes that may come beside it
_OK = 200
_MOVED = frozenset({301, 302, 303, 307, 308})
_MISSING = frozenset({404, 410})


class Moved(MailError):
    """The web site sends us to `location`, as it stands there."""

    def __init__(self, location: str) -> None:
        super().__init__(Category.PROTOCOL, "The web site sends us elsewhere, where we do not go.")
        self.location = location


def session(rules: Rules, deadline: Deadline, *, largest: int = LARGEST) -> requests.Session:
    """Return a session of requests that obeys `rules`; see `tame`."""
    return tame(requests.Session(), rules, deadline, largest=largest)


def tame(wild: requests.Session, rules: Rules, deadline: Deadline, *, largest: int = LARGEST) -> requests.Session:
    """Make the session `wild`, of whatever library, obey `rules`, and return it.

    Everything it does has to be done by `deadline`; an answer has at most `largest` bytes; a redirect is an error,
    Moved. Its requests raise MailError (config, policy, dns, refused, timeout, network, tls, protocol) besides what
    requests does.
    """
    wild.headers["User-Agent"] = "mailadmin"
    wild.trust_env = False
    wild.adapters.clear()
    wild.mount("https://", _Adapter(rules, deadline, largest))
    return wild


def fetch(url: str, rules: Rules, deadline: Deadline, *, largest: int = LARGEST) -> bytes:
    """Return what is at `url`, which is asked for without saying anything about who asks.

    At most three redirects are followed. Raises MailError with a sentence in our own words.
    """
    for hop in range(MOST_REDIRECTS + 1):
        port = _check(url)
        if hop and port not in {PORT, *rules.ports}:  # A stranger's word counts less, also where a network is allowed.
            raise MailError(Category.POLICY, f"The web site sends us to port {port}, where we do not go.")
        try:
            with translated(), session(rules, deadline, largest=largest) as asking:
                return _body(asking.get(url))
        except Moved as moved:
            url = _next(url, moved.location)
    raise MailError(Category.PROTOCOL, f"The web site sends us on more than {MOST_REDIRECTS} times.")


def _check(url: str) -> int:
    """Return the port of `url` if it may be fetched. Raises MailError."""
    try:
        parts = urlsplit(url)
        has_user = parts.username is not None or parts.password is not None
        host, port = dial.check_host(parts.hostname or ""), parts.port or PORT
    except ValueError as error:
        raise MailError(Category.PROTOCOL, "The web site sends us to an address that cannot be read.") from error
    if parts.scheme != "https":
        raise MailError(Category.POLICY, f"The web site sends us to {host} without encryption, where we do not go.")
    if has_user:
        raise MailError(Category.POLICY, "The web site sends us to an address with a user name in it.")
    return port


def _next(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise MailError(Category.PROTOCOL, "The web site sends us to an address that cannot be read.") from error


def _body(answer: requests.Response) -> bytes:
    if answer.status_code in _MISSING:
        raise MailError(Category.UNAVAILABLE, "There is no such file.")
    if answer.status_code != _OK:
        raise MailError(Category.UNAVAILABLE, f"The web site answers with the status {answer.status_code}.")
    return answer.content


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the libraries raise, also those that were tamed, into MailError."""
    try:
        yield
    except (requests.RequestException, HTTPError, ValueError, OSError) as error:
        sentence = "The web site’s answer breaks off, or is not one of a web site."
        raise MailError(Category.PROTOCOL, sentence) from error


class _Connection(HTTPSConnection):
    """A connection that dial.py opens."""

    rules: Rules
    deadline: Deadline
    budget: int

    def connect(self) -> None:
        self.sock = dial.connect_web(self.host, self.port, self.rules, self.deadline, budget=self.budget)
        self.is_verified = True


class _Adapter(HTTPAdapter):
    """Sends requests of one session; what it answers has been read already."""

    def __init__(self, rules: Rules, deadline: Deadline, largest: int) -> None:
        self._largest = largest
        values = {"rules": rules, "deadline": deadline, "budget": largest + _HEADERS}
        self._connection = type("Dialled", (_Connection,), values)
        super().__init__(max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)
        pool = type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": self._connection})
        self.poolmanager.pool_classes_by_scheme = {"https": pool}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.headers["Accept-Encoding"] = "identity"
        request.headers["Connection"] = "close"
        answer = super().send(request, *args, **{**kwargs, "stream": True})
        raw = answer.raw
        try:
            if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
                raise MailError(Category.PROTOCOL, "The web site’s answer is packed, which was not asked for.")
            if answer.status_code in _MOVED:
                raise Moved(answer.headers.get("Location", ""))
            answer.raw = io.BytesIO(self._read(raw))
        finally:
            raw.close()
        return answer

    def _read(self, raw: Any) -> bytes:
        """All of an answer, to its very end, which alone shows that it is complete."""
        body = b""
        while chunk := raw.read(self._largest + 1 - len(body), decode_content=False):
            body += chunk
            if len(body) > self._largest:
                raise too_much()
        return body
