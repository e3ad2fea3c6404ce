"""Servers whose encryption is bad, taken away, or tampered with."""

from functools import partial

from mailadmin.mail.errors import Category as C
from mailadmin.mail.types import TLSVersion, Trust
from tests.hostile.scenario import PASSES, Scenario, imap, smtp
from tests.servers.encryption import UNTRUSTED
from tests.servers.hostile import Deed, Peer, encrypt, hello_then, say, silence, then


def alert(number: int) -> Deed:
    """A fatal alert of TLS in the clear (RFC 8446 6)."""
    return say(bytes((0x15, 3, 3, 0, 2, 2, number)))


def beneath(data: bytes) -> Deed:
    """Something that is not a record of this session, in the middle of it."""

    def do(peer: Peer) -> None:
        peer.send_beneath(data)
        silence(peer)

    return do


def untrusted() -> list[Scenario]:
    """Every certificate that is not good, in every way that encryption begins."""
    return [
        make(f"certificate: {kind}", C.TLS, "tls", {}, tls=kind, mode=mode)
        for kind in sorted(UNTRUSTED)
        for make in (imap, smtp)
        for mode in ("implicit", "starttls")
    ]


AT_LEAST_1_3, OLD = Trust(TLSVersion.TLS_1_3), Trust(TLSVersion.TLS_1_0)
OTHER_PIN = Trust(pin="00" * 32)
GARBAGE = b"\x17\x03\x03\x00\x20" + b"\x42" * 32
BAD_TLS = [
    *untrusted(),
    imap("TLS 1.0 only", C.TLS, "tls", {}, tls="only 1.0"),
    imap("TLS 1.1 only", C.TLS, "tls", {}, tls="only 1.1"),
    imap("TLS 1.1 only", C.TLS, "tls", {}, tls="only 1.1", mode="starttls"),
    smtp("TLS 1.0 only", C.TLS, "tls", {}, tls="only 1.0", mode="starttls"),
    imap("TLS 1.0 where that is allowed", PASSES, "", {}, tls="only 1.0", trust=OLD),
    imap("TLS 1.1 where 1.0 is allowed", PASSES, "", {}, tls="only 1.1", trust=OLD),
    imap("TLS 1.2", PASSES, "", {}, tls="only 1.2"),
    imap("TLS 1.3 where that is the least", PASSES, "", {}, tls="only 1.3", trust=AT_LEAST_1_3),
    imap("TLS 1.2 where 1.3 is the least", C.TLS, "tls", {}, tls="only 1.2", trust=AT_LEAST_1_3),
    smtp("TLS 1.2 where 1.3 is the least", C.TLS, "tls", {}, tls="only 1.2", trust=AT_LEAST_1_3, mode="starttls"),
    imap("another certificate than the pinned one", C.TLS, "tls", {}, trust=OTHER_PIN),
    imap("another certificate than the pinned one", C.TLS, "tls", {}, trust=OTHER_PIN, mode="starttls"),
    smtp("another certificate than the pinned one", C.TLS, "tls", {}, trust=OTHER_PIN),
    imap("our certificate demanded", C.TLS, "tls or greeting", {}, tls="wants certificate"),
    imap("our certificate demanded, TLS 1.2", C.TLS, "tls", {}, tls="wants certificate, 1.2"),
    smtp("our certificate demanded", C.TLS, "tls or greeting", {}, tls="wants certificate"),
    smtp("our certificate demanded", C.TLS, "tls or sign-in", {}, tls="wants certificate", mode="starttls"),
    imap("alert: handshake failure", C.TLS, "tls", {"tls": hello_then(alert(40))}),
    imap("alert: internal error", C.TLS, "tls", {"tls": hello_then(alert(80))}),
    imap("alert: unrecognised name", C.TLS, "tls", {"tls": hello_then(alert(112))}),
    imap("alert before the ClientHello", C.TLS, "tls", {"tls": alert(40)}),
    smtp("alert: handshake failure", C.TLS, "tls", {"tls": hello_then(alert(40))}),
    imap("ClientHello sent back", C.TLS, "tls", {"tls": lambda peer: peer.send(peer.receive())}),
    imap("a record of the wrong length", C.TLS, "tls",
         {"tls": hello_then(say(b"\x16\x03\x03\xff\xff" + b"x" * 70_000))}),
    imap("alert in place of the greeting", {C.TLS, C.NETWORK}, "greeting",
         {"greeting": beneath(b"\x15\x03\x03\x00\x02\x02\x50")}),
    imap("garbage in place of the greeting", {C.TLS, C.NETWORK}, "greeting", {"greeting": beneath(GARBAGE)}),
    imap("plain text in place of the greeting", {C.TLS, C.NETWORK}, "greeting",
         {"greeting": beneath(b"* OK ready\r\n")}),
    imap("garbage at sign-in", {C.TLS, C.NETWORK}, "sign-in", {"AUTHENTICATE": beneath(GARBAGE)}),
    imap("plain text at sign-in", {C.TLS, C.NETWORK}, "sign-in", {"AUTHENTICATE": beneath(b"* OK in\r\n")}),
    smtp("garbage at sign-in", {C.TLS, C.NETWORK}, "sign-in", {"AUTH": beneath(GARBAGE)}),
]  # fmt: skip

starttls_imap, starttls_smtp = partial(imap, mode="starttls"), partial(smtp, mode="starttls")
NONE_OFFERED = say(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nTAG OK done\r\n")
NO_STARTTLS = {C.UNSUPPORTED, C.TLS}  # it is never taken as leave to go on in plain text
LATER = {C.UNSUPPORTED, C.TLS, C.UNAVAILABLE}
STARTTLS = [
    starttls_imap("stripped", C.UNSUPPORTED, "tls", {"CAPABILITY": NONE_OFFERED}),
    starttls_imap("stripped, with a greeting full of offers", C.UNSUPPORTED, "tls",
         {"greeting": say(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n"), "CAPABILITY": NONE_OFFERED}),
    starttls_imap("refused with NO", LATER, "tls", {"STARTTLS": say(b"TAG NO not now\r\n")}),
    starttls_imap("refused with BAD", NO_STARTTLS, "tls", {"STARTTLS": say(b"TAG BAD what\r\n")}),
    starttls_imap("refused with [PRIVACYREQUIRED]", {C.POLICY, *NO_STARTTLS}, "tls",
         {"STARTTLS": say(b"TAG NO [PRIVACYREQUIRED]\r\n")}),
    starttls_imap("injected: an answer behind the OK", C.TLS, "tls",
         {"STARTTLS": then(say(b"TAG OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"), encrypt)}),
    starttls_imap("injected: one byte behind the OK", C.TLS, "tls",
         {"STARTTLS": then(say(b"TAG OK go\r\nx"), encrypt)}),
    starttls_imap("injected: the end of the next command", C.TLS, "tls",
         {"STARTTLS": then(say(b"TAG OK go\r\nTAG OK in\r\n"), encrypt)}),
    starttls_imap("injected: 100 kB behind the OK", C.TLS, "tls",
         {"STARTTLS": then(say(b"TAG OK go\r\n" + b"* X\r\n" * 20_000), encrypt)}),
    starttls_imap("agreed, and plain text goes on", C.TLS, "tls",
         {"STARTTLS": then(say(b"TAG OK go\r\n"), hello_then(say(b"* OK in\r\n")))}),
    starttls_imap("PREAUTH", C.TLS, "tls or greeting", {"greeting": say(b"* PREAUTH welcome\r\n")}),
    starttls_imap("PREAUTH that offers everything", C.TLS, "tls or greeting",
         {"greeting": say(b"* PREAUTH [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR STARTTLS] welcome\r\n")}),
    starttls_imap("capabilities from before are forgotten", C.UNSUPPORTED, "sign-in",
         {"CAPABILITY": lambda peer: peer.send(
             b"* CAPABILITY IMAP4rev1 %s\r\nTAG OK done\r\n"
             % (b"LOGINDISABLED" if peer.is_encrypted else b"STARTTLS AUTH=PLAIN SASL-IR"))}),
    starttls_smtp("stripped", C.UNSUPPORTED, "tls", {"EHLO": say(b"250-hi\r\n250 AUTH PLAIN LOGIN\r\n")}),
    starttls_smtp("stripped by HELO", C.UNSUPPORTED, "tls or greeting", {"EHLO": say(b"502 what\r\n")}),
    starttls_smtp("refused with 454", LATER, "tls", {"STARTTLS": say(b"454 4.7.0 TLS not available\r\n")}),
    starttls_smtp("refused with 501", NO_STARTTLS, "tls", {"STARTTLS": say(b"501 5.5.2 what\r\n")}),
    starttls_smtp("refused with 502", NO_STARTTLS, "tls", {"STARTTLS": say(b"502 5.5.1 not implemented\r\n")}),
    starttls_smtp("refused with 554", NO_STARTTLS | {C.POLICY}, "tls", {"STARTTLS": say(b"554 5.7.3 no\r\n")}),
    starttls_smtp("injected: EHLO's answer behind the 220", C.TLS, "tls",
         {"STARTTLS": then(say(b"220 go\r\n250-hi\r\n250 AUTH PLAIN LOGIN\r\n"), encrypt)}),
    starttls_smtp("injected: one byte behind the 220", C.TLS, "tls", {"STARTTLS": then(say(b"220 go\r\nx"), encrypt)}),
    starttls_smtp("agreed, and plain text goes on", C.TLS, "tls",
         {"STARTTLS": then(say(b"220 go\r\n"), hello_then(say(b"250 OK\r\n")))}),
    starttls_smtp("offers from before are forgotten", C.UNSUPPORTED, "sign-in",
         {"EHLO": lambda peer: peer.send(
             b"250 hi\r\n" if peer.is_encrypted else b"250-hi\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")}),
    imap("plain text without leave", C.POLICY, "dns", {}, mode="none"),
    smtp("plain text without leave", C.POLICY, "dns", {}, mode="none"),
]  # fmt: skip
