"""A mailbox truly opened, and mail truly sent, with an access token: real servers that ask whether it is good."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import open_imap
from mailadmin.mail.incoming import open_incoming
from mailadmin.mail.smtp import Smtp, open_smtp
from mailadmin.mail.types import Bearer, Rules, Server, ServerProtocol, Stage, StageName, TLSMode
from tests.mail.conftest import LOOPBACK, imap, smtp
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.oauth import OAuthServer
from tests.servers.smtp import Sink

WIM = "wim@example.org"
REFUSED = {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}
EVERY = ("imaps", "imap", "pop3s", "pop3", "submissions", "submission")


def sign_in(dovecot: Dovecot, port: str, token: str, user: str = WIM, stages: list[Stage] | None = None) -> None:
    """Open the mailbox of `user` over the protocol and mode of `port`."""
    protocol = "smtp" if port.startswith("sub") else port.rstrip("s")
    mode = TLSMode.IMPLICIT if port.endswith("s") else TLSMode.STARTTLS
    where = Server(ServerProtocol(protocol), "localhost", dovecot.ports[port], mode)
    rules = Rules(networks=LOOPBACK, ca_file=str(dovecot.ca_file))
    opening = open_smtp if protocol == "smtp" else open_incoming
    session = opening(where, rules, Deadline(20), stages.append if stages is not None else None)
    try:
        session.sign_in(Bearer(user, token))
    finally:
        session.close()


@dataclass
class Mail:
    """An OAuth server, and a Dovecot that asks it, with OAUTHBEARER or without."""

    idp: OAuthServer
    dovecots: dict[str, Dovecot]

    def sign_in(
        self, mechanism: str, port: str, token: str, user: str = WIM, stages: list[Stage] | None = None
    ) -> None:
        """Open a mailbox with `mechanism`, which is the best that this Dovecot has."""
        sign_in(self.dovecots[mechanism], port, token, user, stages)


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mail]:
    users = {WIM: "password", "desk@example.org": "password"}
    with OAuthServer(tmp_path_factory.mktemp("idp")) as idp:
        for person in (WIM, "ada@example.org"):
            idp.add_person(person)
        idp.token_size = 1500
        idp.may_open.add(("ada@example.org", "desk@example.org"))
        older = "auth_mechanisms = plain xoauth2"
        with (
            Dovecot(users, introspection_url=idp.introspection_url) as modern,
            Dovecot(users, introspection_url=idp.introspection_url, extra=older) as forerunner,
        ):
            yield Mail(idp, {"OAUTHBEARER": modern, "XOAUTH2": forerunner})


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("port", EVERY)
def test_dovecot_lets_us_in_with_a_token(mail: Mail, stages: list[Stage], mechanism: str, port: str) -> None:
    mail.sign_in(mechanism, port, mail.idp.issue(WIM).access, stages=stages)
    assert (stages[-1].name, stages[-1].facts["mechanism"]) == (StageName.SIGN_IN, mechanism)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("port", ["imaps", "pop3s", "submissions"])
def test_dovecot_refuses_a_token_that_has_run_out_once(mail: Mail, mechanism: str, port: str) -> None:
    token = mail.idp.issue(WIM).access
    mail.idp.expire(token)
    before = mail.dovecots[mechanism].log().count("Introspection failed")
    with pytest.raises(MailError) as raised:
        mail.sign_in(mechanism, port, token)
    error = raised.value
    assert (error.category, error.code, error.permanent) == (Category.OAUTH, "oauth_challenge", False)
    assert "Authentication failed." in error.detail
    assert ("invalid_token" if mechanism == "OAUTHBEARER" else '"401"') in error.detail
    assert mail.dovecots[mechanism].log().count("Introspection failed") == before + 1


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_delegate_opens_a_shared_mailbox_and_nobody_elses(mail: Mail, mechanism: str) -> None:
    token = mail.idp.issue("ada@example.org").access
    mail.sign_in(mechanism, "imaps", token, "desk@example.org")
    with pytest.raises(MailError) as raised:
        mail.sign_in(mechanism, "imaps", token, WIM)
    assert raised.value.category is Category.OAUTH


def test_the_mailbox_is_truly_read(mail: Mail) -> None:
    dovecot = mail.dovecots["OAUTHBEARER"]
    dovecot.deliver([(a_message(1, subject="For the token"), datetime.now(UTC))])
    rules = Rules(networks=LOOPBACK, ca_file=str(dovecot.ca_file))
    session = open_imap(imap("localhost", dovecot.ports["imaps"], "implicit"), rules, Deadline(20))
    session.sign_in(Bearer(WIM, mail.idp.issue(WIM).access))
    session.examine("INBOX")
    assert [envelope.subject for envelope in session.envelopes(session.search())] == ["For the token"]
    session.close()


@pytest.mark.parametrize("port", ["imaps", "pop3s", "submissions"])
def test_a_server_that_takes_no_tokens_says_what_it_takes(dovecot: Dovecot, rules: Rules, port: str) -> None:
    before = dovecot.log()
    with pytest.raises(MailError, match="does not take OAuth sign-in") as raised:
        sign_in(dovecot, port, "token")
    assert (raised.value.category, raised.value.code) == (Category.UNSUPPORTED, "unsupported-oauth")
    assert "PLAIN" in raised.value.detail
    assert "auth failed" not in dovecot.log().removeprefix(before)


@pytest.mark.parametrize("without", [(), ("OAUTHBEARER",)], ids=["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_mail_is_truly_sent(mail: Mail, tmp_path: Path, mode: str, without: tuple[str, ...]) -> None:
    message = EmailMessage()
    message["Subject"], message["To"] = "Sent with a token", "ada@example.org"
    message.set_content("Hello")
    with Sink(tmp_path, mode, introspection_url=mail.idp.introspection_url, without=without) as sink:
        session = smtp_to(sink, mode)
        session.sign_in(Bearer(WIM, mail.idp.issue(WIM).access))
        session.send(message, WIM, "ada@example.org")
        session.close()
    [(sender, recipients, raw)] = sink.messages
    assert (sender, recipients) == (WIM, ["ada@example.org"])
    assert b"Subject: Sent with a token" in raw


@pytest.mark.parametrize("without", [(), ("OAUTHBEARER",)], ids=["OAUTHBEARER", "XOAUTH2"])
def test_sending_with_a_bad_token_is_refused_once_in_the_words_of_google(
    mail: Mail, tmp_path: Path, without: tuple[str, ...]
) -> None:
    words = "535 5.7.8 Username and Password not accepted."
    with Sink(
        tmp_path,
        "implicit",
        introspection_url=mail.idp.introspection_url,
        without=without,
        challenge=json.dumps(REFUSED),
        refuses=words,
    ) as sink:
        session = smtp_to(sink, "implicit")
        with pytest.raises(MailError) as raised:
            session.sign_in(Bearer(WIM, "ya29." + "x" * 1500))
        session.close()
    assert (raised.value.category, sink.sign_ins, sink.messages) == (Category.OAUTH, 1, [])
    assert raised.value.detail == f"{words} {json.dumps(REFUSED)}"


def smtp_to(sink: Sink, mode: str) -> Smtp:
    rules = Rules(networks=LOOPBACK, ca_file=str(sink.ca_file))
    return open_smtp(smtp("127.0.0.1", sink.port, mode), rules, Deadline(20))
