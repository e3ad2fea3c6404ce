"""IMAP servers that lie, stall or talk nonsense: the right MailError, in time, and no secret given away."""

import base64
from collections.abc import Sequence

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import Imap, open_imap
from mailadmin.mail.types import Password, Role, Rules, Stage, StageName
from tests.mail.conftest import LOOPBACK, WIM, imap, server_context
from tests.servers.certificates import Authority
from tests.servers.silent import Listener, drip, hang_up, imap_script, say, silence

PLAIN = Rules(networks=LOOPBACK, plaintext=True)
Script = dict[str, Sequence[bytes]]
BASE: Script = {
    "CAPABILITY": (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n", b"TAG OK done\r\n"),
    "AUTHENTICATE": (b"TAG OK [CAPABILITY IMAP4rev1] in\r\n",),
    "EXAMINE": (b"* 3 EXISTS\r\n", b"* OK [UIDVALIDITY 7] x\r\n", b"TAG OK [READ-ONLY]\r\n"),
    "LOGOUT": (b"* BYE\r\n", b"TAG OK done\r\n"),
}
HEADER = b"Subject: Hello\r\n\r\n"
GOOD = b' FLAGS () INTERNALDATE "01-Jun-2026 10:00:00 +0000" RFC822.SIZE 9 BODY[HEADER.FIELDS (FROM)]<0> {18}\r\n'


def opened(server: Listener, mode: str = "none", rules: Rules = PLAIN, seconds: float = 2.0) -> Imap:
    return open_imap(imap("127.0.0.1", server.port, mode), rules, Deadline(seconds))


def signed_in(server: Listener) -> Imap:
    session = opened(server)
    session.sign_in(WIM)
    return session


def refusal_of(answer: bytes) -> MailError:
    with Listener(imap_script(BASE | {"AUTHENTICATE": (answer,)}, [])) as server, pytest.raises(MailError) as raised:
        signed_in(server)
    return raised.value


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (b"TAG NO [AUTHENTICATIONFAILED] no\r\n", Category.AUTH),
        (b"TAG NO [EXPIRED] no\r\n", Category.AUTH),
        (b"TAG NO LOGIN failed.\r\n", Category.AUTH),
        (b"TAG NO [PRIVACYREQUIRED] no\r\n", Category.CONFIG),
        (b"TAG NO [UNAVAILABLE] later\r\n", Category.UNAVAILABLE),
        (b"TAG NO [INUSE] later\r\n", Category.UNAVAILABLE),
        (b"TAG NO [LIMIT] too many\r\n", Category.THROTTLED),
        (b"TAG NO [OVERQUOTA] full\r\n", Category.QUOTA),
        (b"TAG NO [CONTACTADMIN] hm\r\n", Category.POLICY),
        (b"TAG NO Too many simultaneous connections\r\n", Category.THROTTLED),
        (b"TAG NO Temporary authentication failure\r\n", Category.UNAVAILABLE),
        (b"TAG BAD [AUTHENTICATIONFAILED] no\r\n", Category.AUTH),
        (b"TAG BAD what\r\n", Category.PROTOCOL),
        (b"TAG NO [UNAVAILABLE] authentication failed\r\n", Category.UNAVAILABLE),
        (b"* BYE going down\r\n", Category.UNAVAILABLE),
        (b"* BYE good bye\r\nTAG NO LOGIN failed\r\n", Category.AUTH),
        (b"* NO [WEBALERT] sign in with a browser\r\nTAG NO hm\r\n", Category.AUTH),
        (b"* NO [ALERT] mailbox is 95% full\r\nTAG NO [AUTHENTICATIONFAILED] no\r\n", Category.AUTH),
        (b"TAG NO cannot reach the backend: Connection refused\r\n", Category.UNAVAILABLE),
        (b"garbage\r\n", Category.PROTOCOL),
    ],
)
def test_an_answer_to_the_sign_in_is_understood(answer: bytes, category: Category) -> None:
    assert refusal_of(answer).category is category


def test_the_password_never_comes_back_in_an_error() -> None:
    for echo in (b"password", b"AHdpbUBleGFtcGxlLm9yZwBwYXNzd29yZA=="):
        detail = refusal_of(b"TAG NO what is " + echo + b" about\r\n").detail
        assert "***" in detail
        assert echo.decode() not in detail


def test_one_refusal_is_followed_by_no_second_attempt() -> None:
    heard: list[str] = []
    with Listener(imap_script(BASE | {"AUTHENTICATE": (b"TAG NO no\r\n",)}, heard)) as server:
        session = opened(server)
        with pytest.raises(MailError):
            session.sign_in(WIM)
        session.close()
    assert [line.split()[0] for line in heard] == ["CAPABILITY", "AUTHENTICATE", "LOGOUT"]


def test_plain_waits_for_the_challenge_where_the_server_wants_that() -> None:
    heard: list[str] = []
    script = BASE | {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", b"TAG OK done\r\n"),
        "AUTHENTICATE": (b"+ \r\n",),
        "": (),
    }
    with Listener(imap_script(script, heard)) as server:
        session = opened(server)
        with pytest.raises(MailError) as raised:
            session.sign_in(WIM)
        session.close()
    assert heard[1] == "AUTHENTICATE PLAIN"
    assert base64.b64decode(heard[2]) == b"\0wim@example.org\0password"
    assert raised.value.category is Category.NETWORK


@pytest.mark.parametrize("password", ["password", 'quo"te\\', "pässwörd"])
def test_login_is_used_where_plain_is_not_offered(password: str) -> None:
    heard: list[str] = []
    script = BASE | {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1\r\n", b"TAG OK done\r\n"),
        "LOGIN": (b"TAG NO no\r\n",),
    }
    with Listener(imap_script(script, heard)) as server, pytest.raises(MailError) as raised:
        opened(server).sign_in(Password("wim", password))
    assert raised.value.category is Category.AUTH
    assert heard[1].startswith('LOGIN "wim" ')


def test_starttls_that_is_not_offered_ends_before_the_password() -> None:
    heard: list[str] = []
    with Listener(imap_script(BASE, heard)) as server, pytest.raises(MailError, match="STARTTLS") as raised:
        opened(server, "starttls")
    assert raised.value.category is Category.UNSUPPORTED
    assert heard == ["CAPABILITY"]


def test_preauth_before_tls_is_stopped() -> None:
    heard: list[str] = []
    behaviour = imap_script(BASE, heard, b"* PREAUTH welcome\r\n")
    with Listener(behaviour) as server, pytest.raises(MailError, match="skips encryption") as raised:
        opened(server, "starttls")
    assert (raised.value.category, raised.value.permanent) == (Category.TLS, True)


def test_a_server_that_lets_everybody_in_cannot_check_a_password() -> None:
    with Listener(imap_script(BASE, [], b"* PREAUTH welcome\r\n")) as server, pytest.raises(MailError) as raised:
        signed_in(server)
    assert raised.value.category is Category.UNSUPPORTED


def test_what_was_said_before_tls_is_forgotten(authority: Authority) -> None:
    context = server_context(authority.issue("imap", ("127.0.0.1",)))

    def behave(client, over) -> None:
        client.sendall(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] x\r\n")
        tag = client.recv(100).split()[0]
        client.sendall(b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n" + tag + b" OK done\r\n")
        tag = client.recv(100).split()[0]
        client.sendall(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + tag + b" OK go\r\n")
        secure = context.wrap_socket(client, server_side=True)
        tag = secure.recv(100).split()[0]
        secure.sendall(b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n" + tag + b" OK done\r\n")
        over.wait(60)

    rules = Rules(networks=LOOPBACK, ca_file=str(authority.ca_file))
    with Listener(behave) as server:
        session = opened(server, "starttls", rules)
        assert session.capabilities == {"IMAP4REV1", "LOGINDISABLED"}
        session.close()


@pytest.mark.parametrize(
    ("banner", "category"),
    [
        (b"SSH-2.0-OpenSSH_9.2 secret banner\r\n", Category.PROTOCOL),
        (b"220 smtp.example.org ESMTP secret banner\r\n", Category.CONFIG),
        (b"220 FTP secret banner\r\n", Category.PROTOCOL),
        (b"+OK POP3 secret banner\r\n", Category.CONFIG),
        (b"HTTP/1.1 400 Bad Request\r\nServer: secret banner\r\n\r\n", Category.PROTOCOL),
        (b"x" * 1_100_000, Category.PROTOCOL),
        (b"* BYE [UNAVAILABLE] too busy\r\n", Category.UNAVAILABLE),
        (b"* NO hm\r\n", Category.PROTOCOL),
    ],
)
def test_a_greeting_that_is_not_imap_is_refused_without_showing_it(banner: bytes, category: Category) -> None:
    with Listener(say(banner)) as server, pytest.raises(MailError) as raised:
        opened(server)
    assert raised.value.category is category
    assert "secret" not in raised.value.message + raised.value.detail


@pytest.mark.parametrize("mode", ["implicit", "starttls", "none"])
def test_a_silent_server_costs_no_more_than_the_deadline(mode: str) -> None:
    with Listener(silence) as server, pytest.raises(MailError) as raised:
        opened(server, mode, seconds=0.5)
    assert raised.value.category is Category.TIMEOUT


def test_a_dripping_server_costs_no_more_than_the_deadline() -> None:
    with Listener(drip(b"* OK " + b"x" * 1000, 0.05)) as server, pytest.raises(MailError) as raised:
        opened(server, seconds=0.5)
    assert raised.value.category is Category.TIMEOUT


def test_a_server_that_hangs_up_is_a_matter_of_the_network() -> None:
    with Listener(hang_up) as server, pytest.raises(MailError) as raised:
        opened(server)
    assert raised.value.category is Category.NETWORK


def test_tls_bytes_where_plain_text_was_expected_are_explained() -> None:
    with Listener(say(b"\x15\x03\x01\x00\x02\x02\x28")) as server, pytest.raises(MailError, match="encrypted from"):
        opened(server, "starttls")


def test_a_connection_that_breaks_in_the_middle_is_a_matter_of_the_network() -> None:
    with Listener(imap_script(BASE | {"UID SEARCH": ()}, [])) as server:
        session = signed_in(server)
        session.examine("INBOX")
        with pytest.raises(MailError) as raised:
            session.search()
        session.close()
    assert raised.value.category is Category.NETWORK


def test_folders_are_counted_one_by_one_without_list_status(stages: list[Stage]) -> None:
    script = BASE | {
        "LIST": (
            b'* LIST (\\HasNoChildren) "." INBOX\r\n',
            b'* LIST (\\Noselect) "." Papa\r\n',
            b'* LIST () "." {5}\r\n',
            b"Kosz!\r\n",
            b'* LIST () "." "Papa.Gesendete Objekte"\r\n',
            b'* LIST () "." Kalender\r\n',
            b'* LIST () "." 2024\r\n',
            b'* LIST () NIL "br(oken"\r\n',
            b"TAG OK done\r\n",
        ),
        'STATUS "INBOX"': (b"* STATUS INBOX (MESSAGES 3 UNSEEN 1)\r\n", b"TAG OK done\r\n"),
        'STATUS "2024"': (b"* STATUS 2024 (MESSAGES 5 UNSEEN 0)\r\n", b"TAG OK done\r\n"),
        "STATUS": (b"TAG NO [NOPERM] no\r\n",),
    }
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server)
        folders = {folder.path: folder for folder in session.folders()}
        session.close()
    assert (folders["INBOX"].messages, folders["INBOX"].unseen, folders["2024"].messages) == (3, 1, 5)
    assert folders["Papa"].locked == "Holds other folders, not mail"
    assert not folders["Papa"].selectable
    assert folders["Papa.Gesendete Objekte"].role is Role.SENT
    assert folders["Kalender"].locked == "Holds appointments, not mail"
    assert {"Kosz!", "br(oken"} <= folders.keys()


def test_a_refused_list_with_extras_is_asked_again_plainly() -> None:
    script = BASE | {
        "AUTHENTICATE": (b"TAG OK [CAPABILITY IMAP4rev1 LIST-STATUS SPECIAL-USE] in\r\n",),
        'LIST "" "*" RETURN': (b"TAG BAD what\r\n",),
        "LIST": (b'* LIST (\\Sent) "/" Out\r\n', b"TAG OK done\r\n"),
    }
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server)
        assert [(folder.path, folder.role) for folder in session.folders()] == [("Out", Role.SENT)]
        session.close()


def fetched(
    *answer: bytes, uids: Sequence[int] = (1, 2, 3), alone: Script | None = None, ending: bytes = b"TAG OK done\r\n"
):
    script = BASE | {"UID FETCH": (*answer, ending)} | (alone or {})
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server)
        session.examine("INBOX")
        envelopes = list(session.envelopes(uids))
        session.close()
    return envelopes


def test_a_message_whose_answer_cannot_be_read_spoils_only_itself() -> None:
    broken = b'* 2 FETCH (UID 2 FLAGS ($a[b) RFC822.SIZE 1 "\r\n'
    envelopes = fetched(
        b"* 1 FETCH (UID 1" + GOOD + HEADER + b")\r\n",
        broken,
        b"* 3 FETCH (UID 3" + GOOD + HEADER + b")\r\n",
        alone={"UID FETCH 2 ": (broken, b"TAG OK done\r\n")},
    )
    assert {envelope.uid: bool(envelope.unreadable) for envelope in envelopes} == {1: False, 2: True, 3: False}


def test_a_refused_batch_is_fetched_one_by_one() -> None:
    envelopes = fetched(
        ending=b"TAG NO some messages could not be fetched\r\n",
        alone={
            "UID FETCH 1 ": (b"* 1 FETCH (UID 1" + GOOD + HEADER + b")\r\n", b"TAG OK done\r\n"),
            "UID FETCH 2 ": (b"TAG NO [SERVERBUG] broken\r\n",),
            "UID FETCH 3 ": (b"TAG OK done\r\n",),
        },
    )
    assert {envelope.uid: bool(envelope.unreadable) for envelope in envelopes} == {1: False, 2: True}


def test_answers_nobody_asked_for_and_repetitions_are_dropped() -> None:
    one = b"* 1 FETCH (UID 1" + GOOD + HEADER + b")\r\n"
    nine = b"* 9 FETCH (UID 9" + GOOD + HEADER + b")\r\n"
    zero = b"* 8 FETCH (UID 0" + GOOD + HEADER + b")\r\n"
    envelopes = fetched(one, one, nine, zero, b"* 2 FETCH (FLAGS (\\Seen))\r\n", b"* 4 EXISTS\r\n")
    assert [(envelope.uid, envelope.subject) for envelope in envelopes] == [(1, "Hello")]


def test_items_may_come_in_any_order() -> None:
    answer = b'* 1 FETCH (BODY[HEADER.FIELDS ("FROM")]<0> {18}\r\n' + HEADER
    answer += b' RFC822.SIZE 9 FLAGS (\\Seen 12) UID 1 INTERNALDATE " 1-Jun-2026 10:00:00 +0000" MODSEQ (3))\r\n'
    (envelope,) = fetched(answer)
    assert (envelope.subject, envelope.size, envelope.flags) == ("Hello", 9, {"\\Seen", "12"})
    assert envelope.received_at is not None


def test_flags_of_impossible_uids_are_dropped() -> None:
    script = BASE | {
        "UID FETCH": (
            b"* 1 FETCH (UID 0 FLAGS ())\r\n",
            b"* 2 FETCH (FLAGS (\\Seen \\Recent) UID 4294967295)\r\n",
            b"* 3 FETCH (UID 4294967296 FLAGS ())\r\n",
            b"* 4 FETCH (FLAGS (\\Seen))\r\n",
            b"* 5 FETCH (UID 5 MODSEQ (9) FLAGS (a))\r\n",
            b"TAG OK done\r\n",
        ),
        "UID SEARCH": (b"* SEARCH 5 0 4294967296 3 3\r\n", b"* SEARCH 9 (MODSEQ 17)\r\n", b"TAG OK done\r\n"),
    }
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server)
        session.examine("INBOX")
        assert session.flags() == {4294967295: {"\\Seen"}, 5: {"a"}}
        assert session.search() == [3, 5, 9]
        session.close()


def test_a_literal_that_is_far_too_large_is_not_read() -> None:
    script = BASE | {"UID FETCH": (b"* 1 FETCH (UID 1 BODY[] {999999999999}\r\n",)}
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server)
        session.examine("INBOX")
        with pytest.raises(MailError) as raised:
            list(session.envelopes([1]))
        session.close()
    assert raised.value.category is Category.PROTOCOL


def test_numbers_that_no_database_holds_are_not_believed(stages: list[Stage]) -> None:
    script = BASE | {
        "LIST": (b'* LIST () "/" INBOX\r\n', b"TAG OK done\r\n"),
        "STATUS": (b"* STATUS INBOX (MESSAGES 99999999999999999999 UNSEEN 4294967295)\r\n", b"TAG OK done\r\n"),
        "EXAMINE": (b"* 999999999999 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n", b"TAG OK done\r\n"),
    }
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server)
        (folder,) = session.folders()
        state = session.examine("INBOX")
        session.close()
    assert (folder.messages, folder.unseen, state.messages) == (None, None, 2**31 - 1)


def test_folder_name_has_no_invisible_signs_and_its_path_stays(stages: list[Stage]) -> None:
    script = BASE | {"LIST": (b'* LIST () "/" "a/b&IC4-c"\r\n', b"TAG OK done\r\n"), "STATUS": (b"TAG NO no\r\n",)}
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server)
        (folder,) = session.folders()
        session.close()
    assert (folder.path, folder.name) == ("a/b\u202ec", "b<U+202E>c")


def test_a_failed_stage_is_the_last_one(stages: list[Stage]) -> None:
    with Listener(silence) as server, pytest.raises(MailError):
        open_imap(imap("127.0.0.1", server.port, "none"), PLAIN, Deadline(1), stages.append)
    assert stages[-1].name is StageName.GREETING
