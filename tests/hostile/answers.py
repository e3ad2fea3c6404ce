"""Servers that refuse in every way that has a number or a name, echo the password, or offer odd things."""

from mailadmin.mail.errors import Category as C
from tests.hostile.scenario import PASSES, Scenario, imap, smtp
from tests.hostile.secret import PASSWORD, PLAIN, USER
from tests.servers.hostile import Deed, hear, say, then

# RFC 5530 at sign-in. Only the first four are about the password.
IMAP_CODES: dict[str, set[C | None]] = {
    "AUTHENTICATIONFAILED": {C.AUTH},
    "AUTHORIZATIONFAILED": {C.AUTH, C.PERMISSION},
    "EXPIRED": {C.AUTH},
    "WEBALERT": {C.AUTH},
    "UNAVAILABLE": {C.UNAVAILABLE},
    "PRIVACYREQUIRED": {C.POLICY, C.TLS, C.CONFIG},
    "CONTACTADMIN": {C.PERMISSION, C.POLICY},
    "NOPERM": {C.PERMISSION},
    "INUSE": {C.UNAVAILABLE, C.THROTTLED},
    "EXPUNGEISSUED": {C.PROTOCOL, C.UNAVAILABLE},
    "CORRUPTION": {C.UNAVAILABLE},
    "SERVERBUG": {C.UNAVAILABLE},
    "CLIENTBUG": {C.PROTOCOL},
    "CANNOT": {C.UNSUPPORTED, C.CONFIG},
    "LIMIT": {C.THROTTLED},
    "OVERQUOTA": {C.QUOTA},
    "ALREADYEXISTS": {C.PROTOCOL, C.CONFIG},
    "NONEXISTENT": {C.CONFIG, C.AUTH},
}
# RFC 5321, 4954 and 7504 in answer to AUTH.
SMTP_CODES: dict[str, set[C | None]] = {
    "421 4.3.2": {C.UNAVAILABLE},
    "432 4.7.12": {C.AUTH, C.POLICY},
    "450 4.2.0": {C.UNAVAILABLE},
    "451 4.3.0": {C.UNAVAILABLE},
    "452 4.3.1": {C.QUOTA, C.UNAVAILABLE},
    "454 4.7.0": {C.UNAVAILABLE},
    "500 5.5.1": {C.UNSUPPORTED, C.PROTOCOL},
    "501 5.5.2": {C.UNSUPPORTED, C.PROTOCOL},
    "502 5.5.1": {C.UNSUPPORTED, C.PROTOCOL},
    "503 5.5.1": {C.UNSUPPORTED, C.PROTOCOL},
    "504 5.5.4": {C.UNSUPPORTED, C.CONFIG},
    "521 5.3.2": {C.POLICY, C.UNSUPPORTED, C.UNAVAILABLE},
    "523 5.7.10": {C.POLICY, C.TLS, C.CONFIG},
    "530 5.7.0": {C.POLICY, C.TLS, C.CONFIG},
    "534 5.7.9": {C.AUTH, C.UNSUPPORTED},
    "535 5.7.8": {C.AUTH},
    "538 5.7.11": {C.POLICY, C.TLS, C.CONFIG},
    "550 5.7.1": {C.PERMISSION, C.POLICY},
    "552 5.2.2": {C.QUOTA},
    "554 5.7.0": {C.POLICY, C.PERMISSION, C.UNAVAILABLE},
}


def codes() -> list[Scenario]:
    """Each code once, with a text that says nothing."""
    found = [
        imap(
            f"[{code}] at sign-in",
            set(expected),
            "sign-in",
            {"AUTHENTICATE": say(b"TAG NO [%s] no\r\n" % code.encode())},
        )
        for code, expected in IMAP_CODES.items()
    ]
    return found + [
        smtp(f"{code} at sign-in", set(expected), "sign-in", {"AUTH": say(code.encode() + b" no\r\n")})
        for code, expected in SMTP_CODES.items()
    ]  # fmt: skip


def refused(text: str) -> dict[str, Deed]:
    """An IMAP server that answers the sign-in with `text`."""
    return {"AUTHENTICATE": say(b"TAG " + text.encode() + b"\r\n")}


REFUSALS = [
    *codes(),
    imap("NO without a code", C.AUTH, "sign-in", refused("NO LOGIN failed.")),
    imap("NO without a word", {C.AUTH, C.PROTOCOL}, "sign-in", refused("NO")),
    imap("NO too many", C.THROTTLED, "sign-in", refused("NO Too many simultaneous connections.")),
    imap("NO, a temporary failure", C.UNAVAILABLE, "sign-in", refused("NO Temporary authentication failure.")),
    imap("BAD without a code", {C.PROTOCOL, C.UNSUPPORTED}, "sign-in", refused("BAD syntax")),
    imap("BAD that names the password", C.AUTH, "sign-in", refused("BAD [AUTHENTICATIONFAILED] no")),
    imap("an unknown code", C.AUTH, "sign-in", refused("NO [X-NEVER-HEARD] no")),
    imap("NO [NOPERM] at LIST", C.PERMISSION, "folders", {"LIST": say(b"TAG NO [NOPERM] no\r\n")}),
    imap("NO [OVERQUOTA] at LIST", C.QUOTA, "folders", {"LIST": say(b"TAG NO [OVERQUOTA] full\r\n")}),
    imap("BAD at LIST", C.PROTOCOL, "folders", {"LIST": say(b"TAG BAD what\r\n")}),
    imap("NO at STATUS", PASSES, "", {"STATUS": say(b"TAG NO [NOPERM] no\r\n")}),
    imap("NO at CAPABILITY", C.PROTOCOL, "greeting", {"CAPABILITY": say(b"TAG NO no\r\n")}),
    imap("[REFERRAL] at sign-in", {C.CONFIG, C.AUTH, C.UNSUPPORTED}, "sign-in",
         refused("NO [REFERRAL imap://wim;AUTH=*@127.0.0.1:1/] elsewhere")),
    smtp("550 for EHLO and HELO", {C.POLICY, C.PERMISSION}, "greeting",
         {"EHLO": say(b"550 5.7.1 not you\r\n"), "HELO": say(b"550 5.7.1 not you\r\n")}),
    smtp("500 for EHLO", C.UNSUPPORTED, "sign-in", {"EHLO": say(b"500 what\r\n")}),
    smtp("335 in place of 235", {C.PROTOCOL, C.AUTH}, "sign-in", {"AUTH": say(b"335 in\r\n")}),
    smtp("250 in place of 235", {C.PROTOCOL, C.AUTH, PASSES}, "sign-in", {"AUTH": say(b"250 in\r\n")}),
]  # fmt: skip

RAW, B64 = PASSWORD.encode(), PLAIN
ANSWER_OK = b"TAG OK [CAPABILITY IMAP4rev1] in\r\n"
ECHOES = [
    imap("password in a refusal", C.AUTH, "sign-in", refused(f"NO [AUTHENTICATIONFAILED] {PASSWORD} is wrong")),
    imap("password in an alert", C.AUTH, "sign-in", refused(f"NO [ALERT] {USER} {PASSWORD} is wrong")),
    imap("password in base64", C.AUTH, "sign-in", refused(f"NO cannot take {PLAIN.decode()} from you")),
    imap("password in BAD", {C.PROTOCOL, C.UNSUPPORTED, C.AUTH}, "sign-in",
         refused(f"BAD AUTHENTICATE PLAIN {PLAIN.decode()}")),
    imap("password as a response code", C.AUTH, "sign-in", refused(f"NO [{PASSWORD}] wrong")),
    imap("password in quotes", C.AUTH, "sign-in", refused(f'NO ("{USER}" "{PASSWORD}")')),
    imap("password across 700 characters", C.AUTH, "sign-in", refused(f"NO {'x' * 490} {PASSWORD} {'y' * 200}")),
    imap("password over and over", C.AUTH, "sign-in", refused("NO " + f"{PASSWORD}, " * 400)),
    imap("password over and over in base64", C.AUTH, "sign-in", refused("NO " + f"{PLAIN.decode()} " * 400)),
    imap("password among control characters", C.AUTH, "sign-in", refused(f"NO \x1b[31m{PASSWORD}\u202e")),
    imap("password in an alert on success", PASSES, "",
         {"AUTHENTICATE": say(b"TAG OK [ALERT] " + RAW + b" is right\r\n")}),
    imap("password in an alert before success", PASSES, "",
         {"AUTHENTICATE": say(b"* OK [ALERT] " + RAW + b" " + B64 + b"\r\n" + ANSWER_OK)}),
    imap("password in the capabilities after sign-in", PASSES, "",
         {"AUTHENTICATE": say(b"TAG OK [CAPABILITY IMAP4rev1 IDLE " + RAW + b" " + B64 + b"] in\r\n")}),
    imap("password in a challenge", {C.AUTH, C.PROTOCOL}, "sign-in",
         {"AUTHENTICATE": then(say(b"+ " + B64 + b"\r\n"), hear,
                               say(b"TAG NO [AUTHENTICATIONFAILED] no\r\n"))}),
    imap("password in BYE", {C.UNAVAILABLE}, "sign-in", {"AUTHENTICATE": say(b"* BYE " + RAW + b" " + B64 + b"\r\n")}),
    imap("password in the refusal of LIST", {C.PROTOCOL, C.PERMISSION}, "folders",
         {"LIST": say(b"TAG NO cannot list for " + RAW + b" " + B64 + b"\r\n")}),
    imap("password in BYE at LIST", C.UNAVAILABLE, "folders", {"LIST": say(b"* BYE " + RAW + b" " + B64 + b"\r\n")}),
    imap("password in nonsense at LIST", C.PROTOCOL, "folders", {"LIST": say(RAW + b" " + B64 + b"\r\n")}),
    # The server may know it from an earlier test, and says it before we do.
    imap("password in the greeting", PASSES, "", {"greeting": say(b"* OK hello " + RAW + b" " + B64 + b"\r\n")}),
    imap("password at the cut of the greeting", PASSES, "", {"greeting": say(b"* OK " + b"x" * 480 + RAW + b"\r\n")}),
    smtp("password at the cut of the greeting", PASSES, "", {"greeting": say(b"220 " + b"x" * 480 + RAW + b"\r\n")}),
    imap("password at the cut of BYE", C.UNAVAILABLE, "greeting",
         {"greeting": say(b"* BYE " + b"x" * 480 + RAW + b"\r\n")}),
    imap("password in BYE for a greeting", C.UNAVAILABLE, "greeting",
         {"greeting": say(b"* BYE " + RAW + b" " + B64 + b"\r\n")}),
    imap("password in the refusal of STARTTLS", {C.UNSUPPORTED, C.TLS, C.UNAVAILABLE}, "tls",
         {"STARTTLS": say(b"TAG NO " + RAW + b" " + B64 + b"\r\n")}, mode="starttls"),
    smtp("password in a refusal", C.AUTH, "sign-in", {"AUTH": say(b"535 5.7.8 " + RAW + b" is wrong\r\n")}),
    smtp("password in base64", C.AUTH, "sign-in", {"AUTH": say(b"535 5.7.8 AUTH PLAIN " + B64 + b"\r\n")}),
    smtp("password over and over", C.AUTH, "sign-in", {"AUTH": say(b"535 " + (RAW + b", ") * 300 + b"\r\n")}),
    smtp("password in lines", C.AUTH, "sign-in",
         {"AUTH": say(b"535-5.7.8 wrong:\r\n535-" + RAW + b"\r\n535 " + B64 + b"\r\n")}),
    smtp("password in success", PASSES, "", {"AUTH": say(b"235 " + RAW + b" " + B64 + b"\r\n")}),
    smtp("password in 500", {C.UNSUPPORTED, C.PROTOCOL}, "sign-in", {"AUTH": say(b"500 AUTH PLAIN " + B64 + b"\r\n")}),
    smtp("password in the greeting", PASSES, "", {"greeting": say(b"220 hello " + RAW + b" " + B64 + b"\r\n")}),
    smtp("password in 421 for a greeting", {C.UNAVAILABLE}, "greeting",
         {"greeting": say(b"421 4.3.2 " + RAW + b" " + B64 + b"\r\n")}),
]  # fmt: skip


def offering(words: bytes) -> dict[str, Deed]:
    """An IMAP server with these capabilities."""
    return {"CAPABILITY": say(b"* CAPABILITY " + words + b"\r\nTAG OK done\r\n")}


def extending(*lines: bytes) -> dict[str, Deed]:
    """An SMTP server with these extensions."""
    return {"EHLO": say(b"250-hello\r\n" + b"".join(b"250-" + line + b"\r\n" for line in lines) + b"250 HELP\r\n")}


NO_PASSWORDS = {C.UNSUPPORTED, C.OAUTH}
OFFERS = [
    imap("a proper server", PASSES, "", {}),
    imap("a proper server", PASSES, "", {}, mode="starttls"),
    smtp("a proper server", PASSES, "", {}),
    smtp("a proper server", PASSES, "", {}, mode="starttls"),
    imap("no capabilities", C.PROTOCOL, "greeting", offering(b"")),
    imap("no answer to CAPABILITY but OK", C.PROTOCOL, "greeting", {"CAPABILITY": say(b"TAG OK done\r\n")}),
    imap("IMAP4rev1 alone", PASSES, "", offering(b"IMAP4rev1")),
    imap("IMAP4rev2 alone", {PASSES, C.PROTOCOL, C.UNSUPPORTED}, "greeting", offering(b"IMAP4rev2 AUTH=PLAIN SASL-IR")),
    imap("capabilities in lower case", PASSES, "", offering(b"imap4rev1 auth=plain sasl-ir")),
    imap("answers in lower case", {PASSES, C.PROTOCOL}, "greeting",
         {"CAPABILITY": say(b"* capability imap4rev1 auth=plain sasl-ir\r\nTAG ok done\r\n"),
          "AUTHENTICATE": say(b"TAG ok in\r\n")}),
    imap("capabilities twice", PASSES, "", offering(b"IMAP4rev1 IMAP4rev1 AUTH=PLAIN AUTH=PLAIN SASL-IR SASL-IR")),
    imap("two CAPABILITY answers", PASSES, "",
         {"CAPABILITY": say(b"* CAPABILITY IMAP4rev1\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nTAG OK go\r\n")}),
    imap("capabilities with wide gaps", PASSES, "", offering(b"  IMAP4rev1   AUTH=PLAIN  SASL-IR ")),
    imap("capabilities of 8 bits", {PASSES, C.PROTOCOL}, "greeting",
         offering(b"IMAP4rev1 AUTH=PLAIN SASL-IR X-\xe9\xff\xfe")),
    imap("100 kB of capabilities", PASSES, "",
         offering(b"IMAP4rev1 AUTH=PLAIN SASL-IR " + b" ".join(b"X-%d" % n for n in range(14_000)))),
    imap("unknown mechanisms only", PASSES, "", offering(b"IMAP4rev1 AUTH=GSSAPI AUTH=X-MAGIC")),
    imap("unknown mechanisms only, LOGINDISABLED", NO_PASSWORDS, "sign-in",
         offering(b"IMAP4rev1 AUTH=GSSAPI LOGINDISABLED")),
    imap("OAuth only, LOGINDISABLED", NO_PASSWORDS, "sign-in", offering(b"IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED")),
    imap("LOGINDISABLED alone", C.UNSUPPORTED, "sign-in", offering(b"IMAP4rev1 LOGINDISABLED")),
    imap("LOGINDISABLED beside PLAIN", PASSES, "", offering(b"IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR")),
    imap("AUTH= with nothing", PASSES, "", offering(b"IMAP4rev1 AUTH= AUTH")),
    imap("PREAUTH", {C.UNSUPPORTED, C.CONFIG, C.PROTOCOL}, "sign-in or greeting",
         {"greeting": say(b"* PREAUTH welcome\r\n")}),
    smtp("no sign-in", C.UNSUPPORTED, "sign-in", extending(b"SIZE 1000")),
    smtp("no extensions", C.UNSUPPORTED, "sign-in", {"EHLO": say(b"250 hello\r\n")}),
    smtp("lower case", PASSES, "", extending(b"auth plain login")),
    smtp("AUTH=, as in old days", PASSES, "", extending(b"AUTH=PLAIN LOGIN")),
    smtp("AUTH twice", PASSES, "", extending(b"AUTH GSSAPI", b"AUTH PLAIN")),
    smtp("unknown mechanisms only", C.UNSUPPORTED, "sign-in", extending(b"AUTH GSSAPI NTLM")),
    smtp("OAuth only", NO_PASSWORDS, "sign-in", extending(b"AUTH XOAUTH2")),
    smtp("AUTH with nothing", C.UNSUPPORTED, "sign-in", extending(b"AUTH")),
    smtp("8 bits", {PASSES, C.PROTOCOL}, "greeting", extending(b"AUTH PLAIN", b"X-\xe9\xff\xfe")),
    smtp("an extension of 100 kB", {PASSES, C.PROTOCOL}, "greeting", extending(b"AUTH PLAIN", b"X-" + b"y" * 100_000)),
]  # fmt: skip
