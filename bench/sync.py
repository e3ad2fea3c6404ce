"""`python -m bench.sync`: how fast mailboxes are synced, beside mbsync and a reader that only reads, in one run.

One JSON object per figure, the best of `--times` rounds; each round measures one after the other on the same Dovecot
(TLS, this machine), in turns which comes first. Dovecot has read its mailbox once before. `seconds` and `cpu` (CPU
seconds of that process alone) of ours are those of a run in a process that is there already, as a runner is; what it
costs to start one is a figure of its own. Those of mbsync are of the whole process. `ratio_to_mbsync` is their seconds
divided by ours, `cpu_ratio_to_mbsync` the same of CPU seconds: more than 1 is better. `ratio_to_reader` is our seconds
divided by those of the reader, which asks for the same bytes and throws them away: as little above 1 as possible.

Where nothing changed, `seconds` and `cpu` are of a run that somebody asks for. What the clock asks for is first looked
at, and where nothing is new there is no run: `look_seconds` and `look_cpu`.

A first sync is compared with mbsync, which fetches headers only, when as much is stored: what lists show. What follows
(conversations, contacts, texts and their words for searching) is counted in `with_texts_seconds` and `with_texts_cpu`,
however many runs that takes, and compared with a reader that reads these texts too. `previews instead of texts` is the
same where the organisation keeps no texts, against a reader of as much.

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
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import mailboxes
from bench.delay import far_away
from bench.goals import CHANGED, FAR, FIRST, FULL, MAILBOX, MEMORY, PREVIEWS, SAME, report
from bench.rivals import WORD, Cost, Mbsync, read_raw
from mailadmin.organisation.service import TEXT_KILOBYTES
from mailadmin.sync import texts
from tests.real import COMMAND, environment
from tests.servers.dovecot import Dovecot, a_message

WARM, SMALL = "wim@example.org", "ada@example.org"
RTT = 50  # milliseconds
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is measured: how many messages the mailbox of 8 folders has, how many the full one, the mean size of bodies
    in bytes (50,000 make 1 GB of 20,000), the rounds, and whether these are the sizes for which the goals are."""

    messages: int = 20_000
    small: int = 100_000
    body: int = 4_000
    times: int = 5
    has_goals: bool = True


class Ours:
    """An installation in `folder` with accounts, and a process that syncs them: SQLite, and no queue unless told."""

    def __init__(
        self, server: Dovecot, addresses: Sequence[str], folder: Path, folders: list[str], *, queue: str = ""
    ) -> None:
        self.variables = environment(
            MAILADMIN_DATA=str(folder),
            REDIS_URL=queue or f"unix://{folder}/none.sock",
            SECRET_KEY=secrets.token_hex(32),
            MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8",
            MAILADMIN_CA_FILE=str(server.ca_file),
        )
        where, chosen = f"imap:localhost:{server.ports['imaps']}:implicit", "|".join(folders)
        self.is_waiting = False  # whether texts are left for the next run
        table = folder / "accounts.csv"
        lines = (f"{address},{where},{WORD},everything,{chosen}" for address in addresses)
        table.write_text("\n".join(["address,incoming,password,since,folders", *lines, ""]))
        steps = [*COMMAND, "migrate"], [*COMMAND, "accounts", "import", str(table)], [sys.executable, "-c", SET_UP]
        for step in steps:
            subprocess.run(step, env=self.variables, check=True, capture_output=True)
        self._runner = subprocess.Popen(
            [sys.executable, "-m", "bench.runner", addresses[0]],
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
        self.is_waiting = told["is_waiting"]
        seconds, cpu = (sum(cost[place] for cost in told["phases"].values()) for place in (0, 1))
        return Cost(told["seconds"], told["cpu"], seconds, cpu)

    def sync_all(self) -> Cost:
        """One run, and as many more as it takes until all texts are here, which are of what came later."""
        cost = self.sync()
        while self.is_waiting:
            more = self.sync()
            cost = Cost(
                cost.seconds + more.seconds,
                cost.cpu + more.cpu,
                cost.later_seconds + more.seconds,
                cost.later_cpu + more.cpu,
            )
        return cost

    def look(self) -> Cost:
        """What an account that is due costs where nothing is new: no run, see mailadmin/sync/looking.py."""
        told = self.tell("look")
        return Cost(told["seconds"], told["cpu"])

    def close(self) -> None:
        """End the process."""
        self._runner.communicate()


class Round:
    """What is measured for one mailbox: its figures are those of the best round of each."""

    def __init__(self, kind: str, server: Dovecot, address: str, folders: list[str], wanted: Wanted) -> None:
        self.kind, self.server, self.address, self.folders, self.wanted = kind, server, address, folders, wanted
        self.place = Path(tempfile.mkdtemp(prefix="bench-"))
        self.messages = read_all(server, address, folders)
        self.ours = Ours(server, [address], self.place, folders)
        self.mbsync = Mbsync(server, address, self.place) if Mbsync.is_installed() else None

    def measure(self, what: str, before: Callable[[], None]) -> None:
        """Measure some rounds, each after `before`, and print the best."""
        costs: dict[str, list[Cost]] = {"ours": [], "mbsync": [], "reader": [], "reader of texts": []}
        for number in range(self.wanted.times):
            before()
            turns = [("ours", self.ours.sync_all), *([("mbsync", self.mbsync.sync)] if self.mbsync else [])]
            for name, turn in turns if number % 2 else reversed(turns):
                costs[name].append(turn())
            if what == FIRST:
                costs["reader"].append(self._read())
                costs["reader of texts"].append(self._read(texts.asked_bytes(1000 * TEXT_KILOBYTES)))
        figure: dict[str, Any] = {}
        if what == FIRST:
            figure = _figure_of_texts(best(costs["ours"]), best(costs.pop("reader of texts")))
            costs["ours"] = [cost.without_later() for cost in costs["ours"]]
        figure |= self._figure({name: best(found) for name, found in costs.items() if found})
        if what == SAME:
            looked = best([self.ours.look() for _ in range(self.wanted.times)])
            figure |= {"look_seconds": round(looked.seconds, 4), "look_cpu": round(looked.cpu, 4)}
        report(self.kind, what, {"messages": self.messages, **figure}, has_goals=self.wanted.has_goals)

    def measure_previews(self) -> None:
        """Measure first syncs where the organisation keeps no texts."""
        self.ours.tell("previews")
        ours, reader = [], []
        for _ in range(self.wanted.times):
            self.forget()
            ours.append(self.ours.sync_all())
            reader.append(self._read(texts.asked_bytes(0)))
        self.ours.tell("texts")
        figure = {"messages": self.messages, **_figure_of_texts(best(ours), best(reader))}
        report(self.kind, PREVIEWS, figure, has_goals=self.wanted.has_goals)

    def _read(self, part: int = 0) -> Cost:
        return read_raw(self.server, self.address, self.folders, part=part)[0]

    def _figure(self, costs: dict[str, Cost]) -> dict[str, float]:
        ours, theirs, reader = costs["ours"], costs.get("mbsync"), costs.get("reader")
        figure: dict[str, float] = {"seconds": round(ours.seconds, 4), "cpu": round(ours.cpu, 4)}
        if reader:
            figure |= {"messages_per_second": round(self.messages / ours.seconds)}
            figure |= {"reader_seconds": round(reader.seconds, 4), "reader_cpu": round(reader.cpu, 4)}
            figure |= {"ratio_to_reader": round(ours.seconds / reader.seconds, 2)}
        if theirs:
            figure |= {"mbsync_seconds": round(theirs.seconds, 4), "mbsync_cpu": round(theirs.cpu, 4)}
            figure |= {"ratio_to_mbsync": round(theirs.seconds / ours.seconds, 2)}
            figure |= {"cpu_ratio_to_mbsync": round(theirs.cpu / ours.cpu, 1)}
        return figure

    def finish(self) -> None:
        """Fetch the texts for which the first sync had no time."""
        self.ours.tell("finish")

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


def _figure_of_texts(ours: Cost, reader: Cost) -> dict[str, float]:
    """What everything took, beside a reader of the same bytes."""
    return {
        "with_texts_seconds": round(ours.seconds, 4),
        "with_texts_cpu": round(ours.cpu, 4),
        "reader_of_texts_seconds": round(reader.seconds, 4),
        "with_texts_ratio_to_reader": round(ours.seconds / reader.seconds, 2),
    }


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
    report("process", "start", {"seconds": seconds, "cpu": round(used, 3)})


def measure_all(this: Round, *, profile: bool) -> None:
    """The figures of one mailbox."""
    steps = {FIRST: this.forget, SAME: this.finish, CHANGED: this.change}
    for what, before in steps.items():
        if profile:
            before()
            print(f"== {what}", this.ours.tell("profile"), file=sys.stderr)
            continue
        this.measure(what, before)
    if this.kind == MAILBOX and not profile:
        this.measure_previews()
    figure = {"messages": this.messages, "megabytes": this.ours.tell("sync")["megabytes"]}
    report(this.kind, MEMORY, figure, has_goals=this.wanted.has_goals)


def run(wanted: Wanted, *, profile: bool = False) -> None:
    """Measure a mailbox as people have it, the same one far away, and a folder full of small messages."""
    if not Mbsync.is_installed():
        print("mbsync is not installed (apt install isync); no ratios to it.", file=sys.stderr)
    full = {"INBOX": wanted.small}
    sizes = {WARM: (MAILBOX, mailboxes.shares(wanted.messages), wanted.body), SMALL: (FULL, full, None)}
    with Dovecot(dict.fromkeys(sizes, WORD), special_use=False) as server:
        for address, (kind, parts, body) in sizes.items():
            if not sum(parts.values()):
                continue
            mailboxes.deliver(server, address, parts, datetime.now(UTC), body=body)
            with closing(Round(kind, server, address, list(parts), wanted)) as this:
                if kind == MAILBOX and not profile:
                    measure_start(this.ours.variables)
                measure_all(this, profile=profile)
            if kind == MAILBOX and not profile:
                few = replace(wanted, times=min(2, wanted.times))
                with far_away(server, RTT) as far, closing(Round(FAR, far, address, list(parts), few)) as this:
                    measure_all(this, profile=False)


def main() -> None:
    """Measure in the sizes that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.sync")
    usual = Wanted()
    parser.add_argument("--messages", type=int, default=usual.messages, help="how many the mailbox of 8 folders holds")
    parser.add_argument("--small", type=int, default=usual.small, help="how many small messages the full folder holds")
    parser.add_argument("--body", type=int, default=usual.body, help="the mean size of a body in bytes")
    parser.add_argument("--times", type=int, default=usual.times, help="how many rounds there are")
    parser.add_argument("--profile", action="store_true", help="print where our time goes")
    asked = vars(parser.parse_args())
    profile = asked.pop("profile")
    has_goals = all(asked[name] == getattr(usual, name) for name in ("messages", "small"))
    run(Wanted(**asked, has_goals=has_goals), profile=profile)


if __name__ == "__main__":
    main()
