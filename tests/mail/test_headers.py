"""The decoder of header fields reads what it can and never raises."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailadmin.mail.charsets import codec_for, decode
from mailadmin.mail.headers import read_date, read_heading
from mailadmin.mail.words import decoded

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def test_an_ordinary_header_is_read() -> None:
    heading = read_heading(
        b"From: Ada Example <ada@example.org>\r\nTo: wim@example.org\r\nSubject: Hello\r\n"
        b"Date: Mon, 01 Jun 2026 10:00:00 +0200\r\nMessage-ID: <1@example.org>\r\n\r\n"
    )
    assert (heading.from_name, heading.from_address, heading.to) == (
        "Ada Example",
        "ada@example.org",
        "wim@example.org",
    )
    assert (heading.subject, heading.message_id) == ("Hello", "<1@example.org>")
    assert heading.sent_at == datetime(2026, 6, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("=?utf-8?q?gr=C3=BC=C3=9Fe?=", "grüße"),
        ("=?UTF-8?B?Z3LDvMOfZQ==?=", "grüße"),
        ("=?utf-8?b?Z3LD?= =?utf-8?b?vMOfZQ==?=", "grüße"),
        ("=?utf-8?q?gr=C3?= =?utf-8?q?=BC=C3=9Fe?=", "grüße"),
        ("=?utf-8?b?Z3LDvMOfZ?= =?utf-8?b?Q==?=", "grüße"),
        ("=?iso-8859-1?q?gr=FC=DFe?= and =?utf-8?q?=E2=82=AC?=", "grüße and €"),
        ("=?nonsense?q?gr=C3=BC?=", "grü"),
        ("=?nonsense?q?gr=FC?=", "grü"),
        ("=?utf-8?b?Z3LDvMOfZQ?=", "grüße"),
        ("=?utf-8?q?two words?=", "two words"),
        ("=?utf-8*de?q?=C3=BC?=", "ü"),
        ("=?gb2312?b?xOO6ww==?=", "你好"),
        ("=?utf-8?q?never ended", "=?utf-8?q?never ended"),
        ("Re: =?utf-8?q?=C3=BC?= x", "Re: ü x"),
    ],
)
def test_encoded_words_are_decoded_even_when_broken(written: str, read: str) -> None:
    assert decoded(written) == read


@pytest.mark.parametrize(
    "name", ["zlib", "base64", "idna", "utf-7", "rot13", "hex", "punycode", "unicode_escape", "bz2"]
)
def test_codecs_that_are_not_for_text_are_not_used(name: str) -> None:
    assert codec_for(name) == ""


def test_bytes_without_a_charset_are_guessed() -> None:
    assert decode("grüße".encode()) == decode("grüße".encode("latin-1")) == "grüße"
    assert read_heading(b"Subject: gr\xfc\xdfe\r\n").subject == "grüße"


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ('"Example, Ada" <ada@example.org>', "Example, Ada", "ada@example.org"),
        ("ada@example.org (Ada Example)", "Ada Example", "ada@example.org"),
        ("=?utf-8?q?Ada=2C_Example?= <ada@example.org>", "Ada, Example", "ada@example.org"),
        ("Ada Example ada@example.org", "Ada Example", "ada@example.org"),
        ("<ada@example.org>", "", "ada@example.org"),
        ("Ada Example", "Ada Example", ""),
        ('"Ada \\"A\\" Example" <ada@example.org>', 'Ada "A" Example', "ada@example.org"),
        ("", "", ""),
    ],
)
def test_senders_are_read_however_they_are_written(written: str, name: str, address: str) -> None:
    heading = read_heading(f"From: {written}\r\n".encode())
    assert (heading.from_name, heading.from_address) == (name, address)


def test_recipients_end_at_fifty() -> None:
    to = ",\r\n ".join(f"p{n}@example.org" for n in range(5000))
    shown = read_heading(f"To: {to}\r\n".encode()).to
    assert shown.count("@") == 50
    assert re.search(r" and [\d,]+ more$", shown)


def test_the_members_of_a_group_are_recipients() -> None:
    assert read_heading(b"To: Team: ada@example.org, wim@example.org;\r\n").to == "ada@example.org, wim@example.org"


def test_recipients_of_to_and_cc_come_as_pairs() -> None:
    raw = b"To: =?utf-8?q?Ren=C3=A9e?= <renee@example.org>, wim@example.org\r\nCc: Ada <ada@example.org>\r\n"
    found = [("Renée", "renee@example.org"), ("", "wim@example.org"), ("Ada", "ada@example.org")]
    assert list(read_heading(raw).recipients) == found
    crowd = b"To: " + b", ".join(b"a%d@example.org" % n for n in range(40)) + b"\r\nCc: " + b"b@c.de, " * 40
    assert len(read_heading(crowd).recipients) == 50


@pytest.mark.parametrize(
    ("field", "reply_to"),
    [
        ("", ""),
        ("Reply-To: ada@example.org", ""),
        ("Reply-To: =?utf-8?q?Ren=C3=A9e?= <renee@example.org>", "Renée <renee@example.org>"),
        ("Reply-To: desk@example.org,\r\n ada@example.org", "desk@example.org, ada@example.org"),
        ("Reply-To: nobody at all", "nobody at all"),
    ],
)
def test_reply_to_is_kept_where_it_says_more_than_from(field: str, reply_to: str) -> None:
    assert read_heading(f"From: Ada <ada@example.org>\r\n{field}\r\n".encode()).reply_to == reply_to


@pytest.mark.parametrize(
    ("field", "is_bulk"),
    [
        ("List-Id: <offers.example.org>", True),
        ("List-Unsubscribe: <https://example.org/u>", True),
        ("Precedence: Bulk", True),
        ("Auto-Submitted: auto-replied; owner-email=ada@example.org", True),
        ("Auto-Submitted: no", False),
        ("Precedence: first-class", False),
        ("X-List: no", False),
    ],
)
def test_mail_to_lists_and_of_machines_is_told_apart(field: str, is_bulk: bool) -> None:
    assert read_heading(f"From: ada@example.org\r\n{field}\r\n".encode()).is_bulk is is_bulk


def test_a_long_subject_is_cut() -> None:
    assert len(read_heading(b"Subject: " + b"x" * 1_000_000).subject) == 998


def test_nothing_invisible_comes_through() -> None:
    raw = b"Subject: a\0b =?utf-8?q?=1B=00=E2=80=AE=0D=0AX=3A_y?=\r\nFrom: =?utf-8?q?=ED=A0=80?= <a@b>\r\n"
    heading = read_heading(raw)
    assert not UNSAFE.search(heading.subject + heading.from_name)
    assert "<U+202E>" in heading.subject


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("Mon, 01 Jun 2026 10:00:00 +0200", datetime(2026, 6, 1, 8, tzinfo=UTC)),
        ("1 Jun 2026 10:00 -0000", datetime(2026, 6, 1, 10, tzinfo=UTC)),
        ("Mon, 1 Jun 26 10:00:00 EST", datetime(2026, 6, 1, 15, tzinfo=UTC)),
        ("Mon, 01 Jun 2026 10:00:60 +0000", datetime(2026, 6, 1, 10, 0, 59, tzinfo=UTC)),
        ("Mon, 01 Jan 0001 00:00:00 +0000", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Mon, 31 Feb 2026 10:00:00 +0000", None),
        ("Mon, 01 Jun 2026 10:00:00 +9999", None),
        ("%DATE%", None),
        ("", None),
    ],
)
def test_dates_are_aware_and_believable_or_absent(written: str, utc: datetime | None) -> None:
    assert read_date(written) == utc


@given(
    st.binary()
    | st.text().map(
        lambda text: f"Subject: {text}\r\nFrom: {text}\r\nTo: {text}\r\nDate: {text}".encode("utf-8", "surrogatepass")
    )
)
def test_no_header_raises_or_comes_out_unsafe(raw: bytes) -> None:
    heading = read_heading(b"Subject: " + raw)
    for text in (heading.subject, heading.from_name, heading.from_address, heading.to, heading.message_id):
        assert not UNSAFE.search(text)
    assert heading.sent_at is None or heading.sent_at.tzinfo is not None


@given(st.text(alphabet='=?utf-8bqQB_ \r\n,<>"\\():;@ü', max_size=200))
def test_no_mixture_of_special_characters_raises(text: str) -> None:
    assert not UNSAFE.search(read_heading(f"To: {text}\r\nFrom: {text}\r\nSubject: {text}".encode()).to)


@given(st.text(min_size=1, max_size=60))
def test_what_the_standard_library_encodes_is_read_back(text: str) -> None:
    from email.header import Header

    clean = "".join(c for c in text if c.isprintable()).strip()
    assert decoded(Header(clean, "utf-8").encode(linesep="")) == clean


def test_hostile_headers_take_linear_time() -> None:
    # No clock is needed: quadratic work on these would take minutes.
    for bomb in (b"=?utf-8?q? ", b'"', b"(", b"<", b"=?a?b?", b"a,", b"\\"):
        read_heading(b"To: " + bomb * (65_000 // len(bomb)) + b"\r\n")
        read_heading(b"Subject: " + bomb * (65_000 // len(bomb)))


IDS = st.integers(0, 30).map(lambda n: f"<{n}@example.org>")


@given(st.lists(IDS, max_size=60), st.lists(IDS, max_size=2))
def test_a_message_refers_to_the_first_and_the_last_of_its_references(before: list[str], answered: list[str]) -> None:
    raw = f"References: {' '.join(before)}\r\nIn-Reply-To: {' '.join(answered)}\r\n"
    ids = list(dict.fromkeys([*before, *answered[:1]]))
    expected = ids if len(ids) <= 20 else [ids[0], *ids[-19:]]
    assert list(read_heading(raw.encode()).refers_to) == expected


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        ("In-Reply-To: Your message of Monday <1@x> from <ada@example.org>", ("<1@x>",)),
        ("References: <1@x>\r\n\t<2@x>\r\nIn-Reply-To: <1@x>", ("<1@x>", "<2@x>")),
        ("References: <1@x><2@x>", ("<1@x>", "<2@x>")),
        ("References: nothing of use", ()),
        ("References: <with a blank@x> <" + "y" * 2000 + "@x>", ()),
    ],
)
def test_references_are_read_however_they_are_written(raw: str, ids: tuple[str, ...]) -> None:
    assert read_heading(raw.encode()).refers_to == ids


COPY = (
    "From: Ada <ada@example.org>\r\nTo: wim@example.org\r\nSubject: Größe\r\n"
    "Date: Mon, 01 Jun 2026 10:00:00 +0200\r\nMessage-ID: <1@example.org>\r\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Größe", "=?utf-8?q?Gr=C3=B6=C3=9Fe?="),
        ("10:00:00 +0200", "08:00:00 +0000"),
        ("Ada <ada", "<Ada"),
        ("From: ", "Received: by somebody else\r\nFROM:   "),
        ("To: wim@example.org", "To:\r\n <wim@example.org>"),
    ],
)
def test_copies_that_a_server_wrote_in_its_own_way_have_the_same_hash(old: str, new: str) -> None:
    assert old in COPY
    assert hash_of(COPY.replace(old, new)) == hash_of(COPY)


@pytest.mark.parametrize(
    ("old", "new"),
    [("1@ex", "2@ex"), ("10:00", "10:01"), ("Größe", "Farbe"), ("wim@", "tim@"), ("<ada", "<eve"), ("To:", "Cc:")],
)
def test_distinct_mail_has_another_hash(old: str, new: str) -> None:
    assert hash_of(COPY.replace(old, new)) != hash_of(COPY)


def test_mail_that_nothing_tells_apart_has_no_hash() -> None:
    assert read_heading(b"Subject: Hello\r\nFrom: ada@example.org\r\n").content_hash is None
    assert read_heading(b"").content_hash is None
    assert hash_of("From: ada@example.org\r\nDate: Mon, 01 Jun 2026 10:00:00 +0200\r\n")


def hash_of(raw: str) -> bytes:
    found = read_heading(raw.encode()).content_hash
    assert found is not None
    assert len(found) == 16
    return found
