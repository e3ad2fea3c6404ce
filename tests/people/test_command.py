import json

import pytest
from click.testing import CliRunner, Result

from mailadmin import db
from mailadmin.cli import main
from mailadmin.config import Settings
from mailadmin.people import service
from mailadmin.people.models import Person
from tests.conftest import SECRET_KEY
from tests.factories import PASSWORD

ADD = ["people", "add", "--email", "Ada@Example.com", "--name", "Ada Lindqvist", "--role", "administrator"]


@pytest.fixture(autouse=True)
def environment(booted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", booted.database_url)
    monkeypatch.setenv("REDIS_URL", booted.redis_url)
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)


def mailadmin(*words: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, words, input=typed)


def test_a_person_who_was_added_can_sign_in() -> None:
    done = mailadmin(*ADD, "--password-stdin", "--json", typed=f"{PASSWORD}\n")
    assert json.loads(done.stdout) == {
        "email": "ada@example.com",
        "name": "Ada Lindqvist",
        "role": "administrator",
        "active": True,
    }
    with db.reading() as session:
        assert service.check_password(session, email="ada@example.com", password=PASSWORD)


def test_a_refused_person_is_a_sentence_and_exits_1(ada: Person) -> None:
    done = mailadmin(*ADD, "--password-stdin", typed=f"{PASSWORD}\n")
    assert done.exit_code == 1
    assert done.stderr == "Somebody with this address is here already.\n"


def test_no_password_is_a_sentence_and_exits_1() -> None:
    done = mailadmin(*ADD, "--password-stdin")
    assert done.exit_code == 1
    assert "password is missing" in done.stderr


def test_a_password_is_no_argument() -> None:
    assert mailadmin(*ADD, "--password", PASSWORD).exit_code == 2
    assert mailadmin(*ADD, typed=PASSWORD).exit_code == 2


def test_the_list_is_one_line_for_each_person(ada: Person, wim: Person) -> None:
    lines = mailadmin("people", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["role"] for line in lines] == ["administrator", "worker"]
    assert "Wim de Vries <wim@example.com>, worker" in mailadmin("people", "list").stdout
