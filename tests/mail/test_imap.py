"""IMAP against a real Dovecot, over implicit TLS and STARTTLS."""

from datetime import UTC, datetime, timedelta

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import open_imap
from mailadmin.mail.types import Password, Role, Rules, Stage, StageName, StageOutcome
from tests.mail.conftest import LOOPBACK, WIM, OpenImap, imap
from tests.servers.dovecot import Dovecot, a_message

JUNE = datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_folders_come_with_their_roles_and_counts(connect: OpenImap, mode: str) -> None:
    folders = {folder.path: folder for folder in connect(mode, "ada@example.org").folders()}
    assert {name: folder.role for name, folder in folders.items()} == {
        "INBOX": Role.INBOX,
        "Drafts": Role.DRAFTS,
        "Sent": Role.SENT,
        "Junk": Role.JUNK,
        "Trash": Role.TRASH,
        "Archive": Role.ARCHIVE,
    }
    assert {folder.role_source for folder in folders.values()} == {"server"}
    assert folders["Sent"].messages == folders["Sent"].unseen == 0


def test_the_stages_come_in_the_order_in_which_they_happen(connect: OpenImap, stages: list[Stage]) -> None:
    connect("starttls").folders()
    passed = [stage.name for stage in stages if stage.outcome is StageOutcome.PASSED]
    assert passed == [
        StageName.DNS,
        StageName.TCP,
        StageName.GREETING,
        StageName.TLS,
        StageName.SIGN_IN,
        StageName.FOLDERS,
    ]


def test_names_beyond_ascii_go_there_and_back(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.create("Caf&AOk- &- &ZeVnLIqe-/Sub", "ada@example.org")
    session = connect(user="ada@example.org")
    by_path = {folder.path: folder for folder in session.folders()}
    assert "Café & 日本語/Sub" in by_path
    assert by_path["Café & 日本語/Sub"].name == "Sub"
    assert session.examine("Café & 日本語/Sub").messages == 0


def test_counts_can_be_left_out(connect: OpenImap) -> None:
    assert {folder.messages for folder in connect().folders(counts=False)} == {None}


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_a_wrong_password_is_refused_permanently_and_said_so(connect: OpenImap, stages: list[Stage], mode: str) -> None:
    with pytest.raises(MailError, match="refused the user name or the password") as raised:
        connect(mode, "").sign_in(Password("wim@example.org", "not the password"))
    assert (raised.value.category, raised.value.permanent) == (Category.AUTH, True)
    assert "AUTHENTICATIONFAILED" in raised.value.detail
    assert stages[-1].name is StageName.SIGN_IN
    assert stages[-1].outcome is StageOutcome.FAILED


def test_passwords_are_not_sent_where_login_is_disabled(dovecot: Dovecot, rules: Rules) -> None:
    plain = Rules(networks=LOOPBACK, plaintext=True)
    session = open_imap(imap("127.0.0.2", dovecot.ports["imap"], "none"), plain, Deadline(20))
    with pytest.raises(MailError) as raised:
        session.sign_in(WIM)
    session.close()
    assert raised.value.category is Category.UNSUPPORTED


def test_a_folder_is_opened_with_its_validity(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.append(a_message(1), user="olga@example.org", folder="Archive")
    state = connect(user="olga@example.org").examine("Archive")
    assert state.uidvalidity > 0
    assert (state.messages, state.uidnext) == (1, 2)
    assert state.modseq is not None


def test_a_folder_that_does_not_exist_is_said_to_be_missing(connect: OpenImap) -> None:
    session = connect()
    with pytest.raises(MailError, match="folder") as raised:
        session.examine("Nowhere")
    assert raised.value.category is Category.CONFIG
    assert session.examine("INBOX").uidvalidity


@pytest.mark.parametrize("path", ["IN\r\nBOX", "IN\0BOX", "\n"])
def test_a_folder_name_that_could_end_a_command_is_never_sent(connect: OpenImap, path: str) -> None:
    with pytest.raises(MailError) as raised:
        connect().examine(path)
    assert raised.value.category is Category.CONFIG


@pytest.mark.parametrize("how", [Password("wim\r\n", "x"), Password("wim", "x\0y"), Password("wim", "x\nA1 NOOP")])
def test_a_credential_that_could_end_a_command_is_never_sent(
    connect: OpenImap, stages: list[Stage], how: Password
) -> None:
    with pytest.raises(MailError) as raised:
        connect(user="").sign_in(how)
    assert raised.value.category is Category.CONFIG
    assert stages[-1].outcome is StageOutcome.FAILED


def test_an_empty_folder_has_no_messages_no_flags_and_no_envelopes(connect: OpenImap) -> None:
    session = connect()
    session.examine("Trash")
    assert session.search() == []
    assert session.flags() == {}
    assert list(session.envelopes([1, 2, 3])) == []


def test_search_since_compares_days_of_arrival(connect: OpenImap, dovecot: Dovecot) -> None:
    days = [JUNE - timedelta(days=n) for n in (20, 10, 1, 0)]
    dovecot.create("Since")
    dovecot.deliver(((a_message(n), day) for n, day in enumerate(days)), folder="Since")
    session = connect()
    session.examine("Since")
    assert session.search() == [1, 2, 3, 4]
    assert session.search((JUNE - timedelta(days=10)).date()) == [2, 3, 4]
    assert session.search(JUNE.date()) == [4]


def test_flags_come_by_uid(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.create("Flags")
    dovecot.append(a_message(1), folder="Flags")
    dovecot.append(a_message(2), folder="Flags", flags=r"(\Seen \Flagged $Work)")
    session = connect()
    session.examine("Flags")
    assert session.flags() == {1: frozenset(), 2: frozenset({"\\Seen", "\\Flagged", "$Work"})}


def test_envelopes_tell_what_a_list_shows_and_leave_no_trace(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.create("Envelopes")
    dovecot.append(a_message(1, subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", moment=JUNE), folder="Envelopes", moment=JUNE)
    session = connect()
    session.examine("Envelopes")
    (envelope,) = session.envelopes([1])
    assert (envelope.uid, envelope.subject, envelope.from_name) == (1, "Grüße", "Ada Example")
    assert (envelope.from_address, envelope.to) == ("ada@example.org", "Wim Example <wim@example.org>")
    assert envelope.received_at == envelope.sent_at == JUNE
    assert envelope.size > 100
    assert envelope.flags == frozenset()
    assert session.flags() == {1: frozenset()}


def test_poison_messages_spoil_nothing(connect: OpenImap, dovecot: Dovecot) -> None:
    poison = [
        b"",
        b"\r\n",
        b"no header at all",
        b"Subject: \xff\xfe\x80\r\n\r\n",
        b"From: " + b"<" * 5000 + b"\r\n\r\n",
        b"Subject: " + b"x" * 200_000 + b"\r\n\r\n",
        b"To: " + b"a@b.example, " * 20_000 + b"\r\n\r\n",
        b"Date: Mon, 99 Foo 0000 99:99:99 +9999\r\n\r\n",
        b"Subject: =?utf-7?b?AAAA?= =?zlib?q?x?= =?utf-8?b?/////w==?=\r\n\r\n",
        a_message(10),
    ]
    dovecot.create("Poison")
    dovecot.deliver(poison, folder="Poison")
    session = connect()
    session.examine("Poison")
    envelopes = {envelope.uid: envelope for envelope in session.envelopes(session.search())}
    assert sorted(envelopes) == list(range(1, len(poison) + 1))
    assert envelopes[10].subject == "Message 10"
    assert not any(envelope.unreadable for envelope in envelopes.values())


def test_uids_that_are_gone_or_impossible_are_left_out(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.create("Gone")
    dovecot.append(a_message(1), folder="Gone")
    session = connect()
    session.examine("Gone")
    assert [envelope.uid for envelope in session.envelopes([1, 1, 7, 0, -1, 2**32])] == [1]


def test_tls_on_a_port_that_begins_in_plain_text_is_explained(dovecot: Dovecot, rules: Rules) -> None:
    with pytest.raises(MailError, match="choose STARTTLS or port 993") as raised:
        open_imap(imap("localhost", dovecot.ports["imap"], "implicit"), rules, Deadline(20))
    assert (raised.value.category, raised.value.permanent) == (Category.TLS, True)


def test_starttls_on_a_port_that_begins_with_tls_is_explained(dovecot: Dovecot, rules: Rules) -> None:
    with pytest.raises(MailError, match="encrypted from the first byte") as raised:
        open_imap(imap("localhost", dovecot.ports["imaps"], "starttls"), rules, Deadline(3))
    assert raised.value.category is Category.TLS


def test_a_certificate_that_is_not_trusted_ends_starttls_before_the_password(
    dovecot: Dovecot, stages: list[Stage]
) -> None:
    where = imap("127.0.0.2", dovecot.ports["imap"], "starttls")
    with pytest.raises(MailError, match="authority"):
        open_imap(where, Rules(networks=LOOPBACK), Deadline(20), stages.append)
    assert stages[-1].name is StageName.TLS
    assert stages[-1].outcome is StageOutcome.FAILED


def test_the_stages_tell_what_was_learned(connect: OpenImap, dovecot: Dovecot, stages: list[Stage]) -> None:
    dovecot.append(a_message(1), user="olga@example.org", folder="Sent")
    dovecot.append(a_message(2), user="olga@example.org", folder="Sent", flags=r"(\Seen)")
    connect(user="olga@example.org").folders()
    facts = {stage.name: stage.facts for stage in stages if stage.outcome is StageOutcome.PASSED}
    assert facts[StageName.GREETING]["text"].startswith("* OK [CAPABILITY IMAP4rev1 ")
    assert facts[StageName.SIGN_IN]["mechanism"] == "PLAIN"
    assert facts[StageName.SIGN_IN]["capabilities"][:4] == ["IDLE", "CONDSTORE", "QRESYNC", "SPECIAL-USE"]
    amounts = facts[StageName.FOLDERS]
    assert amounts["folders"] == 6
    assert amounts["messages"] >= 2
    assert 1 <= amounts["unseen"] < amounts["messages"]
    assert amounts["quota"]["limit"] == 4 * 1024 * 1024
    assert 0 <= amounts["quota"]["used"] < 100


def test_a_message_is_found_in_the_inbox_and_among_junk(connect: OpenImap, dovecot: Dovecot) -> None:
    waiting, among_junk = connect(user="ada@example.org"), connect(user="ada@example.org")
    assert waiting.find("<701@example.org>") is None
    dovecot.append(a_message(701), user="ada@example.org")
    dovecot.append(a_message(702), user="ada@example.org", folder="Junk")
    assert waiting.find("<701@example.org>") == "INBOX"
    assert among_junk.find("<702@example.org>") == "Junk"
    assert among_junk.find("<703@example.org>") is None
    among_junk.examine("INBOX")
    assert not any("\\Seen" in flags for flags in among_junk.flags().values())


@pytest.mark.parametrize("message_id", ["<1@x>\r\nA1 LOGOUT", "<1\0@x>"])
def test_a_message_id_that_could_end_a_command_is_never_sent(connect: OpenImap, message_id: str) -> None:
    with pytest.raises(MailError) as raised:
        connect().find(message_id)
    assert raised.value.category is Category.CONFIG
