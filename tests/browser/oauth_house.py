"""A provider with OAuth and an installation that uses it, for browsers; and the search for what must not be seen."""

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect
from redis import Redis

from tests.browser.conftest import ARGUMENTS, EXECUTABLE, listened_to
from tests.browser.house import Post, mailadmin
from tests.factories import PASSWORD
from tests.real import Installation
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.oauth import OAuthServer
from tests.servers.smtp import Sink
from tests.servers.town import Town

DOMAIN, SITE = "harbour.test", "id.harbour.test"
WIM, TOMAS, SHARED, SALES, OLD, LEGACY = (f"{w}@{DOMAIN}" for w in ("wim", "tomas", "shared", "sales", "old", "legacy"))
# The other provider, whose owners make app passwords.
MOOR = "moor.test"
ORDERS, LOUD = f"orders@{MOOR}", f"loud@{MOOR}"
# Those of the great ones, as Google and Microsoft have them: of an owner, of a delegate, and shared mailboxes.
GALE, REEF = "gale.test", "reef.test"
NORA, CHOIR = f"nora@{GALE}", f"choir@{GALE}"
IDA, OTTO, DESK, ROBOT = (f"{who}@{REEF}" for who in ("ida", "otto", "desk", "robot"))
WORD = "an old password 3"
PEOPLE = (WIM, TOMAS, SHARED, SALES, OLD, LEGACY, ORDERS, LOUD, NORA, CHOIR, IDA, OTTO, DESK, ROBOT)
CLIENT, CLIENT_SECRET = "mailadmin", "hush, a client secret"


class Harbour:
    """The servers: a town with a site to sign in at, Dovecot and an SMTP server that take its tokens."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self.folder = folder

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self.town = enter(Town(self.folder))
        self.idp = enter(OAuthServer(self.folder, town=self.town, host=SITE))
        self.idp.mail_scopes = frozenset({"mail"})
        users, asked = (
            dict.fromkeys(PEOPLE, WORD),
            self.idp.introspection_url,
        )
        for address in users:
            self.idp.add_person(address)
        self.dovecot = enter(Dovecot(users, introspection_url=asked))
        (self.folder / "smtp").mkdir()
        self.sink = enter(Sink(self.folder / "smtp", "implicit", users=users, introspection_url=asked))
        self.sink.messages = Post(self.dovecot)
        for user in users:
            self.dovecot.deliver([a_message(n, subject=f"Lamp {n} for {user}") for n in (1, 2)], user=user)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def install(self, folder: Path) -> Installation:
        """An installation that can reach these servers, with providers, and accounts that have passwords."""
        installation = Installation(folder)
        installation.start(**self.town.environment(self.dovecot.ca_file, self.sink.ca_file))
        servers = [
            f"imap:localhost:{self.dovecot.ports['imaps']}:implicit",
            f"smtp:localhost:{self.sink.port}:implicit",
        ]
        harbour = {"name": "Harbour", "domains": [DOMAIN], "servers": servers, "methods": ["oauth", "password"]}
        moor = {"name": "Moor Post", "domains": [MOOR], "servers": servers, "methods": ["app password"]}
        great = {"servers": servers, "methods": ["oauth"]}
        gale = {"name": "Gale", "domains": [GALE], "service_type": "google", **great}
        reef = {"name": "Reef", "domains": [REEF], "service_type": "microsoft", **great}
        file = {"mailadmin": "providers", "version": 1, "providers": [harbour, moor, gale, reef]}
        mailadmin(installation, "providers", "import", "-", typed=json.dumps(file))
        rows = folder / "accounts.csv"
        rows.write_text("address,password\n" + "".join(f"{who},{WORD}\n" for who in (OLD, LEGACY)))
        mailadmin(installation, "accounts", "import", str(rows))
        return installation

    def browser(self, chromium: Browser) -> Browser:
        """A Chromium like `chromium` that finds the town."""
        rules = f"--host-resolver-rules=MAP {SITE} {self.town.room_for(SITE)}"
        return chromium.browser_type.launch(executable_path=EXECUTABLE, args=[*ARGUMENTS, rules])

    def secrets(self) -> set[str]:
        """Whatever was ever issued here or shown to it, and nobody else may see."""
        store = self.idp.store
        with store.lock:
            found = {CLIENT_SECRET, WORD, *store.access, *store.refresh, *store.codes, *store.used_codes}
            found |= {token.refresh for token in store.access.values()}
            for _, fields in self.idp.calls:
                found |= {fields.get(name, "") for name in ("code_verifier", "client_secret", "refresh_token", "code")}
        return found - {""}

    def states(self) -> set[str]:
        """What binds an answer of the site to a browser; only the two of them may have it."""
        return {fields["state"] for name, fields in self.idp.calls if name == "authorize" and fields.get("state")}


@dataclass
class Watch:
    """What browsers saw and were sent, kept in one file for each of them, and the search through it."""

    folder: Path
    harbour: Harbour
    installation: Installation
    recordings: list[Path] = field(default_factory=list)

    @contextmanager
    def browser(self, chromium: Browser, **options: Any) -> Iterator[BrowserContext]:
        """A browser at the console, all of whose pages are recorded; it trusts the town's authority."""
        file = self.folder / f"{len(self.recordings)}.har"
        self.recordings.append(file)
        options = {"ignore_https_errors": True, "record_har_path": file, "record_har_content": "embed", **options}
        with listened_to(chromium, self.installation, **options) as context:
            yield context

    def leaks(self) -> list[str]:
        """Where a secret is in the clear that has to be sealed, or gone: logs, files, queue, pages and addresses."""
        secrets, places = self.harbour.secrets(), [*self._files(), *self._queue()]
        found = [
            (name, secret) for name, text in places for secret in secrets | self.harbour.states() if secret in text
        ]
        found += [(name, secret) for name, text in self._pages() for secret in secrets if secret in text]
        return sorted(f"{secret[:12]}… in {name}" for name, secret in found)

    def _files(self) -> Iterator[tuple[str, str]]:
        """The log, the database and whatever else the installation wrote."""
        files = (file for file in self.installation.folder.rglob("*") if file.is_file())
        for file in [self.installation.log, *files]:
            with suppress(FileNotFoundError):  # The installation runs, and has files that come and go.
                yield str(file), file.read_bytes().decode("latin-1")

    def _queue(self) -> Iterator[tuple[str, str]]:
        """All that the queue holds at this moment; RQ compresses some of it."""
        queue = Redis(unix_socket_path=str(self.installation.folder / "queue.sock"))
        reading = {b"string": queue.get, b"hash": queue.hgetall, b"set": queue.smembers, b"stream": queue.xrange}
        for key in queue.scan_iter():
            read = reading.get(queue.type(key), lambda key: queue.sort(key, by="nosort"))
            yield f"the queue's {key.decode()}", " ".join(_texts(read(key)))
        queue.close()

    def _pages(self) -> Iterator[tuple[str, str]]:
        """What our pages said, and where they led. What the site's own redirect says to the callback is its matter."""
        for file in self.recordings:
            for entry in json.loads(file.read_bytes())["log"]["entries"]:
                asked, answer = entry["request"], entry["response"]
                if urlsplit(asked["url"]).hostname != "127.0.0.1":
                    continue
                path = urlsplit(asked["url"]).path
                said = [answer["content"].get("text", ""), json.dumps(answer["headers"])]
                if not path.startswith("/oauth/callback/"):
                    said += [asked["url"], *(h["value"] for h in asked["headers"] if h["name"].lower() == "referer")]
                yield f"{asked['method']} {path}", "\n".join(said)

    def seen(self) -> int:
        """How many answers of the console were recorded."""
        return sum(1 for _ in self._pages())


def _texts(value: Any) -> Iterator[str]:
    """What is in an answer of the queue, however deep."""
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, list | tuple | set):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, bytes):
        try:
            yield zlib.decompress(value).decode("latin-1")
        except zlib.error:
            yield value.decode("latin-1")


def set_up(page: Page, installation: Installation) -> None:
    """Make Ada the administrator; she is signed in afterwards."""
    link = re.search(r"/setup\?code=\S+", installation.said())
    assert link
    page.goto(link[0])
    typed = {"Organisation": "Example Ltd", "Your name": "Ada Lindqvist", "Your e-mail address": "ada@example.com"}
    for label, text in {**typed, "Password": PASSWORD}.items():
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()


def consent(page: Page, who: str, *, button: str = "Allow", without: tuple[str, ...] = ()) -> None:
    """Answer at the provider, to which our page leads by itself, as `who`."""
    expect(page.get_by_role("heading", name=f"Sign in at {SITE}")).to_be_visible()
    page.get_by_role("radio", name=who).check()
    for scope in without:
        page.get_by_role("checkbox", name=scope, exact=True).uncheck()
    page.get_by_role("button", name=button, exact=True).click()
