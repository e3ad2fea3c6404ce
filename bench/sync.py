"""`python -m bench.sync`: how fast mailboxes are synced, beside mbsync and a reader that only reads, in one run.

One JSON object per figure, the best of `--times` rounds; each round measures one after the other on the same Dovecot
(TLS, this machine), in turns which comes first. Dovecot has read its mailbox once before. `seconds` and `cpu` (CPU
seconds of that process alone) of ours are those of a run in a process that is there already, as a runner is; what it
costs to start one is a figure of its own. Those of mbsync are of the whole process. `ratio_to_mbsync` is their seconds
divided by ours, `cpu_ratio_to_mbsync` the same of CPU seconds: more than 1 is better. `ratio_to_reader` is our seconds
divided by those of the reader, which asks for the same bytes and throws them away: as little above 1 as possible.

On a busy machine believe the CPU seconds and the ratios. `--profile` prints where ours go instead of measuring.
"""

import argparse
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import mailboxes
from bench.rivals import WORD, Cost, Mbsync, read_raw
from tests.real import COMMAND, environment
from tests.servers.dovecot import Dovecot, a_message

WARM, SMALL = "wim@example.org", "ada@example.org"
SET_UP = """
from mailadmin import boot, db
from mailadmin.cli import read_settings
from mailadmin.connections import jobs
from mailadmin.sync import service as sync
import os
boot.start(read_settings(os.environ))
jobs.drain_checks()
with db.transaction() as session:
    assert sync.set_up_waiting(session), "the connection test did not pass"
"""
START = "import mailadmin.cli.accounts, mailadmin.sync.run"


class Ours:
    """An installation in `folder` with one account, and a process that syncs it: SQLite, no queue."""

    def __init__(self, server: Dovecot, address: str, folder: Path, folders: list[str]) -> None:
        self.variables = environment(
            MAILADMIN_DATA=str(folder),
            REDIS_URL=f"unix://{folder}/none.sock",
            SECRET_KEY=secrets.token_hex(32),
            MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8",
            MAILADMIN_CA_FILE=str(server.ca_file),
        )
        where, chosen = f"imap:localhost:{server.ports['imaps']}:implicit", "|".join(folders)
        table = folder / "accounts.csv"
        table.write_text(f"address,incoming,password,since,folders\n{address},{where},{WORD},everything,{chosen}\n")
        steps = [*COMMAND, "migrate"], [*COMMAND, "accounts", "import", str(table)], [sys.executable, "-c", SET_UP]
        for step in steps:
            subprocess.run(step, env=self.variables, check=True, capture_output=True)
        self._runner = subprocess.Popen(
            [sys.executable, "-m", "bench.runner", address],
            env=self.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, wish: str) -> dict[str, Any]:
        """What the process answers to `wish`. Raises AssertionError if a sync was not complete."""
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(f"{wish}\n")
        self._runner.stdin.flush()
        told: dict[str, Any] = json.loads(self._runner.stdout.readline())
        assert told.get("outcome", "complete") == "complete", told
        return told

    def sync(self) -> Cost:
        """One run."""
        told = self.tell("sync")
        return Cost(told["seconds"], told["cpu"])

    def close(self) -> None:
        """End the process."""
        self._runner.communicate()


class Round:
    """What is measured for one mailbox: its figures are those of the best round of each."""

    def __init__(self, server: Dovecot, address: str, folders: list[str], times: int) -> None:
        self.server, self.address, self.folders, self.times = server, address, folders, times
        self.place = Path(tempfile.mkdtemp(prefix="bench-"))
        self.messages = read_all(server, address, folders)
        self.ours = Ours(server, address, self.place, folders)
        self.mbsync = Mbsync(server, address, self.place) if Mbsync.is_installed() else None

    def measure(self, what: str, before: Callable[[], None], *, with_reader: bool = False, **more: Any) -> None:
        """Measure `times` rounds, each after `before`, and print the best."""
        costs: dict[str, list[Cost]] = {"ours": [], "mbsync": [], "reader": []}
        for number in range(self.times):
            before()
            turns = [("ours", self.ours.sync), *([("mbsync", self.mbsync.sync)] if self.mbsync else [])]
            for name, turn in turns if number % 2 else reversed(turns):
                costs[name].append(turn())
            if with_reader:
                costs["reader"].append(read_raw(self.server, self.address, self.folders)[0])
        self._print(what, {name: best(found) for name, found in costs.items() if found}, more)

    def _print(self, what: str, costs: dict[str, Cost], more: dict[str, Any]) -> None:
        ours, theirs, reader = costs["ours"], costs.get("mbsync"), costs.get("reader")
        figure = {"what": what, "messages": self.messages, "seconds": round(ours.seconds, 4), "cpu": round(ours.cpu, 4)}
        if reader:
            figure |= {
                "messages_per_second": round(self.messages / ours.seconds),
                "reader_seconds": round(reader.seconds, 4),
            }
            figure |= {"reader_cpu": round(reader.cpu, 4), "ratio_to_reader": round(ours.seconds / reader.seconds, 2)}
        if theirs:
            figure |= {"mbsync_seconds": round(theirs.seconds, 4), "mbsync_cpu": round(theirs.cpu, 4)}
            figure |= {"ratio_to_mbsync": round(theirs.seconds / ours.seconds, 2)}
            figure |= {"cpu_ratio_to_mbsync": round(theirs.cpu / ours.cpu, 1)}
        print(json.dumps(figure | more), flush=True)

    def forget(self) -> None:
        """Make the next sync the first one, for both."""
        self.ours.tell("forget")
        if self.mbsync:
            self.mbsync.forget()

    def change(self) -> None:
        """100 new messages, 500 changed flags and 50 that go away, in the inbox, as another program does it."""
        chance = random.Random(time.time_ns())
        now = datetime.now(UTC)
        self.server.deliver(((a_message(n), now) for n in range(100)), user=self.address)
        with self.server.session(self.address) as session:
            session.select("INBOX")
            uids = session.uid("SEARCH", "ALL")[1][0].split()
            chosen = chance.sample(uids[:-100], 550)
            for part in range(0, 500, 100):
                how = chance.choice("+-") + "FLAGS"
                session.uid("STORE", b",".join(chosen[part : part + 100]).decode(), how, "\\Flagged")
                session.uid("STORE", b",".join(chosen[part : part + 50]).decode(), "-FLAGS", "\\Seen")
            session.uid("STORE", b",".join(chosen[500:]).decode(), "+FLAGS", "\\Deleted")
            session.expunge()

    def close(self) -> None:
        """Remove everything but the mailbox."""
        self.ours.close()
        shutil.rmtree(self.place, ignore_errors=True)


def best(costs: list[Cost]) -> Cost:
    """The least of each."""
    return Cost(min(cost.seconds for cost in costs), min(cost.cpu for cost in costs))


def read_all(server: Dovecot, address: str, folders: list[str]) -> int:
    """Read everything once, so that Dovecot knows its mailbox; how many messages there are."""
    read_raw(server, address, folders)
    with server.session(address) as session:
        return sum(int(session.select(f'"{folder}"', readonly=True)[1][0] or 0) for folder in folders)


def measure_start(variables: dict[str, str]) -> None:
    """What a process costs before it can do anything: Python and all that we import."""
    began, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", START], env=variables, check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    seconds = round(time.perf_counter() - began, 3)
    print(json.dumps({"what": "start of a process", "seconds": seconds, "cpu": round(used, 3)}), flush=True)


def measure_all(this: Round, *, profile: bool) -> None:
    """The three figures of one mailbox."""
    steps = {"first sync": this.forget, "nothing changed": lambda: None, "100 new, 500 flags, 50 gone": this.change}
    for what, before in steps.items():
        if profile:
            before()
            print(f"== {what}", this.ours.tell("profile"), file=sys.stderr)
            continue
        this.measure(what, before, with_reader=what == "first sync")
    megabytes = this.ours.tell("sync")["megabytes"]
    print(json.dumps({"what": "memory", "messages": this.messages, "megabytes": megabytes}), flush=True)


def main() -> None:
    """A mailbox as people have it, and a folder full of small messages."""
    parser = argparse.ArgumentParser(prog="python -m bench.sync")
    parser.add_argument("--messages", type=int, default=20_000, help="how many messages the mailbox of 8 folders holds")
    parser.add_argument("--small", type=int, default=100_000, help="how many small messages the full folder holds")
    parser.add_argument("--body", type=int, default=4_000, help="the mean size of a body; 50000 makes 1 GB of 20,000")
    parser.add_argument("--times", type=int, default=5, help="how many rounds there are")
    parser.add_argument("--profile", action="store_true", help="print where our time goes")
    wanted = parser.parse_args()
    if not Mbsync.is_installed():
        print("mbsync is not installed (apt install isync); no ratios to it.", file=sys.stderr)
    sizes = {WARM: (mailboxes.shares(wanted.messages), wanted.body), SMALL: ({"INBOX": wanted.small}, None)}
    with Dovecot(dict.fromkeys(sizes, WORD), special_use=False) as server:
        for address, (parts, body) in sizes.items():
            if not sum(parts.values()):
                continue
            mailboxes.deliver(server, address, parts, datetime.now(UTC), body=body)
            this = Round(server, address, list(parts), wanted.times)
            try:
                if address == WARM and not wanted.profile:
                    measure_start(this.ours.variables)
                measure_all(this, profile=wanted.profile)
            finally:
                this.close()


if __name__ == "__main__":
    main()
