"""Addresses as people type them."""

import pytest

from mailadmin.writing.addresses import Mailbox, WrongRecipients, mailbox, read, recipients


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@x.example", ["a@x.example"]),
        (
            "Nora Feldt <n@x.example>, b@x.example; c@y.example",
            ["Nora Feldt <n@x.example>", "b@x.example", "c@y.example"],
        ),
        ("a@x.example\r\nb@x.example\n\n;, c@x.example,", ["a@x.example", "b@x.example", "c@x.example"]),
        ('"Feldt, Nora; Halden" <n@x.example>, <b@x.example>', ['"Feldt, Nora; Halden" <n@x.example>', "b@x.example"]),
        ('"Nora \\"the lamp\\"" <n@x.example>', ['"Nora \\"the lamp\\"" <n@x.example>']),
        ("Nora.Feldt@X.Example", ["Nora.Feldt@X.Example"]),
        ("büro@bücher.example", ["büro@bücher.example"]),
        ("  Nora   Feldt\t<n@x.example> ", ["Nora Feldt <n@x.example>"]),
        ("a@x.example, A@x.EXAMPLE", ["a@x.example"]),
        ("mailbox@localhost", ["mailbox@localhost"]),
        ("", []),
    ],
)
def test_what_people_type_is_understood(text: str, expected: list[str]) -> None:
    good, bad = read(text)
    assert ([str(box) for box in good], bad) == (expected, [])
    assert [str(box) for box in read(", ".join(map(str, good)))[0]] == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "nora",
            "nora@",
            "@x.example",
            "a b@x.example",
            "a@x.example b@x.example",
            "a@@x.example",
            "Nora <n@x.example",
        ),
        *("<n@x.example> Nora", "a@-x.example", "a@x..example", "a@[127.0.0.1]", "a@127.0.0.1", '"a b"@x.example'),
        *("a@x.example>", "n@x.exa mple", "Nora <<n@x.example>>", "a\u202e@x.example", "x" * 300 + "@x.example"),
        *(
            "N\u202eora <n@x.example>",
            "=?utf-8?q?a=0Ab?= <n@x.example>",
            "a@x.example\0",
            "=?utf-8?q?e=40x.example=2C_a?=@x.example",
        ),
    ],
)
def test_what_is_no_address_is_named(text: str) -> None:
    good, bad = read(f"a@x.example, {text}")
    assert [box.address for box in good] == ["a@x.example"]
    assert len(bad) == 1
    assert len(bad[0]) <= 80


def test_every_field_says_what_is_wrong_in_it() -> None:
    with pytest.raises(WrongRecipients) as raised:
        recipients(to="nora", cc="b@x.example", bcc="x, y, z, v@, w")
    assert raised.value.field == "to"
    assert raised.value.fields["to"].startswith("“nora” is not an address.")
    assert raised.value.fields["bcc"].startswith("“x”, “y”, “z” and 2 more are not addresses.")
    assert set(raised.value.fields) == {"to", "bcc"}
    with pytest.raises(WrongRecipients, match="who gets"):
        recipients(to=" ", cc="", bcc="")


def test_a_domain_is_told_to_servers_as_the_dns_knows_it() -> None:
    box = mailbox("Jörg <jorg@Bücher.example.>")
    assert box == Mailbox("Jörg", "jorg@Bücher.example")
    assert (box.envelope, box.is_beyond_ascii) == ("jorg@xn--bcher-kva.example", False)
    assert mailbox("jörg@x.example").is_beyond_ascii  # type: ignore[union-attr]


def test_thirty_thousand_characters_of_nonsense_are_read_in_no_time() -> None:
    for text in ('"' * 30_000, "<" * 30_000, "a@" * 15_000, ",".join(["a@x.example"] * 2500), "\\" * 30_000):
        good, bad = read(text)
        assert len(good) + len(bad) <= 15_000
