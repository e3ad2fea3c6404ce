"""The database's shape: bring it up to date, and say whether it is."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from mailadmin.config import ROOT


def upgrade(engine: Engine, *, revision: str = "head") -> None:
    """Run the migrations that are missing, in one transaction. Safe to call from several machines at once."""
    _run(engine, command.upgrade, revision)


def downgrade(engine: Engine, *, revision: str) -> None:
    """Undo migrations down to `revision` ("base": all of them)."""
    _run(engine, command.downgrade, revision)


def is_current(connection: Connection) -> bool:
    """Whether the newest migration has run."""
    return MigrationContext.configure(connection).get_current_revision() == _scripts().get_current_head()


def is_ready(engine: Engine) -> bool:
    """Whether the database answers and has all tables as this version wants them."""
    try:
        with engine.connect() as connection:
            return is_current(connection)
    except SQLAlchemyError:
        return False


def revisions() -> list[str]:
    """All revisions, oldest first."""
    return [script.revision for script in reversed(list(_scripts().walk_revisions()))]


def _run(engine: Engine, what: object, revision: str) -> None:
    config = _config()
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # With foreign keys on, a batch ALTER, which copies a table and drops the old one, cascades and empties
            # others. The pragma does nothing inside a transaction, so it goes to the driver before one begins.
            _foreign_keys(connection, on=False)
        try:
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(7031988)"))
                    connection.execute(text("SET LOCAL lock_timeout = '10s'"))
                config.attributes["connection"] = connection
                what(config, revision)  # type: ignore[operator]
                if connection.dialect.name == "sqlite":
                    broken = connection.execute(text("PRAGMA foreign_key_check")).all()
                    if broken:
                        raise RuntimeError(f"The migration would leave rows that point nowhere: {broken[:5]}")
        finally:
            if connection.dialect.name == "sqlite":
                _foreign_keys(connection, on=True)


def _foreign_keys(connection: Connection, *, on: bool) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
