"""Children end with their parents, and what keeps ending is started less often."""

import os
import subprocess
import sys

from mailadmin.config import ROOT
from mailadmin.processes import SUPERVISOR, Backoff

SLEEPER = "from mailadmin.processes import die_with_supervisor; die_with_supervisor(); print('up', flush=True); input()"
PARENT = """
import os, subprocess, sys
os.environ["MAILADMIN_SUPERVISOR"] = str(os.getpid())
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE)
os.read(0, 1)
os.kill(os.getpid(), 9)
"""


def test_waits_grow_to_ten_seconds_and_begin_anew_after_a_good_while() -> None:
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.after(31) == 0.2


def test_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, SLEEPER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == b"up\n"
        parent.stdin.write(b".")
        parent.stdin.flush()
        assert parent.stdout.read() == b""  # The child held the other end: only its death closes it.


def test_child_of_a_parent_that_is_gone_already_does_not_begin() -> None:
    environ = {**os.environ, SUPERVISOR: "1"}
    done = subprocess.run([sys.executable, "-c", SLEEPER], cwd=ROOT, env=environ, capture_output=True, timeout=60)
    assert done.returncode == -9
    assert done.stdout == b""
