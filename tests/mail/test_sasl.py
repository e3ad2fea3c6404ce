"""The best mechanism that both sides have, one attempt with it, and servers that have to prove themselves."""

import base64
import socket
import threading
from collections.abc import Iterator

import pytest
import scramp

from mailadmin.mail import sasl
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import open_imap
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Password, Rules, Stage, StageName
from tests.mail.conftest import LOOPBACK, WIM, imap, smtp
from tests.servers.dovecot import Dovecot
from tests.servers.silent import Behaviour, Listener, imap_script, smtp_script

SERVER = smtp("mail.example.org", 465, "implicit")
PLAIN = Rules(networks=LOOPBACK, plaintext=True)
UMLAUTS = Password("wim@example.org", "pässwörd, ein=zwei")
HEARD_BASE = {
    "LOGOUT": (b"* BYE\r\n", b"TAG OK done\r\n"),
    "LOGIN": (b"TAG OK [CAPABILITY IMAP4rev1] in\r\n",),
    "AUTHENTICATE PLAIN": (b"TAG OK [CAPABILITY IMAP4rev1] in\r\n",),
}


class ModernDovecot(Dovecot):
    """Dovecot with every mechanism for passwords that it has."""

    def _launch(self, seconds: float = 10) -> None:
        file = self.folder / "dovecot.conf"
        every = "auth_mechanisms = scram-sha-256 scram-sha-1 cram-md5 plain login"
        file.write_text(file.read_text().replace("auth_mechanisms = plain login", self.mechanisms or every))
        super()._launch(seconds)

    mechanisms = ""


@pytest.fixture(scope="module")
def modern() -> Iterator[Dovecot]:
    with ModernDovecot({WIM.username: WIM.password, "ada@example.org": UMLAUTS.password}) as server:
        yield server


@pytest.mark.parametrize(
    ("offered", "encrypted", "best"),
    [
        ({"PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "CRAM-MD5"}, True, "SCRAM-SHA-256"),
        ({"PLAIN", "SCRAM-SHA-1"}, True, "SCRAM-SHA-1"),
        ({"SCRAM-SHA-256-PLUS", "PLAIN", "LOGIN", "CRAM-MD5"}, True, "PLAIN"),
        ({"LOGIN", "CRAM-MD5", sasl.IMAP_LOGIN}, True, "LOGIN"),
        ({"CRAM-MD5", sasl.IMAP_LOGIN}, True, sasl.IMAP_LOGIN),
        ({"CRAM-MD5", "XOAUTH2"}, True, "CRAM-MD5"),
        ({"PLAIN", "LOGIN", "CRAM-MD5", sasl.IMAP_LOGIN}, False, "CRAM-MD5"),
        ({"PLAIN", "CRAM-MD5", "SCRAM-SHA-1"}, False, "SCRAM-SHA-1"),
        ({"XOAUTH2", "OAUTHBEARER", "GSSAPI", "EXTERNAL", "ANONYMOUS"}, True, None),
    ],
)
def test_the_best_mechanism_of_both_sides_is_chosen(offered: set[str], encrypted: bool, best: str | None) -> None:
    exchange = sasl.choose(offered, WIM, smtp("mail.example.org", 465, "implicit" if encrypted else "none"))
    assert (exchange.name if exchange else None) == best


def test_a_password_that_scram_cannot_carry_goes_another_way() -> None:
    exchange = sasl.choose({"SCRAM-SHA-256", "PLAIN"}, Password("wim", "p\u0007w"), SERVER)
    assert exchange is not None
    assert (exchange.name, exchange.first()) == ("PLAIN", b"\0wim\0p\x07w")


def test_cram_md5_is_as_in_rfc_2195() -> None:
    exchange = sasl.choose({"CRAM-MD5"}, Password("tim", "tanstaaftanstaaf"), SERVER)
    assert exchange is not None
    assert exchange.first() is None
    answer = exchange.answer(b"<1896.697170952@postoffice.reston.mci.net>")
    assert answer == b"tim b913a602c7eda7a495b4e6e7334d3890"
    assert exchange.answer(b"<once more>") is None


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_dovecot_lets_us_in_with_scram(modern: Dovecot, stages: list[Stage], mode: str) -> None:
    rules = Rules(networks=LOOPBACK, ca_file=str(modern.ca_file))
    where = ("localhost", modern.ports["imaps"]) if mode == "implicit" else ("127.0.0.2", modern.ports["imap"])
    for how in (WIM, Password("ada@example.org", UMLAUTS.password)):
        session = open_imap(imap(*where, mode), rules, Deadline(20), stages.append)
        session.sign_in(how)
        assert session.examine("INBOX").uidvalidity
        session.close()
    assert stages[-1].name is StageName.SIGN_IN
    assert stages[-1].facts["mechanism"] == "SCRAM-SHA-256"
    assert {"IDLE", "CONDSTORE", "SPECIAL-USE", "QUOTA"} <= set(stages[-1].facts["capabilities"])


def test_dovecot_refuses_a_wrong_password_with_scram(modern: Dovecot) -> None:
    rules = Rules(networks=LOOPBACK, ca_file=str(modern.ca_file))
    session = open_imap(imap("localhost", modern.ports["imaps"], "implicit"), rules, Deadline(20))
    with pytest.raises(MailError) as raised:
        session.sign_in(Password(WIM.username, "wrong"))
    session.close()
    assert (raised.value.category, raised.value.permanent) == (Category.AUTH, True)
    assert modern.log().count("Password mismatch") == 1


@pytest.mark.parametrize("name", ["scram-sha-1", "cram-md5", "login"])
def test_dovecot_lets_us_in_with_each_mechanism(name: str, stages: list[Stage]) -> None:
    class Single(ModernDovecot):
        mechanisms = f"auth_mechanisms = {name}"

    with Single() as server:
        rules = Rules(networks=LOOPBACK, ca_file=str(server.ca_file))
        session = open_imap(imap("localhost", server.ports["imaps"], "implicit"), rules, Deadline(20), stages.append)
        session.sign_in(WIM)
        session.close()
    # Where Dovecot has no PLAIN it announces LOGINDISABLED.
    assert stages[-1].facts["mechanism"] == name.upper()


def scram_dialogue(mechanism: str, password: str, *, forge: str = "") -> Iterator[bytes]:
    """The challenges of a server that knows `password`; `forge` names what it gets wrong. Fed with our answers."""
    known = scramp.ScramMechanism(mechanism).make_auth_info(password)
    server = scramp.ScramMechanism(mechanism).make_server(lambda _: known)
    server.set_client_first((yield b"").decode())
    first = server.get_server_first()
    if forge == "rounds":
        first = first.rpartition("=")[0] + "=9999999"
    if forge == "few rounds":
        first = first.rpartition("=")[0] + "=1"
    if forge == "nonce":
        first = "r=somebodyelse" + first[first.index(",s=") :]
    final = yield first.encode()
    if forge == "signature":
        yield b"v=" + base64.b64encode(b"x" * 32)
        return
    server.set_client_final(final.decode())
    yield server.get_server_final().encode()


def speaks_scram(protocol: str, heard: list[str], *, forge: str = "", skip_proof: bool = False) -> Behaviour:
    """A server for AUTH SCRAM-SHA-256 that knows the password of WIM."""
    greeting = b"* OK [X] ready\r\n" if protocol == "imap" else b"220 ready\r\n"

    def behave(client: socket.socket, over: threading.Event) -> None:
        client.sendall(greeting)
        dialogue, tag = scram_dialogue("SCRAM-SHA-256", WIM.password, forge=forge), ""
        next(dialogue)
        with client.makefile("rb") as lines:
            for raw in lines:
                line = raw.decode().rstrip("\r\n")
                heard.append(line)
                word = line.split()[1:2] if protocol == "imap" else line.split()[:1]
                if word in (["CAPABILITY"], ["ehlo"]):
                    tag = line.split()[0]
                    client.sendall(
                        f"* CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256 SASL-IR\r\n{tag} OK done\r\n".encode()
                        if protocol == "imap"
                        else b"250-hi\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n"
                    )
                    continue
                tag = line.split()[0] if word == ["AUTHENTICATE"] else tag
                done = f"{tag} OK [CAPABILITY IMAP4rev1] in\r\n".encode() if protocol == "imap" else b"235 in\r\n"
                said = base64.b64decode(line.split()[-1]) if line else b""
                try:
                    challenge = dialogue.send(said)
                    if skip_proof and challenge.startswith(b"v="):
                        raise StopIteration
                except StopIteration:
                    client.sendall(done)
                    continue
                client.sendall((b"+ " if protocol == "imap" else b"334 ") + base64.b64encode(challenge) + b"\r\n")

    return behave


def sign_in(protocol: str, port: int) -> None:
    if protocol == "imap":
        session = open_imap(imap("127.0.0.1", port, "none"), PLAIN, Deadline(20))
    else:
        session = open_smtp(smtp("127.0.0.1", port, "none"), PLAIN, Deadline(20))
    session.sign_in(WIM)


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_scram_never_sends_the_password(protocol: str) -> None:
    heard: list[str] = []
    with Listener(speaks_scram(protocol, heard)) as server:
        sign_in(protocol, server.port)
    said = b" ".join(base64.b64decode(line.split()[-1] + "==") for line in heard[1:] if line)
    assert b"n=wim@example.org" in said
    assert WIM.password.encode() not in said


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
@pytest.mark.parametrize("forge", ["signature", "skip"])
def test_a_server_that_does_not_know_the_password_is_found_out(protocol: str, forge: str) -> None:
    behaviour = speaks_scram(protocol, [], forge=forge, skip_proof=forge == "skip")
    with Listener(behaviour) as server, pytest.raises(MailError, match="did not prove") as raised:
        sign_in(protocol, server.port)
    assert (raised.value.code, raised.value.permanent) == ("protocol-impostor", True)


@pytest.mark.parametrize("forge", ["rounds", "few rounds", "nonce"])
def test_a_server_that_breaks_the_rules_of_scram_learns_nothing(forge: str) -> None:
    heard: list[str] = []
    with Listener(speaks_scram("smtp", heard, forge=forge)) as server, pytest.raises(MailError) as raised:
        sign_in("smtp", server.port)
    assert raised.value.category is Category.PROTOCOL
    assert not any(b",p=" in base64.b64decode(line.split()[-1] + "==") for line in heard[1:] if line)


def test_a_refusal_of_scram_is_no_reason_to_send_the_password() -> None:
    heard: list[str] = []
    script = HEARD_BASE | {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256 AUTH=PLAIN SASL-IR\r\n", b"TAG OK done\r\n"),
        "AUTHENTICATE SCRAM-SHA-256": (b"TAG NO [AUTHENTICATIONFAILED] no\r\n",),
    }
    with Listener(imap_script(script, heard)) as server, pytest.raises(MailError) as raised:
        sign_in("imap", server.port)
    assert raised.value.category is Category.AUTH
    assert [line.split()[0] for line in heard] == ["CAPABILITY", "AUTHENTICATE"]


def test_login_disabled_forbids_the_command_and_not_the_mechanism() -> None:
    heard: list[str] = []
    script = HEARD_BASE | {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR\r\n", b"TAG OK done\r\n")
    }
    with Listener(imap_script(script, heard)) as server:
        sign_in("imap", server.port)
    assert heard[1].startswith("AUTHENTICATE PLAIN ")


def test_an_ok_needs_no_words() -> None:
    heard: list[str] = []
    offers = (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n", b"TAG OK\r\n")
    script = HEARD_BASE | {"CAPABILITY": offers, "AUTHENTICATE PLAIN": (b"TAG OK\r\n",)}
    with Listener(imap_script(script, heard)) as server:
        sign_in("imap", server.port)
    assert [line.split()[0] for line in heard] == ["CAPABILITY", "AUTHENTICATE", "CAPABILITY"]


@pytest.mark.parametrize(("before", "after"), [(b" ID", b""), (b" ID", b" ID"), (b"", b" ID"), (b"", b"")])
def test_our_name_is_told_once(before: bytes, after: bytes) -> None:
    heard: list[str] = []
    script = HEARD_BASE | {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1" + before + b"\r\n", b"TAG OK done\r\n"),
        "LOGIN": (b"TAG OK [CAPABILITY IMAP4rev1" + after + b"] in\r\n",),
        "ID": (b"TAG BAD what\r\n",),
    }
    with Listener(imap_script(script, heard)) as server:
        sign_in("imap", server.port)
    assert sum(line.startswith("ID ") for line in heard) == bool(before or after)


def test_a_server_that_asks_on_and_on_is_given_up() -> None:
    heard: list[str] = []
    script = {"ehlo": b"250-hi\r\n250 AUTH LOGIN\r\n", "": b"334 bW9yZQ==\r\n"}
    with Listener(smtp_script(script, heard)) as server, pytest.raises(MailError) as raised:
        sign_in("smtp", server.port)
    assert raised.value.category is Category.PROTOCOL
    assert heard[1:] == ["AUTH LOGIN", "d2ltQGV4YW1wbGUub3Jn", "cGFzc3dvcmQ=", "*"]


def test_a_long_password_waits_for_the_challenge() -> None:
    heard: list[str] = []
    script = {"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "AUTH": b"334 \r\n", "": b"235 in\r\n"}
    with Listener(smtp_script(script, heard)) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
        session.sign_in(Password("wim", "x" * 500))
    assert heard[1] == "AUTH PLAIN"
    assert base64.b64decode(heard[2]) == b"\0wim\0" + b"x" * 500
