"""Writing and reading the audit trail. Entries are added and, after some years, swept away; nothing changes one."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mailadmin.activity.models import Activity
from mailadmin.db import now
from mailadmin.mail.types import Server
from mailadmin.permissions import Actor
from mailadmin.text import t

MONTH = timedelta(days=30.44)
LONGEST_VALUE = 80


class ActivityKind(StrEnum):
    """What an entry is about, to filter by."""

    SIGN_INS = "sign-ins"
    ACCOUNTS = "accounts"
    ACCESS = "access"
    PEOPLE = "people"
    PROVIDERS = "providers"
    SETTINGS = "settings"


def record(
    session: Session,
    actor: Actor,
    what: str,
    *,
    detail: str = "",
    account_id: int | None = None,
    kind: ActivityKind | None = None,
) -> None:
    """Note that `actor` did `what`, a phrase that follows the name ("deleted billing@example.net"), without secrets.

    Without a `kind` an entry is about an account if it names one, and about settings if it does not.
    """
    usual = ActivityKind.SETTINGS if account_id is None else ActivityKind.ACCOUNTS
    session.add(
        Activity(
            person_id=actor.person_id,
            person_name=actor.name,
            from_address=actor.address[:60],  # what a proxy says
            what=what[:300],
            detail=detail,
            account_id=account_id,
            kind=kind or usual,
        )
    )


def difference(before: Mapping[str, Any], after: Mapping[str, Any], also: Iterable[str] = ()) -> str:
    """What changed, by the names of `after`, with both values where these are plain: `name: “Sales” to “Support”`.

    `also` are names of what changed and has no value to show, such as a password.
    """
    changed = [what for what in after if before.get(what) != after[what]]
    told = {what: _change(before.get(what), after[what]) for what in changed} | dict.fromkeys(also, "")
    return "; ".join(f"{what}{told[what]}" for what in sorted(told))


def _change(before: Any, after: Any) -> str:
    was, is_now = _value(before), _value(after)
    return "" if was is None or is_now is None else t(": {was} to {is_now}", was=was, is_now=is_now)


def _value(value: Any) -> str | None:
    """`value` in words, or None where it has none that people know."""
    if isinstance(value, bool):
        return t("yes") if value else t("no")
    if isinstance(value, Server):
        return f"“{value.protocol}:{value.host}:{value.port}:{value.tls_mode}”"
    if isinstance(value, list | frozenset) and all(isinstance(one, str) for one in value):
        value = " ".join(sorted(value))
    if value in (None, ""):
        return t("nothing")
    if not isinstance(value, str | int):
        return None
    words = str(value)
    return f"“{words[:LONGEST_VALUE]}…”" if len(words) > LONGEST_VALUE else f"“{words}”"


def of_account(session: Session, account_id: int, *, limit: int = 10) -> Sequence[Activity]:
    """The last entries about an account, newest first."""
    return session.scalars(
        select(Activity).where(Activity.account_id == account_id).order_by(Activity.id.desc()).limit(limit)
    ).all()


def forget_old(session: Session, *, months: int) -> None:
    """Delete the entries that are older than `months`."""
    session.execute(
        delete(Activity).where(Activity.at < now() - months * MONTH).execution_options(synchronize_session=False)
    )
