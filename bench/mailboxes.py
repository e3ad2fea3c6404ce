"""Mailboxes for measuring: the same ones each time, with headers as mail has them that went through the world.

A message of `realistic` has 2 to 4 KB of header (three Received, a signature, results of checks, now and then a list,
ten recipients, or words beyond ASCII) and a body in which nobody is interested. Small ones have 200 bytes in all.
"""

import email.header
import email.utils
import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.servers.dovecot import Dovecot, a_message

FOLDERS = ("INBOX", "Sent", "Archive", "Projects", "Projects/Harbour", "Invoices", "Lists", "Travel")
SHARES = (30, 15, 20, 10, 5, 8, 10, 2)  # percent of the messages, by folder
_NAMES = ("Ada Lindqvist", "Wim de Boer", "Olga Petrova", "Mia Schröder", "Jean-Luc Béranger", "Sam O'Neill", "李小龍")
_WORDS = (
    "offer",
    "order",
    "invoice",
    "meeting",
    "harbour",
    "minutes",
    "question",
    "answer",
    "delivery",
    "Größe",
    "план",
)
_HOSTS = ("example.org", "example.net", "mail.example.com", "harbour.example", "lists.example.org")


def shares(count: int) -> dict[str, int]:
    """How many of `count` messages each folder gets."""
    parts = {folder: count * share // 100 for folder, share in zip(FOLDERS, SHARES, strict=True)}
    parts["INBOX"] += count - sum(parts.values())
    return parts


def deliver(server: Dovecot, address: str, parts: dict[str, int], moment: datetime, *, body: int | None) -> None:
    """Fill the folders of `address`; `body` is the mean size of bodies in bytes, or None for small messages."""
    chance, number = random.Random(20), 0
    for folder, count in parts.items():
        if folder != "INBOX":
            server.create(folder, address)
        raw = (_either(number + n, chance, body) for n in range(count))
        dated = ((one, moment - timedelta(minutes=count - n)) for n, one in enumerate(raw))
        server.deliver(dated, user=address, folder=folder, flags=chance.choice(("", "S", "S", "SR")))
        number += count


def _either(number: int, chance: random.Random, body: int | None) -> bytes:
    return a_message(number) if body is None else realistic(number, chance, body)


def realistic(number: int, chance: random.Random, body: int) -> bytes:
    """One message; `body` is the mean size of its text in bytes."""
    text = b"Nothing but a line of text that fills the room.\r\n" * chance.randrange(1, 2 * body // 50 + 2)
    return "\r\n".join(_header(number, chance)).encode() + b"\r\n\r\n" + text


def _header(number: int, chance: random.Random) -> Iterator[str]:
    host = chance.choice(_HOSTS)
    date = email.utils.format_datetime(datetime(2026, 1, 1).astimezone() + timedelta(minutes=number))
    yield f"Return-Path: <bounce-{number}@{host}>"
    for hop in range(3):
        yield f"Received: from mx{hop}.{host} (mx{hop}.{host} [192.0.2.{hop}])"
        yield f"\tby mx{hop + 1}.example.org (Postfix) with ESMTPS id {chance.getrandbits(64):016X}"
        yield f"\tfor <wim@example.org>; {date}"
    yield f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={host}; s=s1;"
    yield "\th=From:To:Subject:Date:Message-ID; bh=" + "A" * 44 + "=;"
    yield from (f"\tb={chance.getrandbits(250):062x}" for _ in range(6))
    yield f"Authentication-Results: mx.example.org; dkim=pass header.d={host}; spf=pass smtp.mailfrom={host}"
    yield f"From: {_person(chance, host)}"
    yield "To: " + ",\r\n\t".join(_person(chance, h) for h in chance.choices(_HOSTS, k=chance.choice((1, 1, 1, 2, 10))))
    if chance.random() < 0.2:
        yield f"Cc: {_person(chance, host)}"
    yield f"Subject: {_encoded(' '.join(chance.choices(_WORDS, k=chance.randrange(2, 7))))}"
    yield f"Date: {date}"
    yield f"Message-ID: <{chance.getrandbits(96):024x}.{number}@{host}>"
    if chance.random() < 0.15:
        yield f"List-Id: Everything about harbours <harbour.{host}>"
        yield f"List-Unsubscribe: <mailto:leave@{host}>, <https://{host}/leave/{number}>"
    yield "MIME-Version: 1.0"
    yield "Content-Type: text/plain; charset=utf-8"
    yield f"X-Spam-Status: No, score=-1.{number % 10} required=5.0 tests=BAYES_00,DKIM_SIGNED,DKIM_VALID"


def _person(chance: random.Random, host: str) -> str:
    """One of 2,000 people, of whom few write often and most seldom."""
    number = min(int(chance.paretovariate(0.6)), 2000)
    local, name = f"p{number}@{host}", _NAMES[number % len(_NAMES)]
    return local if number % 10 == 0 else f"{_encoded(name)} <{local}>"


def _encoded(text: str) -> str:
    """`text` as a header writes it: beyond ASCII in encoded words (RFC 2047), as mail programs cut them."""
    if text.isascii():
        return text
    lines = email.header.Header(text, "utf-8", maxlinelen=70).encode()
    return lines.replace("\n", "\r\n")
