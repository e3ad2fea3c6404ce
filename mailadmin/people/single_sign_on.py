"""Signing in at the organisation's own provider (OpenID Connect) instead of with a password here.

How it works. The browser goes to the provider with a state that is good once, for ten minutes, and bound to the browser
by its cookie; PKCE and a nonce lie sealed with it. What comes back is exchanged for an id token, whose signature,
issuer, audience, times and nonce are verified (authorization/id_tokens.py). Whoever it names is found by issuer and
subject; the first time, by an address that the provider vouches for and whose domain is on its list. Somebody new
becomes a worker, if that is wanted, and never more.

Unlike everything else that talks to others, this happens while a web request waits: somebody sits at the sign-in, and
nothing can be shown before it is done. It has one deadline for all of it, and no transaction is open meanwhile.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import authorization, sealed
from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.authorization import Client, Identity, Metadata
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.types import Rules
from mailadmin.organisation.contact_rules import checked_domains
from mailadmin.people import staff, tickets
from mailadmin.people.models import Person, SignInProvider, TicketPurpose
from mailadmin.people.service import find
from mailadmin.permissions import SYSTEM, Actor, PersonRole
from mailadmin.sealed import Secret
from mailadmin.text import t

PURPOSE = "single sign-on"
LASTS = timedelta(minutes=10)
SECONDS = 8.0  # for everything that is asked while somebody waits
SCOPES = ("openid", "email", "profile")
_REMEMBERED_SECONDS = 600.0
_published: dict[str, tuple[float, Metadata]] = {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A provider as somebody wants it; `secret` empty keeps the one that is stored."""

    name: str
    issuer: str
    client_id: str
    secret: str
    domains: str
    adds_people: bool = False
    is_on: bool = True


# The providers.


def providers(session: Session, *, only_on: bool = False) -> Sequence[SignInProvider]:
    """The providers at which people can sign in, by name."""
    query = select(SignInProvider).order_by(func.lower(SignInProvider.name))
    return session.scalars(query.where(SignInProvider.is_on) if only_on else query).all()


def get(session: Session, provider_id: int) -> SignInProvider:
    """The provider `provider_id`. Raises NotFound."""
    provider = session.get(SignInProvider, provider_id)
    if provider is None:
        raise NotFound(t("This way to sign in does not exist any more."))
    return provider


def save(session: Session, provider: SignInProvider | None, wanted: Wanted, *, actor: Actor) -> SignInProvider:
    """A new provider, or `provider` as it is `wanted`. Raises RuleBroken at the field that is wrong.

    Another issuer or client wants its own secret: the old one is not sent to anybody else.
    """
    domains = _checked(wanted)
    is_new = provider is None
    provider = provider or SignInProvider()
    is_same = not is_new and (provider.issuer, provider.client_id) == (wanted.issuer, wanted.client_id)
    if not wanted.secret and not is_same:
        raise RuleBroken(t("Type the secret: the stored one belongs to another app."), field="secret")
    try:
        with session.begin_nested():
            provider.name, provider.issuer, provider.client_id = wanted.name, wanted.issuer, wanted.client_id
            provider.domains, provider.adds_people, provider.is_on = domains, wanted.adds_people, wanted.is_on
            session.add(provider)
    except IntegrityError as error:
        raise RuleBroken(t("There is one with this name or issuer already."), field="name") from error
    if wanted.secret:
        old, provider.secret_id = provider.secret_id, sealed.keep(session, Secret(wanted.secret), purpose=PURPOSE)
        session.flush()
        if old is not None:
            sealed.forget(session, old)
    what = f"{'added' if is_new else 'changed'} the sign-in with {provider.name}"
    activity.record(session, actor, what, detail=f"{provider.issuer}, for {domains}", kind=ActivityKind.SIGN_INS)
    return provider


def _checked(wanted: Wanted) -> str:
    """The domains of `wanted`, normalised. Raises RuleBroken."""
    for field, value in (("name", wanted.name), ("client_id", wanted.client_id)):
        if not value.strip():
            raise RuleBroken(t("This is missing."), field=field)
    parts = urlsplit(wanted.issuer)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        said = t("The issuer is an address that begins with https://, as the provider states it.")
        raise RuleBroken(said, field="issuer")
    try:
        domains = checked_domains(wanted.domains)
    except RuleBroken as broken:
        raise RuleBroken(broken.message, field="domains") from broken
    if not domains:
        said = t("Name the mail domains of your people, such as example.com. Nobody else is let in.")
        raise RuleBroken(said, field="domains")
    return " ".join(domains)


def delete(session: Session, provider: SignInProvider, *, actor: Actor) -> None:
    """Delete `provider`; whoever signed in there needs a password, or another one."""
    name, secret_id = provider.name, provider.secret_id
    session.delete(provider)
    session.flush()
    if secret_id is not None:
        sealed.forget(session, secret_id)
    activity.record(session, actor, f"deleted the sign-in with {name}", kind=ActivityKind.SIGN_INS)


# Signing in.


@dataclass(frozen=True, slots=True)
class Asked:
    """What is needed to go on when the browser comes back."""

    provider_id: int
    verifier: str
    nonce: str
    goes_to: str


def published(issuer: str, rules: Rules) -> Metadata:
    """What `issuer` publishes about itself, remembered for ten minutes. Raises MailError."""
    kept = _published.get(issuer)
    if kept is None or time.monotonic() - kept[0] > _REMEMBERED_SECONDS:
        kept = _published[issuer] = (time.monotonic(), authorization.discover(issuer, rules, Deadline(SECONDS)))
    return kept[1]


def leave(session: Session, provider: SignInProvider, found: Metadata, *, back: str, goes_to: str) -> tuple[str, str]:
    """The address at the provider, and the state that comes back from there to `back`. Flushes a ticket."""
    verifier, nonce = authorization.new_verifier(), authorization.new_verifier()[:43]
    kept = json.dumps([provider.id, verifier, nonce, goes_to])
    state = tickets.make(session, TicketPurpose.SINGLE_SIGN_ON, lasts=LASTS, kept=kept)
    client = _client(provider, found, secret="")
    url = authorization.authorization_url(client, redirect_uri=back, state=state, verifier=verifier, nonce=nonce)
    return url, state


def come_back(session: Session, state: str, provider_id: int) -> Asked:
    """What belongs to `state`, which is used up. Raises RuleBroken for one that is worth nothing, or of another."""
    ticket = tickets.look(session, state, TicketPurpose.SINGLE_SIGN_ON)
    asked = Asked(*json.loads(tickets.kept(session, ticket)))
    tickets.use(session, ticket)
    if asked.provider_id != provider_id:
        raise RuleBroken(t("The answer came from another provider than the one that was asked."))
    return asked


def client_of(session: Session, provider: SignInProvider, found: Metadata) -> Client:
    """Our app at `provider`, with its secret."""
    secret = sealed.reveal(session, provider.secret_id).reveal() if provider.secret_id else ""
    return _client(provider, found, secret=secret)


def _client(provider: SignInProvider, found: Metadata, *, secret: str) -> Client:
    return Client(
        provider.client_id,
        found.token_url,
        secret=secret,
        authorize_url=found.authorize_url,
        issuer=found.issuer,
        jwks_url=found.jwks_url,
        userinfo_url=found.userinfo_url,
        scopes=SCOPES,
    )


def who(client: Client, rules: Rules, *, asked: Asked, code: str, back: str) -> Identity:
    """Ask the provider who has signed in. Talks to the network; raises MailError."""
    deadline = Deadline(SECONDS)
    tokens = authorization.exchange(client, rules, deadline, code=code, verifier=asked.verifier, redirect_uri=back)
    return authorization.identity(client, rules, deadline, tokens=tokens, nonce=asked.nonce)


def admit(session: Session, provider: SignInProvider, identity: Identity) -> Person:
    """The person that `identity` is here; a new worker, if `provider` adds people. Raises RuleBroken with the reason.

    An address leads to a person only once, when nobody is known by this subject yet and the person by no other.
    """
    if not identity.subject:
        raise RuleBroken(t("{name} does not say who signed in.", name=provider.name))
    known = Person.issuer == provider.issuer, Person.subject == identity.subject
    person = session.scalar(select(Person).where(*known))
    if person is None:
        person = _met(session, provider, identity)
    if not person.is_active:
        raise RuleBroken(t("You are not let in here any more. An administrator can change that."))
    return person


def _met(session: Session, provider: SignInProvider, identity: Identity) -> Person:
    allowed = provider.domains.split()
    address = next((each for each in identity.addresses if each.rpartition("@")[2] in allowed), None)
    if address is None:
        said = t("{name} vouches for no address of yours that is let in here ({domains}).")
        raise RuleBroken(said.format(name=provider.name, domains=", ".join(allowed)))
    person = find(session, address)
    if person is None and not provider.adds_people:
        raise RuleBroken(t("Nobody here has the address {address}. An administrator can add you.", address=address))
    if person is None:
        name = identity.name or address.partition("@")[0]
        person = staff.invite(session, email=address, name=name, role=PersonRole.WORKER, actor=SYSTEM)
    if person.subject is not None:
        raise RuleBroken(t("{address} belongs to somebody who signs in differently.", address=address))
    person.issuer, person.subject = provider.issuer, identity.subject
    session.flush()
    return person
