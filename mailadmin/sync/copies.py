"""Copies: one message in several folders or accounts, shown once, with all the places where it lies.

Two rows are copies if they agree in what no server changes when it takes a message over (`content_hash`: id, instant,
sender, recipients, subject) and have a Message-ID, or, without one, the server's own name for the message (RFC 8474).
The id alone proves nothing, for some senders use one for all they send; and without any name two equal headers may be
two messages. Nothing is dropped or merged: every row stays what it is, a page only shows one of them.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from mailadmin.sync.models import Message

Rule = Callable[[Any], ColumnElement[bool]]  # which messages may be seen, for Message or an alias of it


def are_copies(one: Any, other: Any) -> ColumnElement[bool]:
    """The rule by which two rows, Message or aliases of it, are one message."""
    same_id = and_(one.message_id == other.message_id, one.message_id != "")
    same_name = and_(one.message_id == "", other.message_id == "", one.email_id == other.email_id, one.email_id != "")
    return and_(one.content_hash == other.content_hash, or_(same_id, same_name))


def shown_once(may_see: Rule, rather: Rule | None = None) -> ColumnElement[bool]:
    """The rule for a query of Message that leaves one row of each message: the first among those of `may_see`.

    None is left of a message that has a copy among those of `rather`, which are shown instead. Put this rule beside
    `may_see(Message)`, in the query and in its count, so that both agree.
    """
    other = aliased(Message)
    before = and_(other.id < Message.id, may_see(other))
    hides = or_(before, rather(other)) if rather else before
    return ~exists().where(are_copies(other, Message), hides).correlate(Message)


def places(session: Session, ids: Sequence[int], may_see: Rule) -> dict[int, list[int]]:
    """The folders in which each of the messages `ids` lies, itself first, its copies among those of `may_see` after."""
    if not ids:
        return {}
    found: dict[int, list[int]] = defaultdict(list)
    for id_, folder_id in session.execute(select(Message.id, Message.folder_id).where(Message.id.in_(ids))):
        found[id_].append(folder_id)
    other = aliased(Message)
    query = select(Message.id, other.folder_id).join(other, and_(are_copies(Message, other), may_see(other)))
    for id_, folder_id in session.execute(query.where(Message.id.in_(ids)).order_by(Message.id, other.id)):
        if folder_id not in found[id_]:
            found[id_].append(folder_id)
    return dict(found)
