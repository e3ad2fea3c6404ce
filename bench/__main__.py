"""`make bench`: how fast a mailbox is synced, beside mbsync (Debian's `isync`) in the same run on the same Dovecot.

One JSON object per figure; `ratio_to_mbsync` is our speed divided by that of mbsync: more than 1 is faster. Seconds are
of whole processes, the start of Python included. The messages are small (200 bytes); mbsync reads them whole and does
not flush them to the disk (FSync no), we read the fields that a list shows.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.real import COMMAND, environment
from tests.servers.dovecot import Dovecot, a_message

ADDRESS, WORD = "wim@example.org", "password"
MBSYNC = """
FSync no

IMAPAccount bench
Host localhost
Port {port}
User {address}
Pass {word}
SSLType IMAPS
CertificateFile {ca_file}

IMAPStore far
Account bench

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX

Channel bench
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState *
"""


def timed(command: list[str], variables: dict[str, str]) -> float:
    """How many wall seconds `command` takes. Raises CalledProcessError."""
    began = time.perf_counter()
    subprocess.run(command, env=variables, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def report(what: str, ours: float, theirs: float | None, messages: int) -> None:
    """Print one figure."""
    ratio = round(theirs / ours, 2) if theirs else None
    figure = {"what": what, "messages": messages, "seconds": round(ours, 2), "ratio_to_mbsync": ratio}
    figure["mbsync_seconds"] = round(theirs, 2) if theirs else None
    print(json.dumps(figure), flush=True)


def our_variables(folder: Path, server: Dovecot) -> dict[str, str]:
    """The environment of our processes: SQLite in `folder`, no queue (a foreground sync needs none)."""
    return environment(
        MAILADMIN_DATA=str(folder),
        REDIS_URL=f"unix://{folder}/none.sock",
        SECRET_KEY=secrets.token_hex(32),
        MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8",
        MAILADMIN_CA_FILE=str(server.ca_file),
    )


SET_UP = """
from mailadmin import boot, db
from mailadmin.accounts import service as accounts
from mailadmin.cli import read_settings
from mailadmin.connections import jobs
from mailadmin.sync import service as sync
import os
boot.start(read_settings(os.environ))
jobs.drain_checks()
with db.transaction() as session:
    assert sync.set_up_waiting(session), "the connection test did not pass"
"""


def set_up(folder: Path, server: Dovecot, variables: dict[str, str]) -> None:
    """An account in our database, tested and ready for its first sync."""
    table = folder / "accounts.csv"
    incoming = f"imap:localhost:{server.ports['imaps']}:implicit"
    table.write_text(f"address,incoming,password,since,folders\n{ADDRESS},{incoming},{WORD},everything,INBOX\n")
    timed([*COMMAND, "migrate"], variables)
    timed([*COMMAND, "accounts", "import", str(table)], variables)
    timed([sys.executable, "-c", SET_UP], variables)


def main() -> None:
    """Deliver, sync for the first time, sync again without a change, and after 100 new messages."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--messages", type=int, default=10_000, help="how many messages the inbox holds")
    count = parser.parse_args().messages
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    now = datetime.now(UTC)
    with Dovecot() as server:
        server.deliver((a_message(n), now - timedelta(minutes=count - n)) for n in range(count))
        variables = our_variables(folder, server)
        set_up(folder, server, variables)
        mbsync = shutil.which("mbsync")
        if mbsync:
            values = {"port": server.ports["imaps"], "ca_file": server.ca_file, "address": ADDRESS, "word": WORD}
            (folder / "mbsyncrc").write_text(MBSYNC.format(folder=folder, **values))
            (folder / "mail").mkdir()
        else:
            print("mbsync is not installed (apt install isync); no ratios.", file=sys.stderr)
        theirs = [mbsync, "-q", "-c", str(folder / "mbsyncrc"), "-a"] if mbsync else None
        home = {**os.environ, "HOME": str(folder)}
        for what in ("first sync", "nothing changed", "100 new messages"):
            if what.startswith("100"):
                server.deliver((a_message(n), now) for n in range(count, count + 100))
            ours = timed([*COMMAND, "accounts", "sync", ADDRESS], variables)
            report(what, ours, timed(theirs, home) if theirs else None, count)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
