"""Connections that somebody wants to test before anything is saved: sealed, and gone when the test has ended."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts.credentials import Leg
from mailadmin.accounts.models import Draft
from mailadmin.mail.types import Direction, Password, Server, ServerProtocol, TLSMode, TLSVersion, Trust
from mailadmin.sealed import Secret

PURPOSE = "draft"

Legs = dict[Direction, Leg]


def keep(session: Session, legs: Legs) -> Draft:
    """Seal `legs` into a new row."""
    plain = {direction: {**asdict(leg.server), **asdict(leg.how)} for direction, leg in legs.items()}
    draft = Draft(secret_id=sealed.keep(session, Secret(json.dumps(plain)), purpose=PURPOSE))
    session.add(draft)
    session.flush()
    return draft


def legs_of(session: Session, draft: Draft) -> Legs:
    """What was sealed. Raises Unsealable or LookupError."""
    plain = json.loads(sealed.reveal(session, draft.secret_id).reveal())
    return {Direction(direction): _leg(values) for direction, values in plain.items()}


def forget(session: Session, draft: Draft) -> None:
    """Delete `draft` with all that it holds."""
    session.delete(draft)
    session.flush()
    sealed.forget(session, draft.secret_id)


def _leg(values: dict[str, Any]) -> Leg:
    trust = values["trust"]
    server = Server(
        ServerProtocol(values["protocol"]),
        values["host"],
        values["port"],
        TLSMode(values["tls_mode"]),
        Trust(TLSVersion(trust["minimum"]), trust["authorities"], trust["pin"]),
    )
    return Leg(server, Password(values["username"], values["password"]))
