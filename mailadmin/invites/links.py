"""Connect links: number, serial and account of an invite, signed. Nothing in the database opens one.

The account is there because SQLite gives the number of a deleted invite to the next one; accounts keep theirs.

The key is made of the installation's SECRET_KEY, for this purpose alone; a new SECRET_KEY ends all links.
"""

import hashlib

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy.orm import Session

from mailadmin import boot
from mailadmin.errors import NotFound
from mailadmin.invites.models import Invite
from mailadmin.text import t

LONGEST = 200


def token_of(invite: Invite) -> str:
    """What stands in the address of the link of `invite`; another one after it was sent again."""
    return str(_signer().dumps([invite.id, invite.serial, invite.account_id]))


def number_in(token: str) -> int:
    """The invite that `token` speaks of, good or outdated; 0 if it was not made here."""
    return _read(token)[0]


def find(session: Session, token: str, *, locked: bool = False) -> Invite:
    """The invite that `token` opens; `locked`: nobody else answers it meanwhile. Raises NotFound.

    It may have ended, and its account may be gone: see owner.standing.
    """
    invite_id, serial, account_id = _read(token)
    how = {"with_for_update": {"of": Invite}, "populate_existing": True} if locked else {}
    invite = session.get(Invite, invite_id, **how) if invite_id else None  # type: ignore[arg-type]
    if invite is None or not serial or (invite.serial, invite.account_id) != (serial, account_id):
        raise NotFound(t("There is nothing at this address. The link may be incomplete, or a newer one was sent."))
    return invite


def _read(token: str) -> tuple[int, int, int]:
    if len(token) > LONGEST:
        return 0, 0, 0
    try:
        invite_id, serial, account_id = _signer().loads(token)
    except (BadData, TypeError, ValueError):
        return 0, 0, 0
    return invite_id, serial, account_id


def _signer() -> URLSafeSerializer:
    key = boot.settings().secret_key
    return URLSafeSerializer(key, salt="connect link", signer_kwargs={"digest_method": hashlib.sha256})
