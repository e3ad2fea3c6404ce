"""What Alembic runs for every migration; `mailadmin/schema.py` gives the connection."""

import importlib

import sqlalchemy as sa
from alembic import context

from mailadmin.db import Base, UTCDateTime

for module in (
    "activity",
    "organisation",
    "people",
    "providers",
    "accounts",
    "access",
    "contacts",
    "oauth",
    "connections",
    "sync",
    "wizard",
    "notices",
    "invites",
    "moves",
    "writing",
):
    importlib.import_module(f"mailadmin.{module}.models")
for module in ("leases", "sealed"):
    importlib.import_module(f"mailadmin.{module}")


def plain(kind: str, item: object, _context: object) -> str | bool:
    """Write our column types as the plain ones below them: a migration imports nothing of the program."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, sa.Enum):
        return f"sa.String(length={item.length})"
    return False


def is_ours(name: str | None, _kind: str, _parents: object) -> bool:
    """Leave out full-text search, which is made by plain statements."""
    return not (name or "").startswith(("message_words", "ix_message_text_words"))


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=plain,
    include_name=is_ours,
)
context.run_migrations()
