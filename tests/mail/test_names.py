"""Names: the installation's own name servers are asked where it has any, and everything ends in time."""

import time

import pytest

from mailadmin.mail import names
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules
from tests.servers import dns
from tests.servers.town import Town


def addresses(town: Town, host: str, seconds: float = 5) -> list[str]:
    return [str(ip) for ip in names.addresses(host, town.rules, Deadline(seconds))]


def test_the_name_servers_of_the_installation_say_where_a_host_is(town: Town) -> None:
    town.names.add("both.test", "A", "192.0.2.1", "192.0.2.2")
    town.names.add("both.test", "AAAA", "2001:db8::1")
    assert sorted(addresses(town, "both.test")) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


def test_names_without_a_dot_stay_with_the_system(town: Town) -> None:
    assert set(addresses(town, "localhost")) <= {"127.0.0.1", "::1"}
    assert not [question for question in town.names.heard if question.startswith("localhost")]


@pytest.mark.parametrize("host", ["missing.test", "mailonly.test"])
def test_a_host_that_does_not_exist_is_a_permanent_error(town: Town, host: str) -> None:
    town.names.add("mailonly.test", "TXT", '"no address"')
    with pytest.raises(MailError) as raised:
        addresses(town, host)
    assert (raised.value.category, raised.value.permanent, raised.value.code) == (Category.DNS, True, "dns-unknown")


def test_a_name_server_that_hangs_is_not_waited_for(town: Town) -> None:
    town.names.habits["stuck.test"] = dns.silence
    began = time.monotonic()
    with pytest.raises(MailError) as raised:
        addresses(town, "stuck.test", 0.3)
    assert time.monotonic() - began < 4
    assert (raised.value.category, raised.value.permanent) == (Category.DNS, False)


def test_a_name_server_that_knows_nothing_of_ipv6_is_enough(town: Town) -> None:
    town.names.add("old.test", "A", "192.0.2.1")
    town.names.habits["old.test AAAA"] = dns.failure
    assert addresses(town, "old.test") == ["192.0.2.1"]


def test_no_name_server_at_all_is_told() -> None:
    nobody = Rules(name_servers=(("127.0.0.1", 1),))
    with pytest.raises(MailError) as raised:
        names.mail_hosts("example.org", nobody, Deadline(5))
    assert raised.value.category is Category.DNS


@pytest.mark.parametrize("domain", ["a" * 64 + ".test", "a..test", ".".join(["label"] * 60)])
def test_names_that_cannot_be_asked_for_are_told(town: Town, domain: str) -> None:
    with pytest.raises(MailError) as raised:
        names.mail_hosts(domain, town.rules, Deadline(10))
    assert raised.value.message.startswith("The name servers could not answer")


def test_odd_hosts_in_mx_records_are_passed_over(town: Town) -> None:
    town.names.add(
        "odd.test", "MX", r"5 a\032b.odd.test.", "10 .", r"20 127.0.0.1.", "30 in.odd.test.", "30 IN.odd.test."
    )
    assert names.mail_hosts("odd.test", town.rules, Deadline(10)) == ("127.0.0.1", "in.odd.test")


def test_srv_records_are_sorted_by_priority_and_weight(town: Town) -> None:
    town.names.add("_imaps._tcp.sorted.test", "SRV", "1 5 993 c.test.", "0 1 993 b.test.", "0 9 993 a.test.")
    found = names.services("_imaps", "sorted.test", town.rules, Deadline(10))
    assert [service.host for service in found] == ["a.test", "b.test", "c.test"]
