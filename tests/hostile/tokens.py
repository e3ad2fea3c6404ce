"""Servers that misbehave when somebody signs in with a token: they say it back, or they never come to an end."""

import base64
import hashlib
import json
from urllib.parse import quote

from mailadmin.mail.errors import Category as C
from tests.hostile.answers import extending, offering
from tests.hostile.pop3 import offering as offering_pop3
from tests.hostile.scenario import PASSES, Expected, Scenario, imap, pop3, smtp
from tests.hostile.secret import USER
from tests.servers.crowd import Part
from tests.servers.hostile import Deed, Peer, again_and_again, challenge, close, flood, say, silence, then

_NOISE = b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(12))
TOKEN = "ya29." + base64.urlsafe_b64encode(_NOISE).decode().rstrip("=")
RAW = TOKEN.encode()
PAYLOAD = base64.b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode())
TOLD = {"status": "401", "schemes": "bearer", "scope": "mail"}
TABLE = f"{__name__}:parts"

_OFFERS = {
    "imap": offering(b"IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=PLAIN"),
    "pop3": offering_pop3(b"SASL XOAUTH2 PLAIN", b"USER", b"UIDL"),
    "smtp": extending(b"AUTH XOAUTH2 PLAIN LOGIN"),
}
_MAKE = {"imap": imap, "pop3": pop3, "smtp": smtp}
_VERB = {"imap": "AUTHENTICATE", "pop3": "AUTH", "smtp": "AUTH"}
_ASK = {"imap": b"+ ", "pop3": b"+ ", "smtp": b"334 "}
_NO = {"imap": b"TAG NO [AUTHENTICATIONFAILED] ", "pop3": b"-ERR [AUTH] ", "smtp": b"535 5.7.8 "}
_YES = {"imap": b"TAG OK [CAPABILITY IMAP4rev1] in ", "pop3": b"+OK in ", "smtp": b"235 in "}


def asked(protocol: str, text: bytes) -> bytes:
    """`text` as a challenge."""
    return _ASK[protocol] + base64.b64encode(text) + b"\r\n"


def told(**more: object) -> bytes:
    """What a server says that refuses a token."""
    return json.dumps(TOLD | more).encode()


def refusal(protocol: str, words: bytes = b"no") -> Deed:
    """The last word."""
    return say(_NO[protocol] + words + b"\r\n")


def token_then(protocol: str, deed: Deed) -> Deed:
    """Take the token, within the command over IMAP, else after it, and do `deed`."""
    if protocol == "imap":
        return deed

    def do(peer: Peer) -> None:
        challenge(_ASK[protocol] + b"\r\n", deed)(peer)

    return do


def tokens(protocol: str, name: str, expected: Expected, deed: Deed, *, stage: str = "sign-in") -> Scenario:
    """A server that has heard the token and now does `deed`."""
    script = _OFFERS[protocol] | {_VERB[protocol]: token_then(protocol, deed)}
    return _MAKE[protocol](name, expected, "" if expected is PASSES else stage, script)


def complaint(protocol: str, text: bytes, *deeds: Deed) -> Deed:
    """Say `text` as a challenge, hear it acknowledged, and do `deeds`."""
    return challenge(asked(protocol, text), *deeds)


def echoes(protocol: str) -> list[Scenario]:
    """Servers that say the token, or what they have of it."""
    no = refusal(protocol)
    words = {
        "token in a refusal": RAW,
        "token in base64": b"AUTH XOAUTH2 " + PAYLOAD,
        "token over and over": (RAW + b", ") * 4,
        "token cut short": RAW[:61] + b"... and " + RAW[-33:],
        "token cut short in base64": PAYLOAD[:150] + b"...",
    }
    complaints = {
        "token in the challenge": told(token=TOKEN),
        "token in base64 in the challenge": told(said=PAYLOAD.decode()),
        "token in escapes in the challenge": told(token=1).replace(b"1}", b'"%s"}' % escaped(TOKEN[:400]).encode()),
        "token for a URL in the challenge": told(url="https://x/?t=" + quote(TOKEN)),
        "token at the cut of the challenge": told(x="y" * 215 + TOKEN),
        "token as the status": told(status=TOKEN),
        "token in a challenge that is no JSON": RAW,
    }
    both = complaint(protocol, told(token=TOKEN), refusal(protocol, RAW + b" " + PAYLOAD))
    success = say(_YES[protocol] + RAW[:400] + b" " + PAYLOAD[:400] + b"\r\n")
    return [
        *(tokens(protocol, name, C.OAUTH, refusal(protocol, text)) for name, text in words.items()),
        *(tokens(protocol, name, C.OAUTH, complaint(protocol, text, no)) for name, text in complaints.items()),
        tokens(protocol, "token in the challenge and in the refusal", C.OAUTH, both),
        tokens(protocol, "token in success", PASSES, success),
    ]


def orders(protocol: str) -> list[Scenario]:
    """Servers that do one thing after the other in every order but the right one."""
    no, yes = refusal(protocol), say(_YES[protocol] + b"\r\n")
    again = complaint(protocol, told(), no)
    at_once = then(say(asked(protocol, told())), yes)
    return [
        tokens(protocol, "a proper server", PASSES, yes),
        tokens(protocol, "a proper refusal", C.OAUTH, again),
        tokens(protocol, "an empty challenge", C.OAUTH, challenge(_ASK[protocol] + b"\r\n", no)),
        tokens(protocol, "success after a complaint", PASSES, complaint(protocol, told(), yes)),
        # Our answer is taken for a command then.
        tokens(protocol, "success before the answer to a complaint", {PASSES, C.PROTOCOL}, at_once,
               stage="sign-in or folders"),
        tokens(protocol, "a second complaint", C.OAUTH, complaint(protocol, told(), again)),
        tokens(protocol, "success after we gave up", {C.PROTOCOL, C.OAUTH},
               complaint(protocol, told(), complaint(protocol, told(), yes))),
        tokens(protocol, "hung up after a complaint", C.NETWORK, complaint(protocol, told(), close)),
    ]  # fmt: skip


def monsters(protocol: str) -> list[Scenario]:
    """Servers whose complaints nobody can read, or nobody should."""
    no, large = refusal(protocol), {C.OAUTH, C.PROTOCOL}
    texts = {
        "JSON in JSON in JSON": b'{"status":' * 390,
        "a long list of lists": b"[" * 4000 + b"]" * 96,
        "a number of 4000 digits": b'{"status":' + b"4" * 4000 + b"}",
        "a megabyte of JSON": told(x="y" * 700_000),
        "control characters": b"\x1b[31m\0\r\n\xff",
    }
    return [
        *(tokens(protocol, name, large, complaint(protocol, text, no)) for name, text in texts.items()),
        tokens(protocol, "endless complaints", large, again_and_again(asked(protocol, told()), 0.01)),
        tokens(protocol, "a complaint without end", C.PROTOCOL, flood(_ASK[protocol], b"A" * 1000)),
        tokens(protocol, "a challenge that is not base64", large, challenge(_ASK[protocol] + b"%%%\r\n", no)),
    ]


def escaped(text: str) -> str:
    """`text` as JSON may write it."""
    return "".join(f"\\u{ord(c):04x}" for c in text)


def only(protocol: str, offers: dict[str, Deed], name: str, category: C = C.UNSUPPORTED) -> Scenario:
    """A server that has nothing for a token."""
    return _MAKE[protocol](name, category, "sign-in", offers)


QUICK = [
    *(row for protocol in _MAKE for rows in (orders, echoes, monsters) for row in rows(protocol)),
    only("imap", offering(b"IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN"), "passwords only"),
    only("imap", offering(b"IMAP4rev1 LOGINDISABLED"), "LOGINDISABLED alone"),
    only("imap", offering(b"IMAP4rev1"), "IMAP4rev1 alone"),
    only("pop3", offering_pop3(b"SASL PLAIN", b"USER", b"UIDL"), "passwords only"),
    only("pop3", offering_pop3(b"UIDL"), "no word of signing in"),
    only("smtp", extending(b"AUTH PLAIN LOGIN CRAM-MD5"), "passwords only"),
    only("smtp", extending(b"AUTH OAUTHBEARER2 XOAUTH"), "mechanisms of similar names"),
    smtp("334 in lines without end", C.PROTOCOL, "sign-in",
         _OFFERS["smtp"] | {"AUTH": flood(b"", b"334-more\r\n")}),
    smtp("the token is never asked for", C.UNSUPPORTED, "sign-in", _OFFERS["smtp"] | {"AUTH": say(b"235 in\r\n")}),
    pop3("the token is never asked for", C.UNSUPPORTED, "sign-in", _OFFERS["pop3"] | {"AUTH": say(b"+OK in\r\n")}),
    imap("the token is never asked for", C.UNSUPPORTED, "sign-in",
         offering(b"IMAP4rev1 AUTH=XOAUTH2") | {"AUTHENTICATE": say(b"TAG OK in\r\n")}),
    imap("token in BYE", {C.UNAVAILABLE, C.OAUTH}, "sign-in",
         _OFFERS["imap"] | {"AUTHENTICATE": say(b"* BYE " + RAW + b" " + PAYLOAD + b"\r\n")}),
    imap("token in the capabilities after sign-in", PASSES, "",
         _OFFERS["imap"] | {"AUTHENTICATE": say(b"TAG OK [CAPABILITY IMAP4rev1 " + RAW + b"] in\r\n")}),
    imap("token in the refusal of LIST", {C.PROTOCOL, C.PERMISSION}, "folders",
         _OFFERS["imap"] | {"LIST": say(b"TAG NO cannot list for " + RAW + b" " + PAYLOAD + b"\r\n")}),
    imap("token in the greeting", PASSES, "",
         _OFFERS["imap"] | {"greeting": say(b"* OK hello " + RAW + b" " + PAYLOAD + b"\r\n")}),
    smtp("token in the greeting", PASSES, "",
         {"greeting": say(b"220 hello " + RAW + b"\r\n"), "AUTH": token_then("smtp", say(b"235 in\r\n"))}
         | _OFFERS["smtp"]),
    imap("XOAUTH2 only in plain text", C.UNSUPPORTED, "sign-in",
         {"CAPABILITY": lambda peer: peer.send(
             b"* CAPABILITY IMAP4rev1 " + (b"AUTH=PLAIN" if peer.is_encrypted else b"STARTTLS AUTH=XOAUTH2")
             + b"\r\nTAG OK done\r\n")}, mode="starttls"),
    imap("a refused OAUTHBEARER beside XOAUTH2", C.OAUTH, "sign-in",
         offering(b"IMAP4rev1 SASL-IR AUTH=OAUTHBEARER AUTH=XOAUTH2 AUTH=PLAIN")
         | {"AUTHENTICATE": challenge(asked("imap", b'{"status":"invalid_token"}'), refusal("imap"))}),
]  # fmt: skip
HANGING = [
    tokens(protocol, "silence after a complaint", C.TIMEOUT, challenge(asked(protocol, told()), silence))
    for protocol in _MAKE
]
ALL: dict[str, Scenario] = {one.name: one for one in (*HANGING, *QUICK)}


def parts() -> dict[str, Part]:
    """The servers of all scenarios."""
    return {name: one.part for name, one in ALL.items()}
