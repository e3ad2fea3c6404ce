"""Makers for the tests of sync: a real mailbox, and a server in memory that can lie."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Account, Window
from mailadmin.accounts.service import Leg, window_start
from mailadmin.mail import types as mail
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Changes, Envelope, FolderState, Role, Server, ServerProtocol, TLSMode
from mailadmin.sealed import Secret
from mailadmin.sync import service
from mailadmin.sync.models import Folder, Message, SyncRun
from mailadmin.sync.run import perform
from tests.accounts import factories as accounts
from tests.servers.dovecot import Dovecot, a_message

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def an_account(
    address: str = "billing@example.net",
    *,
    server: Server | None = None,
    folders: Sequence[mail.Folder] = (mail.Folder("INBOX", "INBOX", "/", role=Role.INBOX, role_source="server"),),
    window: Window = Window.EVERYTHING,
    **wanted: Any,
) -> Account:
    """A stored account that is set up, with the folders that its first list named."""
    login = accounts.Login("", Secret("password"))
    with db.transaction() as session:
        account = accounts.an_account(
            session,
            address=address,
            login=login,
            incoming=server or accounts.imap(),
            since=window_start(window, db.now()),
            next_sync_at=db.now(),
            **wanted,
        )
        account.window = window  # A wish for one counts only after the set-up.
        service.adopt_folders(session, account=account, listed=folders)
        return account


def a_run(account: Account) -> SyncRun:
    """The open run of `account`, as a click leaves it."""
    with db.transaction() as session:
        found = session.get(Account, account.id)
        assert found
        return service.request_run(session, account=found, requested_by="Ada Lindqvist")


def stored_run(run: SyncRun) -> SyncRun:
    """`run` as the database has it now."""
    with db.reading() as session:
        return service.get_run(session, run.id)


def synced(account: Account, *, batch: int = 3, opening: Callable[[Leg], Any] | None = None) -> SyncRun:
    """A run of `account` after it was worked on."""
    run = a_run(account)
    if opening is None:
        perform(run.id, batch=batch)
    else:
        perform(run.id, batch=batch, opening=opening)
    return stored_run(run)


def account_now(account: Account) -> Account:
    """`account` as the database has it now."""
    with db.reading() as session:
        found = session.get(Account, account.id)
        assert found
        return found


def change(account: Account, **values: Any) -> None:
    """Change the row of `account` as a person would, who makes a new version of it."""
    with db.transaction() as session:
        found = session.get(Account, account.id)
        assert found
        for name, value in values.items():
            setattr(found, name, value)
        found.version += 1


def folder_of(account: Account, path: str = "INBOX") -> Folder:
    """The row of a folder."""
    with db.reading() as session:
        return session.scalars(select(Folder).where(Folder.account_id == account.id, Folder.path == path)).one()


def messages_of(account: Account, path: str = "INBOX") -> list[Message]:
    """What people see of a folder, by UID."""
    folder = folder_of(account, path)
    query = select(Message).where(Message.folder_id == folder.id, Message.generation == folder.generation)
    with db.reading() as session:
        return list(session.scalars(query.order_by(Message.uid)))


def flags_of(account: Account, path: str = "INBOX") -> dict[int, str]:
    """The stored flags by UID: what has to be equal to `Box.flags`."""
    return {message.uid: message.flags for message in messages_of(account, path)}


class Box:
    """One user's mail on the Dovecot, and how to arrange it."""

    def __init__(self, dovecot: Dovecot, user: str) -> None:
        self.dovecot, self.user = dovecot, user
        self.server = Server(ServerProtocol.IMAP, "localhost", dovecot.ports["imaps"], TLSMode.IMPLICIT)
        self._number = 0

    def deliver(self, count: int, *, folder: str = "INBOX", moment: datetime | None = None, flags: str = "") -> None:
        """Let `count` messages arrive."""
        first, self._number = self._number + 1, self._number + count
        raw = (a_message(n) for n in range(first, self._number + 1))
        self.dovecot.deliver(((r, moment or db.now()) for r in raw), user=self.user, folder=folder, flags=flags)

    def account(self, *more: str, **wanted: Any) -> Account:
        """A set-up account of this mailbox: the inbox and `more` are synced."""
        folders = [mail.Folder(path, path, "/") for path in ("INBOX", *more)]
        return an_account(self.user, server=self.server, folders=folders, **wanted)

    def do(self, *commands: tuple[str, ...], folder: str = "INBOX") -> None:
        """Change mail as another program does: UID commands such as ("COPY", "1", "Sent"), or ("EXPUNGE",)."""
        with self.dovecot.session(self.user) as session:
            session.select(f'"{folder}"')
            for command in commands:
                answer = session.expunge() if command == ("EXPUNGE",) else session.uid(*command)
                assert answer[0] == "OK", answer

    def flags(self, folder: str = "INBOX") -> dict[int, str]:
        """What the server has, read by another library: flags by UID, sorted."""
        with self.dovecot.session(self.user) as session:
            session.select(f'"{folder}"', readonly=True)
            _, data = session.uid("FETCH", "1:*", "(FLAGS)")
        found = {}
        for line in filter(None, data):
            words = line.decode().replace("(", " ").replace(")", " ").split()
            uid = int(words[words.index("UID") + 1])
            flags = [w for w in words if w.startswith(("\\", "$"))]
            found[uid] = " ".join(sorted(f for f in flags if f != "\\Recent"))
        return found


@dataclass
class Kept:
    """A folder of the server in memory. `lie` is added to the number of messages that it tells."""

    uidvalidity: int = 7
    messages: dict[int, Envelope] = field(default_factory=dict)
    uidnext: int = 1
    modseq: int | None = 1
    lie: int = 0
    silent: set[int] = field(default_factory=set)
    refuses: MailError | None = None
    object_id: str = ""
    is_virtual: bool = False

    def add(self, *uids: int, **wanted: Any) -> None:
        for uid in uids:
            wanted = {"received_at": NOON + timedelta(minutes=uid), "subject": f"Message {uid}", **wanted}
            self.messages[uid] = Envelope(uid, **wanted)
            self.uidnext = max(self.uidnext, uid + 1)
        self.touch()

    def touch(self) -> None:
        if self.modseq is not None:
            self.modseq += 1


class MemoryServer:
    """A mail server in memory that speaks `Incoming`; it can lie, hide messages, and change in the middle.

    `asked` is what was asked for, in order; `before` is called with each word of it before the answer.
    """

    def __init__(self, **folders: Kept) -> None:
        self.kept = folders or {"INBOX": Kept()}
        self.asked: list[Any] = []
        self.before: Callable[[str, int], None] = lambda word, count: None
        self.tells_status = False
        self.tells_changes: Callable[[Kept, int], Changes | None] | None = None
        self.deadline = Deadline(60)
        self._open = Kept()

    def __call__(self, leg: Leg) -> "MemoryServer":
        return self

    def sign_in(self, how: mail.Password) -> None:
        self._ask("sign in")

    def folders(self, *, counts: bool = True) -> list[mail.Folder]:
        self._ask("list")
        return [
            mail.Folder(path, path, "/", object_id=kept.object_id, is_virtual=kept.is_virtual)
            for path, kept in self.kept.items()
        ]

    def survey(self) -> tuple[list[mail.Folder], dict[str, FolderState]]:
        listed = self.folders(counts=False)
        return listed, {p: self._state(kept) for p, kept in self.kept.items() if self.tells_status and kept.modseq}

    def look_ahead(self, uids: Sequence[int]) -> None:
        pass

    def changes(self, since: int) -> Changes | None:
        if self.tells_changes is None:
            return None
        self._ask(f"changes {since}")
        return self.tells_changes(self._open, since)

    def examine(self, path: str) -> FolderState:
        self._ask(f"examine {path}")
        if path not in self.kept:
            raise MailError(Category.NETWORK, "The connection to the server broke.")
        self._open = kept = self.kept[path]
        if kept.refuses:
            raise kept.refuses
        return self._state(kept)

    def _state(self, kept: Kept) -> FolderState:
        return FolderState(kept.uidvalidity, kept.uidnext, len(kept.messages) + kept.lie, kept.modseq)

    def search(self, since: date | None = None) -> list[int]:
        self._ask("search")
        found = self._open.messages.values()
        return sorted(e.uid for e in found if since is None or (e.received_at and e.received_at.date() >= since))

    def flags(self) -> dict[int, frozenset[str]]:
        self._ask("flags")
        return {uid: envelope.flags for uid, envelope in self._open.messages.items()}

    def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
        self._ask("envelopes", list(uids))
        for uid in uids:
            if uid in self._open.messages and uid not in self._open.silent:
                yield self._open.messages[uid]

    def close(self) -> None:
        self._ask("close")

    def _ask(self, word: str, what: list[int] | None = None) -> None:
        self.asked.append(what or word)
        self.before(word, sum(isinstance(w, list) for w in self.asked))


def plan_of(session: Session, ask: Callable[[Session], object]) -> str:
    """How SQLite finds what `ask` asks for last."""
    asked: list[tuple[str, Any]] = []
    engine = db.database().engine

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    ask(session)
    event.remove(engine, "before_cursor_execute", note)
    statement, values = asked[-1]
    rows = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    return "; ".join(row[3] for row in rows)
