"""Which hosts, ports and addresses may be dialled."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailadmin.mail.addresses import check_host, check_port, judge, unwrapped
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules

NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.1.1",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "::ffff:0:a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
NOT_PUBLIC = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "fc00::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "::ffff:0:7f00:1",
    "fec0::1",
    "4000::1",
    "2002:0a00:0001::1",
]
EVERYTHING = Rules(networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_are_never_dialled_even_if_listed(text: str) -> None:
    with pytest.raises(MailError) as raised:
        judge(ip_address(text), 993, EVERYTHING)
    assert raised.value.category is Category.POLICY


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_addresses_that_are_not_public_are_refused_unless_listed(text: str) -> None:
    with pytest.raises(MailError, match="MAILADMIN_ALLOWED_NETWORKS") as raised:
        judge(ip_address(text), 993, Rules())
    assert raised.value.permanent
    judge(ip_address(text), 993, EVERYTHING)


@pytest.mark.parametrize("text", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_dialled(text: str) -> None:
    judge(ip_address(text), 993, Rules())


def test_a_port_that_is_not_for_mail_is_refused_at_public_addresses() -> None:
    with pytest.raises(MailError, match="MAILADMIN_ALLOWED_PORTS"):
        judge(ip_address("8.8.8.8"), 22, Rules())
    judge(ip_address("8.8.8.8"), 10993, Rules(ports=frozenset({10993})))


def test_any_port_is_allowed_in_a_listed_network() -> None:
    judge(ip_address("127.0.0.1"), 31999, Rules(networks=(ip_network("127.0.0.0/8"),)))


def test_a_mapped_address_is_in_the_network_of_what_it_maps() -> None:
    judge(ip_address("::ffff:10.0.0.1"), 993, Rules(networks=(ip_network("10.0.0.0/8"),)))


@given(st.ip_addresses(v=4))
def test_every_wrapping_leads_to_the_wrapped_address(address) -> None:
    assert unwrapped(ip_address(f"::ffff:{address}")) == address
    assert unwrapped(ip_address(int(ip_address("64:ff9b::")) + int(address))) == address


@pytest.mark.parametrize(
    ("typed", "dialled"),
    [
        ("mail.example.com", "mail.example.com"),
        (" Mail.Example.COM. ", "mail.example.com"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("192.0.2.25", "192.0.2.25"),
        ("[2001:db8::25]", "2001:db8::25"),
        ("2001:DB8::25", "2001:db8::25"),
        ("3com.example", "3com.example"),
    ],
)
def test_a_good_host_is_brought_into_its_dialled_form(typed: str, dialled: str) -> None:
    assert check_host(typed) == dialled


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "  ",
        "https://mail.example.com",
        "mail.example.com/inbox",
        "mail.example.com:993",
        "wim@example.com",
        "mail example.com",
        "mail\u202e.example.com",
        "mail.exa\0mple.com",
        "mail.example.com\r\nx",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "256.1.1.1",
        "-a.example",
        "a-.example",
        "a..example",
        "a_b.example",
        "[::1",
        "::1%lo",
        "fe80::1%25eth0",
        "a" * 64 + ".example",
        ".".join(["abc"] * 80),
    ],
)
def test_a_bad_host_is_refused_with_a_sentence(typed: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        check_host(typed)


@given(st.text())
def test_checking_a_host_gives_a_dialled_form_that_stays_the_same_or_a_sentence(typed: str) -> None:
    try:
        host = check_host(typed)
    except ValueError:
        return
    assert host.isascii()
    assert check_host(host) == host


@pytest.mark.parametrize("typed", ["0", "65536", "-1", "993x", "", "9 93", "99999999999", "٩٩٣"])
def test_a_bad_port_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        check_port(typed)


def test_a_good_port_is_a_number() -> None:
    assert check_port(" 993 ") == check_port(993) == 993
