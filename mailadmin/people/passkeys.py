"""Passkeys (WebAuthn): a key in a phone, a computer or a stick that signs a challenge for this console and no other.

A passkey is asked to make sure that it is its owner who uses it (user verification), so it stands for two factors and
for the name as well. The library checks challenge, origin, relying party, flags and signature. A challenge lies sealed
with a ticket, good once, and bound to the browser by its cookie. A counter that goes back would mean a copied key; then
nobody is let in.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import webauthn
from sqlalchemy import select
from sqlalchemy.orm import Session
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.people import tickets
from mailadmin.people.models import Passkey, Person, TicketPurpose
from mailadmin.permissions import Actor
from mailadmin.text import t

LASTS = timedelta(minutes=5)
MOST = 10
LONGEST_ANSWER = 20_000
_REQUIRED = UserVerificationRequirement.REQUIRED
_BROKEN = (WebAuthnException, ValueError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the console is reached: the relying party is its host, and only its origin may ask."""

    origin: str

    @property
    def host(self) -> str:
        """The relying party's id."""
        return urlsplit(self.origin).hostname or ""

    @property
    def can_have_passkeys(self) -> bool:
        """Whether browsers know passkeys there: at a name, over https or on the same machine; never at an address."""
        is_name = not self.host.replace(".", "").isdecimal() and ":" not in self.host
        return is_name and (self.origin.startswith("https://") or self.host == "localhost")


def of_person(session: Session, person: Person) -> Sequence[Passkey]:
    """The passkeys of `person`, the oldest first."""
    return session.scalars(select(Passkey).where(Passkey.person_id == person.id).order_by(Passkey.id)).all()


def begin_adding(session: Session, person: Person, place: Place) -> tuple[str, str]:
    """What the browser is asked for a new passkey (JSON), and the code of the ticket that awaits it."""
    known = [PublicKeyCredentialDescriptor(id=key.credential_id) for key in of_person(session, person)]
    options = webauthn.generate_registration_options(
        rp_id=place.host,
        rp_name="Mailadmin",
        user_id=person.id.to_bytes(8, "big"),
        user_name=person.email,
        user_display_name=person.name,
        exclude_credentials=known,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_REQUIRED
        ),
    )
    return webauthn.options_to_json(options), _ticket(session, options.challenge, person)


def add(session: Session, person: Person, place: Place, *, code: str, answer: str, name: str, actor: Actor) -> Passkey:
    """A new passkey of `person`, from what the browser answered. Raises RuleBroken with the reason."""
    challenge = _challenge(session, code, person)
    if len(of_person(session, person)) >= MOST:
        raise RuleBroken(t("You have {n} passkeys, which is the most. Remove one first.", n=MOST))
    try:
        found = webauthn.verify_registration_response(
            credential=_read(answer),
            expected_challenge=challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            require_user_verification=True,
        )
    except _BROKEN as error:
        raise RuleBroken(t("The answer of the passkey cannot be believed. Try again.")) from error
    if session.scalar(select(Passkey.id).where(Passkey.credential_id == found.credential_id)) is not None:
        raise RuleBroken(t("This passkey is here already."))
    name = " ".join(name.split())[:60] or t("Passkey")
    passkey = Passkey(
        person_id=person.id,
        credential_id=found.credential_id,
        public_key=found.credential_public_key,
        signed=found.sign_count,
        name=name,
    )
    session.add(passkey)
    session.flush()
    activity.record(session, actor, "added a passkey", detail=name, kind=ActivityKind.SIGN_INS)
    return passkey


def remove(session: Session, person: Person, passkey_id: int, *, actor: Actor) -> None:
    """Delete a passkey of `person`. Raises NotFound, also for those of others."""
    passkey = session.get(Passkey, passkey_id)
    if passkey is None or passkey.person_id != person.id:
        raise NotFound(t("This passkey was removed already."))
    session.delete(passkey)
    session.flush()
    activity.record(session, actor, "removed a passkey", detail=passkey.name, kind=ActivityKind.SIGN_INS)


def begin_sign_in(session: Session, place: Place) -> tuple[str, str]:
    """What the browser is asked to sign in (JSON), and the code of the ticket that awaits it; nobody is named yet."""
    options = webauthn.generate_authentication_options(rp_id=place.host, user_verification=_REQUIRED)
    return webauthn.options_to_json(options), _ticket(session, options.challenge, None)


def sign_in(session: Session, place: Place, *, code: str, answer: str) -> Person:
    """The person whose passkey has signed. Raises RuleBroken with the reason why nobody is let in."""
    challenge = _challenge(session, code, None)
    refused = RuleBroken(t("This passkey is not known here, or was not accepted."))
    try:
        credential = _read(answer)
        credential_id = base64url_to_bytes(credential["id"])
        mine = select(Passkey).where(Passkey.credential_id == credential_id).with_for_update()
        passkey = session.scalar(mine)
        if passkey is None:
            raise refused
        found = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.signed,
            require_user_verification=True,
        )
    except _BROKEN as error:
        raise refused from error
    person = session.get(Person, passkey.person_id)
    if person is None or not person.is_active:
        raise refused
    passkey.signed, passkey.used_at = found.new_sign_count, now()
    session.flush()
    return person


def _ticket(session: Session, challenge: bytes, person: Person | None) -> str:
    kept = bytes_to_base64url(challenge)
    return tickets.make(session, TicketPurpose.PASSKEY, lasts=LASTS, person=person, kept=kept)


def _challenge(session: Session, code: str, person: Person | None) -> bytes:
    """The challenge that belongs to `code`, which is used up. Raises RuleBroken."""
    ticket = tickets.look(session, code, TicketPurpose.PASSKEY)
    if ticket.person_id != (person.id if person else None):
        raise RuleBroken(t("This took too long. Try again."))
    challenge = base64url_to_bytes(tickets.kept(session, ticket))
    tickets.use(session, ticket)
    return challenge


def _read(answer: str) -> dict[str, Any]:
    """The browser's answer as an object. Raises ValueError."""
    found = json.loads(answer) if len(answer) <= LONGEST_ANSWER else None
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise ValueError("No credential.")
    return found
