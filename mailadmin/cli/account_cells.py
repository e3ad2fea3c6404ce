"""The columns of a file of accounts, and what their cells mean."""

from enum import StrEnum
from typing import TypeVar

from sqlalchemy.orm import Session

from mailadmin.accounts import service
from mailadmin.accounts.models import Kind, NewContacts, SentCopies, Window
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import LoginFormat, Server, ServerProtocol, SignInMethod
from mailadmin.providers import service as providers
from mailadmin.sealed import Secret

COLUMNS = (
    *("address", "slug", "name", "kind", "owner", "team", "primary", "provider", "protocol", "incoming", "outgoing"),
    *("login_format", "username", "method", "password", "sender_name", "sender_address", "reply_to", "sent_copies"),
    *("contacts", "since", "sync_minutes", "folders", "notes"),
)
_MANY_LINES = ("notes",)
_YES_OR_NO = {"": False, "no": False, "yes": True}
_METHODS = {word.value: word for word in SignInMethod if word is not SignInMethod.OAUTH}
Word = TypeVar("Word", bound=StrEnum)


def wish_of_cells(session: Session, cells: dict[str, str]) -> service.AccountWish:
    """The account that the `cells`, by column, describe. Raises RuleBroken, a sentence about the cell that is wrong."""
    row = _Row(cells)
    password = cells.get("password", "")
    if not password:
        raise RuleBroken("The password is missing.")
    return service.AccountWish(
        address=row.text("address"),
        slug=row.text("slug"),
        name=row.text("name"),
        kind=_kind(row),
        owner_id=_owner(session, row.text("owner")),
        team=row.text("team"),
        is_primary=row.claim("primary"),
        notes=row.text("notes"),
        sender_name=row.text("sender_name"),
        sender_address=row.text("sender_address"),
        reply_to=row.text("reply_to"),
        sent_copies=row.word("sent_copies", SentCopies) or SentCopies.AUTOMATIC,
        new_contacts=row.word("contacts", NewContacts) or NewContacts.EVERYBODY,
        sync_minutes=row.number("sync_minutes"),
        window=row.word("since", Window) or Window.THREE_MONTHS,
        protocol=_protocol(row),
        login_format=row.word("login_format", LoginFormat),
        provider_id=_provider(session, row.text("provider")),
        incoming=row.server("incoming"),
        outgoing=row.server("outgoing"),
        login=service.Login(row.text("username"), Secret(password), _method(row)),
        wanted_folders=row.text("folders"),
    )


class _Row:
    """The cells of one account, each read as what it has to be."""

    def __init__(self, cells: dict[str, str]) -> None:
        self._cells = cells

    def text(self, name: str) -> str:
        """What stands there; one line, unless there may be many."""
        text = self._cells.get(name, "").strip()
        lines = text.splitlines() if name in _MANY_LINES else [text]
        if not all(line.isprintable() for line in lines):
            raise RuleBroken(f"The cell {name} has a line break or a control character.")
        return text

    def word(self, name: str, kind: type[Word]) -> Word | None:
        """One of the words of `kind`, however it is capitalised and joined; None for an empty cell."""
        text = self.text(name).lower().replace("-", " ").replace("_", " ")
        if not text:
            return None
        if text not in set(kind):
            raise RuleBroken(f"“{self.text(name)}” cannot stand in {name}; write {_either(kind)}.")
        return kind(text)

    def claim(self, name: str) -> bool:
        """Yes or no; an empty cell is no."""
        text = self.text(name).lower()
        if text not in _YES_OR_NO:
            raise RuleBroken(f"“{self.text(name)}” cannot stand in {name}; write yes or no.")
        return _YES_OR_NO[text]

    def number(self, name: str) -> int | None:
        """A whole number; None for an empty cell."""
        text = self.text(name)
        if text and not (text.isascii() and text.isdigit() and len(text) < 6):
            raise RuleBroken(f"“{text}” cannot stand in {name}; write a number.")
        return int(text) if text else None

    def server(self, name: str) -> Server | None:
        """A server as the commands write them."""
        text = self.text(name)
        return service.parse_server(text) if text else None


def _kind(row: _Row) -> Kind:
    chosen = row.word("kind", Kind)
    if chosen is None:
        return Kind.TEAM if row.text("team") else Kind.PERSONAL if row.text("owner") else Kind.SHARED
    if row.text("team") and chosen is not Kind.TEAM:
        raise RuleBroken(f"There is a team, but the kind is {chosen}; write team, or leave the team out.")
    return chosen


def _protocol(row: _Row) -> ServerProtocol:
    chosen = row.word("protocol", ServerProtocol)
    if chosen is ServerProtocol.SMTP:
        raise RuleBroken("“smtp” cannot stand in protocol; write imap or pop3.")
    incoming = row.server("incoming")
    if chosen and incoming and incoming.protocol is not chosen:
        raise RuleBroken(f"The protocol is {chosen}, but the server for receiving speaks {incoming.protocol}.")
    return chosen or ServerProtocol.IMAP


def _method(row: _Row) -> SignInMethod:
    text = row.text("method").lower().replace("-", " ").replace("_", " ")
    if text and text not in _METHODS:
        raise RuleBroken(f"“{row.text('method')}” is not a sign-in method here; write {_either(_METHODS)}.")
    return _METHODS.get(text, SignInMethod.PASSWORD)


def _owner(session: Session, email: str) -> int | None:
    if not email:
        return None
    for person in service.possible_owners(session):
        if person.email == email.lower():
            return person.id
    raise RuleBroken(f"Nobody here has the address {email}.")


def _provider(session: Session, name: str) -> int | None:
    if not name:
        return None
    provider = providers.find(session, name)
    if provider is None:
        raise RuleBroken(f"There is no provider called {name}.")
    return provider.id


def _either(words: object) -> str:
    *others, last = list(words)  # type: ignore[call-overload]
    return f"{', '.join(others)} or {last}" if others else str(last)
