"""`mailadmin accounts`: a file of accounts is taken over row by row."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from mailadmin import queue
from mailadmin.accounts import service
from mailadmin.accounts.models import Kind, NewContacts, SentCopies, Window
from mailadmin.accounts.service import Login
from mailadmin.cli import main
from mailadmin.cli.account_cells import COLUMNS
from mailadmin.config import Settings
from mailadmin.connections import service as connections
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.people.models import Person
from mailadmin.sealed import Secret
from tests.accounts.factories import a_provider, an_account, pop3
from tests.conftest import SECRET_KEY, both_databases

SECRET = "swordfish 1"
SERVERS = "imap:mail.example.com:993:implicit,smtp:[2001:4860:4860::8888]:587:starttls"


def run(settings: Settings, *arguments: str) -> Result:
    """What `mailadmin accounts` answers in this installation."""
    environment = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": SECRET_KEY,
        "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    result = CliRunner().invoke(main, ["accounts", *arguments], env=environment, catch_exceptions=False)
    assert SECRET not in result.output
    return result


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def imported(booted: Settings, tmp_path: Path) -> Any:
    """A function that imports a text as a file and answers its lines and the exit status."""

    def import_(text: str | bytes) -> tuple[list[dict[str, Any]], int]:
        path = tmp_path / "accounts.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        result = run(booted, "import", str(path), "--json")
        return (lines(result) if result.exit_code in (0, 1) and "{" in result.stdout else []), result.exit_code

    return import_


def test_whole_row_becomes_an_account_that_sets_itself_up(imported: Any, session: Session, ada: Person) -> None:
    text = f"address,name,kind,owner,team,provider,incoming,outgoing,username,method,password,since,folders\n\
Ann@Example.com,Ann,personal,ADA@example.com,,,{SERVERS},ann,password,{SECRET},1m,INBOX|Work/2026\n"
    assert imported(text) == ([{"line": 2, "address": "ann@example.com", "outcome": "imported", "reason": ""}], 0)
    account = service.find(session, "ann@example.com")
    assert account is not None
    assert (account.kind, account.owner_id, account.window) == (Kind.PERSONAL, ada.id, Window.ONE_MONTH)
    assert (account.wanted_folders, account.is_set_up) == ("INBOX|Work/2026", False)
    assert account.since is not None
    leg = service.legs(session, account)[Direction.OUTGOING]
    assert (leg.how.username, leg.how.password, leg.server.port) == ("ann", SECRET, 587)
    assert connections.latest(session, account.id) is not None


def test_address_and_password_are_enough_at_a_known_domain(imported: Any, session: Session) -> None:
    a_provider(session)
    session.commit()
    assert imported(f"\ufeffaddress;password\njo@example.net;{SECRET}\n")[1] == 0
    account = service.find(session, "jo@example.net")
    assert account is not None
    assert (account.window, account.wanted_folders) == (Window.THREE_MONTHS, "")
    assert queue.waiting() == {**dict.fromkeys(queue.Line, 0), queue.Line.INTERACTIVE: 1}


def test_bad_rows_are_refused_with_their_line_and_the_others_taken(imported: Any, session: Session) -> None:
    a_provider(session)
    session.commit()
    rows = [
        "address,provider,incoming,password,kind,method,since,owner",
        f"a@example.net,,,{SECRET},,,,",
        f"nonsense,Harbour Mail,,{SECRET},,,,",
        f'"b@example.net","harbour mail",,"{SECRET}\nsecond line",,,,',
        f"a@example.net,,,{SECRET},,,,",
        f"c@example.net,Nobody,,{SECRET},,,,",
        f"d@example.net,,imap:x:993:ssl,{SECRET},,,,",
        "e@example.net,,,,,,,",
        "",
        f"f@example.net,,,{SECRET},team,,,",
        f"g@example.net,,,{SECRET},,oauth,,",
        f"h@example.net,,,{SECRET},,,yesterday,",
        f"i@example.net,,,{SECRET},,,,ghost@example.com",
        f"j@example.net,,,{SECRET},,,,,,too,many",
        f"k@example.org,,,{SECRET},,,,",
        f"z@example.net,,imap:mail.example.com:993:implicit,{SECRET},,,,",
    ]
    told, status = imported("\n".join(rows))
    assert status == 1
    assert [row["line"] for row in told if row["outcome"] == "imported"] == [2, 17]
    assert [row["line"] for row in told if row["outcome"] == "refused"] == [3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16]
    assert all(row["reason"] for row in told if row["outcome"] == "refused")
    assert [account.address for account in service.all_live(session)] == ["a@example.net", "z@example.net"]


@pytest.mark.parametrize(
    "content",
    ["", "name\nx\n", "address,adress\na,b\n", "address,address\na,b\n", b"address\n\xff\xfe\n", "address\n\0\n"],
)
def test_file_that_is_none_of_ours_is_refused(imported: Any, session: Session, content: str | bytes) -> None:
    assert imported(content)[1] == 1
    assert service.all_live(session) == []


def test_people_read_sentences(booted: Settings, tmp_path: Path) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text(f"address,password\nx@example.net,{SECRET}\n")
    result = run(booted, "import", str(path))
    assert "line 2  refused  x@example.net: No provider here has the domain example.net." in result.stdout
    assert "0 imported, 1 refused." in result.stdout


def test_accounts_are_listed(booted: Settings, session: Session) -> None:
    an_account(session)
    an_account(session, address="draft@example.net", is_set_up=False)
    session.commit()
    told = lines(run(booted, "list", "--json"))
    assert [(row["address"], row["state"]) for row in told] == [
        ("billing@example.net", "connected"),
        ("draft@example.net", "draft"),
    ]
    assert "draft@example.net" in run(booted, "list").stdout


@both_databases
@pytest.mark.parametrize("column", ["folders", "owner", "provider", "name", "username"])
@pytest.mark.parametrize("sign", ["\0", "\x1b[2J", "\u202e"])
def test_cell_with_a_control_character_is_refused(imported: Any, column: str, sign: str) -> None:
    text = f"address,password,incoming,{column}\na@b.example,{SECRET},{SERVERS.partition(',')[0]},x{sign}y\n"
    (line,), status = imported(text)
    assert (line["outcome"], status) == ("refused", 1)


def test_control_characters_of_a_file_do_not_reach_the_terminal(booted: Settings, tmp_path: Path) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text(f"address,password\n\x1b[2J@b.example,{SECRET}\n")
    assert "\x1b" not in run(booted, "import", str(path)).output


def test_every_column_is_taken_over(imported: Any, session: Session) -> None:
    a_provider(session, pop3=pop3())
    session.commit()
    cells = {
        "address": "billing@example.net",
        "slug": "Billing",
        "team": "Finance",
        "primary": "yes",
        "protocol": "POP3",
        "login_format": "local-part",
        "method": "App Password",
        "password": SECRET,
        "sender_name": "Example Ltd",
        "sender_address": "post@example.net",
        "reply_to": "all@example.net",
        "sent_copies": "never",
        "contacts": "written to",
        "since": "everything",
        "sync_minutes": "30",
        "notes": '"Ask Ann,\nor Ben"',
    }
    (line,), status = imported(f"{','.join(cells)}\n{','.join(cells.values())}\n")
    assert (line["outcome"], status) == ("imported", 0)
    account = service.named(session, "BILLING")
    assert account is not None
    assert account.team is not None
    assert (account.address, account.kind, account.team.name) == (cells["address"], Kind.TEAM, "Finance")
    assert (account.is_primary, account.sync_minutes, account.since) == (True, 30, None)
    assert (account.sender_name, account.sender_address) == (cells["sender_name"], cells["sender_address"])
    assert (account.reply_to, account.notes) == (cells["reply_to"], "Ask Ann,\nor Ben")
    assert (account.sent_copies, account.new_contacts) == (SentCopies.NEVER, NewContacts.WRITTEN_TO)
    assert (account.method, account.window) == (SignInMethod.APP_PASSWORD, Window.EVERYTHING)
    assert str(service.server_of(account, Direction.INCOMING)) == "pop3:pop.example.net:995:implicit"
    assert service.user_name(account, Direction.INCOMING) == "billing"


@pytest.mark.parametrize(
    ("column", "cell", "why"),
    [
        ("kind", "family", "write shared, team or personal"),
        ("kind", "team", "Choose the team"),
        ("protocol", "smtp", "write imap or pop3"),
        ("protocol", "pop3", "Harbour Mail has no server for POP3 here"),
        ("login_format", "upside down", "write address, local part, windows or by hand"),
        ("login_format", "by hand", "Type the user name"),
        ("method", "oauth", "write app password or password"),
        ("sent_copies", "sometimes", "write automatic, always or never"),
        ("contacts", "friends", "write nobody, written to or everybody"),
        ("primary", "maybe", "write yes or no"),
        ("since", "yesterday", "write now, 1m, 3m, 6m or everything"),
        ("sync_minutes", "often", "write a number"),
        ("sync_minutes", "0", "Between 1 and 1,440 minutes"),
        ("slug", "a b", "An account ID has"),
        ("slug", "taken", "Another account has the ID taken already"),
        ("sender_address", "x@", "is not a domain"),
        ("password", "", "The password is missing"),
    ],
)
def test_cell_that_cannot_be_is_refused_with_what_would_be_right(
    imported: Any, session: Session, column: str, cell: str, why: str
) -> None:
    a_provider(session)
    an_account(session, slug="taken")
    session.commit()
    cells = {"address": "jo@example.net", "password": SECRET, column: cell}
    (line,), status = imported(f"{','.join(cells)}\n{','.join(cells.values())}\n")
    assert (line["outcome"], status) == ("refused", 1)
    assert why in line["reason"]


def test_one_account_is_shown_by_its_address_or_its_id_without_its_secrets(booted: Settings, session: Session) -> None:
    an_account(session, slug="sales", notes="Ask Ann\nor Ben", login=Login("", Secret(SECRET)))
    session.commit()
    by_id, by_address = (lines(run(booted, "show", name, "--json"))[0] for name in ("SALES", "billing@example.net"))
    assert by_id == by_address
    assert (by_id["slug"], by_id["incoming"]) == ("sales", "imap:imap.example.net:993:implicit")
    assert set(COLUMNS) - set(by_id) == {"password", "folders"}
    told = run(booted, "show", "sales").stdout
    assert "notes          Ask Ann\n               or Ben\n" in told
    assert run(booted, "show", "nobody").exit_code == 1
