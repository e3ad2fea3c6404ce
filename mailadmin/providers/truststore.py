"""The certificates trusted for one provider's servers, beside the public authorities; nothing here connects."""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail import certificates
from mailadmin.permissions import Actor
from mailadmin.providers.models import Provider, ProviderCertificate
from mailadmin.text import t

LARGEST = 64 * 1024
MOST = 50
ENDS_SOON = timedelta(days=30)
_FIELD = "pem"
_BEGIN = "-----BEGIN CERTIFICATE-----"


class Validity(StrEnum):
    """Whether a certificate counts today; ENDING counts for 30 days at most."""

    VALID = "valid"
    ENDING = "ending"
    EXPIRED = "expired"
    EARLY = "early"


def validity(row: ProviderCertificate, at: datetime | None = None) -> Validity:
    """Whether `row` counts `at` that time, or now."""
    at = at or now()
    if row.ends_at <= at:
        return Validity.EXPIRED
    if row.starts_at > at:
        return Validity.EARLY
    return Validity.ENDING if row.ends_at - at <= ENDS_SOON else Validity.VALID


def days_left(row: ProviderCertificate) -> int:
    """For how many whole days `row` still counts; less than 0 once it has expired."""
    return (row.ends_at - now()).days


def holds_private_key(text: str) -> bool:
    """Whether there is a private key in PEM `text`, which is a secret and nothing for a truststore."""
    return "PRIVATE KEY-----" in text.upper()


def as_pem(content: bytes) -> str:
    """What a file holds as PEM: a single certificate in DER is converted, everything else is taken as text."""
    if certificates.read(content) is not None:
        return ssl.DER_cert_to_PEM_cert(content)
    return content.decode("utf-8", "replace")


def add(
    session: Session,
    provider: Provider,
    *,
    pem: str,
    is_vouched_for: bool = False,
    has_passwords: bool = True,
    actor: Actor,
) -> list[ProviderCertificate]:
    """Trust the certificates in `pem`, an authority's or a server's own, for the servers of `provider`.

    Returns the new ones; those that are there already are left alone. One that has expired is taken, `validity` tells.
    Raises RuleBroken at the field `pem` for what is no certificate, holds a private key or is too much, and at
    `is_vouched_for` where stored passwords (`has_passwords`) may go to servers that nobody has vouched for.
    """
    told = read(pem)
    provider = _locked(session, provider)
    known = {row.sha256 for row in provider.certificates}
    fresh = {one["sha256"]: _row(one, text, actor) for one, text in told if one["sha256"] not in known}
    if not fresh:
        raise RuleBroken(t("{name} trusts this already.", name=provider.name), field=_FIELD)
    if len(known) + len(fresh) > MOST:
        raise RuleBroken(t("A provider has at most {n} trusted certificates.", n=MOST), field=_FIELD)
    added = list(fresh.values())
    _check_loading(added)
    if has_passwords and not is_vouched_for:
        said = "Servers with this certificate will be sent the stored passwords. Tick this if that is right."
        raise RuleBroken(t(said), field="is_vouched_for")
    provider.certificates.extend(added)
    provider.changed_at = now()
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:
        raise RuleBroken(t("Somebody else added this a moment ago."), field=_FIELD) from error
    for row in added:
        _record(session, actor, f"added a trusted certificate to the provider {provider.name}", row)
    return added


def get(session: Session, provider: Provider, certificate_id: int) -> ProviderCertificate:
    """The certificate `certificate_id` of `provider`. Raises NotFound."""
    row = session.get(ProviderCertificate, certificate_id)
    if row is None or row.provider_id != provider.id:
        raise NotFound(t("This certificate was removed already."))
    return row


def remove(session: Session, provider: Provider, certificate_id: int, *, actor: Actor) -> ProviderCertificate:
    """Trust the certificate no longer, and return it. Raises NotFound."""
    provider = _locked(session, provider)
    row = get(session, provider, certificate_id)
    provider.certificates.remove(row)
    provider.changed_at = now()
    session.flush()
    _record(session, actor, f"removed a trusted certificate from the provider {provider.name}", row)
    return row


def read(pem: str) -> Sequence[tuple[certificates.Certificate, str]]:
    """The certificates in `pem`, each with its own text. Raises RuleBroken at the field `pem`."""
    if not pem.strip():
        raise RuleBroken(t("Choose a file, or paste a certificate."), field=_FIELD)
    if len(pem.encode("utf-8", "replace")) > LARGEST:
        raise RuleBroken(t("That is too large for certificates. At most 64 KiB are read at once."), field=_FIELD)
    if holds_private_key(pem):
        raise RuleBroken(t("This file holds a private key. Upload the certificate alone."), field=_FIELD)
    if _BEGIN not in pem:
        said = "There is no certificate in this. It begins with -----BEGIN CERTIFICATE-----, or is a file in DER form."
        raise RuleBroken(t(said), field=_FIELD)
    damaged = t("A certificate in this is damaged. Copy it again, from its BEGIN line to its END line.")
    try:
        found = certificates.read_pem(pem)
    except ValueError as error:
        raise RuleBroken(damaged, field=_FIELD) from error
    if len(found) != pem.count(_BEGIN):
        raise RuleBroken(damaged, field=_FIELD)
    return found


def put(provider: Provider, told: Sequence[tuple[certificates.Certificate, str]], *, actor: Actor) -> None:
    """Make the certificates that were `told` the ones of `provider`. Raises RuleBroken as `add`, but guards nothing."""
    kept = {row.sha256: row for row in provider.certificates}
    fresh = {one["sha256"]: _row(one, text, actor) for one, text in told if one["sha256"] not in kept}
    wanted = {one["sha256"]: kept.get(one["sha256"]) or fresh[one["sha256"]] for one, _ in told}
    if len(wanted) > MOST:
        raise RuleBroken(t("A provider has at most {n} trusted certificates.", n=MOST), field=_FIELD)
    _check_loading(list(fresh.values()))
    if wanted.keys() != kept.keys():
        provider.certificates[:] = list(wanted.values())
        provider.changed_at = now()


def _locked(session: Session, provider: Provider) -> Provider:
    # Two administrators may click at once: one after the other, and the second one counts what the first one added.
    found = session.get(Provider, provider.id, populate_existing=True, with_for_update=True)
    if found is None:
        raise NotFound(t("This provider does not exist any more."))
    return found


def _row(told: certificates.Certificate, pem: str, actor: Actor) -> ProviderCertificate:
    return ProviderCertificate(
        pem=pem,
        subject=told["subject"],
        issuer=told["issuer"],
        starts_at=datetime.fromisoformat(told["starts"]),
        ends_at=datetime.fromisoformat(told["ends"]),
        sha256=told["sha256"],
        added_by=actor.name[:200],
    )


def _check_loading(rows: Sequence[ProviderCertificate]) -> None:
    """Return if OpenSSL takes `rows` too: otherwise one of them would break every connection of the provider."""
    for row in rows:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        loaded = 0
        with suppress(ssl.SSLError, ValueError):
            context.load_verify_locations(cadata=row.pem)
            loaded = context.cert_store_stats()["x509"]
        if not loaded:
            said = "The certificate {subject} cannot be used: OpenSSL does not read it."
            raise RuleBroken(t(said, subject=row.subject), field=_FIELD)


def _record(session: Session, actor: Actor, what: str, row: ProviderCertificate) -> None:
    activity.record(session, actor, what, detail=f"{row.subject}, SHA-256 {row.sha256}", kind=ActivityKind.PROVIDERS)
