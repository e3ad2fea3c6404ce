"""The built-in catalogue: every entry is complete and consistent, and each host and domain leads to one provider."""

import re
import time
import tomllib
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import idna
import pytest

from mailadmin.mail import known_providers
from mailadmin.mail.addresses import check_host
from mailadmin.mail.known_providers import KnownProvider, everyone
from mailadmin.mail.types import LoginFormat, Server, ServerProtocol, ServiceType, SignInMethod, TLSMode

SAMPLES = tomllib.loads((Path(__file__).parent / "mx_samples.toml").read_text(encoding="utf-8"))
ALL = everyone().values()
PORTS = {
    ServerProtocol.IMAP: {(993, TLSMode.IMPLICIT), (143, TLSMode.STARTTLS)},
    ServerProtocol.POP3: {(995, TLSMode.IMPLICIT), (110, TLSMode.STARTTLS)},
    # Charter speaks TLS from the first byte on 587.
    ServerProtocol.SMTP: {(465, TLSMode.IMPLICIT), (587, TLSMode.STARTTLS), (587, TLSMode.IMPLICIT)},
}
WITHOUT_SERVERS = {"exchange"}  # Every company has its own; a person types them in.


def servers_of(known: KnownProvider) -> list[tuple[Server, ...]]:
    """The servers of `known` for each of its domains, and for a company's domain behind each sample of its MX."""
    found = [known.servers_for(domain) for domain in known.domains]
    for host in SAMPLES["providers"].get(known.key, ["mx.example.net"]):
        fit = known_providers.by_mx((host,))
        found.append(known.servers_for("example.org", fit[2] if fit else {}))
    return found


def test_the_catalogue_knows_the_providers_that_people_have() -> None:
    assert len(everyone()) >= 95
    wanted = {"google", "microsoft-365", "outlook", "exchange", "icloud", "yahoo", "fastmail", "zoho-eu", "ionos-de"}
    assert wanted <= set(everyone())
    assert len(everyone()["outlook"].domains) >= 98


def test_keys_and_names_are_short_and_stand_once() -> None:
    assert [key for key in everyone() if not re.fullmatch(r"[a-z0-9-]{2,40}", key)] == []
    assert [known.name for known in ALL if len(known.name) > 60] == []
    assert [name for name, n in Counter(known.name.casefold() for known in ALL).items() if n > 1] == []


def test_entries_are_in_the_order_of_their_names() -> None:
    names = [known.name.casefold() for known in ALL]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"nmae": "Example"}, TypeError),
        ({"name": "Example", "checked": date(2026, 1, 2), "sources": ["x"], "domain": []}, TypeError),
        ({"name": "Example", "checked": date(2026, 1, 2)}, TypeError),
        ({"name": "Example", "checked": date(2026, 1, 2), "sources": ["x"], "methods": ["secret"]}, ValueError),
        ({"name": "Example", "checked": date(2026, 1, 2), "sources": ["x"], "login": "name"}, ValueError),
    ],
)
def test_an_entry_with_a_field_or_a_word_that_nobody_knows_is_refused(values: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        known_providers._entry("example", values)


def test_every_entry_says_where_its_facts_come_from_and_when_they_were_checked() -> None:
    source = re.compile(r"https?://\S+\.\S+|[\w.-]+/[\w.-]+ \S*[\w.]+")
    assert [known.key for known in ALL if not known.sources] == []
    assert [(known.key, s) for known in ALL for s in known.sources if not source.fullmatch(s)] == []
    assert [known.key for known in ALL if not date(2026, 1, 1) <= known.checked <= datetime.now(UTC).date()] == []


def test_every_server_has_a_real_name_a_fitting_port_and_encryption() -> None:
    wrong = [
        (known.key, str(server))
        for known in ALL
        for servers in servers_of(known)
        for server in servers
        if check_host(server.host) != server.host or (server.port, server.tls_mode) not in PORTS[server.protocol]
    ]
    assert wrong == []


def test_every_open_entry_can_receive_and_send_and_offers_implicit_tls_first() -> None:
    wrong = []
    for known in ALL:
        if known.closed or known.key in WITHOUT_SERVERS:
            continue
        for servers in servers_of(known):
            by_protocol = {p: [s.tls_mode for s in servers if s.protocol is p] for p in ServerProtocol}
            receives = by_protocol[ServerProtocol.IMAP] or by_protocol[ServerProtocol.POP3]
            late = [modes for modes in by_protocol.values() if TLSMode.IMPLICIT in modes[1:] and modes[0] != "implicit"]
            if not receives or not by_protocol[ServerProtocol.SMTP] or late:
                wrong.append(known.key)
    assert wrong == []


def test_what_stands_in_braces_is_the_domain_or_a_group_of_every_mx_pattern() -> None:
    wrong = []
    for known in ALL:
        names = set(re.findall(r"\{(\w+)\}", " ".join((*known.servers, *known.hosted_servers)))) - {"domain"}
        wrong += [known.key for pattern in known.mx if not names <= set(re.compile(pattern).groupindex)]
        wrong += [known.key] if names and (known.domains or not known.mx) else []
    assert wrong == []


def test_domains_are_as_the_dns_writes_them_and_belong_to_one_entry() -> None:
    assert [d for known in ALL for d in known.domains if d != d.lower() or idna.encode(d).decode() != d] == []
    assert [d for d, n in Counter(d for known in ALL for d in known.domains).items() if n > 1] == []
    assert [known.key for known in ALL for d in known.domains if known_providers.by_domain(d) is not known] == []


def test_every_mx_pattern_fits_a_sample_and_no_sample_fits_two_entries() -> None:
    hosts = [(key, host) for key, hosts in SAMPLES["providers"].items() for host in hosts]
    unused = [p for known in ALL for p in known.mx if not any(re.fullmatch(p, host) for _, host in hosts)]
    assert unused == []
    fits = {host: [known.key for known in ALL if any(re.fullmatch(p, host) for p in known.mx)] for _, host in hosts}
    assert {host: keys for host, keys in fits.items() if len(keys) != 1} == {}
    assert {host: key for key, host in hosts} == {host: keys[0] for host, keys in fits.items()}
    assert [host for _, host in hosts if known_providers.gateway_of((host,))] == []


def test_every_mail_filter_is_recognised_and_is_nobodys_mailbox() -> None:
    hosts = [(name, host) for name, hosts in SAMPLES["gateways"].items() for host in hosts]
    assert [(name, host) for name, host in hosts if known_providers.gateway_of((host,)) != name] == []
    assert [host for _, host in hosts if known_providers.by_mx((host,))] == []
    patterns = [pattern for pattern, _ in known_providers._gateways()]
    assert [p.pattern for p in patterns if not any(p.fullmatch(host) for _, host in hosts)] == []


def test_hosts_that_only_look_like_a_provider_are_nobodys() -> None:
    strangers = SAMPLES["nobody"]["hosts"]
    assert [host for host in strangers if known_providers.by_mx((host,)) or known_providers.gateway_of((host,))] == []
    assert [host for host in strangers if known_providers.by_server_host(host)] == []


def test_no_pattern_takes_long_on_a_hostile_name() -> None:
    hostile = ["a-." * 84, "1." * 126, "mx" * 126, "a" * 253, ".".join(["mx0"] * 63), "mx1." * 60 + "pphosted.co"]
    began = time.process_time()
    for host in hostile:
        known_providers.by_mx((host,))
        known_providers.gateway_of((host,))
        known_providers.by_server_host(host)
    assert time.process_time() - began < 1


def test_methods_and_refusals_agree() -> None:
    for known in ALL:
        assert len(set(known.methods)) == len(known.methods), known.key
        whole = {r.method for r in known.refused if not r.protocols}
        assert not whole & set(known.methods), known.key
        for refusal in known.refused:
            since = date.fromisoformat(refusal.since if len(refusal.since) == 10 else f"{refusal.since}-01")
            assert since <= known.checked, known.key


def test_closed_entries_say_why_and_offer_nothing() -> None:
    closed = {known.key for known in ALL if known.closed}
    assert closed == {"proton", "tuta", "hey"}
    assert [k for k in closed if everyone()[k].servers or everyone()[k].methods or everyone()[k].switch_on] == []
    assert [known.key for known in ALL if not known.closed and not known.methods] == []
    assert [k.key for k in ALL if not k.servers and not k.closed and k.key not in WITHOUT_SERVERS] == []


def test_words_for_people_are_whole_sentences() -> None:
    wrong = []
    for known in ALL:
        ends = [len(re.findall(r"[.:?](?= [A-Z]|$)", text)) for text in (known.switch_on, known.remark, known.closed)]
        texts = [text for text in (known.switch_on, known.remark, known.closed) if text]
        broken = [text for text in texts if not re.fullmatch(r"[A-Z].*\.", text) or "!" in text or "{" in text]
        wrong += [(known.key, broken, ends)] if broken or ends[0] > 1 or ends[1] > 2 else []
    assert wrong == []
    urls = [url for known in ALL for url in (known.help_url, known.app_password_url) if url]
    assert [url for url in urls if not url.startswith("https://")] == []


def test_a_provider_is_found_by_domain() -> None:
    known = known_providers.by_domain("hotmail.co.uk")
    assert known
    assert known.service_type is ServiceType.MICROSOFT
    assert known_providers.by_domain("example.com") is None


def test_the_first_mx_that_anybody_knows_decides() -> None:
    fit = known_providers.by_mx(("mx.example.net", "ALT1.ASPMX.L.GOOGLE.COM."))
    assert fit
    assert (fit[0].key, fit[1]) == ("google", "alt1.aspmx.l.google.com")
    assert known_providers.by_mx(()) is None


def test_a_filter_counts_wherever_it_stands_among_the_mx() -> None:
    hosts = ("mx.example.net", "EU-SMTP-INBOUND-1.mimecast.com.")
    assert known_providers.gateway_of(hosts) == "Mimecast"
    assert known_providers.gateway_of(("aspmx.l.google.com",)) == ""


def test_groups_of_the_mx_pattern_fill_the_servers() -> None:
    known, _, groups = known_providers.by_mx(("inbound-smtp.eu-west-1.amazonaws.com",)) or pytest.fail("nobody")
    assert [str(s) for s in known.servers_for("example.org", groups)] == [
        "imap:imap.mail.eu-west-1.awsapps.com:993:implicit",
        "smtp:smtp.mail.eu-west-1.awsapps.com:465:implicit",
    ]
    assert known.servers_for("example.org") == ()


def test_the_domain_of_the_address_fills_the_servers() -> None:
    known = everyone()["inbox-lv"]
    assert [s.host for s in known.servers_for("inbox.eu")] == ["mail.inbox.eu"] * 3


def test_companies_at_zoho_have_other_servers_than_its_own_addresses() -> None:
    known = everyone()["zoho-eu"]
    assert known.servers_for("zohomail.eu")[0].host == "imap.zoho.eu"
    assert known.servers_for("example.org", {})[0].host == "imappro.zoho.eu"


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("imap.gmail.com", "google"),
        ("SMTP.googlemail.com.", "google"),
        ("outlook.office365.com", "microsoft-365"),
        ("smtp-mail.outlook.com", "outlook"),
        ("imap.aol.com", "aol"),
        ("smtp.verizon.net", "verizon"),
        ("imap.mail.yahoo.com", "yahoo"),
        ("imappro.zoho.in", "zoho-in"),
        ("imap.mail.us-west-2.awsapps.com", "workmail"),
        ("w020a88d.kasserver.com", "all-inkl"),
        ("mail.inbox.lt", "inbox-lv"),
        ("imap.example.com", None),
        ("imap.mail.a.b.awsapps.com", None),
    ],
)
def test_a_server_leads_to_its_provider(host: str, key: str | None) -> None:
    known = known_providers.by_server_host(host)
    assert (known.key if known else None) == key


def test_of_entries_with_the_same_server_one_owns_it() -> None:
    owners: dict[str, list[KnownProvider]] = {}
    for known in ALL:
        for host in set(known_providers.server_hosts(known)):
            owners.setdefault(host, []).append(known)
    for host, several in owners.items():
        owning = [known.key for known in several if known.shares_with not in {other.key for other in several}]
        assert len(owning) == 1, host
    assert {known.shares_with for known in ALL} - {""} <= set(everyone())


def test_microsoft_refuses_passwords_for_receiving_and_still_takes_them_for_sending() -> None:
    known = everyone()["microsoft-365"]
    refusal = known.refuses(SignInMethod.PASSWORD, ServerProtocol.IMAP)
    assert refusal
    assert refusal.since == "2023-01"
    assert known.refuses(SignInMethod.PASSWORD, ServerProtocol.POP3) == refusal
    assert known.refuses(SignInMethod.PASSWORD, ServerProtocol.SMTP) is None
    assert known.refuses(SignInMethod.APP_PASSWORD)
    assert known.refuses(SignInMethod.OAUTH) is None
    assert everyone()["outlook"].refuses(SignInMethod.PASSWORD, ServerProtocol.SMTP)


def test_web_de_signs_in_with_the_part_before_the_at_sign() -> None:
    assert everyone()["web-de"].login is LoginFormat.LOCAL_PART
