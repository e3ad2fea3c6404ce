"""Which parts of a message are read and which are files; what becomes of bytes; HTML as text, and made harmless."""

import base64
import re
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailadmin.mail import markup
from mailadmin.mail.structure import Part
from mailadmin.mail.text_parts import MOST_SECTIONS, Choice, Section, choose, file_name, preview, read, unpacked
from mailadmin.mail.whole import take_apart


def leaf(number: str, kind: str = "text/plain", **more: str) -> Part:
    return Part(number, kind, **more)  # type: ignore[arg-type]


def multi(kind: str, *children: Part) -> Part:
    return Part("", f"multipart/{kind}", children=children)


def numbers(choice: Choice) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """What is read (plain and HTML), what is a file, what is within HTML."""
    sections = [(s.plain.number if s.plain else "", s.html.number if s.html else "") for s in choice.sections]
    return sections, [part.number for part in choice.files], [part.number for part in choice.inner]


PLAIN, HTML, FILE = leaf("1"), leaf("2", "text/html"), leaf("3", "application/pdf", name="a.pdf")
PICTURE = leaf("4", "image/png", cid="a@b", name="a.png")


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        (PLAIN, ([("1", "")], [], [])),
        (HTML, ([("", "2")], [], [])),
        (FILE, ([], ["3"], [])),
        (multi("alternative", PLAIN, HTML), ([("1", "2")], [], [])),
        (multi("mixed", multi("alternative", PLAIN, HTML), FILE), ([("1", "2")], ["3"], [])),
        (multi("alternative", PLAIN, multi("related", HTML, PICTURE)), ([("1", "2")], [], ["4"])),
        (multi("mixed", PLAIN, PICTURE), ([("1", "")], ["4"], [])),
        (multi("mixed", PLAIN, leaf("5", disposition="attachment")), ([("1", "")], ["5"], [])),
        (multi("mixed", PLAIN, leaf("5", name="log.txt")), ([("1", "")], ["5"], [])),
        (multi("mixed", PLAIN, leaf("5")), ([("1", ""), ("5", "")], [], [])),
        (multi("alternative", PLAIN, HTML, leaf("6", "text/calendar")), ([("1", "2")], ["6"], [])),
        (multi("signed", PLAIN, leaf("7", "application/pgp-signature")), ([("1", "")], ["7"], [])),
        (multi("related", HTML, leaf("4", "image/png", cid="x", disposition="attachment")), ([("", "2")], [], ["4"])),
        (None, ([], [], [])),
        (multi("mixed"), ([], [], [])),
    ],
)
def test_what_is_read_and_what_is_a_file(whole: Part | None, expected: object) -> None:
    assert numbers(choose(whole)) == expected


def _trees() -> st.SearchStrategy[Part]:
    kinds = st.sampled_from(["text/plain", "text/html", "image/png", "application/pdf", "message/rfc822", "x/y"])
    places: Iterator[int] = count(1)
    names, ways = st.sampled_from(["", "a.txt"]), st.sampled_from(["", "inline", "attachment"])
    leaves = st.builds(
        lambda kind, name, cid, how: Part(str(next(places)), kind, name=name, cid=cid, disposition=how),
        kinds,
        names,
        st.sampled_from(["", "c@d"]),
        ways,
    )
    groups = st.sampled_from(["mixed", "alternative", "related", "signed", "digest", "x"])
    return st.recursive(
        leaves,
        lambda inner: st.builds(lambda kind, each: multi(kind, *each), groups, st.lists(inner, max_size=5)),
        max_leaves=15,
    )


@settings(max_examples=150, deadline=None)
@given(_trees())
def test_no_part_is_read_and_listed_and_no_file_is_lost(whole: Part) -> None:
    choice = choose(whole)
    chosen = [part.number for part in (*choice.texts, *choice.files, *choice.inner)]
    assert len(chosen) == len(set(chosen))
    assert len(choice.sections) <= MOST_SECTIONS
    files = {part.number for part in whole.leaves() if not part.type.startswith("text/")}
    assert files <= set(chosen)
    assert all(file_name(part) for part in choice.files)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "7bit", "8bit", "x-uuencode", ""]))
def test_any_bytes_become_a_text(raw: bytes, encoding: str) -> None:
    for kind in ("text/plain", "text/html"):
        part = Part("1", kind, charset="utf-16", encoding=encoding, is_flowed=True)
        section = Section(html=part) if kind == "text/html" else Section(plain=part)
        made = read(Choice((section,)), {"1": raw}, most=100, asked=200)
        assert len(made.html) <= 100
        assert "\0" not in made.text + made.html + made.preview


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1000])
def test_base64_comes_back_however_it_is_cut(size: int) -> None:
    content = bytes(range(256)) * 8
    wrapped = base64.encodebytes(content[:size])
    assert unpacked(wrapped, "base64") == content[:size]
    assert content.startswith(unpacked(wrapped[: size // 2], "base64"))


def test_a_character_that_was_cut_in_two_is_left_out() -> None:
    part = Part("1", "text/plain", charset="utf-8", encoding="8bit")
    raw = "größe".encode()[:4]
    assert read(Choice((Section(plain=part),)), {"1": raw}, most=100, asked=4).text == "grö"
    raw = "grö".encode()[:3]
    made = read(Choice((Section(plain=part),)), {"1": raw}, most=100, asked=3)
    assert (made.text, made.is_cut) == ("gr", True)


@pytest.mark.parametrize("charset", ["utf-8", "utf-16-le", "iso-2022-jp"])
def test_lines_end_in_line_feeds_and_tabs_are_the_only_controls_left(charset: str) -> None:
    part = Part("1", "text/plain", charset=charset)
    raw = "日本\r\none\rtwo\n\r\nthree\0\x07\t\x7ffour\r".encode(charset)
    made = read(Choice((Section(plain=part),)), {"1": raw}, most=999, asked=999)
    assert made.text == "日本\none\ntwo\n\nthree\tfour"


def test_flowed_paragraphs_are_one_line_and_quotes_stay() -> None:
    part = Part("1", "text/plain", is_flowed=True)
    raw = b"One \r\ntwo \r\nthree\r\n> four \r\n> five\r\n-- \r\nNora"
    assert read(Choice((Section(plain=part),)), {"1": raw}, most=999, asked=999).text == (
        "One two three\n> four \n> five\n-- \nNora"
    )


def test_a_preview_is_what_the_sender_says_not_what_is_quoted() -> None:
    assert preview("\n-----\n> old\nHello   there,\n\nall is well") == "Hello there, all is well"
    assert preview("> only a quote") == "only a quote"
    assert len(preview("word " * 1000)) <= 300
    assert "\u202e" not in preview("a\u202eb")


def test_html_is_read_line_by_line_without_what_hides_in_it() -> None:
    text = markup.as_text(
        "<style>p{}</style><title>no</title><p>One &amp;\n two</p><ul><li>a<li>b</ul>x\u200b\u200by<script>1</script>"
    )
    assert text == "One & two\n\na\nb\n\nxy"


@given(st.text("ab<&; \n\r\t\xa0\u3000\x1c\u200b\ufeff\xad"))
def test_all_words_of_html_are_kept_and_only_what_separates_them_is_made_tidy(text: str) -> None:
    made = markup._tidy(text)
    shown = re.sub("[\u200b\ufeff\xad]", "", text)
    assert made.split() == shown.split()
    assert not re.search(r"[^\S\n ]|  |\n |\n\n\n| \n\n|^\s|\s$", made)
    assert made.count("\n\n") <= len(re.findall(r"\n\s*\n", shown))


@pytest.mark.parametrize(
    "odd",
    [
        "<div>" * 60_000,
        "".join(f"<b a={n}>" for n in range(2000)) + "<p>x" * 20_000,
        "<div></span>" * 20_000,
        "<table><td>" * 20_000,
        "<" * 200_000,
        "<a href='" + "x" * 200_000,
        "&" * 50_000,
        "\0<p\0>x",
    ],
    ids=["deep", "formats", "mismatched", "tables", "brackets", "attribute", "entities", "nul"],
)
def test_html_made_to_take_long_is_done_at_once(odd: str) -> None:
    assert len(markup.sanitised(odd).html) < 3_000_000
    assert len(markup.as_text(odd)) < 3_000_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "<p>",
                "<b x=",
                '"',
                "'",
                ">",
                "<!--",
                "-->",
                "<a href=",
                "java",
                "script:",
                "x",
                "&#",
                "<svg>",
                "<style>",
                "</style>",
                "<img src=//e.example",
                " onerror=1",
                "<math>",
                "]]>",
                "<![CDATA[",
            ]
        ),
        max_size=30,
    )
)
def test_no_html_brings_scripts_addresses_or_handlers(pieces: list[str]) -> None:
    safe = markup.sanitised("".join(pieces)).html.lower()
    assert "<script" not in safe
    assert "<svg" not in safe
    assert 'href="java' not in safe
    assert 'src="' not in safe


def test_messages_that_come_whole_have_the_same_parts() -> None:
    raw = (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n'
        b"Content-Type: text/plain;"
        b" charset=utf-8; format=flowed\r\n\r\nHello\r\n--x\r\n"
        b"Content-Type: application/pdf; name*=utf-8''a%C3%A4.pdf\r\n"
        b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\naGVs\r\n--x--\r\n"
    )
    part, contents = take_apart(raw)
    choice = choose(part)
    assert numbers(choice) == ([("1", "")], ["2"], [])
    assert choice.files[0].name == "aä.pdf"
    assert contents["1"].strip() == b"Hello"
    assert unpacked(contents["2"], "base64") == b"hel"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_taken_apart(raw: bytes) -> None:
    choose(take_apart(raw)[0])
    choose(take_apart(b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" + raw + b"\n--a\n" + raw)[0])


def test_a_message_of_ten_thousand_multiparts_is_no_reason_to_stop() -> None:
    raw = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2000))
    assert take_apart(raw)[0] is None
