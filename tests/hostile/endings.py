"""Servers that leave in the middle, with and without a word, and servers of other protocols."""

from mailadmin.mail.errors import Category as C
from tests.hostile.scenario import PASSES, Scenario, imap, smtp
from tests.servers.hostile import Deed, challenge, close, encrypt, hello_then, reset, say, then

# Who closes during the handshake may have a reason in it, so that both words are right.
GONE = {C.TLS, C.NETWORK}
OK_THEN = say(b"TAG OK in\r\n")


def leaving(how: str, leave: Deed) -> list[Scenario]:
    """The same end at every step of both protocols."""
    return [
        imap(f"{how} at once", GONE, "tcp or tls", {"accept": leave}),
        imap(f"{how} after the ClientHello", GONE, "tls", {"tls": hello_then(leave)}),
        imap(f"{how} in the handshake", GONE, "tls",
             {"tls": hello_then(then(say(b"\x16\x03\x03\x00\x7a\x02"), leave))}),
        imap(f"{how} after the handshake", C.NETWORK, "greeting", {"tls": then(encrypt, leave)}),
        imap(f"{how} in the greeting", C.NETWORK, "greeting", {"greeting": then(say(b"* OK hel"), leave)}),
        imap(f"{how} after the greeting", C.NETWORK, "greeting", {"CAPABILITY": leave}),
        imap(f"{how} in CAPABILITY", C.NETWORK, "greeting", {"CAPABILITY": then(say(b"* CAPABILITY IMAP4"), leave)}),
        imap(f"{how} at sign-in", C.NETWORK, "sign-in", {"AUTHENTICATE": leave}),
        imap(f"{how} in the answer to the sign-in", C.NETWORK, "sign-in", {"AUTHENTICATE": then(say(b"TAG O"), leave)}),
        imap(f"{how} after the sign-in", C.NETWORK, "sign-in or folders", {"AUTHENTICATE": then(OK_THEN, leave)}),
        imap(f"{how} at LIST", C.NETWORK, "folders", {"LIST": leave}),
        imap(f"{how} in LIST", C.NETWORK, "folders", {"LIST": then(say(b'* LIST () "/" IN'), leave)}),
        imap(f"{how} in a literal", C.NETWORK, "folders", {"LIST": then(say(b'* LIST () "/" {99}\r\nab'), leave)}),
        imap(f"{how} at STATUS", C.NETWORK, "folders", {"STATUS": leave}),
        imap(f"{how} at LOGOUT", PASSES, "", {"LOGOUT": leave}),
        imap(f"{how} at once", C.NETWORK, "tcp or greeting", {"accept": leave}, mode="starttls"),
        imap(f"{how} after the greeting", C.NETWORK, "greeting", {"CAPABILITY": leave}, mode="starttls"),
        imap(f"{how} at STARTTLS", {C.NETWORK, C.TLS}, "tls", {"STARTTLS": leave}, mode="starttls"),
        imap(f"{how} after STARTTLS", GONE, "tls", {"STARTTLS": then(say(b"TAG OK go\r\n"), leave)}, mode="starttls"),
        imap(f"{how} inside", {C.NETWORK}, "tls or sign-in", {"inside": leave}, mode="starttls"),
        smtp(f"{how} at once", GONE, "tcp or tls", {"accept": leave}),
        smtp(f"{how} after the handshake", C.NETWORK, "greeting", {"tls": then(encrypt, leave)}),
        smtp(f"{how} in the greeting", C.NETWORK, "greeting", {"greeting": then(say(b"220-he"), leave)}),
        smtp(f"{how} at EHLO", C.NETWORK, "greeting", {"EHLO": leave}),
        smtp(f"{how} in EHLO", C.NETWORK, "greeting", {"EHLO": then(say(b"250-hello\r\n250-AU"), leave)}),
        smtp(f"{how} at sign-in", C.NETWORK, "sign-in", {"AUTH": leave}),
        smtp(f"{how} after a challenge", C.NETWORK, "sign-in", {"AUTH": challenge(b"334 \r\n", leave)}),
        smtp(f"{how} in the answer to the sign-in", C.NETWORK, "sign-in", {"AUTH": then(say(b"235-we"), leave)}),
        smtp(f"{how} after the sign-in", PASSES, "", {"AUTH": then(say(b"235 in\r\n"), leave)}),
        smtp(f"{how} at QUIT", PASSES, "", {"QUIT": leave}),
        smtp(f"{how} at once", C.NETWORK, "tcp or greeting", {"accept": leave}, mode="starttls"),
        smtp(f"{how} at STARTTLS", {C.NETWORK, C.TLS}, "tls", {"STARTTLS": leave}, mode="starttls"),
        smtp(f"{how} after STARTTLS", GONE, "tls", {"STARTTLS": then(say(b"220 go\r\n"), leave)}, mode="starttls"),
        smtp(f"{how} inside", C.NETWORK, "tls or sign-in", {"inside": leave}, mode="starttls"),
    ]  # fmt: skip


LEAVING = [*leaving("closed", close), *leaving("reset", reset)]

DOWN = then(say(b"* BYE going down\r\n"), close)
BUSY = then(say(b"* BYE [UNAVAILABLE] too busy\r\n"), close)
MANY = then(say(b"* BYE Too many connections from your address\r\n"), close)
GOODBYES = [
    imap("BYE for a greeting", C.UNAVAILABLE, "greeting", {"greeting": DOWN}),
    imap("BYE [UNAVAILABLE] for a greeting", C.UNAVAILABLE, "greeting", {"greeting": BUSY}),
    imap("BYE too many for a greeting", C.THROTTLED, "greeting", {"greeting": MANY}),
    imap("BYE at CAPABILITY", C.UNAVAILABLE, "greeting", {"CAPABILITY": DOWN}),
    imap("BYE at sign-in", C.UNAVAILABLE, "sign-in", {"AUTHENTICATE": DOWN}),
    imap("BYE too many at sign-in", C.THROTTLED, "sign-in", {"AUTHENTICATE": MANY}),
    imap("BYE and NO at sign-in", C.AUTH, "sign-in",
         {"AUTHENTICATE": then(say(b"* BYE bye\r\nTAG NO [AUTHENTICATIONFAILED] no\r\n"), close)}),
    imap("BYE for want of activity at LIST", {C.UNAVAILABLE, C.TIMEOUT, C.NETWORK}, "folders",
         {"LIST": then(say(b"* BYE Autologout; idle for too long\r\n"), close)}),
    imap("BYE at LIST", C.UNAVAILABLE, "folders", {"LIST": DOWN}),
    imap("BYE at STATUS", C.UNAVAILABLE, "folders", {"STATUS": DOWN}),
    imap("BYE for a greeting", C.UNAVAILABLE, "greeting", {"greeting": DOWN}, mode="starttls"),
    imap("BYE at STARTTLS", {C.UNAVAILABLE, C.TLS}, "tls", {"STARTTLS": DOWN}, mode="starttls"),
    smtp("421 for a greeting", C.UNAVAILABLE, "greeting", {"greeting": then(say(b"421 4.3.2 down\r\n"), close)}),
    smtp("421 too many for a greeting", C.THROTTLED, "greeting",
         {"greeting": then(say(b"421 4.7.0 Too many connections from your IP\r\n"), close)}),
    smtp("421 at EHLO", C.UNAVAILABLE, "greeting", {"EHLO": then(say(b"421 4.3.2 down\r\n"), close)}),
    smtp("554 for a greeting", {C.POLICY, C.UNAVAILABLE}, "greeting",
         {"greeting": say(b"554 No SMTP service here\r\n")}),
    smtp("421 at sign-in", C.UNAVAILABLE, "sign-in", {"AUTH": then(say(b"421 4.3.2 down\r\n"), close)}),
    smtp("421 at STARTTLS", {C.UNAVAILABLE, C.TLS}, "tls",
         {"STARTTLS": then(say(b"421 down\r\n"), close)}, mode="starttls"),
]  # fmt: skip

BANNERS = {
    "SSH": b"SSH-2.0-OpenSSH_9.2 secret banner\r\n",
    "FTP": b"220 (vsFTPd 3.0.5) secret banner\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nServer: secret banner\r\n\r\n<html>secret banner</html>",
    "MySQL": b"J\0\0\0\x0a8.0.36 secret banner\0\x08\0\0\0abcdefgh\0\xff\xf7\xff\x02\0",
    "nonsense": b"\xff\xfe\x00secret banner\r\n",
    "an empty line": b"\r\n",
}


def elsewhere() -> list[Scenario]:
    """Other protocols on the port: inside TLS, in place of TLS, and where STARTTLS was expected."""
    found = []
    for name, banner in BANNERS.items():
        for make in (imap, smtp) if name != "FTP" else (imap,):
            found += [
                make(f"{name} inside", C.PROTOCOL, "greeting", {"greeting": then(say(banner), close)}),
                make(f"{name} in place of TLS", C.TLS, "tls", {"tls": then(say(banner), hello_then(close))}),
                make(name, C.PROTOCOL, "greeting", {"greeting": then(say(banner), close)}, mode="starttls"),
            ]
    return found


MISPLACED = {C.PROTOCOL, C.CONFIG}  # What speaks there is plain to see, and so is what to change.
NO_MAIL = [
    *elsewhere(),
    imap("SMTP on the port", MISPLACED, "greeting", {"greeting": say(b"220 mx ESMTP secret banner\r\n")}),
    imap("SMTP on the port", MISPLACED, "greeting",
         {"greeting": say(b"220 mx ESMTP secret banner\r\n")}, mode="starttls"),
    imap("POP3 on the port", MISPLACED, "greeting", {"greeting": say(b"+OK secret banner\r\n")}),
    imap("POP3 on the port", MISPLACED, "greeting", {"greeting": say(b"+OK secret banner\r\n")}, mode="starttls"),
    smtp("IMAP on the port", MISPLACED, "greeting", {"greeting": say(b"* OK IMAP4rev1 secret banner\r\n")}),
    smtp("IMAP on the port", MISPLACED, "greeting",
         {"greeting": say(b"* OK IMAP4rev1 secret banner\r\n")}, mode="starttls"),
    smtp("POP3 on the port", MISPLACED, "greeting", {"greeting": say(b"+OK secret banner\r\n")}, mode="starttls"),
    # FTP greets as SMTP does, and is found out with the next command.
    smtp("FTP on the port", {C.PROTOCOL, C.UNSUPPORTED}, "greeting or tls or sign-in",
         {"greeting": say(BANNERS["FTP"]), "EHLO": say(b"530 Please login with USER and PASS.\r\n"),
          "HELO": say(b"530 Please login with USER and PASS.\r\n")}),
    imap("a greeting that is not complete", C.PROTOCOL, "greeting", {"greeting": then(say(b"* \r\n"), close)}),
    imap("NO for a greeting", C.PROTOCOL, "greeting", {"greeting": then(say(b"* NO secret banner\r\n"), close)}),
    imap("nonsense after the greeting", C.PROTOCOL, "greeting", {"CAPABILITY": then(say(b"\xff\0\x80?\r\n"), close)}),
    imap("nonsense at sign-in", C.PROTOCOL, "sign-in", {"AUTHENTICATE": then(say(b"\xff\0\x80?\r\n"), close)}),
    imap("another command's tag at sign-in", C.PROTOCOL, "sign-in",
         {"AUTHENTICATE": then(say(b"ZZZZ9 OK in\r\n"), close)}),
    imap("nonsense at LIST", C.PROTOCOL, "folders", {"LIST": then(say(b"\xff\0\x80?\r\n"), close)}),
    smtp("nonsense at EHLO", C.PROTOCOL, "greeting", {"EHLO": then(say(b"\xff\0\x80?\r\n"), close)}),
    smtp("nonsense at sign-in", C.PROTOCOL, "sign-in", {"AUTH": then(say(b"\xff\0\x80?\r\n"), close)}),
    smtp("code 999 at sign-in", C.PROTOCOL, "sign-in", {"AUTH": say(b"999 what\r\n")}),
]  # fmt: skip
