"""A sync that is killed again and again, at any moment, while the mailbox changes: nothing lost, nothing doubled."""

import json
import random
import subprocess
import sys
import time
from typing import Any

import pytest

from mailadmin.config import Settings
from tests.conftest import SECRET_KEY, both_databases
from tests.real import COMMAND, environment
from tests.sync.factories import Box, flags_of, messages_of

KILLS = 15


def variables(settings: Settings) -> dict[str, str]:
    """The environment of a process that works for the installation under test."""
    return environment(
        DATABASE_URL=settings.database_url,
        REDIS_URL=settings.redis_url,
        SECRET_KEY=SECRET_KEY,
        MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8",
        MAILADMIN_CA_FILE=str(settings.rules.ca_file),
    )


def a_sync(address: str, settings: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "accounts", "sync", address, "--json"], env=variables(settings), stdout=subprocess.PIPE
    )


def last_words(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=60)
    return dict(json.loads(said))


@pytest.mark.slow
@both_databases
def test_sync_killed_at_random_moments_stores_exactly_what_the_server_has(booted: Settings, box: Box) -> None:
    chance = random.Random(2026)
    box.deliver(6000)
    account = box.account()
    for kill in range(KILLS):
        process = a_sync(box.user, booted)
        # The first second and a half goes into starting Python; after that every moment is a good one.
        time.sleep(chance.uniform(0.8, 3.0))
        process.kill()
        process.communicate()
        box.deliver(20)
        uids = [str(uid) for uid in chance.sample(sorted(box.flags()), 10)]
        deleted, flagged = ",".join(uids[:5]), ",".join(uids[5:])
        box.do(("STORE", deleted, "+FLAGS", "\\Deleted"), ("EXPUNGE",), ("STORE", flagged, "+FLAGS", "\\Flagged"))
        print(f"kill {kill + 1}: {len(messages_of(account))} stored", file=sys.stderr)
    ended = last_words(a_sync(box.user, booted))
    on_server = box.flags()
    assert ended["outcome"] == "complete"
    assert ended["stored"] == len(on_server)
    assert flags_of(account) == on_server
