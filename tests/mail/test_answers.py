"""What servers say and what goes wrong becomes the right MailError; a password is blamed only when it is to blame."""

import base64
import re
import ssl
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailadmin.mail import catalogue
from mailadmin.mail.answers import Answers, Refused, hung_up, nonsense, stranger, translated
from mailadmin.mail.errors import PERMANENT, Category, MailError
from mailadmin.mail.imap_session import quoted
from mailadmin.mail.sasl import forms
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import Password, ServerProtocol
from tests.mail.conftest import imap, smtp

IMAP, SMTP = ServerProtocol.IMAP, ServerProtocol.SMTP


def judge(protocol: ServerProtocol, host: str = "mail.example.org", *, signing_in: bool = True) -> Answers:
    server = imap(host, 993, "implicit") if protocol is IMAP else smtp(host, 465, "implicit")
    answers = Answers(server)
    answers.signing_in = signing_in
    return answers


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (ConnectionResetError(104, "reset"), Category.NETWORK),
        (BrokenPipeError(32, "pipe"), Category.NETWORK),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Category.NETWORK),
        (ValueError("no number"), Category.PROTOCOL),
        (RecursionError("too deep"), Category.PROTOCOL),
        (UnicodeDecodeError("ascii", b"\xff", 0, 1, "x"), Category.PROTOCOL),
        (MemoryError(), Category.PROTOCOL),
    ],
)
def test_foreign_exceptions_become_ours_and_stay_the_cause(error: Exception, category: Category) -> None:
    with pytest.raises(MailError) as raised, translated(IMAP):
        raise error
    assert raised.value.category is category
    assert raised.value.__cause__ is error
    assert str(error) not in raised.value.message + raised.value.detail or not str(error)


def test_our_own_errors_pass_unchanged() -> None:
    ours = MailError(Category.TIMEOUT, "late")
    with pytest.raises(MailError) as raised, translated(SMTP):
        raise ours
    assert raised.value is ours


NOT_NOW = ["[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]"]
BLAME = ["authentication failed", "LOGIN failed.", "Invalid credentials", "invalid user name or password", ""]


@pytest.mark.parametrize(("word", "words"), list(product(NOT_NOW, BLAME)))
def test_a_temporary_code_never_blames_the_password(word: str, words: str) -> None:
    error = judge(IMAP).refused(f"{word} {words}".encode())
    assert error.category in (Category.UNAVAILABLE, Category.THROTTLED)
    assert not error.permanent


@pytest.mark.parametrize(("number", "words"), list(product([421, 450, 451, 454], BLAME)))
def test_a_temporary_reply_never_blames_the_password(number: int, words: str) -> None:
    error = judge(SMTP).reply(number, words)
    assert error.category in (Category.UNAVAILABLE, Category.THROTTLED)
    assert not error.permanent


@pytest.mark.parametrize("host", ["mail.example.org", "imap.gmail.com", "outlook.office365.com", "imap.mail.yahoo.com"])
@pytest.mark.parametrize(
    "text",
    ["[AUTHENTICATIONFAILED] Authentication failed.", "LOGIN failed.", "[AUTHENTICATIONFAILED] Invalid credentials"],
)
def test_a_refused_password_is_never_called_temporary(host: str, text: str) -> None:
    error = judge(IMAP, host).refused(text)
    assert error.category not in (Category.UNAVAILABLE, Category.THROTTLED)
    assert error.permanent
    assert catalogue.rule(error.code)


def test_only_a_no_that_says_nothing_is_about_the_password() -> None:
    assert judge(IMAP).refused("hm").category is Category.AUTH
    assert judge(IMAP).refused("hm").code == "auth-refused"
    assert judge(IMAP).refused("hm", bad=True).category is Category.PROTOCOL
    assert judge(IMAP, signing_in=False).refused("hm").category is Category.PROTOCOL


@pytest.mark.parametrize("text", ["[AUTHENTICATIONFAILED] no", "LOGIN failed."])
def test_after_the_sign_in_no_answer_blames_the_password(text: str) -> None:
    assert judge(IMAP, signing_in=False).refused(text).category is Category.PERMISSION
    assert judge(IMAP, signing_in=False).farewell(text).category is Category.UNAVAILABLE


def test_words_beside_an_answer_count_only_where_it_explains_nothing() -> None:
    explained = judge(IMAP).refused("[AUTHENTICATIONFAILED] no", beside=[b"[OVERQUOTA] full"])
    assert (explained.category, explained.detail) == (Category.AUTH, "[AUTHENTICATIONFAILED] no")
    unexplained = judge(IMAP).refused("hm", beside=[b"[UNAVAILABLE] busy"])
    assert (unexplained.category, unexplained.detail) == (Category.UNAVAILABLE, "hm [UNAVAILABLE] busy")


def test_harmless_remarks_are_no_verdict() -> None:
    harmless = [rule for rule in catalogue.rules() if rule.category is None and rule.sample]
    assert harmless
    for rule in harmless:
        assert judge(IMAP).refused(rule.sample).category is not None
        assert judge(SMTP).reply(550, rule.sample).category is not None
        assert not judge(IMAP, signing_in=False).farewell(rule.sample).permanent


def test_what_a_server_says_of_servers_behind_it_is_not_about_the_connection() -> None:
    for words in ("connection refused", "connection timed out", "Name or service not known", "no route to host"):
        assert judge(IMAP).refused(words).category is Category.UNAVAILABLE, words
        assert judge(SMTP).reply(451, words).category is Category.UNAVAILABLE, words


def test_the_rule_says_what_is_permanent() -> None:
    for rule in catalogue.rules():
        if rule.heard and rule.sample and "imap" in rule.where and not rule.family and rule.method != "oauth":
            error = judge(IMAP).refused(rule.sample)
            found = catalogue.rule(error.code)
            if found and found.heard:
                assert error.permanent is (found.retry is catalogue.Retry.NO and found.category in PERMANENT), rule.id


@pytest.mark.parametrize("number", [-1, 0, 199, 200, 250, 334, 600, 999])
def test_a_number_that_is_no_refusal_shows_nothing(number: int) -> None:
    error = judge(SMTP).reply(number, "secret")
    assert (error.category, error.detail) == (Category.PROTOCOL, "")


@given(st.binary(max_size=3000), st.booleans(), st.booleans())
def test_any_text_makes_an_error_that_can_be_shown(text: bytes, signing_in: bool, bad: bool) -> None:
    answers = judge(IMAP, signing_in=signing_in)
    answers.secrets = ("password",)
    for error in (answers.refused(text, bad=bad, beside=[text]), answers.farewell(text), answers.reply(550, text)):
        assert isinstance(error, Refused) or type(error) is MailError
        assert len(error.detail) <= 500
        assert error.detail == scrub(error.detail)
        assert "password" not in error.detail


@pytest.mark.parametrize("secret", ["pässwörd", 'qu"ote\\', "a%20b c", "x" * 300, "tm-" * 20])
def test_no_form_of_a_password_stays_in_a_detail(secret: str) -> None:
    answers = judge(IMAP)
    answers.secrets = forms(Password("wim", secret))
    payload = base64.b64encode(f"wim:{secret}".encode())
    forged = [
        secret.encode(),
        secret.encode("latin-1"),
        quoted(secret),
        quote(secret).encode(),
        payload,
        base64.b64encode(b"\0wim\0" + secret.encode()),
        b" " * 990 + secret.encode() + b"!" * 100,
        b"".join(secret.encode() for _ in range(100)),
    ]
    for echo in forged:
        for error in (answers.refused(b"no: " + echo), answers.farewell(echo), answers.reply(535, echo)):
            assert len(re.sub(r"535|no:|[*! …]", "", error.detail)) <= 10, (echo, error.detail)


def test_a_password_is_no_reason() -> None:
    answers = judge(IMAP)
    answers.secrets = forms(Password("wim", "too many connections"))
    assert answers.refused("LOGIN failed for too many connections").category is Category.AUTH


def test_every_code_is_a_rule() -> None:
    codes = {nonsense(IMAP).code, hung_up().code, stranger(IMAP, b"220 mx ESMTP").code, stranger(SMTP, b"+OK").code}
    codes |= {judge(IMAP).refused(f"[{word}] x").code for word in ("WEBALERT", "EXPIRED", "PRIVACYREQUIRED", "NOPERM")}
    assert {code for code in codes if code and catalogue.rule(code) is None} == set()


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("abcd efgh ijkl mnop", "google_bad_password"),
        ("abcdefghijklmnop", "google_bad_password"),
        ("Summer 2026!", "google-normal-password"),
        ("abcdefghijklmnopq", "google-normal-password"),
    ],
)
def test_at_google_the_shape_of_the_password_tells_which_one_it_is(password: str, code: str) -> None:
    answers = judge(IMAP, "imap.gmail.com")
    answers.secrets = forms(Password("ada@example.org", password))
    error = answers.refused("[AUTHENTICATIONFAILED] Invalid credentials (Failure)")
    assert (error.category, error.code) == (Category.AUTH, code)
    assert password not in f"{error.detail} {error.message}"
