"""Lists that come a page at a time."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, SQLColumnExpression, func, select
from sqlalchemy.orm import Session

PAGE = 50
_BEYOND = 1_000_000_000  # no list has so many pages


class Paged:
    """One page of something, `page` from 1, of `total` in all: how many pages there are, and where this one begins."""

    __slots__ = ()

    total: int
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // PAGE)

    @property
    def first(self) -> int:
        """The place of the first row."""
        return (self.page - 1) * PAGE + 1 if self.total else 0


def within(page: int, total: int) -> int:
    """`page` if there is one, else the nearest."""
    return min(max(page, 1), max(1, -(-total // PAGE)))


def ids_of(
    session: Session,
    query: Select[int],
    keys: Sequence[SQLColumnExpression[Any]],
    *,
    page: int,
    total: int,
    down: bool = False,
) -> list[int]:
    """The ids on `page` of the `total` that `query` finds, by `keys`, all of them upwards, or all of them `down`.

    A page in the second half is read from the end, so that the last one is as quick as the first.
    """
    skipped = (page - 1) * PAGE
    number = max(0, min(PAGE, total - skipped))
    is_near_end = skipped > total // 2
    offset = total - skipped - number if is_near_end else skipped
    order = [key.desc() if down is not is_near_end else key.asc() for key in keys]
    found = list(session.scalars(query.order_by(*order).limit(number).offset(offset))) if number else []
    return found[::-1] if is_near_end else found


def counted_ids(
    session: Session, query: Select[int], keys: Sequence[SQLColumnExpression[Any]], *, page: int, down: bool = False
) -> tuple[list[int], int, int]:
    """The ids on `page`, or on the last one if that is beyond it, how many there are in all, and which page it is.

    Where it takes long to find out who is among them, all are looked at once, and not for the number and the page.
    """
    page = min(max(page, 1), _BEYOND)
    rows = _counted(session, query, keys, page, down)
    if not rows and page > 1:
        page = within(page, session.scalar(select(func.count()).select_from(query.subquery())) or 0)
        rows = _counted(session, query, keys, page, down)
    return [id_ for id_, _ in rows], rows[0][1] if rows else 0, page


def _counted(
    session: Session, query: Select[int], keys: Sequence[SQLColumnExpression[Any]], page: int, down: bool
) -> Sequence[Any]:
    order = [key.desc() if down else key.asc() for key in keys]
    with_number = query.add_columns(func.count().over()).order_by(*order)
    return session.execute(with_number.limit(PAGE).offset((page - 1) * PAGE)).all()
