"""A process that works on runs in forks of itself, so that each of them can be killed and costs a few milliseconds.

It reads lines from its standard input, `ACCOUNT BATCH`, and answers each with the number of the process that syncs the
account, and, when that has ended, with its exit status. Everything is imported before the first fork.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

from tests.real import environment


class Zygote:
    """The same, as a test sees it."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sync.zygote"],
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        assert self._out.readline() == "ready\n"

    def sync(self, account_id: int, batch: int) -> int:
        """Begin to sync the account in a process of its own; its number."""
        self._in.write(f"{account_id} {batch}\n")
        return int(self._out.readline())

    def status(self) -> int:
        """How the process ended, once it has: 0, or below zero the signal that killed it."""
        return int(self._out.readline())

    def close(self) -> None:
        """End it."""
        self._in.close()
        self._process.wait(60)
        self._out.close()


def _main() -> None:
    # Not at the top: the tests that import the class must not import all of this before their own fixtures.
    from mailadmin import boot
    from mailadmin.config import read_settings

    boot.start(read_settings(os.environ), busy_seconds=30.0)
    print("ready", flush=True)
    for line in sys.stdin:
        account_id, batch = map(int, line.split())
        pid = os.fork()
        if not pid:
            _sync(account_id, batch)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _sync(account_id: int, batch: int) -> None:
    from mailadmin import db, leases
    from mailadmin.accounts import service as accounts
    from mailadmin.sync import service
    from mailadmin.sync.run import perform

    status = 1
    try:
        with db.transaction() as session:
            leases.break_dead(session)
            run = service.request_run(session, account=accounts.get(session, account_id), requested_by="Somebody")
            run_id = run.id
        perform(run_id, batch=batch)
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _main()
