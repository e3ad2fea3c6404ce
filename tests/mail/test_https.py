"""Web sites: reached under the rules for mail servers, read up to a limit, and not believed when they send us away."""

import dataclasses
import os
from ipaddress import ip_network

import pytest
import requests

from mailadmin.mail import https
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules
from tests.servers.silent import drip, hang_up, say, silence
from tests.servers.town import Town
from tests.servers.website import Page, moved

PLACE = "https://site.test/file"


@pytest.fixture(scope="module", autouse=True)
def hosts(town: Town) -> None:
    for host in ("site.test", "other.test"):
        town.names.add(host, "A", town.address)


def fetch(town: Town, *, url: str = PLACE, rules: Rules | None = None, seconds: float = 5) -> bytes:
    return https.fetch(url, rules or town.rules, Deadline(seconds))


def refused(town: Town, **options: object) -> MailError:
    with pytest.raises(MailError) as raised:
        fetch(town, **options)  # type: ignore[arg-type]
    return raised.value


def test_a_file_is_read(town: Town) -> None:
    town.put_file(PLACE, b"hello")
    assert fetch(town) == b"hello"


def test_three_redirects_are_followed_and_a_fourth_is_not(town: Town) -> None:
    for n in range(4):
        town.put_file(f"https://site.test/{n}", moved(f"https://{'other' if n % 2 else 'site'}.test/{n + 1}"))
        town.put_file(f"https://other.test/{n}", moved(f"https://site.test/{n + 1}"))
    town.put_file("https://site.test/4", b"there")
    town.put_file("https://other.test/4", b"there")
    assert fetch(town, url="https://site.test/1") == b"there"
    assert refused(town, url="https://site.test/0").message == "The web site sends us on more than 3 times."


@pytest.mark.parametrize(
    ("target", "category", "words"),
    [
        ("http://other.test/file", Category.POLICY, "without encryption"),
        ("https://10.0.0.1/file", Category.POLICY, "not a public address"),
        ("https://169.254.169.254/latest/meta-data", Category.POLICY, "metadata"),
        ("https://[::ffff:10.0.0.1]/", Category.POLICY, "not a public address"),
        ("https://127.0.0.1:8000/", Category.POLICY, "port 8000"),
        ("https://8.8.8.8:22/", Category.POLICY, "port 22"),
        ("https://ada:secret@other.test/", Category.POLICY, "user name"),
        ("https://0x7f.1/", Category.PROTOCOL, "cannot be read"),
        ("https://[::1/", Category.PROTOCOL, "cannot be read"),
        ("file:///etc/passwd", Category.PROTOCOL, "cannot be read"),
        ("gopher://other.test/", Category.POLICY, "without encryption"),
        ("https://absent.test/", Category.DNS, "There is no server named absent.test"),
    ],
)
def test_a_redirect_obeys_the_same_rules(town: Town, target: str, category: Category, words: str) -> None:
    town.put_file(PLACE, moved(target))
    error = refused(town)
    assert (error.category, words in error.message) == (category, True), error.message


def test_a_network_that_is_not_allowed_is_not_reached(town: Town) -> None:
    elsewhere = dataclasses.replace(town.rules, networks=(ip_network("10.0.0.0/8"),))
    heard = len(town.web.heard)
    assert refused(town, rules=elsewhere).category is Category.POLICY
    assert len(town.web.heard) == heard


@pytest.mark.parametrize(
    ("page", "category"),
    [
        (Page(b"x" * 1_000_000), Category.PROTOCOL),
        (Page(b"x" * 1_000_000, headers={"Transfer-Encoding": "chunked"}), Category.PROTOCOL),
        (Page(b"", headers={f"X-{n}": "x" * 60_000 for n in range(9)}), Category.PROTOCOL),
        (Page(b"short", length=10_000), Category.PROTOCOL),
        (Page(b"packed", headers={"Content-Encoding": "gzip"}), Category.PROTOCOL),
        (Page(status=500), Category.UNAVAILABLE),
        (Page(status=404), Category.UNAVAILABLE),
        (moved(""), Category.PROTOCOL),
        (say(b"* OK IMAP ready\r\n" * 10_000), Category.PROTOCOL),
        (hang_up, Category.PROTOCOL),
    ],
    ids=lambda value: None if isinstance(value, Category) else "page",
)
def test_an_answer_that_is_none_ends_in_a_sentence(town: Town, page: Page, category: Category) -> None:
    town.put_file(PLACE, page)
    error = refused(town)
    assert error.category is category, error.message
    assert len(error.message) < 100


@pytest.mark.parametrize("behaviour", [silence, drip(bytes(Page(b"x" * 1000)), 0.02)], ids=["silent", "dripping"])
def test_a_deadline_is_the_end(town: Town, behaviour: object) -> None:
    town.put_file(PLACE, behaviour)  # type: ignore[arg-type]
    assert refused(town, seconds=1).category is Category.TIMEOUT


def test_a_certificate_that_is_not_trusted_ends_it_whatever_a_library_asks_for(town: Town) -> None:
    town.names.add("forged.test", "A", town.address)
    town.web.untrusted.add("forged.test")
    town.put_file("https://forged.test/", b"hello")
    with https.session(town.rules, Deadline(20)) as session, pytest.raises(MailError) as raised:
        session.get("https://forged.test/", verify=False)
    assert raised.value.category is Category.TLS
    assert "https://forged.test/" not in town.web.heard


def test_a_session_of_a_library_follows_no_redirect_and_no_environment(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HTTPS_PROXY", "http://127.0.0.1:9")
    town.put_file(PLACE, moved("https://other.test/token"))
    town.put_file("https://other.test/token", b"{}")
    with https.session(town.rules, Deadline(20)) as session:
        with pytest.raises(https.Moved):
            session.post(PLACE, data={"code": "x"})
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get("http://site.test/")
        assert session.get("https://other.test/token").json() == {}
    assert town.web.heard[-1] == "https://other.test/token"


def test_a_session_of_a_library_gets_answers_of_limited_size(town: Town) -> None:
    town.put_file(PLACE, Page(b"x" * 2000))
    with https.session(town.rules, Deadline(20), largest=1000) as session, pytest.raises(MailError) as raised:
        session.get(PLACE)
    assert raised.value.category is Category.PROTOCOL
