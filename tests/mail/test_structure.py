"""What is read of BODYSTRUCTURE: usual messages, names of every kind, and answers that no server should give."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailadmin.mail.imap_items import Record
from mailadmin.mail.structure import DEEPEST, Part, read_items, read_structure, uid_of

PLAIN = b'("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "QUOTED-PRINTABLE" 1152 23)'
HTML = b'("text" "html" ("charset" "iso-8859-1") NIL NIL "base64" 4000 50 NIL NIL NIL NIL)'


def structure(raw: bytes, *more: Record) -> Part | None:
    """What is read of a server's answer that says BODYSTRUCTURE `raw`."""
    return read_structure(read_items([*more, b"1 (UID 5 BODYSTRUCTURE " + raw + b")"]).get("BODYSTRUCTURE"))


def numbers(part: Part | None) -> list[tuple[str, str]]:
    assert part
    return [(leaf.number, leaf.type) for leaf in part.leaves()]


def a_file(params: bytes, disposition: bytes = b"NIL") -> bytes:
    return b'("application" "pdf" (' + params + b') NIL NIL "base64" 99 NIL ' + disposition + b" NIL NIL)"


def test_a_single_part_has_the_number_one() -> None:
    part = structure(PLAIN)
    assert part == Part("1", "text/plain", charset="utf-8", encoding="quoted-printable", size=1152)


def test_parts_within_parts_are_numbered_as_they_are_asked_for() -> None:
    raw = b"((" + PLAIN + HTML + b' "ALTERNATIVE" ("BOUNDARY" "x") NIL NIL)' + a_file(b'"name" "a.pdf"') + b' "MIXED")'
    assert numbers(structure(raw)) == [("1.1", "text/plain"), ("1.2", "text/html"), ("2", "application/pdf")]


def test_a_message_within_a_message_is_one_part() -> None:
    inner = b'("message" "rfc822" NIL NIL NIL "7bit" 900 ("d" "s" NIL NIL NIL NIL NIL NIL NIL NIL) ' + PLAIN + b" 30)"
    part = structure(b"(" + PLAIN + inner + b' "mixed")')
    assert numbers(part) == [("1", "text/plain"), ("2", "message/rfc822")]
    assert part
    assert [leaf.name for leaf in part.leaves()] == ["", "message.eml"]


@pytest.mark.parametrize(
    ("params", "disposition", "name"),
    [
        (b'"name" "plan.pdf"', b"NIL", "plan.pdf"),
        (b'"name" "a.pdf"', b'("attachment" ("filename" "b.pdf"))', "b.pdf"),
        (b'"name" "=?utf-8?q?Gr=C3=B6=C3=9Fe.pdf?="', b"NIL", "Größe.pdf"),
        (b'"name*" "utf-8\'de\'Gr%C3%B6%C3%9Fe.pdf"', b"NIL", "Größe.pdf"),
        (b'"name*1" "b.pdf" "name*0*" "iso-8859-1\'\'%E4"', b"NIL", "äb.pdf"),
        (b'"name" "../../etc/passwd"', b"NIL", "passwd"),
        (b'"name" "C:\\\\temp\\\\x.exe"', b"NIL", "x.exe"),
        (b'"name" "exe\xe2\x80\xaefdp.scr"', b"NIL", "exe<U+202E>fdp.scr"),
        (b'"name" "a\r\nb"', b"NIL", "a b"),
        (b'"name"', b"NIL", ""),
    ],
)
def test_names_of_files_are_read_however_they_are_written(params: bytes, disposition: bytes, name: str) -> None:
    part = structure(a_file(params, disposition))
    assert part
    assert part.name == name


def test_a_name_may_come_as_a_literal() -> None:
    begin: Record = (b'1 (UID 7 BODYSTRUCTURE ("image" "png" ("name" {9}', b'a "b" (c)')
    items = read_items([begin, b') "<x@y>" NIL "base64" 12 NIL ("inline" NIL) NIL))'])
    part = read_structure(items["BODYSTRUCTURE"])
    assert uid_of(items) == 7
    assert part == Part("1", "image/png", encoding="base64", size=12, name='a "b" (c)', cid="x@y", disposition="inline")


def test_a_part_comes_with_its_bytes_whatever_they_are() -> None:
    items = read_items([(b"9 (UID 4 BODY[1.2]<0> {5}", b')"(\r\n'), b" FLAGS (\\Seen))"])
    assert (uid_of(items), items["BODY[1.2]"], items["FLAGS"]) == (4, b')"(\r\n', [b"\\Seen"])


@pytest.mark.parametrize(
    "raw", [b"NIL", b"()", b'"text"', b"(NIL NIL)", b'("text")', b"(((((", b")))", b'(("a" "b") "c"', b"(() ())"]
)
def test_what_makes_no_sense_is_no_reason_to_stop(raw: bytes) -> None:
    part = structure(raw)
    assert part is None or isinstance(part, Part)


def test_what_is_too_deep_or_too_much_is_not_read() -> None:
    deep = b"(" * 20_000 + PLAIN + b")" * 20_000
    with pytest.raises(ValueError, match="too deep"):
        structure(deep)
    with pytest.raises(ValueError, match="too many"):
        structure(b"(" + PLAIN * 10_000 + b' "mixed")')
    many = structure(b"(" + PLAIN * 700 + b' "mixed")')
    assert many
    assert len(list(many.leaves())) < 500


def test_depth_that_messages_have_is_read() -> None:
    raw = PLAIN
    for _ in range(DEEPEST):
        raw = b"(" + raw + b' "mixed")'
    assert numbers(structure(raw)) == [(".".join("1" * DEEPEST), "text/plain")]


# Whatever comes, it is read or refused; and what a server says rightly is understood.

_WORDS = st.sampled_from(
    [b"NIL", b'"text"', b'"plain"', b'"name"', b'"x"', b"7", b"-1", b"99999999999999999999", b'""']
)
_TREES = st.recursive(
    _WORDS, lambda inner: st.lists(inner, max_size=8).map(lambda e: b"(" + b" ".join(e) + b")"), max_leaves=60
)


@settings(max_examples=300, deadline=None)
@given(_TREES, st.integers(0, 40))
def test_any_tree_is_read(tree: bytes, cut: int) -> None:
    for raw in (tree, tree[: max(0, len(tree) - cut)]):
        part = structure(raw)
        for leaf in part.leaves() if part else ():
            assert leaf.size >= 0
            assert leaf.number


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(line: bytes, literal: bytes) -> None:
    try:
        items = read_items([(line + b"{9}", literal), line])
    except ValueError:
        return
    assert 0 <= uid_of(items) < 2**32
    for value in items.values():
        read_structure(value)


_LEAVES = st.sampled_from([PLAIN, HTML, a_file(b'"name" "a.pdf"')])


@settings(max_examples=100, deadline=None)
@given(st.recursive(_LEAVES, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=30))
def test_every_leaf_of_a_message_is_found_with_its_number(tree: object) -> None:
    def written(node: object) -> bytes:
        return node if isinstance(node, bytes) else b"(" + b"".join(map(written, node)) + b' "mixed" NIL NIL)'  # type: ignore[call-overload]

    def expected(node: object, number: str) -> list[str]:
        if isinstance(node, bytes):
            return [number or "1"]
        assert isinstance(node, list)
        prefix = f"{number}." if number else ""
        return [each for place, inner in enumerate(node, 1) for each in expected(inner, f"{prefix}{place}")]

    assert [number for number, _ in numbers(structure(written(tree)))] == expected(tree, "")
