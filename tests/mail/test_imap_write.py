"""Copies and new folders, on a real Dovecot and on servers that want it another way."""

from datetime import UTC, datetime

import pytest

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap_write import usual_prefix
from mailadmin.mail.types import Folder, Role
from tests.mail.conftest import OpenImap
from tests.mail.test_imap_hostile import BASE, signed_in
from tests.servers.dovecot import a_message
from tests.servers.silent import Listener, imap_script

JUNE = datetime(2026, 6, 5, 12, 30, tzinfo=UTC)
MIA = "mia@example.org"


def test_a_message_is_put_where_it_belongs_with_its_date_and_flags(connect: OpenImap) -> None:
    session = connect(user=MIA)
    session.create("Gesendete Objekte/Café")
    uid = session.append("Gesendete Objekte/Café", a_message(77), flags=("\\Seen", "$Copy"), moment=JUNE)
    assert session.holds("Gesendete Objekte/Café", "<77@example.org>")
    assert not session.holds("Gesendete Objekte/Café", "<78@example.org>")
    [envelope] = session.envelopes([uid or 0])
    assert (envelope.received_at, envelope.flags) == (JUNE, frozenset({"\\Seen", "$Copy"}))


def test_a_folder_that_is_there_already_is_as_good_as_a_new_one(connect: OpenImap) -> None:
    session = connect(user=MIA)
    session.create("Drafts", Role.DRAFTS)
    session.create("Drafts", Role.DRAFTS)
    assert session.examine("Drafts").messages == 0


def test_a_folder_that_is_not_there_is_no_place_for_a_message(connect: OpenImap) -> None:
    session = connect(user=MIA)
    with pytest.raises(MailError) as raised:
        session.append("Nowhere", a_message(1), moment=JUNE)
    assert raised.value.category is Category.CONFIG
    assert session.folders(counts=False), "the session goes on"


def test_an_impossible_name_is_refused_before_it_is_sent(connect: OpenImap) -> None:
    with pytest.raises(MailError, match="line break"):
        connect(user=MIA).create("Sent\r\nA1 DELETE INBOX")


def heard_of(script: dict[str, tuple[bytes, ...]], capabilities: bytes) -> tuple[Listener, list[str]]:
    heard: list[str] = []
    offers = (b"TAG OK [CAPABILITY IMAP4rev1 " + capabilities + b"] in\r\n",)
    return Listener(imap_script(BASE | {"AUTHENTICATE": offers} | script, heard)), heard


@pytest.mark.parametrize("takes_uses", [True, False])
def test_the_server_is_told_what_a_new_folder_is_for_where_it_listens(takes_uses: bool) -> None:
    answer = (b"TAG OK done\r\n",) if takes_uses else (b"TAG NO [USEATTR] no\r\n",)
    server, heard = heard_of({"CREATE": answer, "SUBSCRIBE": (b"TAG OK done\r\n",)}, b"CREATE-SPECIAL-USE")
    with server:
        session = signed_in(server)
        if takes_uses:
            session.create("Sent", Role.SENT)
        else:
            with pytest.raises(MailError):
                session.create("Sent", Role.SENT)
        session.close()
    created = [line for line in heard if line.startswith("CREATE")]
    assert created == ['CREATE "Sent" (USE (\\Sent))', *([] if takes_uses else ['CREATE "Sent"'])]


@pytest.mark.parametrize(
    ("answer", "capabilities", "place"),
    [
        (b'* NAMESPACE (("INBOX." ".")) NIL NIL\r\n', b"NAMESPACE", "INBOX.Sent"),
        (b'* NAMESPACE (("" "/")) NIL NIL\r\n', b"NAMESPACE", "Sent"),
        (b"* NAMESPACE NIL NIL NIL\r\n", b"NAMESPACE", "INBOX/Sent"),
        (b"", b"UIDPLUS", "INBOX/Sent"),
    ],
)
def test_a_new_folder_goes_below_the_prefix_of_our_own(answer: bytes, capabilities: bytes, place: str) -> None:
    server, _ = heard_of({"NAMESPACE": (answer, b"TAG OK done\r\n")}, capabilities)
    listed = [Folder("INBOX", "INBOX", "/"), Folder("INBOX/Old", "Old", "/")]
    with server:
        session = signed_in(server)
        assert session.place_for("Sent", listed) == place
        session.close()


@pytest.mark.parametrize(
    ("paths", "prefix"),
    [([], ""), (["INBOX"], ""), (["INBOX", "INBOX.Sent"], "INBOX."), (["INBOX", "INBOX.Sent", "Shared"], "")],
)
def test_where_a_server_is_silent_its_other_folders_tell_the_prefix(paths: list[str], prefix: str) -> None:
    assert usual_prefix((path, ".") for path in paths) == prefix


def test_a_server_without_room_says_so_before_the_message_is_sent() -> None:
    server, heard = heard_of({"APPEND": (b"TAG NO [OVERQUOTA] full\r\n",)}, b"LITERAL+")
    with server:
        session = signed_in(server)
        with pytest.raises(MailError) as raised:
            session.append("Sent", a_message(1), flags=("\\Seen",), moment=JUNE)
        session.close()
    assert raised.value.category is Category.QUOTA
    size = len(a_message(1))
    assert heard[-2].startswith(f'APPEND "Sent" (\\Seen) "05-Jun-2026 12:30:00 +0000" {{{size}}}'[:52])
    assert heard[-1] == "LOGOUT", "not a word of the message"
