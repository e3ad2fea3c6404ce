"""However much a mailbox holds, a runner needs little memory for it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.sync import Ours
from tests.servers.dovecot import Dovecot, a_message

WIM = "wim@example.org"
CROWD = ",\r\n ".join(f"Person {number} <p{number}@example.org>" for number in range(1900)).encode()


def crowded(number: int) -> bytes:
    """A message with as much in its header as is ever asked for."""
    return a_message(number).replace(b"To: ", b"To: " + CROWD + b",\r\n ", 1)


@pytest.mark.slow
def test_runner_needs_at_most_200_megabytes_however_large_headers_are(tmp_path: Path) -> None:
    moment = datetime.now(UTC)
    mails: Iterator[bytes] = (crowded(number) for number in range(700))
    with Dovecot({WIM: "password"}) as server:
        server.deliver(((mail, moment) for mail in mails), user=WIM)
        ours = Ours(server, [WIM], tmp_path, ["INBOX"])
        told = ours.tell("sync")
        ours.close()
    assert told["new"] == 700
    assert told["megabytes"] <= 200, told
