"""Through Dovecot's submission server, which knows more of the protocol than most."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailadmin import boot, db
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import Progress
from tests.access.factories import give
from tests.servers.dovecot import Dovecot
from tests.servers.post import Post
from tests.servers.smtp import Sink
from tests.sync.factories import Box
from tests.writing.factories import Desk, a_worker, parsed, words_of


@pytest.fixture
def relayed(booted: object, post: Post, tmp_path: Path) -> Iterator[tuple[Desk, Sink]]:
    """Somebody who writes as a mailbox of a Dovecot that hands on what it is given to a sink."""
    with (
        Sink(tmp_path, "none", offers_auth=False) as sink,
        Dovecot({"wim@example.org": "password"}, relay_port=sink.port) as dovecot,
    ):
        settings = boot.settings()
        rules = dataclasses.replace(settings.rules, ca_file=str(dovecot.ca_file))
        boot.start(dataclasses.replace(settings, rules=rules))
        box = Box(dovecot, "wim@example.org")
        outgoing = Server(ServerProtocol.SMTP, "127.0.0.2", dovecot.ports["submission"], TLSMode.STARTTLS)
        account = box.account("Sent", outgoing=outgoing)
        with db.transaction() as session:
            person = a_worker(session)
            give(session, person, account)
        yield Desk(person, account, box, post), sink


def test_what_is_sent_arrives_as_it_was_written(relayed: tuple[Desk, Sink]) -> None:
    desk, sink = relayed
    ids = [
        desk.sent(
            to="Jörg Ö <j@bücher.example>", subject="Grüße", text=".\n..\nä\n" * 50, files=(("ü.bin", b"\0\xff" * 9),)
        ),
        desk.sent(text="x" * 5000),
    ]
    drain_outgoing()
    assert [desk.row(id_).problem for id_ in ids] == ["", ""]
    assert {desk.progress(id_) for id_ in ids} == {Progress.SENT}
    first, second = (parsed(raw) for _, _, raw in sink.messages)
    assert str(first["To"]) == "Jörg Ö <j@xn--bcher-kva.example>"
    text, file = first.iter_parts()
    assert words_of(text) == ".\n..\nä\n" * 50
    assert (file.get_filename(), file.get_content()) == ("ü.bin", b"\0\xff" * 9)
    assert words_of(second) == "x" * 5000 + "\n"
    assert sink.messages[0][1] == ["j@xn--bcher-kva.example"]
