"""Asks one source each about a mail domain; every answer ends as a finding or as a plain sentence."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from mailadmin.mail import autoconfig, https, known_providers, names, probing, srv
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.findings import Finding, Source
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import Rules, Server, ServerProtocol


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by which rules, and until when."""

    domain: str
    rules: Rules
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source said: a `finding`, a `problem` in plain sentences, or both where part of it was left out.

    Only the MX says more: its `hosts`, the mail filter `gateway` among them, and whether there is `nothing_to_find`.
    """

    finding: Finding | None = None
    problem: str = ""
    timed_out: bool = False
    hosts: tuple[str, ...] = ()
    gateway: str = ""
    nothing_to_find: bool = False


def catalogue(domain: str) -> Finding | None:
    """Return what the catalogue knows of `domain`, without asking anybody."""
    known = known_providers.by_domain(domain)
    return _of_known(known, Source.CATALOGUE, domain, known.servers_for(domain)) if known else None


def mx(question: Question) -> Answer:
    """Ask who takes in the domain's mail. A mail filter says nothing about the host behind it."""
    domain = question.domain
    try:
        hosts = names.mail_hosts(domain, question.rules, question.deadline)
    except MailError as error:
        return Answer(problem=error.message, timed_out=_is_late(error), nothing_to_find=error.permanent)
    if hosts == (names.NOT_OFFERED,):
        return Answer(problem=f"The domain {domain} says that it takes no mail.", nothing_to_find=True)
    if not hosts:
        return Answer(problem=f"{domain} names no server that takes in its mail.")
    if fit := known_providers.by_mx(hosts):
        known, host, groups = fit
        return Answer(_of_known(known, Source.MX, host, known.servers_for(domain, groups)), hosts=hosts)
    if gateway := known_providers.gateway_of(hosts):
        said = f"The mail goes to {hosts[0]}, a mail filter ({gateway}); who runs the mailboxes behind it is not seen."
        return Answer(problem=said, hosts=hosts, gateway=gateway)
    return Answer(problem=f"The mail goes to {hosts[0]}, which belongs to no known provider.", hosts=hosts)


def owner_urls(domain: str) -> list[str]:
    """Return where the owner of `domain` may have put a file; only the domain is said, never an address."""
    return [
        f"https://autoconfig.{domain}/mail/config-v1.1.xml",
        f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
    ]


def owner_file(question: Question, url: str) -> Answer:
    """Read the file at `url`, one of `owner_urls`."""
    return _file(question, url, Source.AUTOCONFIG, urlsplit(url).hostname or "")


def ispdb_file(question: Question, base: str, about: str) -> Answer:
    """Read what the public list at `base` says about the domain `about`, that of the question or of its MX."""
    detail = "" if about == question.domain else f"about {about}, which takes in the mail of {question.domain}"
    return _file(question, ispdb_url(base, about), Source.ISPDB, detail or urlsplit(base).hostname or "")


def ispdb_url(base: str, domain: str) -> str:
    """Return where the public list at `base` has its file about `domain`."""
    return f"{base.rstrip('/')}/{domain}"


def parents(hosts: tuple[str, ...], domain: str) -> list[str]:
    """Return the domains to which the best of the MX `hosts` may belong, the nearest first; at most two."""
    labels = hosts[0].split(".") if hosts else []
    found = [".".join(labels[1:]), ".".join(labels[-2:])] if len(labels) > 2 else []
    return [parent for parent in dict.fromkeys(found) if parent.count(".") and parent != domain]


def services(question: Question) -> Answer:
    """Ask for the SRV records of the domain."""
    try:
        servers, problems = srv.ask(question.domain, question.rules, question.deadline)
    except MailError as error:
        return Answer(problem=error.message, timed_out=_is_late(error))
    if not servers:
        return Answer(problem=_joined(problems) or "There are no such records.")
    if not _receives(servers):
        return Answer(problem=_joined([*problems, f"Only {servers[0].host} for sending is named."]))
    hosts = ", ".join(dict.fromkeys(server.host for server in servers))
    outside = ", ".join(srv.outsiders(servers, question.domain))
    detail = f"{hosts}{f'; {outside}' if outside != hosts else ''}, outside of {question.domain}" if outside else hosts
    return Answer(_recognised(Finding(Source.SRV, detail, servers=tuple(servers))), _joined(problems))


def usual_names(question: Question) -> Answer:
    """Try the usual names of mail servers."""
    servers = probing.ask(question.domain, question.rules, question.deadline)
    hosts = ", ".join(dict.fromkeys(server.host for server in servers))
    if not _receives(servers):
        said = f"Only {hosts} for sending greets us." if servers else "No mail server greets us under these names."
        return Answer(problem=said, timed_out=question.deadline.is_over)
    return Answer(_recognised(Finding(Source.PROBE, hosts, servers=tuple(servers))))


def _file(question: Question, url: str, source: Source, detail: str) -> Answer:
    try:
        data = https.fetch(url, question.rules, question.deadline)
        config = autoconfig.read(data, question.domain, plaintext=question.rules.plaintext)
    except MailError as error:
        return Answer(problem=_plain(error), timed_out=_is_late(error))
    except autoconfig.Unreadable as error:
        return Answer(problem=str(error))
    if not _receives(config.servers):
        return Answer(problem=_joined([*config.problems, "The file names no server for receiving that can be used."]))
    finding = Finding(
        source, detail, config.name, "", tuple(config.servers), config.login, tuple(config.methods)
    )  # fmt: skip
    return Answer(_recognised(finding), _joined(config.problems))


def _of_known(known: KnownProvider, source: Source, detail: str, servers: tuple[Server, ...]) -> Finding:
    return Finding(source, detail, known.name, known.key, servers, known.login, known.methods)


def _recognised(finding: Finding) -> Finding:
    """`finding` with what the catalogue knows of those servers: how one signs in there is known better than is told."""
    known = known_providers.by_server_host(finding.servers[0].host)
    if known is None:
        return finding
    name, login, methods = finding.name or known.name, known.login, known.methods
    return Finding(finding.source, finding.detail, name, known.key, finding.servers, login, methods)


def _receives(servers: list[Server]) -> bool:
    return any(server.protocol is not ServerProtocol.SMTP for server in servers)


def _is_late(error: MailError) -> bool:
    return error.category is Category.TIMEOUT or (error.category is Category.DNS and not error.permanent)


def _plain(error: MailError) -> str:
    """The sentence of `error` without the advice behind it, which is for somebody who typed the name of a server."""
    return error.message.partition(";")[0].removesuffix(".") + "."


def _joined(problems: list[str]) -> str:
    return " ".join(problems)
