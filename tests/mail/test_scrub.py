"""Text of strangers is short, without secrets and without anything invisible; sign-in payloads are as the RFC says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailadmin.mail.sasl import encoded, login, plain
from mailadmin.mail.scrub import scrub, visible


def test_a_secret_is_masked() -> None:
    assert scrub("no: hunter22 is wrong", ["hunter22"]) == "no: *** is wrong"


@pytest.mark.parametrize("user", ["a", "ab", "abc", "wim@example.org"])
def test_a_secret_is_masked_inside_an_encoded_payload(user: str) -> None:
    payload = encoded(plain(user, "correct horse"))
    said = scrub(f"bad: {payload}", ["correct horse"])
    # What is left of the payload is its beginning and end: too little to hold the secret.
    assert len(said.replace("bad: ", "").replace("***", "")) <= len(payload) - len("correct horse")


@given(st.text(min_size=4, max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_text_gives_a_secret_away(secret: str, before: str, after: str) -> None:
    said = scrub(f"{before}{secret}{after}", [secret])
    assert secret not in said or secret in before + "***" + after or secret in "***"


def test_control_and_bidi_characters_become_visible() -> None:
    assert visible("a\x1b[31m\u202eb\x85") == "a␛[31m<U+202E>b<U+0085>"


def test_text_is_cut_at_500_characters() -> None:
    assert len(scrub("x" * 5000)) == 500


@given(st.text())
def test_scrubbed_text_can_be_stored(text: str) -> None:
    said = scrub(text)
    assert "\0" not in said
    said.encode()


def test_plain_is_as_in_rfc_4616() -> None:
    assert plain("tim", "tanstaaftanstaaf") == b"\0tim\0tanstaaftanstaaf"
    assert plain("jürgen", "pä") == "\0jürgen\0pä".encode()
    assert login("ü", "p") == ("ü".encode(), b"p")
