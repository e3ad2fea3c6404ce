"""Handing a message over: to all or to none, and what is certain when it breaks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.smtp import RecipientsRefused, Smtp, Unanswered, open_smtp
from mailadmin.mail.types import Rules
from tests.mail.conftest import LOOPBACK, WIM, smtp
from tests.servers.certificates import Authority
from tests.servers.post import Post, hang_up

ONE, TWO = "nora@x.example", "ravi@x.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("post"))


@pytest.fixture
def post(authority: Authority) -> Iterator[Post]:
    with Post(authority) as server:
        yield server


@contextmanager
def session(post: Post, ca_file: Path) -> Iterator[Smtp]:
    rules = Rules(networks=LOOPBACK, ca_file=str(ca_file))
    opened = open_smtp(smtp("127.0.0.1", post.port, "implicit"), rules, Deadline(20))
    try:
        opened.sign_in(WIM)
        yield opened
    finally:
        opened.close()


def deliver(opened: Smtp, *pieces: bytes, seconds: float = 5.0, recipients: tuple[str, ...] = (ONE, TWO)) -> None:
    size = sum(map(len, pieces))
    opened.deliver(pieces, size=size, sender="wim@example.org", recipients=recipients, seconds=seconds)


@pytest.mark.parametrize(
    ("pieces", "arrived"),
    [
        ((b"X: y\r\n\r\n.a\r\n..\r\n.\r\n",), b"X: y\r\n\r\n.a\r\n..\r\n.\r\n"),
        ((b"X: y\r\n", b"\r\n", b".a\r", b"\n", b".", b".b", b"", b"\r\n"), b"X: y\r\n\r\n.a\r\n..b\r\n"),
        ((b"X: y\r\n\r\nno line end",), b"X: y\r\n\r\nno line end\r\n"),
        ((b".",), b".\r\n"),
        ((), b""),
    ],
)
def test_dots_and_line_ends_arrive_as_they_are_however_they_are_cut(
    post: Post, authority: Authority, pieces: tuple[bytes, ...], arrived: bytes
) -> None:
    with session(post, authority.ca_file) as opened:
        deliver(opened, *pieces)
        deliver(opened, b"another\r\n")
    assert post.given == [arrived, b"another\r\n"]
    assert post.messages[0][:2] == ("wim@example.org", [ONE, TWO])


def test_if_one_recipient_is_refused_nobody_gets_it_and_the_next_message_can_follow(
    post: Post, authority: Authority
) -> None:
    post.does[f"rcpt {TWO}"] = [b"550 5.1.1 unknown\r\n"]
    post.does["rcpt third@x.example"] = [b"452 4.5.3 too many\r\n"]
    with session(post, authority.ca_file) as opened:
        with pytest.raises(RecipientsRefused) as raised:
            deliver(opened, b"x\r\n", recipients=(ONE, TWO, "third@x.example"))
        deliver(opened, b"another\r\n", recipients=(ONE,))
    assert [(who, why.permanent) for who, why in raised.value.refused] == [(TWO, True), ("third@x.example", False)]
    assert raised.value.permanent
    assert post.given == [b"another\r\n"]


@pytest.mark.parametrize(
    ("answer", "permanent"),
    [
        (b"451 4.3.0 later\r\n", False),
        (b"421 4.3.2 shutting down\r\n", False),
        (b"554 5.7.1 spam\r\n", True),
        (b"552 5.3.4 too large\r\n", True),
    ],
)
@pytest.mark.parametrize("step", ["mail", "data", "dot"])
def test_what_is_refused_is_certain(
    post: Post, authority: Authority, step: str, answer: bytes, permanent: bool
) -> None:
    post.does[step] = [answer]
    with session(post, authority.ca_file) as opened, pytest.raises(MailError) as raised:
        deliver(opened, b"x\r\n")
    assert not isinstance(raised.value, Unanswered)
    assert raised.value.permanent is permanent
    assert post.messages == []


@pytest.mark.parametrize("answer", [hang_up, b"what?\r\n", b"354 go on\r\n", b"999 x\r\n", b"25", b"2" * 9000])
def test_whatever_is_no_answer_to_the_final_dot_leaves_it_open(post: Post, authority: Authority, answer: bytes) -> None:
    post.does["dot"] = [answer]
    with session(post, authority.ca_file) as opened, pytest.raises(Unanswered):
        deliver(opened, b"x\r\n", seconds=1)
    assert post.given == [b"x\r\n"]


def test_a_server_that_is_silent_after_the_final_dot_is_awaited_no_longer_than_wanted(
    post: Post, authority: Authority
) -> None:
    post.does["dot"] = [post.silence]
    with session(post, authority.ca_file) as opened, pytest.raises(Unanswered):
        deliver(opened, b"x\r\n", seconds=0.5)


@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "content"])
def test_an_end_before_the_final_dot_is_certain(post: Post, authority: Authority, step: str) -> None:
    post.does[step] = [hang_up]
    with session(post, authority.ca_file) as opened, pytest.raises(MailError) as raised:
        deliver(opened, *[(b"x" * 70 + b"\r\n") * 1000] * 120)
    assert not isinstance(raised.value, Unanswered)
    assert raised.value.category is Category.NETWORK
    assert post.given == []


def test_what_is_raised_before_the_end_sends_no_final_dot_and_no_farewell(post: Post, authority: Authority) -> None:
    class Withdrawn(Exception):
        pass

    def refuse() -> None:
        raise Withdrawn

    with pytest.raises(Withdrawn), session(post, authority.ca_file) as opened:
        opened.deliver([b"x\r\n"], size=3, sender=ONE, recipients=[TWO], before_end=refuse)
    assert (post.given, "quit" in post.heard) == ([], False)


def test_extensions_are_used_where_the_server_has_them(authority: Authority) -> None:
    for extensions, options in (
        ((), ""),
        (("8BITMIME", "SIZE"), " BODY=8BITMIME SIZE=3"),
        (("SIZE 0",), " SIZE=3"),
        (("SMTPUTF8", "8BITMIME", "SIZE 3"), " BODY=8BITMIME SIZE=3"),
    ):
        with Post(authority, extensions=extensions) as post, session(post, authority.ca_file) as opened:
            deliver(opened, b"x\r\n")
        assert f"mail FROM:<wim@example.org>{options}" in post.heard


def test_what_is_larger_than_the_server_takes_is_refused_before_it_is_told(authority: Authority) -> None:
    with Post(authority, extensions=("SIZE 1000",)) as post:
        with session(post, authority.ca_file) as opened, pytest.raises(MailError, match="up to 1 KB") as raised:
            deliver(opened, b"x" * 998 + b"\r\n" + b"x\r\n")
        assert raised.value.permanent
        assert not any(line.startswith("mail") for line in post.heard)


@pytest.mark.parametrize("bad", ["a@b\r\nDATA", "a@b> SIZE=1", "<a@b", "a\0@b"])
def test_no_recipient_can_end_a_command(post: Post, authority: Authority, bad: str) -> None:
    with session(post, authority.ca_file) as opened, pytest.raises(MailError) as raised:
        deliver(opened, b"x\r\n", recipients=(ONE, bad))
    assert raised.value.category is Category.CONFIG
    assert not any(line.startswith(("mail", "rcpt")) for line in post.heard)
