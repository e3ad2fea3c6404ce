"""Read-only queries for the audit log: entries by words, kind and day, as a page and as a file."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.activity.models import Activity
from mailadmin.activity.service import ActivityKind
from mailadmin.console.paging import PAGE, Paged, within

MOST_WORDS = 10
BATCH = 1000  # rows of a file that are read at once
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
    """One page of entries, newest first: `total` of those that were looked for, `of_all` that there are.

    `addresses` are those of the accounts that are still there, by id.
    """

    rows: Sequence[Activity]
    addresses: dict[int, str]
    total: int
    of_all: int
    page: int


def find(session: Session, wanted: Wanted, *, page: int) -> Found:
    """The page `page`, from 1, of what is `wanted`; a page beyond the last is the last."""
    query = _query(wanted)
    total = session.scalar(select(func.count()).select_from(query.with_only_columns(Activity.id).subquery())) or 0
    of_all = total if wanted == Wanted() else session.scalar(select(func.count(Activity.id))) or 0
    page = within(page, total)
    rows = session.scalars(query.order_by(Activity.id.desc()).limit(PAGE).offset((page - 1) * PAGE)).all()
    named = select(Account).where(
        Account.id.in_({row.account_id for row in rows} - {None}), Account.deleting_at.is_(None)
    )
    addresses = session.execute(named.with_only_columns(Account.id, Account.address))
    return Found(rows, {row.id: row.address for row in addresses}, total, of_all, page)


def _query(wanted: Wanted) -> Select[Activity]:
    query = select(Activity)
    for word in wanted.words.lower().split()[:MOST_WORDS]:
        columns = (Activity.person_name, Activity.what, Activity.detail, Activity.from_address)
        query = query.where(or_(*(func.lower(column).contains(word, autoescape=True) for column in columns)))
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
    """What is `wanted` as lines of a CSV file (RFC 4180) that no spreadsheet takes for formulas, newest first."""
    yield _line(COLUMNS)
    before: int | None = None
    while True:
        query = _query(wanted) if before is None else _query(wanted).where(Activity.id < before)
        rows = session.scalars(query.order_by(Activity.id.desc()).limit(BATCH)).all()
        for row in rows:
            about = "" if row.account_id is None else f"account {row.account_id}"
            at = f"{row.at:%Y-%m-%d %H:%M:%S}"
            yield _line((at, row.person_name, row.what, row.detail, about, row.from_address))
        if len(rows) < BATCH:
            return
        before = rows[-1].id
        session.expunge_all()


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(f"'{cell}" if cell.startswith(_DANGEROUS) else cell for cell in cells)
    return buffer.getvalue()
