"""Servers that say the password back: after the real job it is nowhere, neither in plain letters nor in base64."""

import logging
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from mailadmin import db, queue
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import Leg
from mailadmin.config import Settings
from mailadmin.connections import service as connections
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check
from mailadmin.mail.types import Direction, Password, Server
from mailadmin.permissions import SYSTEM
from tests.connections.factories import a_check, an_account
from tests.hostile.secret import PASSWORD, USER, forms_in
from tests.hostile.table import ALL
from tests.pages import Browser
from tests.servers.crowd import Crowd

# What receiving does, and what sending does. Sending does not sign in with a password that receiving has just refused.
PAIRS = [
    ("password in a refusal", "password in a refusal"),
    ("password in an alert", "password in base64"),
    ("password in base64", "a proper server"),
    ("password among control characters", "a proper server"),
    ("password over and over", "a proper server"),
    ("password in an alert on success", "password in a refusal"),
    ("password in an alert before success", "password in lines"),
    ("password in the capabilities after sign-in", "password in 500"),
    ("password in the refusal of LIST", "password in base64"),
    ("password in BYE at LIST", "password in success"),
    ("password in the greeting", "password in the greeting"),
    ("password in BYE for a greeting", "password in 421 for a greeting"),
    ("pop3 implicit: password in a refusal", "a proper server"),
    ("pop3 implicit: password in the greeting", "password in a refusal"),
]
UNSAVED = ("password in an alert before success", "password in lines")


def test_the_password_is_nowhere_after_the_job(
    ada_at: Browser,
    app: Flask,
    crowd: Crowd,
    booted: Settings,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    accounts = [an_echoing_account(crowd, number, *pair) for number, pair in enumerate(PAIRS)]
    ada_at.post(f"/accounts/{accounts[0].id}/connection")
    for account in accounts[1:]:
        a_check(account)  # Clicks on all of them would be too many in a minute.
    with db.transaction() as session:
        legs = {d: Leg(server, Password(USER, PASSWORD)) for d, server in servers_of(crowd, *UNSAVED).items()}
        connections.request_draft_check(session, legs=legs, address="new@example.org", actor=SYSTEM)
    queued = list(everything_queued())
    assert any("drain_checks" in text for text in queued)
    drain_checks()
    assert masked_checks() >= len(PAIRS) - 2
    found = {
        "queue": leaks([*queued, *everything_queued()]),
        "database": leaks(everything_stored()),
        "files": leaks(whole_files(booted)),
        "pages": leaks(everything_shown(ada_at, app)),
        "logs": leaks([caplog.text, *capfd.readouterr()]),
    }
    assert {place: texts for place, texts in found.items() if texts} == {}


def an_echoing_account(crowd: Crowd, number: int, receiving: str, sending: str) -> Account:
    """A stored account whose servers say its password."""
    servers = servers_of(crowd, receiving, sending).values()
    return an_account(*servers, address=f"wim{number}@example.org", username=USER, password=PASSWORD)


def servers_of(crowd: Crowd, receiving: str, sending: str) -> dict[Direction, Server]:
    """Where these two are played."""
    incoming = receiving if ":" in receiving else f"imap implicit: {receiving}"
    names = {Direction.INCOMING: incoming, Direction.OUTGOING: f"smtp implicit: {sending}"}
    return {direction: ALL[name].server(crowd.ports[name]) for direction, name in names.items()}


def masked_checks() -> int:
    """How many finished checks show that the server said something that was masked."""
    with db.reading() as session:
        checks = session.scalars(select(Check).where(Check.finished_at.is_not(None))).all()
        assert len(checks) == len(PAIRS) + 1
        return sum("***" in str([check.stages, check.diagnosis]) for check in checks)


def leaks(texts: Iterable[str]) -> list[str]:
    """The surroundings of each form of the password in `texts`."""
    return [text[max(text.find(form) - 150, 0) :][:300] for text in texts for form in forms_in(text)]


def everything_stored() -> Iterator[str]:
    """Every row of every table."""
    with db.reading() as session:
        for table in db.Base.metadata.sorted_tables:
            for row in session.execute(select(table)).mappings():
                yield f"{table.name}: {dict(row)}"


def whole_files(settings: Settings) -> Iterator[str]:
    """What stands in the files of the database, also where rows were deleted."""
    if settings.database_url.startswith("sqlite"):
        base = Path(settings.database_url.removeprefix("sqlite:///"))
        for path in base.parent.glob(f"{base.name}*"):
            # In a process of its own: closing a file ends all locks of a process on it (POSIX), also those of SQLite.
            yield subprocess.run(["cat", path], stdout=subprocess.PIPE, check=True).stdout.decode("latin-1")


def everything_queued() -> Iterator[str]:
    """Every key of the queue with its value; RQ compresses what it keeps."""
    redis = queue.connection()
    readers: dict[Any, Any] = {
        b"string": lambda key: [redis.get(key)],
        b"hash": lambda key: [part for pair in redis.hgetall(key).items() for part in pair],
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": lambda key: [str(redis.xrange(key)).encode()],
    }
    for key in redis.keys("*"):
        for value in (key, *readers[redis.type(key)](key)):
            yield value.decode("latin-1")
            with suppress(zlib.error):
                yield zlib.decompress(value).decode("latin-1")


def everything_shown(browser: Browser, app: Flask) -> Iterator[str]:
    """Every page that can be asked for with an account and a check, or with nothing."""
    with db.reading() as session:
        checks = [(check.account_id or 0, check.id) for check in session.scalars(select(Check))]
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    wanted = [rule for rule in rules if rule.arguments <= {"account_id", "check_id"}]
    places = [rule.build({"account_id": account, "check_id": check}) for rule in wanted for account, check in checks]
    statuses = []
    for path in {path for _, path in filter(None, places)}:
        page = browser._client.get(path)  # Not read strictly, which takes long, and other tests do.
        statuses.append(page.status_code)
        yield page.get_data(as_text=True)
    assert statuses.count(200) > 4 * len(checks)
