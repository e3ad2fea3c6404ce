"""Discovery against a name server, web sites and mail servers of a town of its own: who is believed, in which order."""

import dataclasses
import socket
import threading
import time

from mailadmin.mail.discovery import Attempt, Discovery, Finding, Source, as_plain, discover, from_plain
from mailadmin.mail.types import LoginFormat, SignInMethod
from tests.mail.conftest import server_context
from tests.real import eventually
from tests.servers import dns
from tests.servers.silent import drip, imap_script, say, silence, smtp_script
from tests.servers.town import Town, autoconfig
from tests.servers.website import Page

IMAP, SMTP = ("mail.example.org", 993), ("mail.example.org", 465)
IMAP_ANSWERS = {"CAPABILITY": (b"* CAPABILITY IMAP4rev1\r\n", b"TAG OK\r\n"), "LOGOUT": (b"* BYE\r\n", b"TAG OK\r\n")}
OWNER, WELL_KNOWN = (
    "https://autoconfig.{}/mail/config-v1.1.xml",
    "https://{}/.well-known/autoconfig/mail/config-v1.1.xml",
)


def found(town: Town, domain: str, **options: float) -> Discovery:
    return discover(domain, town.rules, ispdb=town.ispdb, **options)


def best(town: Town, domain: str, **options: float) -> Finding:
    finding = found(town, domain, **options).best
    assert finding is not None
    return finding


def servers(finding: Finding) -> list[str]:
    return [str(server) for server in finding.servers]


def attempts(discovery: Discovery, source: Source) -> list[Attempt]:
    return [attempt for attempt in discovery.attempts if attempt.source is source]


def test_a_domain_of_the_catalogue_needs_no_network(town: Town) -> None:
    heard = len(town.names.heard)
    discovery = found(town, "gmail.com")
    assert [(one.source, one.known) for one in discovery.findings] == [(Source.CATALOGUE, "google")]
    assert SignInMethod.OAUTH in discovery.findings[0].methods
    others = [attempt for attempt in discovery.attempts if attempt.source is not Source.CATALOGUE]
    assert {attempt.source for attempt in others} == set(Source) - {Source.CATALOGUE}
    assert all(attempt.problem.startswith("Not asked, because gmail.com is") for attempt in others)
    assert len(town.names.heard) == heard


def test_the_mx_shows_who_hosts_a_company(town: Town) -> None:
    town.add("hosted.test", mx="aspmx.l.google.com")
    discovery = found(town, "hosted.test")
    assert [(one.source, one.known) for one in discovery.findings] == [(Source.MX, "google")]
    assert discovery.findings[0].detail == "aspmx.l.google.com"
    assert "imap:imap.gmail.com:993:implicit" in servers(discovery.findings[0])
    assert attempts(discovery, Source.PROBE)[0].problem == "Not asked, because others have answered."


def test_a_mail_filter_as_mx_is_a_question_and_not_a_guess(town: Town) -> None:
    town.add("filtered.test", mx="mx1.hc123-45.eu.iphmx.com")
    discovery = found(town, "filtered.test")
    assert "Cisco" in discovery.gateway
    assert discovery.findings == ()
    assert discovery.gateway in attempts(discovery, Source.MX)[0].problem
    assert not [url for url in town.web.heard if url.endswith("iphmx.com")]


def test_behind_a_mail_filter_the_owner_is_believed(town: Town) -> None:
    town.add("shielded.test", mx="mx1.hc123-45.eu.iphmx.com")
    town.names.add("_imaps._tcp.shielded.test", "SRV", "0 1 993 imap.shielded.test.")
    discovery = found(town, "shielded.test")
    assert discovery.gateway
    assert servers(discovery.findings[0]) == ["imap:imap.shielded.test:993:implicit"]


def test_a_domain_that_does_not_exist_is_told_and_nothing_else_is_tried(town: Town) -> None:
    discovery = found(town, "unfounded.test")
    assert discovery.problem == "There is no domain called unfounded.test."
    assert [question for question in town.names.heard if "unfounded.test" in question] == ["unfounded.test MX"]
    assert all(a.problem.startswith("Not asked") for a in discovery.attempts if a.source.rank > Source.MX.rank)


def test_a_domain_that_takes_no_mail_is_told(town: Town) -> None:
    town.names.add("silent.test", "MX", "0 .")
    discovery = found(town, "silent.test")
    assert discovery.problem == "The domain silent.test says that it takes no mail."
    assert not [question for question in town.names.heard if "_tcp.silent.test" in question]


def test_the_owner_of_a_domain_says_it_in_a_file(town: Town) -> None:
    town.add_autoconfig("meadow.test", name="Meadow Mail", imap=IMAP, smtp=SMTP)
    answer = best(town, "meadow.test")
    assert (answer.source, answer.name, answer.detail) == (
        Source.AUTOCONFIG,
        "Meadow Mail",
        "autoconfig.meadow.test",
    )
    assert servers(answer) == ["imap:mail.example.org:993:implicit", "smtp:mail.example.org:465:implicit"]


def test_the_file_may_stand_on_the_domain_itself(town: Town) -> None:
    town.add("common.test")
    town.put_file(WELL_KNOWN.format("common.test"), autoconfig("Common", imap=IMAP))
    answer = best(town, "common.test")
    assert (answer.source, answer.detail) == (Source.AUTOCONFIG, "common.test")


def test_web_sites_learn_the_domain_and_nothing_else(town: Town) -> None:
    town.add_autoconfig("private.test", imap=IMAP)
    found(town, "private.test")
    request = next(text for text in town.web.requests if "autoconfig.private.test" in text)
    names = {line.partition(":")[0] for line in request.splitlines()[1:] if line}
    assert names == {"Host", "User-Agent", "Accept-Encoding", "Accept", "Connection"}
    assert "@" not in request
    assert "?" not in request.splitlines()[0]


def test_servers_of_a_known_provider_bring_what_is_known_of_it(town: Town) -> None:
    town.add_autoconfig("resold.test", name="Resold", imap=("imap.gmail.com", 993))
    answer = best(town, "resold.test")
    assert (answer.known, answer.name, answer.source) == ("google", "Resold", Source.AUTOCONFIG)
    assert SignInMethod.PASSWORD not in answer.methods


def test_srv_records_are_believed(town: Town) -> None:
    town.add_srv("harbour.test", imap=("imap.harbour.test", 993), smtp=("smtp.harbour.test", 465))
    answer = best(town, "harbour.test")
    assert (answer.source, answer.detail) == (Source.SRV, "imap.harbour.test, smtp.harbour.test")
    assert servers(answer) == ["imap:imap.harbour.test:993:implicit", "smtp:smtp.harbour.test:465:implicit"]


def test_srv_records_that_lead_elsewhere_are_told_as_such(town: Town) -> None:
    town.add_srv("leading.test", imap=("imap.leading.test", 993), smtp=("mail.elsewhere.example", 465))
    answer = best(town, "leading.test")
    assert answer.detail.endswith("; mail.elsewhere.example, outside of leading.test")


def test_srv_records_for_sending_alone_are_no_answer(town: Town) -> None:
    town.add_srv("sender.test", smtp=SMTP)
    town.names.add("_imaps._tcp.sender.test", "SRV", "0 0 0 .")
    discovery = found(town, "sender.test")
    assert discovery.best is None
    assert attempts(discovery, Source.SRV)[0].problem == (
        "The domain says that it has no _imaps. Only mail.example.org for sending is named."
    )


def test_the_public_list_is_asked(town: Town) -> None:
    town.add("listed.test")
    town.put_file(f"{town.ispdb}listed.test", autoconfig("Listed", imap=IMAP))
    answer = best(town, "listed.test")
    assert (answer.source, answer.detail) == (Source.ISPDB, "ispdb.test")


def test_the_public_list_may_know_the_domain_of_the_mx(town: Town) -> None:
    town.add("customer.test", mx="mx1.in.bighost.example")
    town.put_file(f"{town.ispdb}bighost.example", autoconfig("Big Host", imap=IMAP))
    answer = best(town, "customer.test")
    assert answer.source is Source.ISPDB
    assert answer.detail == "about bighost.example, which takes in the mail of customer.test"


def test_the_public_list_can_be_switched_off(town: Town) -> None:
    town.add("discreet.test")
    discovery = discover("discreet.test", town.rules, ispdb="")
    assert not [url for url in town.web.heard if "discreet.test" in url and "ispdb" in url]
    assert attempts(discovery, Source.ISPDB)[0].problem.startswith("Not asked, because this installation")


def test_all_answers_are_shown_and_the_best_is_the_first(town: Town) -> None:
    town.add_srv("rich.test", imap=("imap.rich.test", 993))
    town.add_autoconfig("rich.test", imap=("mail.rich.test", 993))
    town.put_file(f"{town.ispdb}rich.test", autoconfig("Rich", imap=("old.rich.test", 993)))
    discovery = found(town, "rich.test")
    assert [finding.source for finding in discovery.findings] == [Source.AUTOCONFIG, Source.SRV, Source.ISPDB]
    ranks = [attempt.source.rank for attempt in discovery.attempts]
    assert ranks == sorted(ranks)


def test_usual_names_are_tried_when_nobody_knows(town: Town) -> None:
    town.add("modest.test")
    heard: list[str] = []
    town.open_door("mail.modest.test", 993, imap_script(IMAP_ANSWERS, heard))
    town.open_door(
        "mail.modest.test",
        995,
        smtp_script({"CAPA": b"-ERR\r\n", "QUIT": b"+OK\r\n"}, heard, greeting=b"+OK ready\r\n"),
    )
    town.open_door("smtp.modest.test", 465, smtp_script({"ehlo": b"250 smtp\r\n", "quit": b"221 bye\r\n"}, heard))
    answer = best(town, "modest.test", seconds=20)
    assert answer.source is Source.PROBE
    assert servers(answer) == [
        "imap:mail.modest.test:993:implicit",
        "pop3:mail.modest.test:995:implicit",
        "smtp:smtp.modest.test:465:implicit",
    ]
    assert not [command for command in heard if command.split()[0] in ("AUTH", "AUTHENTICATE", "LOGIN", "USER")]


def test_sending_by_starttls_is_tried_last(town: Town) -> None:
    town.add("older.test")
    town.open_door("imap.older.test", 993, imap_script(IMAP_ANSWERS, []))
    context = server_context(town.authority.issue("older", ("mail.older.test",)))

    def starttls(client: socket.socket, over: threading.Event) -> None:
        for words in (b"220 mail ESMTP\r\n", b"250-mail\r\n250 STARTTLS\r\n", b"220 go ahead\r\n"):
            client.sendall(words)
            client.recv(1000)
            if words.startswith(b"250"):
                client.sendall(b"220 go ahead\r\n")
                break
        with context.wrap_socket(client, server_side=True) as encrypted:
            encrypted.recv(1000)
            encrypted.sendall(b"250 mail\r\n")
            over.wait(60)

    town.open_door("mail.older.test", 587, starttls, certificate_for="-")
    assert servers(best(town, "older.test", seconds=20)) == [
        "imap:imap.older.test:993:implicit",
        "smtp:mail.older.test:587:starttls",
    ]


def test_a_wildcard_invents_no_servers(town: Town) -> None:
    town.names.add("hotel.test", "MX", "10 in.hotel.test.")
    town.names.add("*.hotel.test", "A", town.address)
    # One that greets well, but whose certificate is for another name; one with the right name that is no mail server.
    town.open_door("imap.hotel.test", 993, imap_script(IMAP_ANSWERS, []), certificate_for="parking.example")
    town.open_door("smtp.hotel.test", 465, say(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    discovery = found(town, "hotel.test", seconds=20)
    assert discovery.findings == ()
    assert [url for url in town.web.heard if url.startswith("https://autoconfig.hotel.test/")]
    assert attempts(discovery, Source.AUTOCONFIG)[0].problem == "There is no such file."
    assert attempts(discovery, Source.PROBE)[0].problem == "No mail server greets us under these names."


def test_when_everything_hangs_the_search_ends_in_time(town: Town) -> None:
    town.names.habits["tarpit.test"] = dns.silence
    began = time.monotonic()
    discovery = found(town, "tarpit.test", seconds=0.5)
    assert time.monotonic() - began < 4
    assert (discovery.findings, discovery.is_incomplete) == ((), True)
    assert attempts(discovery, Source.MX)[0].timed_out
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("discovery")])


def test_web_sites_and_servers_that_hang_are_told_as_late(town: Town) -> None:
    town.add("swamp.test")
    for url in (OWNER.format("swamp.test"), WELL_KNOWN.format("swamp.test"), f"{town.ispdb}swamp.test"):
        town.put_file(url, silence)
    town.names.add("autoconfig.swamp.test", "A", town.address)
    town.open_door("mail.swamp.test", 110, silence)
    began = time.monotonic()
    discovery = found(town, "swamp.test", seconds=0.5)
    assert time.monotonic() - began < 4
    late = [attempt for attempt in discovery.attempts if attempt.timed_out]
    assert {attempt.source for attempt in late} >= {Source.AUTOCONFIG, Source.ISPDB}
    assert all("in time" in attempt.problem for attempt in late if attempt.source is not Source.PROBE)


def test_a_web_site_that_drips_is_not_waited_for_to_the_end(town: Town) -> None:
    town.add("dripping.test")
    page = bytes(Page(autoconfig("Slow", imap=IMAP)))
    town.put_file(WELL_KNOWN.format("dripping.test"), drip(page, 0.05))
    discovery = found(town, "dripping.test", seconds=0.5)
    assert attempts(discovery, Source.AUTOCONFIG)[1].timed_out


def test_who_knows_less_is_not_waited_for_long(town: Town) -> None:
    town.add("known.test", mx="aspmx.l.google.com")
    town.put_file(WELL_KNOWN.format("known.test"), silence)
    began = time.monotonic()
    discovery = found(town, "known.test", seconds=30)
    assert time.monotonic() - began < 20
    assert attempts(discovery, Source.AUTOCONFIG)[1].problem == "Not waited for, because a better answer had come."


def test_name_servers_that_fail_end_in_a_sentence(town: Town) -> None:
    town.names.habits["failing.test"] = dns.failure
    town.put_file(f"{town.ispdb}failing.test", autoconfig("Listed", imap=IMAP))
    discovery = found(town, "failing.test")
    assert attempts(discovery, Source.MX)[0].problem == "The name servers could not answer for failing.test."
    assert [finding.source for finding in discovery.findings] == [Source.ISPDB]


def test_name_servers_that_talk_nonsense_are_not_understood(town: Town) -> None:
    town.names.habits["babel.test"] = dns.nonsense
    discovery = found(town, "babel.test", seconds=0.5)
    assert attempts(discovery, Source.MX)[0].timed_out


def test_many_mx_records_come_over_tcp(town: Town) -> None:
    town.names.add("crowded.test", "MX", *(f"{n} host-{n}.of-a-long-name.crowded.test." for n in range(1, 200)))
    assert "host-1.of-a-long-name.crowded.test" in attempts(found(town, "crowded.test"), Source.MX)[0].problem


def test_a_discovery_survives_json(town: Town) -> None:
    finding = found(town, "gmail.com").findings[0]
    other = dataclasses.replace(finding, source=Source.ISPDB, login=LoginFormat.BY_HAND)
    discovery = Discovery("x.test", (finding, other), (Attempt(Source.MX, "x", timed_out=True),), "Filter", "Problem.")
    assert from_plain(as_plain(discovery)) == discovery
