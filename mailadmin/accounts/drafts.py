"""Connections that somebody wants to test before they count: sealed, and gone when the test has ended.

A draft may carry the change that it is a test for: whoever ends the test makes it if the test has passed.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts.credentials import Leg
from mailadmin.accounts.models import Draft, Kind, NewContacts, SentCopies, Window
from mailadmin.accounts.wishes import AccountWish, Login
from mailadmin.mail.types import (
    Bearer,
    Direction,
    LoginFormat,
    Password,
    Server,
    ServerProtocol,
    SignIn,
    SignInMethod,
    TLSMode,
    TLSVersion,
    Trust,
)
from mailadmin.permissions import Actor
from mailadmin.sealed import Secret

PURPOSE = "draft"

Legs = dict[Direction, Leg]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of an account, seen at `version`, once the test has passed, and who wants it."""

    account_id: int
    version: int
    wish: AccountWish
    actor: Actor


def keep(session: Session, legs: Legs, change: Change | None = None) -> Draft:
    """Seal `legs`, and the `change` that they are for, into a new row."""
    plain = {
        "legs": {direction: {**asdict(leg.server), **asdict(leg.how)} for direction, leg in legs.items()},
        "change": change and asdict(change),
    }
    draft = Draft(secret_id=sealed.keep(session, Secret(json.dumps(plain, default=_revealed)), purpose=PURPOSE))
    session.add(draft)
    session.flush()
    return draft


def legs_of(session: Session, draft: Draft) -> Legs:
    """What was sealed. Raises Unsealable or LookupError."""
    plain = _opened(session, draft)["legs"]
    return {Direction(direction): Leg(_server(values), _how(values)) for direction, values in plain.items()}


def change_of(session: Session, draft: Draft) -> Change | None:
    """The change that was sealed with it. Raises Unsealable or LookupError."""
    plain = _opened(session, draft)["change"]
    if plain is None:
        return None
    wish = {
        name: _READ[name](value) if name in _READ and value is not None else value
        for name, value in plain["wish"].items()
    }
    return Change(plain["account_id"], plain["version"], AccountWish(**wish), Actor(**plain["actor"]))


def forget(session: Session, draft: Draft) -> None:
    """Delete `draft` with all that it holds."""
    session.delete(draft)
    session.flush()
    sealed.forget(session, draft.secret_id)


def _opened(session: Session, draft: Draft) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(sealed.reveal(session, draft.secret_id).reveal())
    return plain


def _revealed(value: object) -> str:
    """A password, on its way into what is sealed."""
    if not isinstance(value, Secret):
        raise TypeError(type(value).__name__)
    return value.reveal()


def _server(values: dict[str, Any]) -> Server:
    trust = values["trust"]
    return Server(
        ServerProtocol(values["protocol"]),
        values["host"],
        values["port"],
        TLSMode(values["tls_mode"]),
        Trust(TLSVersion(trust["minimum"]), trust["authorities"], trust["pin"]),
    )


def _how(values: dict[str, Any]) -> SignIn:
    if "token" in values:
        return Bearer(values["username"], values["token"])
    return Password(values["username"], values["password"])


def _login(values: dict[str, Any]) -> Login:
    password = values["password"]
    return Login(values["username"], None if password is None else Secret(password), SignInMethod(values["method"]))


# How the values of a wish that JSON does not know come out of it.
_READ: dict[str, Callable[[Any], Any]] = {
    "kind": Kind,
    "sent_copies": SentCopies,
    "new_contacts": NewContacts,
    "protocol": ServerProtocol,
    "login_format": LoginFormat,
    "incoming": _server,
    "outgoing": _server,
    "login": _login,
    "sending": _login,
    "window": Window,
}
