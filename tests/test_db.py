"""The database session, and what it says when something is wrong."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from mailadmin import db
from tests.conftest import both_databases


@both_databases
@pytest.mark.usefixtures("booted")
def test_an_error_of_the_database_quotes_no_values() -> None:
    with db.reading() as session, pytest.raises(DBAPIError) as caught:
        session.execute(sa.text("SELECT * FROM nowhere WHERE name = :name"), {"name": "hunter2"})
    assert "hunter2" not in str(caught.value)


@both_databases
@pytest.mark.usefixtures("booted")
def test_both_databases_know_the_same_letters_in_lower_case() -> None:
    with db.reading() as session:
        assert session.scalar(sa.select(db.ascii_lower(sa.literal("BÜRO Nord")))) == "bÜro nord"


@pytest.mark.usefixtures("booted")
def test_what_must_last_waits_for_the_disk_and_nothing_else_does() -> None:
    def synchronous(**wanted: bool) -> int:
        with db.transaction(**wanted) as session:
            return int(session.scalar(sa.text("PRAGMA synchronous")))

    assert [synchronous(), synchronous(lasts=True), synchronous()] == [1, 2, 1]  # NORMAL, FULL, NORMAL
