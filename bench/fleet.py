"""`python -m bench.fleet`: many small accounts, as a company has them: their first sync, and a look at what is new.

Both in one process that is there already, as a runner is, with its threads and its database; beside it mbsync, a
process for each account, as many at once as this machine does best. One JSON object per figure.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from bench import mailboxes
from bench.goals import FIRST, FLEET, SAME, report
from bench.rivals import WORD, Mbsync
from bench.sync import Ours
from tests.servers.dovecot import Dovecot


def run(*, accounts: int = 200, messages: int = 200, has_goals: bool = True) -> None:
    """Measure `accounts` with as many `messages` in 8 folders each."""
    addresses = [f"a{number}@example.org" for number in range(accounts)]
    parts = mailboxes.shares(messages)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Dovecot(dict.fromkeys(addresses, WORD)) as server:
        for address in addresses:
            mailboxes.deliver(server, address, parts, datetime.now(UTC), body=2000)
        ours, theirs = Ours(server, addresses, Path(name), list(parts)), _rivals(server, addresses, Path(name))
        for what in (FIRST, SAME):
            told = ours.tell("fleet")
            seconds, cpu = told["seconds"], told["cpu"]
            figure = {"accounts": accounts, "messages": told["stored"], "seconds": round(seconds, 3)}
            figure |= {"cpu": round(cpu, 3), "cpu_per_account": round(cpu / accounts, 5)}
            figure |= {"accounts_per_minute": round(accounts / seconds * 60), "megabytes": told["megabytes"]}
            if theirs:
                used = _seconds(theirs)
                figure |= {"mbsync_seconds": round(used, 3), "ratio_to_mbsync": round(used / seconds, 2)}
            report(FLEET, what, figure, has_goals=has_goals)
        ours.close()


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
    asked = vars(parser.parse_args())
    run(**asked, has_goals=asked == {"accounts": 200, "messages": 200})


if __name__ == "__main__":
    main()
