"""Migrations: head equals the models, both directions work, and a filled database keeps every row."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from mailadmin import db, schema
from tests import databases

REVISIONS = schema.revisions()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine on an empty database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = databases.new_database(request.getfixturevalue("postgresql_server"), "migrations")
    database = db.Database(url)
    yield database.engine
    database.engine.dispose()


def test_head_equals_the_models(empty: sa.Engine) -> None:
    schema.upgrade(empty)
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": _types_differ, "include_name": _is_ours})
        assert compare_metadata(context, db.Base.metadata) == []


def test_migrations_go_down_to_nothing_and_up_again(empty: sa.Engine) -> None:
    schema.upgrade(empty)
    schema.downgrade(empty, revision="base")
    assert set(sa.inspect(empty).get_table_names()) <= {"alembic_version"}
    schema.upgrade(empty)
    with empty.connect() as connection:
        assert schema.is_current(connection)


def test_running_the_migrations_twice_changes_nothing(empty: sa.Engine) -> None:
    schema.upgrade(empty)
    schema.upgrade(empty)
    with empty.connect() as connection:
        assert schema.is_current(connection)


@pytest.mark.parametrize(("before", "after"), list(pairwise(REVISIONS)) or [(REVISIONS[0], REVISIONS[0])])
def test_a_filled_database_keeps_every_row(empty: sa.Engine, before: str, after: str) -> None:
    schema.upgrade(empty, revision=before)
    filled = _fill(empty)
    schema.upgrade(empty, revision=after)
    assert _count(empty, filled) == filled
    schema.downgrade(empty, revision=before)
    assert _count(empty, filled) == filled


def _fill(engine: sa.Engine, rows: int = 3) -> dict[str, int]:
    """Put `rows` rows into every table, following foreign keys; the answer counts them by table."""
    tables = sa.MetaData()
    tables.reflect(engine, only=lambda name, _: _is_ours(name))
    made: dict[str, list[dict[str, Any]]] = {}
    with engine.begin() as connection:
        for table in tables.sorted_tables:
            if table.name != "alembic_version":
                made[table.name] = [_row(table, n, made) for n in range(1, rows + 1)]
                connection.execute(table.insert(), made[table.name])
    return {name: len(rows_) for name, rows_ in made.items()}


def _row(table: sa.Table, n: int, made: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.foreign_keys:
            key = next(iter(column.foreign_keys)).column
            row[column.name] = made[key.table.name][n - 1][key.name]
        else:
            row[column.name] = _value(column, n)
    return row


VALUES: list[tuple[type[Any], Callable[[int], Any]]] = [
    (sa.Boolean, lambda n: n % 2 == 0),
    (sa.Float, lambda n: n / 2),
    (sa.Integer, lambda n: n),
    (sa.Uuid, lambda n: uuid4()),
    (sa.DateTime, lambda n: datetime(2026, 1, n, tzinfo=UTC)),
    (sa.Date, lambda n: date(2026, 1, n)),
    (sa.LargeBinary, lambda n: bytes([n]) * 32),
    (sa.JSON, lambda n: [n]),
    (sa.String, lambda n: f"x{n}"),
    (sa.Numeric, lambda n: n),
]


def _value(column: sa.Column[Any], n: int) -> Any:
    if isinstance(column.type, sa.CHAR):  # how SQLite keeps a UUID
        return uuid4().hex
    return next(make for kind, make in VALUES if isinstance(column.type, kind))(n)


def _count(engine: sa.Engine, tables: dict[str, int]) -> dict[str, int]:
    with engine.connect() as connection:
        return {t: connection.scalar(sa.select(sa.func.count()).select_from(sa.table(t))) or 0 for t in tables}


def _is_ours(name: str | None, _kind: str = "", _parents: object = None) -> bool:
    # Full-text search is made by plain statements: tables that SQLite keeps by itself, an index on PostgreSQL.
    return not (name or "").startswith(("message_words", "ix_message_text_words"))


def _types_differ(_context: object, _inspected: object, _column: object, kept: Any, wanted: Any) -> bool | None:
    # SQLite has fewer types than we have words for; what it cannot tell apart is not a difference.
    return None if type(kept)._type_affinity is not wanted._type_affinity else False
