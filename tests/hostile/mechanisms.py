"""Servers that misbehave within the exchange of a sign-in, SCRAM (RFC 5802) above all."""

import base64
from collections.abc import Callable

from mailadmin.mail.errors import Category as C
from tests.hostile.answers import extending, offering
from tests.hostile.scenario import Scenario, imap, smtp
from tests.hostile.secret import PASSWORD
from tests.servers.hostile import Deed, Peer, challenge, say

Says = Callable[[bytes], bytes]  # from the client's nonce to the server's first message
SALT = base64.b64encode(b"salt of the sea!")
REFUSED, WELCOME = b"TAG NO [AUTHENTICATIONFAILED] no\r\n", b"TAG OK in\r\n"
NO_ROUNDS = b"1000000000"


def encoded(text: bytes) -> bytes:
    """`text` as a challenge carries it."""
    return base64.b64encode(text)


def scram(first: Says, *deeds: Deed, sign: bytes = b"+ ") -> Deed:
    """Take the client's beginning, answer with `first`, and after the client's proof do `deeds`."""

    def do(peer: Peer) -> None:
        nonce = base64.b64decode(peer.line.split()[-1]).rpartition(b"r=")[2]
        challenge(sign + encoded(first(nonce)) + b"\r\n", *deeds)(peer)

    return do


def usual(nonce: bytes) -> bytes:
    """What a proper server says first."""
    return b"r=" + nonce + b"server,s=" + SALT + b",i=4096"


def imap_scram(name: str, expected: C | set[C], first: Says, *deeds: Deed) -> Scenario:
    """A server for receiving that offers SCRAM, and PLAIN beside it, which must not be tried afterwards."""
    offers = offering(b"IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256 AUTH=PLAIN")
    return imap(f"SCRAM: {name}", expected, "sign-in", offers | {"AUTHENTICATE": scram(first, *deeds)})


def smtp_scram(name: str, expected: C | set[C], first: Says, *deeds: Deed) -> Scenario:
    """The same for sending."""
    offers = extending(b"AUTH SCRAM-SHA-256 PLAIN LOGIN")
    return smtp(f"SCRAM: {name}", expected, "sign-in", offers | {"AUTH": scram(first, *deeds, sign=b"334 ")})


FORGED = b"v=" + encoded(b"x" * 32)
EXCHANGES = [
    imap_scram("wrong password", C.AUTH, usual, say(REFUSED)),
    imap_scram("wrong password, said within", C.AUTH, usual,
               challenge(b"+ " + encoded(b"e=invalid-proof") + b"\r\n", say(REFUSED))),
    imap_scram("OK without a proof", C.PROTOCOL, usual, say(WELCOME)),
    imap_scram("a forged proof", C.PROTOCOL, usual, challenge(b"+ " + encoded(FORGED) + b"\r\n", say(WELCOME))),
    imap_scram("a nonce that is not ours", C.PROTOCOL, lambda nonce: usual(b"other"), say(WELCOME)),
    imap_scram("our nonce alone", C.PROTOCOL, lambda nonce: usual(nonce).replace(b"server", b""), say(WELCOME)),
    imap_scram("a billion rounds", C.PROTOCOL, lambda nonce: usual(nonce).replace(b"4096", NO_ROUNDS), say(WELCOME)),
    imap_scram("no rounds", C.PROTOCOL, lambda nonce: usual(nonce).replace(b"4096", b"0"), say(WELCOME)),
    imap_scram("minus one round", C.PROTOCOL, lambda nonce: usual(nonce).replace(b"4096", b"-1"), say(WELCOME)),
    imap_scram("rounds in letters", C.PROTOCOL, lambda nonce: usual(nonce).replace(b"4096", b"many"), say(WELCOME)),
    imap_scram("salt that is not base64", C.PROTOCOL, lambda nonce: usual(nonce).replace(SALT, b"%"), say(WELCOME)),
    imap_scram("nothing but a comma", C.PROTOCOL, lambda nonce: b",", say(WELCOME)),
    imap_scram("not UTF-8", C.PROTOCOL, lambda nonce: b"\xff\xfe", say(WELCOME)),
    imap_scram("an empty challenge", C.PROTOCOL, lambda nonce: b"", say(WELCOME)),
    smtp_scram("wrong password", C.AUTH, usual, say(b"535 5.7.8 no\r\n")),
    smtp_scram("OK without a proof", C.PROTOCOL, usual, say(b"235 in\r\n")),
    smtp_scram("a forged proof", C.PROTOCOL, usual, challenge(b"334 " + encoded(FORGED) + b"\r\n", say(b"235 in\r\n"))),
    smtp_scram("a nonce that is not ours", C.PROTOCOL, lambda nonce: usual(b"other"), say(b"235 in\r\n")),
    imap("a challenge that is not base64", C.PROTOCOL, "sign-in",
         offering(b"IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256") | {"AUTHENTICATE": challenge(b"+ %%%\r\n", say(REFUSED))}),
    imap("password in a refusal after a challenge", C.AUTH, "sign-in",
         offering(b"IMAP4rev1 AUTH=PLAIN")
         | {"AUTHENTICATE": challenge(b"+ \r\n", say(b"TAG NO wrong: " + PASSWORD.encode() + b"\r\n"))}),
    imap("password in a refusal of LOGIN", C.AUTH, "sign-in",
         offering(b"IMAP4rev1") | {"LOGIN": say(b"TAG NO wrong: " + PASSWORD.encode() + b"\r\n")}),
    smtp("password in a refusal of AUTH LOGIN", C.AUTH, "sign-in",
         extending(b"AUTH LOGIN")
         | {"AUTH": challenge(b"334 VXNlcm5hbWU6\r\n", challenge(b"334 UGFzc3dvcmQ6\r\n",
            say(b"535 wrong: " + encoded(PASSWORD.encode()) + b"\r\n")))}),
    smtp("AUTH LOGIN asks a third time", {C.PROTOCOL, C.AUTH}, "sign-in",
         extending(b"AUTH LOGIN")
         | {"AUTH": challenge(b"334 VXNlcm5hbWU6\r\n", challenge(b"334 UGFzc3dvcmQ6\r\n",
            challenge(b"334 UGFzc3dvcmQ6\r\n", say(b"535 no\r\n"))))}),
]  # fmt: skip
