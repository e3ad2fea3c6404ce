"""Lists a page at a time: from both ends, in both directions, and what lies beyond the last page."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from mailadmin.console import paging
from mailadmin.console.paging import counted_ids, ids_of
from mailadmin.console.typed_words import holds, words
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from tests.conftest import both_databases

NAMES = ("Özil 100%", "ada", "Bo_b", "Cleo", "dan", "Eve", "finn")


@pytest.fixture
def people(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seven people, three on a page; their ids."""
    monkeypatch.setattr(paging, "PAGE", 3)
    made = [Person(name=n, email=f"p{i}@example.com", role=PersonRole.WORKER) for i, n in enumerate(NAMES)]
    for person in made:
        session.add(person)
        session.flush()
    return [person.id for person in made]


@both_databases
@pytest.mark.parametrize("down", [False, True])
def test_every_page_is_the_same_from_either_end(session: Session, people: list[int], down: bool) -> None:
    every = sa.select(Person.id)
    pages = [ids_of(session, every, [Person.id], page=n, total=len(people), down=down) for n in (1, 2, 3, 4)]
    in_order = people[::-1] if down else people
    assert pages == [in_order[:3], in_order[3:6], in_order[6:], []]
    assert [counted_ids(session, every, [Person.id], page=n, down=down)[0] for n in (1, 2, 3)] == pages[:3]


@both_databases
def test_a_page_beyond_the_last_is_the_last(session: Session, people: list[int]) -> None:
    every = sa.select(Person.id)
    assert counted_ids(session, every, [Person.id], page=10**18) == (people[6:], 7, 3)
    assert counted_ids(session, every, [Person.id], page=-4) == (people[:3], 7, 1)
    assert counted_ids(session, every.where(Person.id < 0), [Person.id], page=2) == ([], 0, 1)


@both_databases
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("ADA", ["ada"]),
        ("eve EXAMPLE.com", ["Eve"]),
        ("özil", ["Özil 100%"]),
        ("ÖZIL", ["Özil 100%"]),
        ("0%", ["Özil 100%"]),
        ("%a%", []),
        ("o_b", ["Bo_b"]),
        ("_", ["Bo_b"]),
    ],
)
@pytest.mark.usefixtures("people")
def test_words_are_found_however_they_are_capitalised(session: Session, typed: str, found: list[str]) -> None:
    query = sa.select(Person.name).where(*(holds(word, Person.name, Person.email) for word in words(typed)))
    assert list(session.scalars(query)) == found
