"""Web sites for tests: https at port 443 of one address, for any number of hosts, each with its own certificate."""

import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import Self

from tests.servers.certificates import Authority
from tests.servers.silent import Behaviour, Listener


@dataclass(frozen=True)
class Page:
    """One answer; `length` is the Content-Length to claim, that of the body if None."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None

    def __bytes__(self) -> bytes:
        length = len(self.body) if self.length is None else self.length
        headers = {"Content-Length": str(length), "Connection": "close", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Whatever\r\n{lines}\r\n".encode() + self.body


def moved(url: str) -> Page:
    """A redirect to `url`."""
    return Page(status=302, headers={"Location": url})


class Websites:
    """Answers at `address`, port 443, with `pages` by URL: a Page, or a Behaviour that gets the socket after the
    request. What has no page is answered with 404. The certificate is issued by `authority` for the host that the
    client asks for, unless that is one of `untrusted`. `heard` are the requested URLs, `requests` all that was sent.
    """

    def __init__(self, authority: Authority, address: str) -> None:
        self.pages: dict[str, Page | Behaviour] = {}
        self.untrusted: set[str] = set()
        self.heard: list[str] = []
        self.requests: list[str] = []
        self._authority = authority
        self._contexts: dict[str, ssl.SSLContext] = {}
        context = self._context_for(address)
        context.sni_callback = self._choose
        self._listener = Listener(self._serve, context=context, at=(address, 443))

    def __enter__(self) -> Self:
        self._listener.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self._listener.__exit__(*args)

    def _choose(self, sock: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> None:
        if host:
            sock.context = self._context_for(host)

    def _context_for(self, host: str) -> ssl.SSLContext:
        if host not in self._contexts:
            issue = self._authority.issue_self_signed if host in self.untrusted else self._authority.issue
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*issue(f"web-{host}", (host,)))
            self._contexts[host] = context
        return self._contexts[host]

    def _serve(self, client: socket.socket, over: threading.Event) -> None:
        request = b""
        while not _is_complete(request):
            chunk = client.recv(65536)
            if not chunk:
                return
            request += chunk
        lines = request.decode("latin-1").split("\r\n")
        host = next(line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:"))
        url = f"https://{host}{lines[0].split()[1]}"
        self.requests.append(request.decode("latin-1"))
        self.heard.append(url)
        page = self.pages.get(url, Page(status=404))
        if isinstance(page, Page):
            client.sendall(bytes(page))
        else:
            page(client, over)


def _is_complete(request: bytes) -> bool:
    """Whether all of the body has come, too: whoever closes before that tears down its own answer."""
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= int(length[1] if length else 0)
