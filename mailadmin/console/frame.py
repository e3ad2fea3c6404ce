"""What the frame around every page shows: who is signed in, counts, mailboxes, and whether background work goes on."""

from typing import Any

from flask import g, request
from flask_login import current_user

from mailadmin import db, web
from mailadmin.access import service as access
from mailadmin.accounts.models import Account
from mailadmin.console import queries
from mailadmin.organisation import service as organisation
from mailadmin.permissions import Permission
from mailadmin.shown import num
from mailadmin.text import t

MAILBOXES = 8
THEMES = {"light", "dark"}


def context() -> dict[str, Any]:
    """The frame's values for a template; a partial for htmx and an error page have no frame and cost no query."""
    theme = request.cookies.get(web.cookie_name("theme"), "")
    values: dict[str, Any] = {"may": _may, "tab_counts": _tab_counts, "me": None}
    values |= {"theme": theme if theme in THEMES else "", "organisation": "", "uses_mail": True}
    if g.get("has_failed") or (web.is_htmx() and not g.get("is_whole")):
        return values
    values["organisation"] = organisation.name(db.session())
    values["uses_mail"] = organisation.uses_mail(db.session())
    if current_user.is_authenticated:
        values |= _signed_in()
    return values


def _may(words: str) -> bool:
    """Whether whoever is signed in has the permission of this name."""
    return current_user.is_authenticated and current_user.person.may(Permission(words))


def _tab_counts(account: Account) -> dict[str, int]:
    """What the tabs of an account say beside their names."""
    session = db.session()
    return {"folders": queries.folder_count(session, account.id), "access": access.count_readers(session, account)}


def _signed_in() -> dict[str, Any]:
    person, session = current_user.person, db.session()
    mailboxes = access.mailboxes(session, person)[:MAILBOXES]
    unread = queries.unread(session, [id_ for id_, _ in mailboxes])
    values: dict[str, Any] = {
        "me": {
            "id": person.id,
            "name": person.name,
            "email": person.email,
            "role_word": person.custom_role.name if person.custom_role else person.role.capitalize(),
            "initials": person.initials,
        },
        "mailboxes": [(id_, address, unread.get(id_, 0)) for id_, address in mailboxes],
    }
    if person.may(Permission.SEE_CONSOLE):
        counted = g.get("tallies") or queries.tallies(session)  # A page that counted them keeps them there.
        values["counts"] = {
            "accounts": counted["all"],
            "attention": counted["attention"],
            "providers": queries.provider_count(session),
            "people": queries.people_count(session),
        }
        values["vitals"] = _vitals(queries.vitals(session))
    return values


def _vitals(pulse: queries.Vitals) -> dict[str, str]:
    if pulse.waiting is None:
        waiting = t("queue unreachable")
    else:
        waiting = t("queue {n}", n=num(pulse.waiting)) if pulse.waiting else t("queue empty")
    if pulse.silent:
        silent = t("1 runner silent") if pulse.silent == 1 else t("{n} runners silent", n=pulse.silent)
        return {"tone": "bad", "text": f"{silent}, {waiting}"}
    if not pulse.runners:
        return {"tone": "bad", "text": t("No runner, {waiting}", waiting=waiting)}
    runners = t("1 runner") if pulse.runners == 1 else t("{n} runners", n=pulse.runners)
    return {"tone": pulse.tone, "text": f"{runners}, {waiting}"}
