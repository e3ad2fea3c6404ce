"""Small rows, thousands at a time: statements that go to the driver as they are.

SQLAlchemy looks at each value of each row for about as long as SQLite needs to store it. Here it only writes the
statement, once. So no column type changes a value on its way: whole numbers, bytes and truths need no change.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

Rows = Sequence[tuple[Any, ...]]


def insert_missing(session: Session, table: Table, columns: tuple[str, ...], rows: Rows) -> None:
    """Insert `rows`, values of `columns`; one whose key is there already stays as it is."""
    if rows:
        session.connection().exec_driver_sql(_insertion(_engine(session), table, columns), list(rows))


def update_each(session: Session, table: Table, columns: tuple[str, ...], rows: Rows) -> None:
    """Change the row of each id: `rows` are values of `columns` and then the id."""
    if rows:
        session.connection().exec_driver_sql(_change(_engine(session), table, columns), list(rows))


@contextmanager
def nothing_left_if_it_fails(session: Session) -> Iterator[None]:
    """A part of the transaction, undone if it raises; SQLAlchemy would write its two statements anew each time."""
    connection = session.connection()
    connection.exec_driver_sql("SAVEPOINT a_part")
    with ExitStack() as failing:
        failing.callback(_undo, connection)
        yield
        failing.pop_all()
    connection.exec_driver_sql("RELEASE SAVEPOINT a_part")


def _undo(connection: Connection) -> None:
    with suppress(SQLAlchemyError):  # Where the database is away, the first error says it better.
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT a_part")


def _engine(session: Session) -> str:
    return session.get_bind().dialect.name


@functools.cache
def _insertion(engine: str, table: Table, columns: tuple[str, ...]) -> str:
    insert = (sqlite if engine == "sqlite" else postgresql).insert(table).inline().on_conflict_do_nothing()
    return in_words(engine, insert, columns, keys=columns)


@functools.cache
def _change(engine: str, table: Table, columns: tuple[str, ...]) -> str:
    values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in columns}
    statement = update(table).values(values).where(table.c.id == bindparam("the_id", type_=table.c.id.type))
    return in_words(engine, statement, (*(f"new_{name}" for name in columns), "the_id"))


def in_words(engine: str, statement: Any, order: tuple[str, ...], keys: tuple[str, ...] | None = None) -> str:
    """`statement` in the words of the driver `engine`, which takes the values in `order`."""
    sql: Any = sqlite if engine == "sqlite" else postgresql
    dialect = sql.dialect() if sql is sqlite else sql.dialect(paramstyle="format")
    compiled = cast(SQLCompiler, statement.compile(dialect=dialect, column_keys=keys))
    assert tuple(compiled.positiontup or ()) == order, "the columns do not stand as the table has them"
    return compiled.string
