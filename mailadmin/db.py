"""The database session, the column types that both engines share, and how SQLite is made safe for several writers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import DateTime, Dialect, Engine, Enum, MetaData, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, sessionmaker
from sqlalchemy.pool import Pool
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import ReturnTypeFromArgs
from sqlalchemy.types import JSON, TypeDecorator

# Names for constraints before the first table: without them Alembic cannot drop one on another database.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UTCDateTime(TypeDecorator[datetime]):
    """An aware point in time; SQLite forgets time zones, so it is stored and read as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time without a time zone cannot be stored.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table's parent."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {datetime: UTCDateTime, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


def words(enum: type[StrEnum], length: int = 20) -> Enum:
    """A column type for the words of `enum`: text with a check that both engines understand."""
    return Enum(
        enum,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda members: [member.value for member in members],
    )


class ascii_lower(ReturnTypeFromArgs[str]):
    """`lower()` for ASCII letters alone, all that SQLite knows: PostgreSQL takes half the time for it."""

    inherit_cache = True


@compiles(ascii_lower)
def _lower(element: ascii_lower, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clause_expr, **options)})"


@compiles(ascii_lower, "postgresql")
def _lower_in_postgresql(element: ascii_lower, compiler: SQLCompiler, **options: Any) -> str:
    return f'lower({compiler.process(element.clause_expr, **options)} COLLATE "C")'


def now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


def connect(url: str, *, busy_seconds: float = 5.0, pool_size: int = 5) -> Engine:
    """An engine for `url`. Whoever needs a lock waits up to `busy_seconds` for it, then gets an OperationalError.

    Its errors do not quote values: they end in logs and with failed jobs, and a value may be what somebody typed.
    """
    if not url.startswith("sqlite"):
        # Our queries are short: to compile one takes longer than to run it.
        patience = {"options": f"-c lock_timeout={int(busy_seconds * 1000)} -c jit=off"}
        return create_engine(
            url,
            connect_args=patience,
            pool_size=pool_size,
            max_overflow=5,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    engine = create_engine(url, connect_args={"timeout": busy_seconds}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


_PRAGMAS = (
    *("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"),
    "cache_size=-8000",  # kilobytes; with 2 MB a first sync reads the pages of its indexes again and again
    "wal_autocheckpoint=4000",  # pages: a checkpoint waits for the disk, and every tenth commit would be one
)


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None  # We send BEGIN ourselves, see _begin_sqlite.
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # A deferred BEGIN that reads and then writes can fail at once with SQLITE_BUSY, whatever the time-out says, and two
    # read-modify-writes can lose one of the updates. Pages that only read ask for "BEGIN" and never wait for a writer.
    options = connection.get_execution_options()
    if options.get("lasts", False) != connection.info.get("lasts", False):
        connection.info["lasts"] = options.get("lasts", False)
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if connection.info['lasts'] else 'NORMAL'}")
    connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN IMMEDIATE"))


class Database:
    """The engine of a process and its sessions; every session carries `info` (the vault, see sealed.py)."""

    def __init__(
        self, url: str, *, busy_seconds: float = 5.0, pool_size: int = 5, info: dict[str, Any] | None = None
    ) -> None:
        self._abandoned: list[Pool] = []
        self.engine = connect(url, busy_seconds=busy_seconds, pool_size=pool_size)
        reader = self.engine.execution_options(sqlite_begin="BEGIN")
        self._sessions = sessionmaker(self.engine, expire_on_commit=False, info=info)
        self._readers = sessionmaker(reader, expire_on_commit=False, info=info)
        lasting = self.engine.execution_options(lasts=True)
        self._lasting = sessionmaker(lasting, expire_on_commit=False, info=info)

    def session(self, *, reading: bool = False) -> Session:
        """A new session; with `reading` it takes no write lock on SQLite and must not write."""
        return self._readers() if reading else self._sessions()

    @contextmanager
    def transaction(self, *, lasts: bool = False) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on an error.

        With `lasts` what was committed is on the disk, also if the power fails; otherwise SQLite may lose the last
        moments then, though never a part of a transaction. PostgreSQL loses nothing either way.
        """
        with (self._lasting if lasts else self._sessions).begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads."""
        with self._readers() as session:
            yield session

    def forget_connections(self) -> None:
        """Leave inherited connections alone: a forked child must not talk on its parent's sockets."""
        # The old pool is kept: a child that collected it would close files and sockets that its parent uses.
        self._abandoned.append(self.engine.pool)
        self.engine.dispose(close=False)


_database: Database | None = None


def open_database(database: Database) -> None:
    """Make `database` the one that this process uses."""
    global _database
    _database = database


def database() -> Database:
    """The database of this process. Raises RuntimeError before `boot.start`."""
    if _database is None:
        raise RuntimeError("boot.start has not run in this process.")
    return _database


def transaction(*, lasts: bool = False) -> AbstractContextManager[Session]:
    """A session of this process's database that commits at the end, or rolls back on an error; `lasts`: see there."""
    return database().transaction(lasts=lasts)


def reading() -> AbstractContextManager[Session]:
    """A session of this process's database that only reads."""
    return database().reading()


def _request_session(*, reading: bool = False) -> Session:
    return database().session(reading=reading)


# The session of the request that this thread answers; `web.py` opens it for reading or writing and removes it.
session: "scoped_session[Session]" = scoped_session(cast("sessionmaker[Session]", _request_session))
