"""Folders that people want to have: a name and a place, kept as a row until a run has created it (wished.py)."""

import unicodedata
from collections.abc import Sequence

from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.imap_write import NAMES, usual_prefix
from mailadmin.mail.types import Role, ServerProtocol
from mailadmin.permissions import Actor
from mailadmin.sync.folders import PATH_LENGTH, stored
from mailadmin.sync.models import Folder, RoleSource
from mailadmin.text import is_written, t

LONGEST_NAME = 200


def create_folder(session: Session, account: Account, *, name: str, parent_id: int | None, actor: Actor) -> Folder:
    """Have a folder called `name` created, within another or at the top, and synced. Raises RuleBroken."""
    if account.protocol is ServerProtocol.POP3:
        raise RuleBroken(t("This account is read over POP3, which knows no folders."), field="name")
    rows = stored(session, account.id)
    parent = _parent(rows, parent_id)
    delimiter = parent.delimiter if parent else next((row.delimiter for row in rows if row.delimiter), "")
    name = _checked(name, delimiter)
    present = [row for row in rows if not row.is_gone]
    prefix = usual_prefix((row.path, row.delimiter) for row in present if not row.is_wished)
    path = f"{parent.path}{delimiter}{name}" if parent else prefix + name
    if len(path) > PATH_LENGTH:
        raise RuleBroken(t("With the folders above it this name is too long."), field="name")
    if any(row.path.casefold() == path.casefold() for row in present):
        raise RuleBroken(t("A folder “{name}” is there already.", name=name), field="name")
    row = next((row for row in rows if row.path == path), None) or Folder(account_id=account.id, path=path)
    row.name, row.delimiter = name, delimiter
    _want(session, row)
    activity.record(session, actor, f"asked for the folder {name} in {account.address}", account_id=account.id)
    session.flush()
    return row


def wish_role(session: Session, account: Account, role: Role) -> Folder:
    """The folder that is to be created for `role`, which no folder of the account has."""
    rows = stored(session, account.id)
    prefix = usual_prefix((row.path, row.delimiter) for row in rows if not row.is_gone and not row.is_wished)
    same = [row for row in rows if row.path.casefold() == (prefix + NAMES[role]).casefold()]
    row = same[0] if same else Folder(account_id=account.id, path=prefix + NAMES[role], name=NAMES[role])
    row.role, row.role_source = role, RoleSource.PERSON
    if not same or row.is_gone:
        row.delimiter = row.delimiter or next((other.delimiter for other in rows if other.delimiter), "")
        _want(session, row)
    session.flush()
    return row


def _want(session: Session, row: Folder) -> None:
    row.is_wished, row.is_active, row.is_gone, row.trouble, row.locked = True, True, False, "", ""
    row.listed_at = now()
    session.add(row)


def _parent(rows: Sequence[Folder], parent_id: int | None) -> Folder | None:
    if parent_id is None:
        return None
    parent = next((row for row in rows if row.id == parent_id and not row.is_gone), None)
    if parent is None:
        raise RuleBroken(t("This folder is not on the server any more. Choose another one."), field="parent")
    if not parent.delimiter or parent.is_wished:
        raise RuleBroken(t("“{name}” cannot hold other folders.", name=parent.name), field="parent")
    return parent


def _checked(name: str, delimiter: str) -> str:
    """`name` as it is sent to a server. Raises RuleBroken for what no server should be asked to create."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    if not name:
        raise RuleBroken(t("Give the folder a name."), field="name")
    if len(name) > LONGEST_NAME:
        raise RuleBroken(t("A name has at most {n} characters.", n=LONGEST_NAME), field="name")
    wrong = sorted({c for c in name if c in f'%*\\"{delimiter}' or not is_written(c)})
    if wrong:
        shown = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in wrong)
        raise RuleBroken(t("A name cannot contain {characters}.", characters=shown), field="name")
    if name.casefold() == "inbox" or name.startswith(("~", "#")) or name in (".", ".."):
        raise RuleBroken(t("Servers keep this name for themselves. Choose another one."), field="name")
    return name
