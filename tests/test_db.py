"""The database session and what it says when something is wrong."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, StatementError

from mailadmin import db
from mailadmin.people.models import Person
from tests.conftest import both_databases


@both_databases
@pytest.mark.usefixtures("booted")
def test_an_error_of_the_database_quotes_no_values() -> None:
    with db.reading() as session, pytest.raises((DBAPIError, StatementError)) as caught:
        session.scalars(sa.select(Person).where(Person.id == 2**80, Person.name == "hunter2")).all()
    assert "hunter2" not in str(caught.value)
