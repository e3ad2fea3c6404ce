"""Four accounts full of mail with planted words, and everybody who might want to read it.

Each account has two words of its own, which stand nowhere else. The word of its mail stands in subject, sender,
recipients, preview, text, HTML, file names, the subject of a change that waits, and a contact: only those may ever see
it who read the account. The word of its settings stands in its name, its folders, its runs and its tests: whoever may
see the console sees that too. All mail also holds COMMON, which everybody may search for. In each account somebody
writes a message, whose word only they may see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from mailadmin.access.service import Rights
from mailadmin.accounts.models import Account, Kind
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.contacts.models import Contact
from mailadmin.db import now
from mailadmin.mail.types import Role
from mailadmin.moves.models import Move, MoveWay
from mailadmin.oauth.models import Attempt, AttemptState, OAuthApp
from mailadmin.people import teams
from mailadmin.people.models import CustomRole, Person
from mailadmin.permissions import SYSTEM, PersonRole
from mailadmin.providers.models import Provider, ProviderCertificate
from mailadmin.sync.models import (
    ChangeKind,
    Folder,
    Message,
    MessageContact,
    MessageText,
    PendingChange,
    RunOutcome,
    SyncRun,
)
from mailadmin.writing.models import MailTemplate, OutgoingFile, OutgoingMessage
from tests.access.factories import give
from tests.accounts.factories import a_provider, an_account
from tests.factories import a_person

COMMON = "zqcommon"
THEIR_OWN = {"sign_in_id": 1, "passkey_id": 1}  # Nobody has an account by these.
KINDS = {"shared": Kind.SHARED, "team": Kind.TEAM, "personal": Kind.PERSONAL, "foreign": Kind.SHARED}


def mail_word(account: str) -> str:
    return f"zqmail{account}x"


def draft_word(account: str) -> str:
    return f"zqdraft{account}x"


def settings_word(account: str) -> str:
    return f"zqset{account}x"


@dataclass(frozen=True, slots=True)
class Planted:
    """An account, and the numbers by which its parts are asked for."""

    key: str
    ids: Mapping[str, int]

    @property
    def account_id(self) -> int:
        return self.ids["account_id"]

    @property
    def address(self) -> str:
        return f"{self.key}@{settings_word(self.key)}.example"


@dataclass(frozen=True, slots=True)
class Somebody:
    """Who asks, and which accounts they read, and may change; in which they write a message."""

    person: Person | None
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    sends: frozenset[str] = frozenset()


@dataclass(slots=True)
class World:
    """All of them; `ids` are of what belongs to no account."""

    accounts: dict[str, Planted] = field(default_factory=dict)
    people: dict[str, Somebody] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)


def plant(session: Session) -> World:
    """The whole world, in `session`."""
    world = World()
    worker = PersonRole.WORKER
    people = {
        name: a_person(session, name=name.capitalize(), email=f"{name}@example.com", role=role)
        for name, role in (
            *(("administrator", PersonRole.ADMINISTRATOR), ("reader", worker), ("writer", worker), ("sender", worker)),
            *(("owner", worker), ("member", worker), ("outsider", worker)),
        )
    }
    assert all(person.custom_role is None for person in people.values())  # It is loaded, for later.
    team = teams.create(session, name="Harbour", actor=SYSTEM)
    teams.add_member(session, team, person=people["member"], actor=SYSTEM)
    provider = a_provider(session)
    app = OAuthApp(provider_id=provider.id, client_id="client")
    session.add(app)
    session.flush()
    for key, kind in KINDS.items():
        named = {"team": "Harbour"} if kind is Kind.TEAM else {}
        owner_id = people["owner"].id if kind is Kind.PERSONAL else None
        name, address = settings_word(key), Planted(key, {}).address
        account = an_account(session, address=address, name=name, kind=kind, owner_id=owner_id, **named)
        world.accounts[key] = Planted(key, _filled(session, account, app, key))
    for name, rights in (("reader", Rights.READ), ("writer", Rights.WRITE), ("sender", Rights.SEND)):
        give(session, people[name], session.get_one(Account, world.accounts["shared"].account_id), rights)
    _write(session, world, people)
    shared, ours, own = frozenset({"shared"}), frozenset({"team"}), frozenset({"personal"})
    world.people = {
        "nobody": Somebody(None),
        "outsider": Somebody(people["outsider"]),
        "reader": Somebody(people["reader"], shared),
        "writer": Somebody(people["writer"], shared, shared),
        "sender": Somebody(people["sender"], shared, shared, shared),
        "owner": Somebody(people["owner"], own, own, own),
        "member": Somebody(people["member"], ours, ours, ours),
        "administrator": Somebody(people["administrator"]),
    }
    world.ids = {**_besides(session, provider), "team_id": team.id, "person_id": people["sender"].id}
    return world


def _besides(session: Session, provider: Provider) -> dict[str, int]:
    role = CustomRole(name="Caretaker", words="manage accounts")
    moment = now()
    certificate = ProviderCertificate(
        provider_id=provider.id,
        pem="",
        subject="x",
        issuer="x",
        sha256="0" * 64,
        added_by="Ada",
        starts_at=moment,
        ends_at=moment,
    )
    session.add_all([role, certificate])
    session.flush()
    rows = {"provider": provider, "role": role, "certificate": certificate}
    return {**{f"{what}_id": row.id for what, row in rows.items()}, **THEIR_OWN}


def _write(session: Session, world: World, people: Mapping[str, Person]) -> None:
    """A message in each account. Who wrote as the foreign one has lost the access to it."""
    template = MailTemplate(name="Quote", text="x")
    session.add(template)
    for key, who in (("shared", "sender"), ("team", "member"), ("personal", "owner"), ("foreign", "outsider")):
        planted = world.accounts[key]
        written = _written(session, planted, people[who])
        world.accounts[key] = replace(planted, ids={**planted.ids, **written, "template_id": template.id})


def _written(session: Session, planted: Planted, person: Person) -> dict[str, int]:
    """A message that `person` writes, with a file."""
    word = draft_word(planted.key)
    outgoing = OutgoingMessage(account_id=planted.account_id, person_id=person.id, about_id=planted.ids["message_id"])
    outgoing.to, outgoing.cc, outgoing.subject = f"{word}@x.example", f"{word}@y.example", f"{COMMON} {word}"
    outgoing.text, outgoing.quoted, outgoing.problem, outgoing.version = word, word, word, 2
    session.add(outgoing)
    session.flush()
    file = OutgoingFile(outgoing_id=outgoing.id, name=f"{word}.txt", size=1, content=b"x")
    session.add(file)
    session.flush()
    return {"outgoing_id": outgoing.id, "file_id": file.id}


def _filled(session: Session, account: Account, app: OAuthApp, key: str) -> dict[str, int]:
    """Folders, a message with text and a file, a contact, and one of everything that is done to an account."""
    word, name, moment = mail_word(key), settings_word(key), datetime(2026, 6, 1, 12, tzinfo=UTC)
    inbox = Folder(account_id=account.id, path="INBOX", name=name, role=Role.INBOX, is_active=True, delimiter="/")
    other = Folder(account_id=account.id, path=f"Old/{name}", name=name, is_active=True, delimiter="/", unread=1)
    contact = Contact(address=f"{word}@outside.example", name=word, account_id=account.id)
    session.add_all([inbox, other, contact])
    session.flush()
    message = Message(
        folder_id=inbox.id,
        generation=inbox.generation,
        uid=1,
        message_id=f"<{word}@x>",
        subject=f"{COMMON} {word}",
        from_name=word,
        from_address=f"{word}@outside.example",
        to=f"{word}@y.example",
        size=9,
        recipients=f"{word}@y.example",
        preview=f"{COMMON} {word}",
        received_at=moment,
        sent_at=moment,
        is_settled=True,
        has_text=True,
        has_attachments=True,
        content_hash=key.encode().ljust(16),
    )
    session.add(message)
    session.flush()
    message.thread_id = message.id
    part = {"number": "2", "name": f"{word}.txt", "type": "text/plain", "encoding": "", "size": 9}
    text = MessageText(message_id=message.id, heading=message.subject, text=message.subject, parts=[part])
    text.html = f"<p>{message.subject}</p>"
    session.add_all([text, MessageContact(message_id=message.id, contact_id=contact.id)])
    done = _done_to(session, account, app, message)
    rows: dict[str, Any] = {"account": account, "folder": inbox, "other": other, "message": message}
    rows |= {"contact": contact, **done}
    return {**{f"{what}_id": row.id for what, row in rows.items()}, "place": 0}


def _done_to(session: Session, account: Account, app: OAuthApp, message: Message) -> dict[str, Any]:
    """A change that waits, a run, a test, an attempt and a move of `account`."""
    word, name, moment = message.from_name, account.name, datetime(2026, 6, 1, 12, tzinfo=UTC)
    change = PendingChange(
        account_id=account.id,
        folder_id=message.folder_id,
        message_id=message.id,
        uid=1,
        subject=word,
        kind=ChangeKind.FLAGS,
        added="\\Flagged",
        requested_by="Ada",
    )
    run = SyncRun(
        account_id=account.id, requested_by="Ada", finished_at=moment, outcome=RunOutcome.PARTIAL, reason=name
    )
    check = Check(account_id=account.id, requested_by="Ada", finished_at=moment, outcome=CheckOutcome.PASSED)
    check.address = account.address
    attempt = Attempt(account_id=account.id, app_id=app.id, state=AttemptState.REFUSED, requested_by="Ada")
    attempt.expires_at, attempt.ended_at, attempt.failed_message = moment, moment, name
    move = Move(account_id=account.id, way=MoveWay.SIGN_IN, requested_by="Ada", reason=name)
    found = {"change": change, "run": run, "check": check, "attempt": attempt, "move": move}
    session.add_all(found.values())
    session.flush()
    return found
