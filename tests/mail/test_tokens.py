"""Signing in with an access token: what is said, what never is, and what a refusal means."""

import base64
import json
import ssl

import pytest

from mailadmin.mail import catalogue, sasl
from mailadmin.mail.answers import Answers
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.incoming import open_incoming
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Bearer, Rules, Server, ServerProtocol, TLSMode
from tests.mail.conftest import LOOPBACK, imap, server_context
from tests.servers.certificates import Authority
from tests.servers.silent import Behaviour, Listener, imap_script, smtp_script

WIM = "wim@example.org"
SERVER = imap("imap.gmail.com", 993, "implicit")
HOW = Bearer(WIM, "ya29.A0AfH6SMBx-_~+/")
REFUSED = {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}
PLAINLY = {"status": "401", "schemes": "bearer", "scope": "mail"}
CHALLENGE = base64.b64encode(json.dumps(PLAINLY).encode())


def exchange(offered: set[str], how: Bearer = HOW, server: Server = SERVER) -> sasl.Exchange:
    chosen = sasl.choose(offered, how, server)
    assert chosen is not None
    return chosen


def test_oauthbearer_is_as_in_rfc_7628() -> None:
    how = Bearer("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    said = exchange({"OAUTHBEARER"}, how, imap("server.example.com", 143, "starttls")).first()
    assert said is not None
    assert sasl.encoded(said) == (
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
        "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )


def test_xoauth2_is_as_google_shows_it() -> None:
    how = Bearer("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
    said = exchange({"XOAUTH2"}, how).first()
    assert said is not None
    assert sasl.encoded(said) == (
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkS"
        "FJoZG1semRHRXVZMjl0Q2cBAQ=="
    )


@pytest.mark.parametrize(
    ("host", "offered", "best", "acknowledgement"),
    [
        ("mail.example.org", {"PLAIN", "XOAUTH2", "OAUTHBEARER"}, "OAUTHBEARER", b"\1"),
        ("imap.gmail.com", {"PLAIN", "XOAUTH2", "OAUTHBEARER", "PLAIN-CLIENTTOKEN", "XOAUTH"}, "XOAUTH2", b""),
        ("imap.mail.yahoo.com", {"PLAIN", "XOAUTH2", "OAUTHBEARER"}, "XOAUTH2", b""),
        ("imap.gmail.com", {"PLAIN", "OAUTHBEARER"}, "OAUTHBEARER", b"\1"),
        ("outlook.office365.com", {"PLAIN", "XOAUTH2", "LOGIN"}, "XOAUTH2", b""),
    ],
)
def test_a_refusal_is_acknowledged_as_its_mechanism_wants_it(
    host: str, offered: set[str], best: str, acknowledgement: bytes
) -> None:
    chosen = exchange(offered, server=imap(host, 993, "implicit"))
    assert (chosen.name, bool(chosen.first())) == (best, True)
    assert chosen.answer(json.dumps(REFUSED).encode()) == acknowledgement
    assert json.loads(chosen.complaint) == REFUSED
    assert chosen.answer(b"again") is None
    assert json.loads(chosen.complaint) == REFUSED


def test_a_token_goes_into_nothing_that_is_for_passwords() -> None:
    passwords = {"SCRAM-SHA-256", "PLAIN", "LOGIN", sasl.IMAP_LOGIN, sasl.POP3_USER, "CRAM-MD5", "GSSAPI"}
    assert sasl.choose(passwords, HOW, SERVER) is None


def test_a_user_name_cannot_leave_its_field() -> None:
    said = exchange({"OAUTHBEARER"}, Bearer("a=b,c", "t")).first()
    assert said == b"n,a=a=3Db=2Cc,\1host=imap.gmail.com\1port=993\1auth=Bearer t\1\1"


@pytest.mark.parametrize(
    "challenge",
    [b"", b"\xff\xfe\0", b"[" * 4000, b'{"a":' * 700, b"1" * 4096, b"null", b'{"a"', b'"\\ud800"', b"x" * 900_000],
)
def test_no_challenge_is_too_odd_to_be_read(challenge: bytes) -> None:
    chosen = exchange({"XOAUTH2"})
    chosen.first()
    assert chosen.answer(challenge) == b""
    assert isinstance(chosen.complaint, str)


@pytest.mark.parametrize(
    ("protocol", "host", "text", "challenge", "category", "code"),
    [
        ("imap", "imap.gmail.com", "[AUTHENTICATIONFAILED] Invalid credentials (Failure)", REFUSED, "oauth",
         "google_bad_token"),
        ("pop3", "pop.gmail.com", "[AUTH] Username and password not accepted.", REFUSED, "oauth", "google_bad_token"),
        ("smtp", "smtp.gmail.com", "5.7.8 Username and Password not accepted.", REFUSED, "oauth",
         "google_smtp_bad_token"),
        ("imap", "outlook.office365.com", "AUTHENTICATE failed.", None, "oauth", "ms_oauth_refused"),
        ("pop3", "outlook.office365.com", "Authentication failure: unknown user name or bad password.", None, "oauth",
         "ms_oauth_refused"),
        ("imap", "outlook.office365.com", "User is authenticated but not connected.", None, "config",
         "ms_authenticated_not_connected"),
        ("smtp", "smtp.office365.com", "5.7.3 Authentication unsuccessful [AM0PR01CA01.eurprd01.prod.exchangelabs.com]",
         None, "oauth", "ms_535_573"),
        ("smtp", "smtp.office365.com", "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for"
         " the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.", None, "config",
         "ms_smtp_auth_disabled"),
        ("imap", "mail.example.org", "[AUTHENTICATIONFAILED] Authentication failed.", {"status": "invalid_token"},
         "oauth", "oauth_challenge"),
        ("smtp", "mail.example.org", "5.7.8 no", {"status": "insufficient_scope", "scope": "mail"}, "oauth",
         "oauth_challenge_scope"),
        ("imap", "mail.example.org", "hm", None, "oauth", "oauth_token_refused"),
        ("imap", "mail.example.org", "", REFUSED, "oauth", "oauth_challenge"),
        ("imap", "mail.example.org", "[EXPIRED] x", None, "oauth", "oauth_token_refused"),
        ("imap", "mail.example.org", "AUTHENTICATE cancelled", None, "oauth", "oauth_token_refused"),
        ("imap", "mail.example.org", "wrong password", None, "oauth", "oauth_token_refused"),
        ("smtp", "mail.example.org", "5.7.8 Error: authentication failed:", None, "oauth", "oauth_token_refused"),
        ("pop3", "mail.example.org", "[AUTH] no", {"status": "401"}, "oauth", "oauth_challenge"),
        ("imap", "mail.example.org", "[WEBALERT https://example.org] Sign in with a browser", None, "auth",
         "browser_first"),
        ("imap", "mail.example.org", "[UNAVAILABLE] Temporary authentication failure.", REFUSED, "unavailable",
         "dovecot_unavailable"),
        ("pop3", "mail.example.org", "[SYS/TEMP] authentication failed", REFUSED, "unavailable", "pop_sys"),
    ],
)  # fmt: skip
def test_what_an_answer_to_a_token_means(
    protocol: str, host: str, text: str, challenge: dict[str, str] | None, category: str, code: str
) -> None:
    answers = Answers(Server(ServerProtocol(protocol), host, 993, TLSMode.IMPLICIT))
    answers.expect(HOW)
    answers.signing_in, answers.challenge = True, json.dumps(challenge) if challenge else ""
    error = answers.reply(535, text) if protocol == "smtp" else answers.refused(text)
    assert (error.category, error.code) == (category, code)
    rule = catalogue.rule(code)
    assert rule is not None
    assert error.permanent is (rule.retry is catalogue.Retry.NO)
    assert text in error.detail
    if category == "oauth":
        assert all(value in error.detail for value in (challenge or {}).values())


def test_a_token_that_has_run_out_within_a_session_is_no_refused_sign_in() -> None:
    answers = Answers(imap("outlook.office365.com", 993, "implicit"))
    answers.expect(HOW)
    error = answers.farewell("Session invalidated - AccessTokenExpired")
    assert (error.category, error.code, error.permanent) == (Category.UNAVAILABLE, "ms_token_expired_bye", False)


def test_no_piece_of_a_token_stays_in_a_detail() -> None:
    token = base64.urlsafe_b64encode(bytes(range(256)) * 4).decode().rstrip("=")
    answers = Answers(SERVER)
    answers.expect(Bearer(WIM, token))
    answers.signing_in = True
    payload = exchange({"XOAUTH2"}, Bearer(WIM, token)).first()
    assert payload is not None
    echoes = (token, token[:100], token[700:], sasl.encoded(payload), sasl.encoded(payload)[:200], f"bad: {token}!")
    for echo in echoes:
        answers.challenge = json.dumps({"status": "401", "token": echo})
        said = answers.refused(f"no: {echo}").detail
        assert not any(token[start : start + 12] in said for start in range(len(token) - 11)), echo[:50]
        assert '"status": "401"' in said


@pytest.mark.parametrize("token", ["", "two words", "a\1b", "tab\t", "ümlaut", "line\r\nbreak", "nul\0", "\udcff"])
def test_what_cannot_be_a_token_is_not_sent(authority: Authority, token: str) -> None:
    heard: list[str] = []
    with pytest.raises(MailError) as raised:
        to_imap(authority, {"CAPABILITY": OFFERS}, heard, Bearer(WIM, token))
    assert (raised.value.category, heard[:2]) == (Category.CONFIG, ["CAPABILITY", "LOGOUT"])
    assert not token or token not in raised.value.message + raised.value.detail


def test_a_user_name_with_a_separator_is_not_sent(authority: Authority) -> None:
    heard: list[str] = []
    with pytest.raises(MailError, match="control character"):
        to_imap(authority, {"CAPABILITY": OFFERS}, heard, Bearer("wim\1auth=Bearer other", "token"))
    assert heard[:2] == ["CAPABILITY", "LOGOUT"]


OFFERS = (b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2\r\n", b"TAG OK done\r\n")
IN = (b"TAG OK [CAPABILITY IMAP4rev1] in\r\n",)


def to_imap(
    authority: Authority, script: dict[str, tuple[bytes, ...]], heard: list[str], how: Bearer = HOW, mode: str = ""
) -> None:
    """Sign in to a scripted server for receiving."""
    sign_in("imap", imap_script(script, heard), authority, how, mode or "implicit")


def sign_in(protocol: str, behaviour: Behaviour, authority: Authority, how: Bearer, mode: str = "implicit") -> None:
    context: ssl.SSLContext | None = None
    if mode == "implicit":
        context = server_context(authority.issue("server"))
    rules = Rules(networks=LOOPBACK, plaintext=True, ca_file=str(authority.ca_file))
    with Listener(behaviour, context=context) as server:
        where = Server(ServerProtocol(protocol), "127.0.0.1", server.port, TLSMode(mode))
        session = (
            open_smtp(where, rules, Deadline(5)) if protocol == "smtp" else open_incoming(where, rules, Deadline(5))
        )
        try:
            session.sign_in(how)
        finally:
            session.close()


@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
def test_a_token_never_crosses_a_connection_without_encryption(authority: Authority, protocol: str) -> None:
    heard: list[str] = []
    script = {"CAPA": b"+OK\r\nSASL XOAUTH2\r\n.\r\n", "ehlo": b"250-hi\r\n250 AUTH XOAUTH2\r\n", "": b"-ERR no\r\n"}
    greeting = b"220 hi\r\n" if protocol == "smtp" else b"+OK hi\r\n"
    behaviour = (
        imap_script({"CAPABILITY": OFFERS}, heard) if protocol == "imap" else smtp_script(script, heard, greeting)
    )
    with pytest.raises(MailError, match="never sent") as raised:
        sign_in(protocol, behaviour, authority, HOW, "none")
    assert (raised.value.category, raised.value.code) == (Category.POLICY, "policy-token")
    assert not any("AUTH" in line for line in heard)


def test_a_server_that_takes_the_beginning_within_the_command_hears_it_there(authority: Authority) -> None:
    heard: list[str] = []
    to_imap(authority, {"CAPABILITY": OFFERS, "AUTHENTICATE": IN}, heard)
    assert heard[1] == f"AUTHENTICATE XOAUTH2 {sasl.encoded(sasl.xoauth2(HOW))}"


@pytest.mark.parametrize(("offers", "size"), [(b"AUTH=XOAUTH2", 20), (b"SASL-IR AUTH=XOAUTH2", 7000)])
def test_others_hear_it_when_they_ask(authority: Authority, offers: bytes, size: int) -> None:
    heard: list[str] = []
    how = Bearer(WIM, "t" * size)
    script = {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1 " + offers + b"\r\n", b"TAG OK done\r\n"),
        "AUTHENTICATE": (b"+ \r\n",),
        "": (b"A2 OK in\r\n",),
    }
    with pytest.raises(MailError):  # The script does not know the tag any more.
        to_imap(authority, script, heard, how)
    assert heard[1:3] == ["AUTHENTICATE XOAUTH2", sasl.encoded(sasl.xoauth2(how))]


@pytest.mark.parametrize("size", [20, 2000])
def test_over_smtp_a_long_token_waits_for_the_challenge(authority: Authority, size: int) -> None:
    heard: list[str] = []
    how = Bearer(WIM, "t" * size)
    script = {
        "ehlo": b"250-hi\r\n250 AUTH XOAUTH2\r\n",
        "AUTH XOAUTH2 ": b"235 in\r\n",
        "AUTH": b"334 \r\n",
        "": b"235 in\r\n",
    }
    sign_in("smtp", smtp_script(script, heard), authority, how)
    said = sasl.encoded(sasl.xoauth2(how))
    assert heard[1:3] == ([f"AUTH XOAUTH2 {said}", "quit"] if size == 20 else ["AUTH XOAUTH2", said])


@pytest.mark.parametrize(
    ("mechanism", "acknowledgement"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")], ids=["XOAUTH2", "OAUTHBEARER"]
)
@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
def test_the_challenge_is_acknowledged_and_told_with_the_last_word(
    authority: Authority, protocol: str, mechanism: str, acknowledgement: str
) -> None:
    heard: list[str] = []
    with pytest.raises(MailError) as raised:
        sign_in(protocol, refusing(protocol, mechanism, heard), authority, HOW)
    error = raised.value
    assert (error.category, error.code, error.permanent) == (Category.OAUTH, "oauth_challenge", False)
    assert json.loads("{" + error.detail.partition("{")[2]) == PLAINLY
    assert "these are the last words" in error.detail
    assert heard.count(acknowledgement) == 1
    assert sum(line.startswith("AUTH") for line in heard) == 1


def refusing(protocol: str, mechanism: str, heard: list[str]) -> Behaviour:
    """A server that takes one token, complains, waits, and refuses."""

    def behave(client: object, over: object) -> None:
        assert isinstance(client, ssl.SSLSocket)
        lines = client.makefile("rb")

        def say(text: str) -> None:
            client.sendall(text.encode() + b"\r\n")

        def hear() -> str:
            line = lines.readline().decode().rstrip("\r\n")
            heard.append(line.partition(" ")[2] if protocol == "imap" and " " in line else line)
            return line.partition(" ")[0]

        say({"imap": "* OK hi", "pop3": "+OK hi", "smtp": "220 hi"}[protocol])
        tag = hear()
        offers = {
            "imap": f"* CAPABILITY IMAP4rev1 SASL-IR AUTH={mechanism}\r\n{tag} OK done",
            "pop3": f"+OK\r\nSASL {mechanism}\r\n.",
            "smtp": f"250-hi\r\n250 AUTH PLAIN {mechanism}",
        }
        say(offers[protocol])
        tag = hear()
        if protocol == "pop3":
            say("+ ")
            hear()
        say(("334 " if protocol == "smtp" else "+ ") + CHALLENGE.decode())
        hear()
        last = "these are the last words"
        say({"imap": f"{tag} NO {last}", "pop3": f"-ERR {last}", "smtp": f"535 {last}"}[protocol])
        hear()

    return behave


@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
def test_a_server_that_lets_us_in_before_it_heard_the_token_proves_nothing(authority: Authority, protocol: str) -> None:
    heard: list[str] = []
    offers = (b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n", b"TAG OK done\r\n")
    script = {"CAPA": b"+OK\r\nSASL XOAUTH2\r\n.\r\n", "ehlo": b"250-hi\r\n250 AUTH XOAUTH2\r\n"}
    behaviour = imap_script({"CAPABILITY": offers, "AUTHENTICATE": IN}, heard)
    if protocol == "pop3":
        behaviour = smtp_script(script | {"AUTH": b"+OK in\r\n"}, heard, b"+OK hi\r\n")
    if protocol == "smtp":
        behaviour = smtp_script(script | {"AUTH": b"235 in\r\n"}, heard)
    with pytest.raises(MailError) as raised:
        sign_in(protocol, behaviour, authority, Bearer(WIM, "t" * 600))
    assert (raised.value.category, raised.value.code) == (Category.UNSUPPORTED, "unsupported-anybody")
