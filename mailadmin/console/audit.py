"""Read-only queries for the audit log: entries by words, kind and day, as a page and as a file."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Select, SQLColumnExpression, exists, func, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.activity.models import Activity
from mailadmin.activity.service import ActivityKind
from mailadmin.console.paging import PAGE, Paged, ids_of, within
from mailadmin.console.typed_words import holds, words

COUNTED = 1000  # entries with the words of a search, which are counted on every page
MOST_PAGES = 20_000  # with words; those before the one that is shown are read
BATCH = 1000  # rows of a file that are read at once
_LISTED: tuple[Any, ...] = (
    Activity.id,
    Activity.at,
    Activity.person_name,
    Activity.what,
    Activity.detail,
    Activity.account_id,
    Activity.from_address,
)
COLUMNS = ("when", "who", "what", "detail", "about", "from")
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet lets a formula begin


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: `words` that all have to be there, a kind, and days in UTC, the first and the last."""

    words: str = ""
    kind: ActivityKind | None = None
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Found(Paged):
    """One page of entries, newest first: `total` of those that were looked for; `is_empty`: there are none at all.

    `are_more`: words were looked for, and older entries, which nobody has counted, may hold them too. `addresses` are
    those of the accounts that are still there, by id.
    """

    rows: Sequence[Activity]
    addresses: dict[int, str]
    total: int
    page: int
    are_more: bool = False
    is_empty: bool = False

    @property
    def pages(self) -> int:
        """How many pages there are, as far as was counted."""
        return -(-self.total // PAGE) + self.are_more


def find(session: Session, wanted: Wanted, *, page: int) -> Found:
    """The page `page`, from 1, of what is `wanted`; a page beyond the last is the last.

    Words stand in no index: whoever looks for them is shown the newest without waiting until all entries are read.
    """
    query, keys = _query(wanted, select(Activity.id)), _order(wanted)
    are_more = False
    if wanted.words:
        reach = PAGE * max(COUNTED // PAGE, min(page, MOST_PAGES))
        ids = list(session.scalars(query.order_by(*(key.desc() for key in keys)).limit(reach + 1)))
        are_more, total = len(ids) > reach, min(len(ids), reach)
        page = within(page, total)
        ids = ids[(page - 1) * PAGE : page * PAGE]
    else:
        total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        page = within(page, total)
        ids = ids_of(session, query, keys, page=page, total=total, down=True)
    is_empty = not total and not session.scalar(select(exists(select(Activity.id))))
    rows = {row.id: row for row in session.scalars(select(Activity).where(Activity.id.in_(ids)))} if ids else {}
    shown = [rows[id_] for id_ in ids if id_ in rows]
    return Found(shown, _addresses(session, shown), total, page, are_more, is_empty)


def _addresses(session: Session, rows: Sequence[Activity]) -> dict[int, str]:
    """The addresses of the accounts that these entries name and that are still there, by id."""
    ids = {row.account_id for row in rows} - {None}
    named = select(Account.id, Account.address).where(Account.id.in_(ids), Account.deleting_at.is_(None))
    return dict(session.execute(named).all()) if ids else {}


def _order(wanted: Wanted) -> Sequence[SQLColumnExpression[Any]]:
    """By what entries are ordered; where days narrow them, the index of these has them in order."""
    return (Activity.at, Activity.id) if wanted.first or wanted.last else (Activity.id,)


def _query(wanted: Wanted, query: Select[Any]) -> Select[Any]:
    columns = (Activity.person_name, Activity.what, Activity.detail, Activity.from_address)
    query = query.where(*(holds(word, *columns) for word in words(wanted.words)))
    if wanted.kind is not None:
        query = query.where(Activity.kind == wanted.kind)
    if wanted.first is not None:
        query = query.where(Activity.at >= _midnight(wanted.first))
    if wanted.last is not None and wanted.last < date.max:
        query = query.where(Activity.at < _midnight(wanted.last + timedelta(days=1)))
    return query


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def as_csv(session: Session, wanted: Wanted) -> Iterator[str]:
    """What is `wanted` as lines of a CSV file (RFC 4180) that no spreadsheet takes for formulas, newest first.

    Some lines at a time, so that a file of any length takes no memory.
    """
    yield _lines([COLUMNS])
    query = _query(wanted, select(*_LISTED)).order_by(Activity.id.desc()).limit(BATCH)
    before: int | None = None
    while True:
        rows = session.execute(query if before is None else query.where(Activity.id < before)).all()
        if rows:
            yield _lines([_cells(row) for row in rows])
            before = rows[-1].id
        if len(rows) < BATCH:
            return


def _cells(row: Any) -> Sequence[str]:
    about = "" if row.account_id is None else f"account {row.account_id}"
    return f"{row.at:%Y-%m-%d %H:%M:%S}", row.person_name, row.what, row.detail, about, row.from_address


def _lines(rows: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    written = csv.writer(buffer)
    written.writerows([f"'{cell}" if cell.startswith(_DANGEROUS) else cell for cell in row] for row in rows)
    return buffer.getvalue()
