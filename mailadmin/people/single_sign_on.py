"""Signing in at the organisation's own provider (OpenID Connect) instead of with a password here.

How it works. The browser goes to the provider with a state that is good once, for ten minutes, and bound to the browser
by its cookie; PKCE and a nonce lie sealed with it. What comes back is exchanged for an id token, whose signature,
issuer, audience, times and nonce are verified (authorization/id_tokens.py). Whoever it names is found by issuer and
subject; the first time, by an address that the provider vouches for and whose domain is on its list. Somebody new
becomes a worker, if that is wanted, and never more.

How sure we may be. A provider says in `acr` and `amr` how somebody proved who they are. Where the organisation has
named values that stand for a second factor, one of them is asked for, and a sign-in without any counts like one with a
password. Where it has named none, the provider is trusted to see to that itself. It is also asked when that was
(`max_age`, so `auth_time` comes back): who was signed in there since this morning has not just shown who they are.

Unlike everything else that talks to others, this happens while a web request waits: somebody sits at the sign-in, and
nothing can be shown before it is done. It has one deadline for all of it, and no transaction is open meanwhile.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from mailadmin.mail.catalogue import family_of
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.types import Rules
from mailadmin.organisation.contact_rules import checked_domains
from mailadmin.people import staff, tickets
from mailadmin.people.models import Passkey, Person, SignInProvider, TicketPurpose
from mailadmin.people.service import find
from mailadmin.permissions import SYSTEM, Actor, PersonRole
from mailadmin.sealed import Secret
from mailadmin.text import t

PURPOSE = "single sign-on"
LASTS = timedelta(minutes=10)
SECONDS = 8.0  # for everything that is asked while somebody waits
SCOPES = ("openid", "email", "profile")
# Names of single methods (RFC 8176 2), which come back as `amr` and cannot be asked for.
_NAMES = "face fpt geo hwk iris kba mca mfa otp pin pop pwd rba retina sc sms swk tel user vbm wia"
METHODS = frozenset(_NAMES.split())
WEAK = frozenset({"geo", "kba", "pin", "pwd", "rba", "user"})  # what somebody knows, or where they are
LONGEST_PROOF, LONGEST_PROOFS = 100, 1000
_CONTEXT = re.compile(r"c[1-9]\d?")  # an authentication context of Microsoft's
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
    proofs: str = ""
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
    domains, proofs = _checked(wanted), _checked_proofs(wanted.proofs)
    is_new = provider is None
    provider = provider or SignInProvider()
    is_same = not is_new and (provider.issuer, provider.client_id) == (wanted.issuer, wanted.client_id)
    if not wanted.secret and not is_same:
        raise RuleBroken(t("Type the secret: the stored one belongs to another app."), field="secret")
    if not is_new and provider.is_on and (not wanted.is_on or provider.issuer != wanted.issuer):
        staff.check_way_in(session, without=provider.issuer)
    try:
        with session.begin_nested():
            provider.name, provider.issuer, provider.client_id = wanted.name, wanted.issuer, wanted.client_id
            provider.domains, provider.adds_people, provider.is_on = domains, wanted.adds_people, wanted.is_on
            provider.proofs = proofs
            session.add(provider)
    except IntegrityError as error:
        raise RuleBroken(t("There is one with this name or issuer already."), field="name") from error
    if wanted.secret:
        old, provider.secret_id = provider.secret_id, sealed.keep(session, Secret(wanted.secret), purpose=PURPOSE)
        session.flush()
        if old is not None:
            sealed.forget(session, old)
    what = f"{'added' if is_new else 'changed'} the sign-in with {provider.name}"
    detail = f"{provider.issuer}, for {domains}" + (f", second factor: {proofs}" if proofs else "")
    activity.record(session, actor, what, detail=detail, kind=ActivityKind.SIGN_INS)
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


def _checked_proofs(typed: str) -> str:
    """What stands for a second factor, each once. Raises RuleBroken (field `proofs`)."""
    found = " ".join(dict.fromkeys(typed.replace(",", " ").split()))
    if len(found) > LONGEST_PROOFS or any(len(one) > LONGEST_PROOF or not one.isprintable() for one in found.split()):
        raise RuleBroken(t("Name a few short values, separated by spaces."), field="proofs")
    if weak := [one for one in found.split() if one.lower() in WEAK]:
        raise RuleBroken(t("“{value}” is not a second factor.", value=weak[0]), field="proofs")
    return found


def delete(session: Session, provider: SignInProvider, *, actor: Actor) -> None:
    """Delete `provider`; whoever signed in there needs a password, or another one. Raises RuleBroken if all would."""
    if provider.is_on:
        staff.check_way_in(session, without=provider.issuer)
    name, secret_id = provider.name, provider.secret_id
    session.delete(provider)
    session.flush()
    if secret_id is not None:
        sealed.forget(session, secret_id)
    activity.record(session, actor, f"deleted the sign-in with {name}", kind=ActivityKind.SIGN_INS)


def only_there(session: Session, provider: SignInProvider) -> int:
    """How many people sign in at `provider` and in no other way."""
    here = Person.issuer == provider.issuer, Person.subject.is_not(None), Person.deactivated_at.is_(None)
    keyed = select(Passkey.id).where(Passkey.person_id == Person.id).exists()
    count = select(func.count(Person.id)).where(*here, Person.password_hash.is_(None), ~keyed)
    return session.scalar(count) or 0


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


def leave(
    session: Session, provider: SignInProvider, found: Metadata, *, back: str, goes_to: str, seconds: float
) -> tuple[str, str]:
    """The address at the provider, and the state that comes back from there to `back`. Flushes a ticket.

    Whoever proved who they are longer than `seconds` ago has to do it again.
    """
    verifier, nonce = authorization.new_verifier(), authorization.new_verifier()[:43]
    kept = json.dumps([provider.id, verifier, nonce, goes_to])
    state = tickets.make(session, TicketPurpose.SINGLE_SIGN_ON, lasts=LASTS, kept=kept)
    client = replace(_client(provider, found, secret=""), parameters=_wishes(provider, seconds))
    url = authorization.authorization_url(client, redirect_uri=back, state=state, verifier=verifier, nonce=nonce)
    return url, state


def _wishes(provider: SignInProvider, seconds: float) -> tuple[tuple[str, str], ...]:
    """How the provider is asked to make sure who it is (OpenID Connect Core 3.1.2.1; Microsoft's contexts by 5.5)."""
    asked = [proof for proof in provider.proofs.split() if proof not in METHODS]
    contexts = [proof for proof in asked if _CONTEXT.fullmatch(proof) and _is_microsofts(provider)]
    wishes = [("max_age", str(int(seconds)))]
    if classes := [proof for proof in asked if proof not in contexts]:
        wishes.append(("acr_values", " ".join(classes)))
    if contexts:
        wanted = {"essential": True, "values": contexts} if contexts[1:] else {"essential": True, "value": contexts[0]}
        wishes.append(("claims", json.dumps({"id_token": {"acrs": wanted}})))
    return tuple(wishes)


def _is_microsofts(provider: SignInProvider) -> bool:
    return family_of(urlsplit(provider.issuer).hostname or "") == "microsoft"


def has_proved(provider: SignInProvider, identity: Identity) -> bool:
    """Whether this sign-in counts as one with a second factor."""
    wanted = set(provider.proofs.split())
    return not wanted or not wanted.isdisjoint(identity.proofs)


def seconds_ago(identity: Identity) -> float:
    """How long ago somebody proved who they are; 0 where the provider does not say."""
    return max(0.0, time.time() - identity.proved_at) if identity.proved_at else 0.0


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
