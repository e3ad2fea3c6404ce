"""The wiring, once, for every process: settings, database, vault, queue."""

import os

from mailadmin import db, queue
from mailadmin.config import Settings
from mailadmin.vault import open_vault

_settings: Settings | None = None


def start(
    settings: Settings, *, busy_seconds: float = 5.0, pool_size: int = 5, queue_patience: float | None = None
) -> None:
    """Open what `settings` name for this process.

    On SQLite a writer waits up to `busy_seconds` for its turn; `queue_patience` is for `queue.connect`.
    """
    global _settings
    vault = open_vault(keys=settings.vault_keys, secret_key=settings.secret_key)
    database = db.Database(settings.database_url, busy_seconds=busy_seconds, pool_size=pool_size, info={"vault": vault})
    db.open_database(database)
    queue.open_queue(settings.redis_url, tls_verify=settings.redis_tls_verify, patience=queue_patience)
    if _settings is None:
        os.register_at_fork(after_in_child=_after_fork)
    _settings = settings


def settings() -> Settings:
    """The settings of this process. Raises RuntimeError before `start`."""
    if _settings is None:
        raise RuntimeError("boot.start has not run in this process.")
    return _settings


def _after_fork() -> None:
    db.database().forget_connections()
