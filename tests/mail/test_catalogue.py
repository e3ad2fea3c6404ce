"""The catalogue of diagnoses: every rule is whole, catches its own sample, and real texts get the right category."""

import json
import re
import string
import time
from collections import Counter
from pathlib import Path

import pytest

from mailadmin.mail import catalogue, guess
from mailadmin.mail.catalogue import Rule
from mailadmin.mail.clues import clues_of
from mailadmin.mail.errors import Category
from mailadmin.mail.legible import LONGEST, legible

HERE = Path(__file__).parent
PLACES = {
    *("host", "port", "protocol", "direction", "user", "other_user", "address", "tls_port", "starttls_port", "said")
}
LAYERS = {"imap", "smtp", "pop3", "oauth", "graph", "net", "tls", "local"}
HEARD = [rule for rule in catalogue.rules() if rule.heard]
NOTHING = catalogue.rules()[0]
LOWEST_SHARE = 0.95
HOSTILE = [
    *(
        part * (10_000 // len(part))
        for part in ("a", " ", "0", "550-", "[", "-ERR ", "not ", "1.", "\\", "eyJ", "=", "é")
    ),
    *(
        part * (500 // len(part))
        for part in ("too many ", "password ", "mailbox ", "certificate ", "5.7.1 ", "\n", '{"')
    ),
    "login " + "x" * 10_000 + " failed?",
    "a1 NO " + "user account mailbox quota " * 400 + "!",
]


def name(category: Category | None) -> str:
    return category.value if category else "harmless"


def looked_up(entry: dict[str, str], *, sure: bool = False) -> Rule | None:
    family = "" if entry["provider"] in ("other", "unknown") else entry["provider"]
    method = "" if entry["auth"] == "none" else entry["auth"]
    return catalogue.find(entry["text"], where=entry["where"], family=family, method=method, sure=sure)


def labelled(file: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (HERE / file).read_text(encoding="utf-8").splitlines()]


def places_of(rule: Rule) -> set[str]:
    texts = (rule.title, rule.cause, rule.command, *rule.action)
    return {place for text in texts for _, place, _, _ in string.Formatter().parse(text) if place is not None}


def test_every_rule_says_what_happened_why_and_what_to_do() -> None:
    for rule in catalogue.rules():
        assert rule.title, rule.id
        assert not rule.title.endswith("."), rule.id
        assert rule.cause.endswith((".", "{said}")), rule.id
        assert 1 <= len(rule.action) <= 4, rule.id
        assert all(sentence.endswith((".", "?", ":")) for sentence in rule.action), rule.id
        assert places_of(rule) <= PLACES, rule.id
        assert all(link.startswith("https://") for link in rule.links), rule.id


def test_rules_name_only_layers_and_methods_that_exist() -> None:
    assert {layer for rule in catalogue.rules() for layer in rule.where} <= LAYERS
    assert {rule.method for rule in catalogue.rules()} <= {"", "password", "oauth"}


def test_ids_are_unique_and_none_of_the_collected_ones_is_lost() -> None:
    ids = [rule.id for rule in catalogue.rules()]
    assert len(ids) == len(set(ids))
    collected = (HERE / "rule_ids.txt").read_text(encoding="utf-8").split()
    assert len(collected) == 277
    assert set(collected) - set(ids) == set()


def test_every_sample_is_caught_by_its_own_rule_first() -> None:
    caught_elsewhere = []
    for rule in HEARD:
        for where in rule.where or {""}:
            for family in rule.family or {""}:
                found = catalogue.find(rule.sample, where=where, family=family, method=rule.method, sure=True)
                if found is not rule:
                    caught_elsewhere.append((rule.id, where, family, found and found.id))
    assert all(rule.sample for rule in HEARD)
    assert caught_elsewhere == []


@pytest.mark.parametrize("file", ["server_texts.jsonl", "texts.jsonl"])
def test_real_texts_get_the_right_category(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    entries = labelled(file)
    wrong = []
    for entry in entries:
        found = looked_up(entry)
        if found is None or name(found.category) not in entry["category"]:
            wrong.append((entry["text"], found and found.id))
    share = 1 - len(wrong) / len(entries)
    with capsys.disabled():
        print(f"\n{file}: {share:.1%} of {len(entries)} texts get the right category", *wrong[:10], sep="\n  ")
    assert len(entries) >= 100
    assert share >= LOWEST_SHARE


def test_every_category_has_a_general_rule() -> None:
    assert {catalogue.general(category).category for category in Category} == set(Category)


def test_no_pattern_hangs_on_hostile_text() -> None:
    began = time.process_time()
    for text in HOSTILE:
        catalogue.find(text)
        for rule in HEARD:
            assert rule.heard is not None
            rule.heard.search(text[:LONGEST])
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("smtplib.SMTPAuthenticationError: (535, b'5.7.8 Error:\\nauthentication failed')", "smtp_auth_bad"),
        ("554-5.7.1 Relay access\n554 5.7.1 denied", "smtp_relay"),
        ("NO mailbox doesn\u2019t exist", "nonexistent"),
        ("-ERR\u200b [IN-USE]\r\n  maildrop already locked", "inuse"),
        ("The server response was: 5.7.0 Must issue a STARTTLS command first", "cleartext_refused"),
        (
            "msmtp: envelope from address Web <web> not accepted by the server\nmsmtp: server message: 501 <Web <web>>:"
            ' "@" or "." expected after "Web"',
            "smtp_address_form",
        ),
    ],
)
def test_wrapping_does_not_hide_the_words(text: str, rule: str) -> None:
    found = catalogue.find(text)
    assert found is not None
    assert found.id == rule


def test_base64_challenge_is_read() -> None:
    # {"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}
    challenge = "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ=="
    assert '"status":"400"' in legible(f"334 {challenge}")
    found = catalogue.find(f"+ {challenge}", where="imap", method="oauth")
    assert found is not None
    assert found.category is Category.OAUTH
    assert legible("eyJ" + "/" * 40) == "eyJ" + "/" * 40


def test_a_record_of_a_conversation_means_what_was_refused() -> None:
    found = catalogue.find("+OK ready\nUSER a\n+OK\nPASS b\n-ERR [AUTH] Authentication failed.")
    assert found is not None
    assert found.category is Category.AUTH


def test_lines_of_a_stack_are_left_out() -> None:
    text = (
        "Error: Invalid login: 535 refused\n    at SMTPConnection._onTimeout (/app/smtp.js:12:3)\n"
        '  File "imaplib.py", line 734, in login\n    raise self.error(dat[-1])'
    )
    assert legible(text) == "Error: Invalid login: 535 refused"


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Fehler bei der Anmeldung: Der Server hat Benutzername oder Kennwort abgelehnt.", Category.AUTH),
        ("L'identification auprès du serveur a échoué", Category.AUTH),
        ("Serveren svarer ikke (tidsavbrudd)", Category.TIMEOUT),
        ("Ihr Konto wurde gesperrt", Category.POLICY),
        ("サーバーに接続できません", Category.NETWORK),
        ("Certyfikat serwera wygasł", Category.TLS),
    ],
)
def test_other_languages_are_read_by_their_words(text: str, category: Category) -> None:
    found = catalogue.find(text, where="imap", sure=True)
    assert found is not None
    assert found.category is category


@pytest.mark.parametrize("text", ["450 mailbox busy", "login of Benutzer joe", "550 5.7.1 relaying denied", "密码"])
def test_english_and_single_foreign_words_are_left_as_they_are(text: str) -> None:
    assert legible(text) == text


def test_long_text_is_read_from_both_ends() -> None:
    text = "535 authentication failed " + "x" * 100_000 + " end"
    assert len(legible(text)) <= LONGEST + 1
    assert legible(text).endswith(" end")


def test_code_that_smtp_repeats_stands_there_once() -> None:
    assert legible("550-5.7.1 Daily\r\n550-5.7.1 sending\r\n550 5.7.1 limit") == "550-5.7.1 Daily sending limit"


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("imap.gmail.com", "google"),
        ("outlook.office365.com", "microsoft"),
        ("IMAP.Mail.Yahoo.com.", "yahoo"),
        ("imap.aol.com", "yahoo"),
        ("p03-imap.mail.me.com", "icloud"),
        ("imap.exmail.qq.com", "netease"),
        ("imap.mail.ru", "mailru"),
        ("mail.notgmail.com", ""),
        ("localhost", ""),
        ("", ""),
    ],
)
def test_host_names_tell_the_family(host: str, family: str) -> None:
    assert catalogue.family_of(host) == family


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("535 5.7.8 BadCredentials - gsmtp", "google"),
        ("535 5.7.3 [VI1PR09.eurprd09.prod.outlook.com]", "microsoft"),
        ("550 5.1.1 <somebody@gmail.com>: no such user", ""),
        ("gsmtp prod.outlook.com", ""),
    ],
)
def test_text_tells_the_family_only_where_it_is_certain(text: str, family: str) -> None:
    assert catalogue.family_in(text) == family


def test_rules_of_other_families_do_not_fit() -> None:
    mine = next(rule for rule in HEARD if rule.family == {"google"} and rule.where and "imap" in rule.where)
    found = catalogue.find(mine.sample, where="imap", family="fastmail")
    assert found is None or found.family != {"google"}


def test_text_that_means_nothing_finds_nothing() -> None:
    assert catalogue.find("blub bla") is None
    assert re.search(r"do not know", catalogue.rule("unknown").title)  # type: ignore[union-attr]


def test_whoever_must_be_sure_gets_no_guess() -> None:
    assert not [entry for entry in labelled("texts.jsonl")[::8] if (looked_up(entry, sure=True) or NOTHING).guessed_by]


def test_a_guess_hardly_ever_takes_the_place_of_a_particular_rule() -> None:
    replaced, lost = Counter[str](), 0
    entries = labelled("texts.jsonl")[::4]
    for entry in entries:
        found, sure = looked_up(entry), looked_up(entry, sure=True)
        if found is sure or sure is None:
            continue
        assert found is not None
        assert found.category
        assert len(found.guessed_by) > 1, entry["text"]
        replaced["exact" if sure.exact else "vague" if sure.vague or sure.broad else "other"] += 1
        lost += name(found.category) not in entry["category"]
    assert replaced["exact"] <= len(entries) / 100
    assert replaced["other"] <= len(entries) / 50
    assert lost <= len(entries) / 200


def test_all_words_together_may_speak_against_a_broad_rule() -> None:
    text = "450 4.7.1 Sorry. mail from a valid IP or Domain address.(SPF_GRAY)"
    hasty = catalogue.find(text, where="smtp", sure=True)
    assert hasty is not None
    assert hasty.broad
    assert hasty.category is Category.UNAVAILABLE
    found = catalogue.find(text, where="smtp")
    assert found is not None
    assert found.category is Category.POLICY


def test_words_that_no_rule_knows_are_guessed_and_named() -> None:
    text = "skipping invalid fetch ... missing required UNSEEN OK untagged response"
    assert catalogue.find(text, where="imap", sure=True) is None
    found = catalogue.find(text, where="imap")
    assert found is not None
    assert found.category is Category.PROTOCOL
    assert set(found.guessed_by) <= set(text.split())


@pytest.mark.parametrize("text", ["", "535", "5.7.1", "the and for", "response", "é" * 300, "1 2 3 4.5.6 550 550"])
def test_codes_and_single_words_are_no_guess(text: str) -> None:
    assert guess.guess(text, where="smtp") is None


def test_every_piece_has_a_weight_for_each_category() -> None:
    heading, *rows = guess.FILE.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert heading.split()[-len(guess.NAMES) :] == list(guess.NAMES)
    pieces = [row[len(guess.NAMES) :] for row in rows]
    assert len(pieces) == len(set(pieces)) > 5000
    assert {guess.ALWAYS, "pass", "5xx", "in:imap", "by:oauth"} <= set(pieces)
    assert {sign for row in rows for sign in row[: len(guess.NAMES)]} <= set(guess.SIGNS)


def test_pieces_are_cut_within_words_and_codes_have_their_class() -> None:
    assert set(guess.pieces_of("to be 550 5.7.1")) == {
        *(" to ", " be ", " 550", "550 ", " 550 ", " 5.7", "5.7.", ".7.1", "7.1 ", " 5.7.", "5.7.1", ".7.1 "),
        *(" 5.7.1", "5.7.1 ", "5xx", "5.7"),
    }
    assert " 0 " not in guess.pieces_of("12345678")
    assert not any("1" in piece for piece in guess.pieces_of("error 12345678"))
    assert not any("example" in piece for piece in guess.pieces_of("a@example.org 192.0.2.7 mail.example.com"))


@pytest.mark.parametrize(
    ("text", "where", "clues"),
    [
        ("a1 NO [OVERQUOTA] full", "imap", {"VNO", "VNO@imap", "COVERQUOTA", "L2"}),
        ("-ERR locked", "pop3", {"V-ERR", "V-ERR@pop3", "L1"}),
        ("535 5.7.8 refused, 535", "smtp", {"R535", "F535", "F535@smtp", "S5.7.8", "S5.7", "L2"}),
        ("SMTPDataError: ECONNRESET errno 104", "net", {"XSMTPDataError", "Eeconnreset", "E104", "L2"}),
        ("{'error': 'invalid_grant'} AADSTS70000", "oauth", {"Ginvalid_grant", "GAADSTS70000", "L2"}),
        ("", "imap", {"L0"}),
    ],
)
def test_structure_gives_clues_that_no_word_can_give(text: str, where: str, clues: set[str]) -> None:
    assert set(clues_of(text, where)) == clues


def test_what_a_rule_says_counts_more_or_less_before_a_guess() -> None:
    sure = [catalogue.find(text, where="smtp", sure=True) for text in ("552 quota exceeded", "550 access denied")]
    assert [rule and rule.category for rule in sure] == [Category.QUOTA, Category.POLICY]
    kept, given_up = (catalogue.trust(rule) for rule in sure)
    assert kept > given_up > catalogue.trust(None) == 0
