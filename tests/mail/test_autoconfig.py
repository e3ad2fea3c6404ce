"""The files in which domains say where their mail lives: what is understood, what is left out, what is refused."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailadmin.mail import autoconfig, srv
from mailadmin.mail.names import Service
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import LoginFormat, ServerProtocol, SignInMethod

HOST = "<hostname>mail.example.org</hostname>"
GOOD = f"{HOST}<port>993</port><socketType>SSL</socketType><username>%EMAILADDRESS%</username>"


def file(*servers: str, name: str = "Example") -> bytes:
    inside = f'<emailProvider id="x"><displayName>{name}</displayName>{"".join(servers)}</emailProvider>'
    return f'<?xml version="1.0"?><clientConfig version="1.1">{inside}</clientConfig>'.encode()


def incoming(inside: str = GOOD, kind: str = "imap") -> str:
    return f'<incomingServer type="{kind}">{inside}</incomingServer>'


def read(*servers: str) -> autoconfig.Config:
    return autoconfig.read(file(*servers), "example.org")


def test_receiving_comes_first_and_imap_before_pop3() -> None:
    pop3 = incoming(GOOD.replace("993", "995"), "pop3")
    smtp = f'<outgoingServer type="smtp">{GOOD.replace("993", "587").replace("SSL", "STARTTLS")}</outgoingServer>'
    config = read(smtp, pop3, incoming())
    assert [str(server) for server in config.servers] == [
        "imap:mail.example.org:993:implicit",
        "pop3:mail.example.org:995:implicit",
        "smtp:mail.example.org:587:starttls",
    ]
    assert (config.name, config.problems) == ("Example", [])


@pytest.mark.parametrize(
    ("username", "login"),
    [
        ("%EMAILADDRESS%", LoginFormat.ADDRESS),
        ("%EMAILLOCALPART%", LoginFormat.LOCAL_PART),
        ("%EMAILLOCALPART%@%EMAILDOMAIN%", LoginFormat.ADDRESS),
        ("%EMAILLOCALPART%@other.example", LoginFormat.BY_HAND),
        ("customer-number", LoginFormat.BY_HAND),
        ("", LoginFormat.ADDRESS),
    ],
)
def test_user_names_are_recognised_by_their_placeholders(username: str, login: LoginFormat) -> None:
    assert read(incoming(GOOD.replace("%EMAILADDRESS%", username))).login is login


@pytest.mark.parametrize(
    ("words", "methods"),
    [
        (["OAuth2", "password-cleartext"], [SignInMethod.OAUTH, SignInMethod.PASSWORD]),
        (["password-encrypted", "OAuth2"], [SignInMethod.OAUTH, SignInMethod.PASSWORD]),
        (["password-encrypted", "NTLM"], [SignInMethod.PASSWORD]),
        ([], [SignInMethod.PASSWORD]),
    ],
)
def test_ways_to_sign_in_are_recognised(words: list[str], methods: list[SignInMethod]) -> None:
    named = "".join(f"<authentication>{word}</authentication>" for word in words)
    assert read(incoming(GOOD + named)).methods == methods


def test_the_domain_may_stand_in_a_host_name() -> None:
    config = read(incoming(GOOD.replace("mail.example.org", "imap.%EMAILDOMAIN%")))
    assert config.servers[0].host == "imap.example.org"


@pytest.mark.parametrize(
    ("inside", "problem"),
    [
        (GOOD.replace("993", "995"), "mail.example.org: Port 995 is for POP3, not for IMAP."),
        (GOOD.replace("993", "99999"), "The port of mail.example.org is not a number from 1 to 65535."),
        (GOOD.replace("993", "imap"), "The port of mail.example.org is not a number from 1 to 65535."),
        (
            GOOD.replace("SSL", "plain"),
            "mail.example.org is offered without encryption only, which is not allowed here.",
        ),
        (GOOD.replace("SSL", "maybe"), "mail.example.org: it is not said how the connection is encrypted."),
        (GOOD.replace("mail.example.org", "a b\u202ec"), "“a b<U+202E>c” is not the name of a server."),
        (
            GOOD.replace("mail.example.org", "mail.example.org:993"),
            "“mail.example.org:993” is not the name of a server.",
        ),
        (GOOD.replace("mail.example.org", "x" * 5000), "The name of the IMAP server is far too long."),
        (GOOD.replace("mail.example.org", ""), "The IMAP server has no name."),
        (
            GOOD + "<authentication>GSSAPI</authentication>",
            "mail.example.org signs in by “GSSAPI” only, which is not possible here.",
        ),
    ],
)
def test_a_server_that_makes_no_sense_is_left_out_with_a_reason(inside: str, problem: str) -> None:
    other = incoming(GOOD.replace("mail.", "other."))
    config = read(incoming(inside), other)
    assert config.problems == [problem]
    assert [server.host for server in config.servers] == ["other.example.org"]


def test_plain_text_is_offered_where_the_installation_allows_it() -> None:
    plain = incoming(GOOD.replace("SSL", "plain").replace("993", "143"))
    servers = autoconfig.read(file(plain), "example.org", plaintext=True).servers
    assert [str(server) for server in servers] == ["imap:mail.example.org:143:none"]


def test_a_name_is_short_and_shows_what_is_hidden_in_it() -> None:
    config = autoconfig.read(file(incoming(), name="Good \u202eliaM " + "x" * 500), "example.org")
    assert config.name.startswith("Good <U+202E>liaM")
    assert len(config.name) == 120


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><clientConfig>&b;</clientConfig>'
OUTSIDE = b'<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><clientConfig/>'
STOLEN = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><clientConfig>&a;</clientConfig>'
DEEP = b"<clientConfig>" + b"<a>" * 30_000 + b"</a>" * 30_000 + b"</clientConfig>"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (LAUGHS, "The file declares a document type or entities, which are not read."),
        (OUTSIDE, "The file declares a document type or entities, which are not read."),
        (STOLEN, "The file declares a document type or entities, which are not read."),
        (LAUGHS.decode().encode("utf-16"), "The file declares a document type or entities, which are not read."),
        (DEEP, "The file has far too many levels."),
        (b"<!DOCTYPE html><html><body>Welcome</body></html>", "The answer is a web page, not a configuration file."),
        (b"\xef\xbb\xbf\n<HTML>", "The answer is a web page, not a configuration file."),
        (b"<clientConfig", "The file is not well-formed XML."),
        (b"", "The file is not well-formed XML."),
        (b'<?xml version="1.0" encoding="klingon"?><clientConfig/>', "The file is not well-formed XML."),
        (b'<?xml version="1.0" encoding="utf-7"?><clientConfig/>', "The file is not well-formed XML."),
        (b"<clientConfig>\xff\xfe</clientConfig>", "The file is not well-formed XML."),
        (b"<clientConfig a='" + b"x" * 250_000 + b"'/>", "The file names no mail provider."),
        (b"<rss/>", "The answer is XML, but not a configuration file for mail programs."),
        (
            b"<clientConfig><emailProvider>&undefined;</emailProvider></clientConfig>",
            "The file is not well-formed XML.",
        ),
    ],
    ids=range(15),
)
def test_a_file_that_is_none_is_refused_in_a_sentence(data: bytes, problem: str) -> None:
    with pytest.raises(autoconfig.Unreadable) as raised:
        autoconfig.read(data, "example.org")
    assert str(raised.value) == problem


def test_of_very_many_servers_some_are_read() -> None:
    config = read(*(incoming(GOOD.replace("mail", f"mail{n}")) for n in range(1000)))
    assert len(config.servers) == 20


def test_very_many_mistakes_make_few_sentences() -> None:
    wrong = GOOD.replace("993", "0")
    assert len(read(*[incoming(wrong)] * 20).problems) == 1
    assert len(read(*(incoming(wrong.replace("mail", f"mail{n}")) for n in range(20))).problems) == 3


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_bytes_raise_anything_unforeseen(data: bytes) -> None:
    with pytest.raises(autoconfig.Unreadable):
        autoconfig.read(data, "example.org")


TAGS = st.sampled_from(["hostname", "port", "socketType", "username", "authentication", "password"])
VALUES = st.one_of(st.sampled_from(["993", "SSL", "%EMAILADDRESS%", "mail.example.org"]), st.text(max_size=20))


@given(st.lists(st.tuples(st.sampled_from(["imap", "pop3", "smtp", "exchange"]), st.lists(st.tuples(TAGS, VALUES)))))
@settings(max_examples=100, deadline=None)
def test_no_values_raise_anything_unforeseen(written: list[tuple[str, list[tuple[str, str]]]]) -> None:
    root = ET.Element("clientConfig")
    provider = ET.SubElement(root, "emailProvider")
    for kind, values in written:
        server = ET.SubElement(provider, "outgoingServer" if kind == "smtp" else "incomingServer", type=kind)
        for tag, value in values:
            ET.SubElement(server, tag).text = value
    try:
        config = autoconfig.read(ET.tostring(root), "example.org")
    except autoconfig.Unreadable:
        return  # XML knows no control characters.
    assert all(server.host and 1 <= server.port <= 65535 for server in config.servers)
    assert all(scrub(problem) == problem for problem in config.problems)


def test_implicit_tls_comes_first_then_priority_then_weight() -> None:
    answers = {
        "_imap": (Service(0, 0, "plain.example.org", 143),),
        "_imaps": tuple(sorted([Service(1, 65535 - w, f"b{w}.example.org", 993) for w in (1, 9)])),
        "_submission": (Service(0, 0, "smtp.example.org", 465), Service(1, 0, "smtp.example.org", 587)),
    }
    servers, problems = srv.read(answers)
    assert [str(server) for server in servers] == [
        "imap:b9.example.org:993:implicit",
        "imap:b1.example.org:993:implicit",
        "imap:plain.example.org:143:starttls",
        "smtp:smtp.example.org:465:implicit",  # Under the older name, and yet encrypted from the first byte.
        "smtp:smtp.example.org:587:starttls",
    ]
    assert problems == []


def test_srv_records_that_make_no_sense_are_left_out_with_a_reason() -> None:
    answers = {
        "_imaps": (Service(0, 0, "a.example.org", 110), Service(1, 0, "b.example.org", 0)),
        "_pop3s": (Service(0, 0, ".", 0),),
    }
    assert srv.read(answers) == (
        [],
        [
            "_imaps: Port 110 is for POP3, not for IMAP.",
            "_imaps: Port 0 is none.",
            "The domain says that it has no _pop3s.",
        ],
    )


@given(
    st.dictionaries(
        st.sampled_from(list(srv.SERVICES)),
        st.lists(st.builds(Service, st.integers(0, 9), st.integers(0, 9), st.just("a.b"), st.integers(0, 65535))),
    )
)
@settings(max_examples=50, deadline=None)
def test_every_server_of_srv_records_can_be_dialled(answers: dict[str, list[Service]]) -> None:
    servers, _ = srv.read({service: tuple(sorted(found)) for service, found in answers.items()})
    assert all(1 <= server.port <= 65535 and server.protocol in ServerProtocol for server in servers)
    assert len(servers) <= 12
