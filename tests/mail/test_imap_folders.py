"""The names of folders: modified UTF-7, UTF-8, names of the server's own, and very many of them."""

import time
from typing import Any

import pytest

from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Folder
from tests.mail.conftest import OpenImap
from tests.mail.test_imap_hostile import BASE, Script, signed_in
from tests.servers.dovecot import Dovecot
from tests.servers.silent import Listener, imap_script

ADA = "ada@example.org"
DONE = b"TAG OK done\r\n"


def offers(*capabilities: str) -> Script:
    """A server that signs us in and has these."""
    return BASE | {"AUTHENTICATE": (f"TAG OK [CAPABILITY IMAP4rev1 {' '.join(capabilities)}] in\r\n".encode(),)}


def surveyed(script: Script, *opened: str) -> tuple[dict[str, Folder], list[str]]:
    """The folders by path, and the commands that it took to list them and to open those of `opened`."""
    heard: list[str] = []
    with Listener(imap_script(script, heard)) as server:
        session = signed_in(server)
        folders, _ = session.survey()
        for path in opened:
            session.examine(path)
        session.close()
    return {folder.path: folder for folder in folders}, heard


def test_names_of_the_servers_own_come_with_the_list() -> None:
    listed = (
        b'* LIST () "/" INBOX\r\n* STATUS INBOX (MESSAGES 1 MAILBOXID (F2212ea87-6097))\r\n',
        b'* LIST () "/" "Old/Offers"\r\n* STATUS "Old/Offers" (MAILBOXID (F3))\r\n',
        b'* LIST () "/" Odd\r\n* STATUS Odd (MAILBOXID ("no such id"))\r\n',
        b'* LIST () "/" None\r\n* STATUS None (MAILBOXID NIL)\r\n',
        b'* LIST () "/" 2025\r\n* STATUS 2025 (MAILBOXID (2025))\r\n',
        DONE,
    )
    found, heard = surveyed(offers("LIST-STATUS", "OBJECTID", "CONDSTORE") | {"LIST": listed})
    assert {path: folder.object_id for path, folder in found.items()} == {
        "INBOX": "F2212ea87-6097", "Old/Offers": "F3", "Odd": "", "None": "", "2025": "2025",
    }  # fmt: skip
    assert any("RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID))" in line for line in heard)


def test_server_with_ids_and_without_modseq_is_asked_for_ids_alone() -> None:
    listed = (b'* LIST () "/" INBOX\r\n* STATUS INBOX (MAILBOXID (F1))\r\n', DONE)
    found, heard = surveyed(offers("LIST-STATUS", "OBJECTID") | {"LIST": listed})
    assert found["INBOX"].object_id == "F1"
    assert any("RETURN (STATUS (MAILBOXID))" in line for line in heard)


@pytest.mark.parametrize("capabilities", [["OBJECTID", "CONDSTORE"], ["LIST-STATUS"], []])
def test_nothing_is_asked_that_the_server_does_not_offer(capabilities: list[str]) -> None:
    _, heard = surveyed(offers(*capabilities) | {"LIST": (b'* LIST () "/" INBOX\r\n', DONE)})
    assert not any("STATUS" in line for line in heard)


def test_names_are_modified_utf7_and_utf8_is_understood_where_a_server_sends_it() -> None:
    listed = (
        b'* LIST () "/" "Entw&APw-rfe"\r\n',
        b'* LIST () "/" "R&-D"\r\n',
        '* LIST () "/" "Büro"\r\n'.encode(),
        b'* LIST () "/" "&ZeVnLIqe-/&U,BTFw-"\r\n',
        b'* LIST () "/" "broken &AP"\r\n',
        DONE,
    )
    paths = ("Entwürfe", "R&D", "Büro", "日本語/台北")
    found, heard = surveyed(offers() | {"LIST": listed, "EXAMINE": (DONE,)}, *paths)
    assert set(paths) <= set(found)
    assert found["日本語/台北"].name == "台北"
    assert not any("ENABLE" in line for line in heard)
    opened = [line for line in heard if "EXAMINE" in line]
    assert [line.partition('"')[2].rstrip('" ') for line in opened[:2]] == ["Entw&APw-rfe", "R&-D"]


def test_server_that_has_only_utf8_is_told_that_we_have_it_too() -> None:
    listed = ('* LIST () "/" "R&-D"\r\n* LIST (\\Drafts) "/" "Entwürfe"\r\n'.encode(), DONE)
    script: dict[str, Any] = {"LIST": listed, "ENABLE": (b"* ENABLED UTF8=ACCEPT\r\n", DONE), "EXAMINE": (DONE,)}
    found, heard = surveyed(offers("ENABLE", "UTF8=ONLY") | script, "R&-D", "Müll")
    assert set(found) == {"R&-D", "Entwürfe"}
    assert "ENABLE UTF8=ACCEPT" in " ".join(heard)
    opened = " ".join(line for line in heard if "EXAMINE" in line)
    assert '"R&-D"' in opened
    assert "M&APw-ll" not in opened


def test_real_server_takes_the_names_that_we_make(connect: OpenImap, dovecot: Dovecot) -> None:
    session = connect(user=ADA)
    for name in ("Büro & Söhne", "日本語", "emoji 📬", "a&b"):
        session.create(name)
    again = connect(user=ADA)
    listed = {folder.path for folder in again.survey()[0]}
    assert {"Büro & Söhne", "日本語", "emoji 📬", "a&b"} <= listed
    assert again.examine("emoji 📬").messages == 0


@pytest.mark.parametrize(
    ("flags", "is_virtual"),
    [(b"\\All", True), (b"\\Flagged", True), (b"\\Important \\HasNoChildren", True), (b"\\Sent", False), (b"", False)],
)
def test_folder_that_shows_the_mail_of_others_is_known_as_such(flags: bytes, is_virtual: bool) -> None:
    listed = (b"* LIST (" + flags + b') "/" "[Gmail]/Something"\r\n', DONE)
    found, _ = surveyed(offers() | {"LIST": listed})
    assert found["[Gmail]/Something"].is_virtual is is_virtual


def test_ten_thousand_folders_are_read_within_seconds() -> None:
    lines = [
        b'* LIST (\\HasNoChildren) "/" "Customers/%d"\r\n'
        b'* STATUS "Customers/%d" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 9 MAILBOXID (F%d))\r\n' % (n, n, n)
        for n in range(10_000)
    ]
    script: Script = offers("LIST-STATUS", "OBJECTID", "CONDSTORE") | {"LIST": (b"".join(lines), DONE)}
    began = time.process_time()
    found, _ = surveyed(script)
    assert len(found) == 10_000
    assert found["Customers/9999"].object_id == "F9999"
    assert time.process_time() - began < 3


def test_more_lines_than_any_mailbox_has_end_the_conversation() -> None:
    flood = b'* LIST () "/" "x"\r\n' * 200_001
    with pytest.raises(MailError):
        surveyed(offers() | {"LIST": (flood, DONE)})
