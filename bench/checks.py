"""`python -m bench.checks`: how long a healthy connection test takes, alone and beside fifty that hang.

Healthy is an account that receives and sends, at servers of this machine that answer at once: what is measured is ours.
One JSON object per figure, in seconds from the start of the test to its known result; `ratio_to_limit` is the p95
divided by the two seconds that a healthy test may take: less than 1 is good.
"""

import argparse
import json
import statistics
import tempfile
import time
from ipaddress import ip_network
from pathlib import Path

from mailadmin.connections.children import Children
from mailadmin.connections.probe import Task
from mailadmin.mail.types import Rules
from tests.hostile.run import task_of
from tests.hostile.table import ALL, HUNG, PROPER, TABLE
from tests.servers.crowd import Crowd

LIMIT = 2.0  # seconds
BOTH = (PROPER, PROPER.replace("imap", "smtp"))  # An account receives and sends.


def seconds_of_one(children: Children, crowd: Crowd) -> float:
    """How long one healthy test takes. Raises AssertionError if it fails."""
    began = time.perf_counter()
    task = Task({d: leg for name in BOTH for d, leg in task_of(ALL[name], crowd.ports[name]).legs.items()})
    children.start(task)
    while not (gone := [child for child in children.wait(5.0) if child.is_gone and child.result.task is task]):
        pass
    assert gone[0].result.has_passed, "the healthy test failed"
    return time.perf_counter() - began


def report(what: str, seconds: list[float]) -> None:
    """Print one figure."""
    p95 = statistics.quantiles(seconds, n=100)[94]
    figure = {"what": what, "tests": len(seconds), "p50": round(statistics.median(seconds), 3), "p95": round(p95, 3)}
    print(json.dumps(figure | {"ratio_to_limit": round(p95 / LIMIT, 3)}), flush=True)


def main() -> None:
    """Test a healthy account many times: alone, then while others hang."""
    parser = argparse.ArgumentParser(prog="python -m bench.checks")
    parser.add_argument("--tests", type=int, default=100, help="how many healthy tests there are of each kind")
    parser.add_argument("--hung", type=int, default=50, help="how many tests hang meanwhile")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Crowd(TABLE, Path(folder)) as crowd:
        rules = Rules(networks=(ip_network("127.0.0.0/8"),), ca_file=str(crowd.ca_file))
        with Children(rules, 600.0) as children:
            seconds_of_one(children, crowd)  # The first one waits for what is loaded once.
            report("alone", [seconds_of_one(children, crowd) for _ in range(wanted.tests)])
            for _ in range(wanted.hung):
                children.start(task_of(ALL[HUNG], crowd.ports[HUNG]))
            talking: set[int] = set()
            while len(talking) < wanted.hung:
                talking |= {child.pid for child in children.wait(1.0)}
            report(f"beside {wanted.hung} that hang", [seconds_of_one(children, crowd) for _ in range(wanted.tests)])
            assert len(children) == wanted.hung, "a test that should hang has ended"


if __name__ == "__main__":
    main()
