"""POP3 servers that misbehave: in time and size, at the end, in encryption, in what they refuse, offer and say back."""

from functools import partial

from mailadmin.mail.errors import Category as C
from tests.hostile.encrypted import GARBAGE, LATER, NO_STARTTLS, OTHER_PIN, beneath
from tests.hostile.endings import BANNERS, GONE, MISPLACED
from tests.hostile.mechanisms import FORGED, NO_ROUNDS, SALT, encoded, scram, usual
from tests.hostile.scenario import PASSES, Scenario, pop3
from tests.hostile.secret import PASSWORD, PLAIN, USER
from tests.servers.encryption import UNTRUSTED
from tests.servers.hostile import (
    Deed,
    Peer,
    again_and_again,
    challenge,
    close,
    drip,
    encrypt,
    flood,
    hello_then,
    reset,
    say,
    silence,
    then,
)

pop3_stls = partial(pop3, mode="starttls")
LONG = b"x" * 3000
RAW = PASSWORD.encode()


def offering(*lines: bytes) -> dict[str, Deed]:
    """A server with these capabilities."""
    return {"CAPA": say(b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n")}


def refusing(text: bytes) -> dict[str, Deed]:
    """A server that answers the sign-in with `text`."""
    return {"AUTH": challenge(b"+ \r\n", say(text + b"\r\n"))}


USER_ONLY = offering(b"USER", b"UIDL", b"TOP")
POP3_HANGING = [
    pop3("silence from the start", C.TIMEOUT, "tls", {"tls": silence}),
    pop3("silence in place of the greeting", C.TIMEOUT, "greeting", {"greeting": silence}),
    pop3("silence after CAPA", C.TIMEOUT, "greeting", {"CAPA": silence}),
    pop3("CAPA that never ends", C.TIMEOUT, "greeting", {"CAPA": then(say(b"+OK\r\nUIDL\r\n"), silence)}),
    pop3("CAPA that ends with LF alone", C.TIMEOUT, "greeting", {"CAPA": then(say(b"+OK\r\nUIDL\n.\n"), silence)}),
    pop3("silence at sign-in", C.TIMEOUT, "sign-in", {"AUTH": silence}),
    pop3("silence after a challenge", C.TIMEOUT, "sign-in", {"AUTH": challenge(b"+ \r\n", silence)}),
    pop3("silence at USER", C.TIMEOUT, "sign-in", USER_ONLY | {"USER": silence}),
    pop3("silence at PASS", C.TIMEOUT, "sign-in", USER_ONLY | {"PASS": silence}),
    pop3("silence at STAT", C.TIMEOUT, "folders", {"STAT": silence}),
    pop3("silence at UIDL", C.TIMEOUT, "folders", offering(b"USER") | {"UIDL": silence}),
    pop3("silence at QUIT", PASSES, "", {"QUIT": silence}),
    pop3("dripping greeting", C.TIMEOUT, "greeting", {"greeting": drip(b"+OK " + LONG)}),
    pop3("dripping greeting of many bytes", C.TIMEOUT, "greeting", {"greeting": drip(b"+OK " + LONG, 0.05)}),
    pop3("dripping CAPA", C.TIMEOUT, "greeting", {"CAPA": drip(b"+OK\r\n" + LONG, 0.1)}),
    pop3("dripping sign-in", C.TIMEOUT, "sign-in", {"AUTH": drip(b"+OK " + LONG, 0.1)}),
    pop3("tarpit of capabilities", C.TIMEOUT, "greeting",
         {"CAPA": then(say(b"+OK\r\n"), again_and_again(b"X-WAIT\r\n"))}),
    pop3_stls("silence from the start", C.TIMEOUT, "greeting", {"greeting": silence}),
    pop3_stls("silence at STLS", C.TIMEOUT, "tls", {"STLS": silence}),
    pop3_stls("silence after STLS", C.TIMEOUT, "tls", {"STLS": then(say(b"+OK go\r\n"), silence)}),
    pop3_stls("TLS from the first byte", C.TLS, "greeting", {}, implicit=True),
]  # fmt: skip

POP3_FLOODS = [
    pop3("endless greeting without a line break", C.PROTOCOL, "greeting", {"greeting": flood(b"+OK ", b"x")}),
    pop3("endless NUL for a greeting", C.PROTOCOL, "greeting", {"greeting": flood(b"", b"\0")}),
    pop3("endless line in CAPA", C.PROTOCOL, "greeting", {"CAPA": flood(b"+OK\r\n", b"x")}),
    pop3("endless lines in CAPA", C.PROTOCOL, "greeting", {"CAPA": flood(b"+OK\r\n", b"X-MORE\r\n")}),
    pop3("endless empty lines in CAPA", C.PROTOCOL, "greeting", {"CAPA": flood(b"+OK\r\n", b"\r\n")}),
    pop3("endless dots in CAPA", C.PROTOCOL, "greeting", {"CAPA": flood(b"+OK\r\n", b"..\r\n")}),
    pop3("endless line at sign-in", C.PROTOCOL, "sign-in", {"AUTH": flood(b"+OK ", b"y")}),
    pop3("endless challenges at sign-in", C.PROTOCOL, "sign-in", {"AUTH": flood(b"", b"+ \r\n")}),
    pop3("endless challenge at sign-in", C.PROTOCOL, "sign-in", {"AUTH": flood(b"+ ", b"QUJD")}),
    pop3("endless line at STAT", C.PROTOCOL, "folders", {"STAT": flood(b"+OK 3", b"0")}),
    pop3("endless names of an empty mailbox", C.PROTOCOL, "folders",
         offering(b"USER") | {"STAT": say(b"+OK 0 0\r\n"), "UIDL": flood(b"+OK\r\n", b"1 a\r\n")}),
    pop3("endless goodbye", PASSES, "", {"QUIT": flood(b"", b"+OK bye\r\n")}),
    pop3_stls("endless greeting", C.PROTOCOL, "greeting", {"greeting": flood(b"+OK ", b"x")}),
    pop3_stls("endless CAPA", C.PROTOCOL, "greeting", {"CAPA": flood(b"+OK\r\n", b"X\r\n")}),
]  # fmt: skip


def leaving(how: str, leave: Deed) -> list[Scenario]:
    """The same end at every step."""
    return [
        pop3(f"{how} at once", GONE, "tcp or tls", {"accept": leave}),
        pop3(f"{how} after the handshake", C.NETWORK, "greeting", {"tls": then(encrypt, leave)}),
        pop3(f"{how} in the greeting", C.NETWORK, "greeting", {"greeting": then(say(b"+OK hel"), leave)}),
        pop3(f"{how} after the greeting", C.NETWORK, "greeting", {"CAPA": leave}),
        pop3(f"{how} in CAPA", C.NETWORK, "greeting", {"CAPA": then(say(b"+OK\r\nUID"), leave)}),
        pop3(f"{how} before the end of CAPA", C.NETWORK, "greeting", {"CAPA": then(say(b"+OK\r\nUIDL\r\n"), leave)}),
        pop3(f"{how} at sign-in", C.NETWORK, "sign-in", {"AUTH": leave}),
        pop3(f"{how} after a challenge", C.NETWORK, "sign-in", {"AUTH": challenge(b"+ \r\n", leave)}),
        pop3(f"{how} in the answer to the sign-in", C.NETWORK, "sign-in", {"AUTH": then(say(b"+O"), leave)}),
        pop3(f"{how} after USER", C.NETWORK, "sign-in", USER_ONLY | {"USER": leave}),
        pop3(f"{how} after PASS", C.NETWORK, "sign-in", USER_ONLY | {"PASS": leave}),
        pop3(f"{how} at STAT", C.NETWORK, "folders", {"STAT": leave}),
        pop3(f"{how} in STAT", C.NETWORK, "folders", {"STAT": then(say(b"+OK 3"), leave)}),
        pop3(f"{how} at QUIT", PASSES, "", {"QUIT": leave}),
        pop3_stls(f"{how} at once", C.NETWORK, "tcp or greeting", {"accept": leave}),
        pop3_stls(f"{how} at STLS", {C.NETWORK, C.TLS}, "tls", {"STLS": leave}),
        pop3_stls(f"{how} after STLS", GONE, "tls", {"STLS": then(say(b"+OK go\r\n"), leave)}),
        pop3_stls(f"{how} inside", C.NETWORK, "tls or sign-in", {"inside": leave}),
    ]  # fmt: skip


def elsewhere() -> list[Scenario]:
    """Other protocols on the port: inside TLS, in place of TLS, and where STLS was expected."""
    found = []
    for name, banner in BANNERS.items():
        found += [
            pop3(f"{name} inside", C.PROTOCOL, "greeting", {"greeting": then(say(banner), close)}),
            pop3(f"{name} in place of TLS", C.TLS, "tls", {"tls": then(say(banner), hello_then(close))}),
            pop3_stls(name, C.PROTOCOL, "greeting", {"greeting": then(say(banner), close)}),
        ]
    for name, banner in (("IMAP", b"* OK IMAP4rev1 secret banner\r\n"), ("SMTP", b"220 mx ESMTP secret banner\r\n")):
        found += [
            pop3(f"{name} on the port", MISPLACED, "greeting", {"greeting": say(banner)}),
            pop3_stls(f"{name} on the port", MISPLACED, "greeting", {"greeting": say(banner)}),
        ]
    return found


BAD_TLS = [
    *(pop3(f"certificate: {kind}", C.TLS, "tls", {}, tls=kind) for kind in sorted(UNTRUSTED)),
    *(pop3_stls(f"certificate: {kind}", C.TLS, "tls", {}, tls=kind) for kind in sorted(UNTRUSTED)),
    pop3("another certificate than the pinned one", C.TLS, "tls", {}, trust=OTHER_PIN),
    pop3_stls("another certificate than the pinned one", C.TLS, "tls", {}, trust=OTHER_PIN),
    pop3("garbage in place of the greeting", GONE, "greeting", {"greeting": beneath(GARBAGE)}),
    pop3("plain text at sign-in", GONE, "sign-in", {"AUTH": beneath(b"+OK in\r\n")}),
    pop3("plain text without leave", C.POLICY, "dns", {}, mode="none"),
    pop3_stls("stripped", C.UNSUPPORTED, "tls", offering(b"USER", b"SASL PLAIN", b"UIDL")),
    pop3_stls("stripped with CAPA", C.UNSUPPORTED, "tls", {"CAPA": say(b"-ERR unknown\r\n")}),
    pop3_stls("refused", NO_STARTTLS, "tls", {"STLS": say(b"-ERR what\r\n")}),
    pop3_stls("refused for now", LATER, "tls", {"STLS": say(b"-ERR [SYS/TEMP] not now\r\n")}),
    pop3_stls("signed in already, it says", NO_STARTTLS, "tls",
         {"STLS": say(b"-ERR Command not permitted when already authenticated\r\n")}),
    pop3_stls("a greeting that signs us in", PASSES, "", {"greeting": say(b"+OK welcome, you are signed in\r\n")}),
    pop3_stls("injected: capabilities behind the +OK", C.TLS, "tls",
         {"STLS": then(say(b"+OK go\r\n+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n"), encrypt)}),
    pop3_stls("injected: one byte behind the +OK", C.TLS, "tls", {"STLS": then(say(b"+OK go\r\nx"), encrypt)}),
    pop3_stls("injected: the end of the sign-in", C.TLS, "tls", {"STLS": then(say(b"+OK go\r\n+OK in\r\n"), encrypt)}),
    pop3_stls("injected: 100 kB behind the +OK", C.TLS, "tls",
         {"STLS": then(say(b"+OK go\r\n" + b"+OK\r\n" * 20_000), encrypt)}),
    pop3_stls("agreed, and plain text goes on", C.TLS, "tls",
         {"STLS": then(say(b"+OK go\r\n"), hello_then(say(b"+OK in\r\n")))}),
    pop3_stls("capabilities from before are forgotten", C.UNSUPPORTED, "sign-in",
         {"CAPA": lambda peer: peer.send(
             b"+OK\r\n%s\r\n.\r\n" % (b"SASL GSSAPI" if peer.is_encrypted else b"STLS\r\nUSER\r\nSASL PLAIN"))}),
]  # fmt: skip

REFUSALS = [
    pop3("-ERR [AUTH]", C.AUTH, "sign-in", refusing(b"-ERR [AUTH] no")),
    pop3("-ERR without a word", C.AUTH, "sign-in", refusing(b"-ERR")),
    pop3("-ERR in lower case", C.AUTH, "sign-in", refusing(b"-err no")),
    pop3("-ERR [SYS/TEMP]", C.UNAVAILABLE, "sign-in", refusing(b"-ERR [SYS/TEMP] authentication failed")),
    pop3("-ERR [SYS/PERM]", {C.CONFIG, C.PERMISSION}, "sign-in", refusing(b"-ERR [SYS/PERM] authentication failed")),
    pop3("-ERR [IN-USE]", C.UNAVAILABLE, "sign-in", refusing(b"-ERR [IN-USE] no")),
    pop3("-ERR [LOGIN-DELAY]", C.THROTTLED, "sign-in", refusing(b"-ERR [LOGIN-DELAY] no")),
    pop3("-ERR too many", C.THROTTLED, "sign-in", refusing(b"-ERR Too many connections")),
    pop3("an unknown code", C.AUTH, "sign-in", refusing(b"-ERR [X-NEVER-HEARD] no")),
    pop3("+OK after -ERR", C.AUTH, "sign-in", refusing(b"-ERR [AUTH] no\r\n+OK in")),
    pop3("-ERR after +OK", C.PROTOCOL, "sign-in or folders", refusing(b"+OK in\r\n-ERR no")),
    pop3("-ERR for USER", C.AUTH, "sign-in", USER_ONLY | {"USER": say(b"-ERR no such user\r\n")}),
    pop3("two +OK for USER", PASSES, "", USER_ONLY | {"USER": say(b"+OK\r\n+OK\r\n"), "PASS": lambda peer: None}),
    pop3("-ERR for PASS", C.AUTH, "sign-in", USER_ONLY | {"PASS": say(b"-ERR no\r\n")}),
    pop3("-ERR for a greeting", C.UNAVAILABLE, "greeting", {"greeting": then(say(b"-ERR go away\r\n"), close)}),
    pop3("-ERR too many for a greeting", C.THROTTLED, "greeting",
         {"greeting": then(say(b"-ERR Too many connections from your address\r\n"), close)}),
    pop3("-ERR at STAT", {C.PROTOCOL, C.UNAVAILABLE}, "folders", {"STAT": say(b"-ERR no\r\n")}),
    pop3("-ERR [IN-USE] at STAT", C.UNAVAILABLE, "folders", {"STAT": say(b"-ERR [IN-USE] locked\r\n")}),
    pop3("minus three messages", C.PROTOCOL, "folders", {"STAT": say(b"+OK -3 300\r\n")}),
    pop3("10^30 messages", C.PROTOCOL, "folders", {"STAT": say(b"+OK 1%s 300\r\n" % (b"0" * 30))}),
    pop3("four billion messages", C.PROTOCOL, "folders", {"STAT": say(b"+OK 4000000000 300\r\n")}),
    pop3("messages in letters", C.PROTOCOL, "folders", {"STAT": say(b"+OK three 300\r\n")}),
    pop3("a count with a zero byte", C.PROTOCOL, "folders", {"STAT": say(b"+OK 3\0 300\r\n")}),
    pop3("STAT without a size", PASSES, "", {"STAT": say(b"+OK 3\r\n")}),
    pop3("no UIDL", C.UNSUPPORTED, "folders", offering(b"USER") | {"UIDL": say(b"-ERR unknown command\r\n")}),
    pop3("no UIDL just now", C.UNAVAILABLE, "folders", offering(b"USER") | {"UIDL": say(b"-ERR [SYS/TEMP] no\r\n")}),
    pop3("nonsense at CAPA", C.PROTOCOL, "greeting", {"CAPA": then(say(b"\xff\0\x80?\r\n"), close)}),
    pop3("nonsense at sign-in", C.PROTOCOL, "sign-in", {"AUTH": then(say(b"\xff\0\x80?\r\n"), close)}),
    pop3("nonsense at STAT", C.PROTOCOL, "folders", {"STAT": then(say(b"\xff\0\x80?\r\n"), close)}),
]  # fmt: skip

ECHOES = [
    pop3("password in a refusal", C.AUTH, "sign-in", refusing(b"-ERR [AUTH] " + RAW + b" is wrong")),
    pop3("password in base64", C.AUTH, "sign-in", refusing(b"-ERR cannot take " + PLAIN)),
    pop3("password over and over", C.AUTH, "sign-in", refusing(b"-ERR " + (RAW + b", ") * 200)),
    pop3("password as a response code", C.AUTH, "sign-in", refusing(b"-ERR [" + RAW + b"] wrong")),
    pop3("password among control characters", C.AUTH, "sign-in", refusing(b"-ERR \x1b[31m" + RAW + b"\0\0")),
    pop3("password in a challenge", {C.AUTH, C.PROTOCOL}, "sign-in",
         {"AUTH": challenge(b"+ \r\n", challenge(b"+ " + PLAIN + b"\r\n", say(b"-ERR no\r\n")))}),
    pop3("password in success", PASSES, "", refusing(b"+OK " + RAW + b" " + PLAIN)),
    pop3("password in a refusal of PASS", C.AUTH, "sign-in",
         USER_ONLY | {"PASS": say(b"-ERR PASS " + RAW + b" for " + USER.encode() + b"\r\n")}),
    pop3("password in the greeting", PASSES, "", {"greeting": say(b"+OK hello " + RAW + b" " + PLAIN + b"\r\n")}),
    pop3("password at the cut of the greeting", PASSES, "", {"greeting": say(b"+OK " + b"x" * 480 + RAW + b"\r\n")}),
    pop3("password in a refusal for a greeting", C.UNAVAILABLE, "greeting",
         {"greeting": say(b"-ERR " + RAW + b" " + PLAIN + b"\r\n")}),
    pop3("password in the refusal of STAT", {C.PROTOCOL, C.PERMISSION}, "folders",
         {"STAT": say(b"-ERR cannot count for " + RAW + b"\r\n")}),
    pop3("password in the capabilities", PASSES, "",
         offering(b"SASL PLAIN", b"UIDL", b"IMPLEMENTATION " + RAW + b" " + PLAIN)),
    pop3_stls("password in the refusal of STLS", LATER, "tls", {"STLS": say(b"-ERR " + RAW + b" " + PLAIN + b"\r\n")}),
]  # fmt: skip


def pop3_scram(name: str, expected: C | set[C], first: object, *deeds: Deed) -> Scenario:
    """A server that offers SCRAM, and PLAIN and USER beside it, which must not be tried afterwards."""

    def answer(peer: Peer) -> None:
        peer.send(b"+ \r\n")
        peer.line = peer.read_line()
        scram(first, *deeds)(peer)  # type: ignore[arg-type]

    offers = offering(b"SASL SCRAM-SHA-256 PLAIN", b"USER", b"UIDL")
    return pop3(f"SCRAM: {name}", expected, "sign-in", offers | {"AUTH": answer})


OFFERS = [
    pop3("a proper server", PASSES, "", {}),
    pop3_stls("a proper server", PASSES, "", {}),
    pop3("no CAPA", PASSES, "", {"CAPA": say(b"-ERR unknown\r\n")}),
    pop3("no capabilities", PASSES, "", offering()),
    pop3("capabilities in lower case", PASSES, "", offering(b"sasl plain", b"uidl")),
    pop3("SASL twice", PASSES, "", offering(b"SASL GSSAPI", b"SASL PLAIN", b"UIDL")),
    pop3("unknown mechanisms only", {C.UNSUPPORTED, C.OAUTH}, "sign-in", offering(b"SASL GSSAPI X-MAGIC", b"UIDL")),
    pop3("OAuth only", {C.UNSUPPORTED, C.OAUTH}, "sign-in", offering(b"SASL XOAUTH2 OAUTHBEARER", b"UIDL")),
    pop3("capabilities of 8 bits and zero bytes", PASSES, "", offering(b"USER", b"X-\xe9\xff\xfe\0\0", b"UIDL")),
    pop3("a dot that is no end", PASSES, "", offering(b"USER", b"..", b". ", b"..X", b"UIDL")),
    pop3("a dot between two LF", PASSES, "", offering(b"USER", b"X a\n.\nX b", b"UIDL")),
    pop3("UTF8 that is refused", PASSES, "", offering(b"USER", b"UTF8", b"UIDL") | {"UTF8": say(b"-ERR no\r\n")}),
    pop3("lines that end with LF alone", PASSES, "",
         {"greeting": say(b"+OK\n"), "CAPA": say(b"+OK\nUSER\nUIDL\n.\n"), "USER": say(b"+OK\n"),
          "PASS": say(b"+OK\n"), "STAT": say(b"+OK 3 300\n"), "QUIT": say(b"+OK\n")}),
    pop3_scram("wrong password", C.AUTH, usual, say(b"-ERR [AUTH] no\r\n")),
    pop3_scram("+OK without a proof", C.PROTOCOL, usual, say(b"+OK in\r\n")),
    pop3_scram("a forged proof", C.PROTOCOL, usual, challenge(b"+ " + encoded(FORGED) + b"\r\n", say(b"+OK in\r\n"))),
    pop3_scram("a nonce that is not ours", C.PROTOCOL, lambda nonce: usual(b"other"), say(b"+OK in\r\n")),
    pop3_scram("a billion rounds", C.PROTOCOL, lambda nonce: usual(nonce).replace(b"4096", NO_ROUNDS), say(b"+OK\r\n")),
    pop3_scram("salt that is not base64", C.PROTOCOL, lambda nonce: usual(nonce).replace(SALT, b"%"), say(b"+OK\r\n")),
    pop3("a challenge that is not base64", C.PROTOCOL, "sign-in",
         offering(b"SASL CRAM-MD5", b"UIDL") | {"AUTH": challenge(b"+ %%%\r\n", say(b"-ERR no\r\n"))}),
]  # fmt: skip

POP3 = [
    *(row for how, leave in (("closed", close), ("reset", reset)) for row in leaving(how, leave)),
    *elsewhere(),
    *BAD_TLS,
    *REFUSALS,
    *ECHOES,
    *OFFERS,
]
