"""The mail domains by which an address finds its provider. A domain belongs to one provider."""

import re
from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import boot
from mailadmin.errors import RuleBroken
from mailadmin.providers.models import Provider, ProviderDomain
from mailadmin.providers.servers import host_of
from mailadmin.text import t

MOST = 1000
_FIELD = "domains"


def split(text: str) -> list[str]:
    """The domains in `text` as they were typed or pasted: separated by spaces, commas, semicolons or new lines."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def normalised(text: str) -> str:
    """The mail domain in `text` as the DNS knows it: lower case, IDNA. Raises RuleBroken at the field `domains`."""
    typed = text.strip().removeprefix("@")
    try:
        domain = host_of(typed)
        if ":" in domain or domain.rpartition(".")[2].isdigit():
            raise RuleBroken("")
    except RuleBroken as broken:
        said = t("“{domain}” is not a domain. A right one is example.com.", domain=typed[:80])
        raise RuleBroken(said, field=_FIELD) from broken
    return domain


def recognise(session: Session, address: str) -> Provider | None:
    """The provider to whose domains the e-mail address belongs."""
    try:
        domain = normalised(address.rpartition("@")[2])
    except RuleBroken:
        return None
    return session.scalars(select(Provider).join(Provider.domains).where(ProviderDomain.domain == domain)).first()


def owners(session: Session, domains: Collection[str], *, beside: Provider | None = None) -> dict[str, Provider]:
    """Which of `domains` (normalised) belong to which provider; those of the provider `beside` are left out."""
    query = select(ProviderDomain.domain, Provider).join(Provider).where(ProviderDomain.domain.in_(domains))
    with session.no_autoflush:
        return {domain: owner for domain, owner in session.execute(query) if owner is not beside}


def checked(session: Session, typed: Sequence[str], provider: Provider | None) -> list[str]:
    """`typed` as domains that `provider`, or a new one, can have, sorted. Raises RuleBroken at the field `domains`."""
    if len(typed) > MOST:
        raise RuleBroken(t("A provider has at most {n} domains.", n=f"{MOST:,}"), field=_FIELD)
    domains = sorted({_for_mail(text, provider) for text in typed if text.strip()})
    for domain, owner in sorted(owners(session, domains, beside=provider).items()):
        said = t("{domain} belongs to {name} already.", domain=domain, name=owner.name)
        raise RuleBroken(said, field=_FIELD)
    return domains


def sort_out(session: Session, typed: Sequence[str], provider: Provider | None) -> tuple[list[str], dict[str, str]]:
    """What of `typed` can be domains of `provider`, and what cannot be with the reason; in the order typed."""
    if len(typed) > MOST:
        return [], {" ".join(typed): t("A provider has at most {n} domains.", n=f"{MOST:,}")}
    good, wrong = {}, {}
    for text in typed:
        try:
            good[_for_mail(text, provider)] = text
        except RuleBroken as broken:
            wrong[text] = broken.message
    for domain, owner in owners(session, good, beside=provider).items():
        wrong[good.pop(domain)] = t("{domain} belongs to {name} already.", domain=domain, name=owner.name)
    return list(good), wrong


def _for_mail(text: str, provider: Provider | None) -> str:
    """The domain in `text`, unless mail can hardly live there: without a dot, where only public servers are reached.

    In public a domain without a dot is a slip, gmail for gmail.com: ICANN allows none to have mail (SAC053). Inside a
    network it may be right, as in ada@intranet. What a provider has already is meant as it is.
    """
    domain = normalised(text)
    had = {row.domain for row in provider.domains} if provider else set()
    if "." not in domain and domain not in had and not boot.settings().rules.networks:
        said = t("“{domain}” has no dot. A domain with mail is like example.com.", domain=domain[:80])
        said += " " + t("Names inside your own network are taken once MAILADMIN_ALLOWED_NETWORKS is set.")
        raise RuleBroken(said, field=_FIELD)
    return domain


def put(provider: Provider, domains: Collection[str]) -> None:
    """Make `domains` (normalised) the ones of `provider`."""
    kept = {row.domain: row for row in provider.domains}
    provider.domains[:] = [kept.get(domain) or ProviderDomain(domain=domain) for domain in sorted(set(domains))]
