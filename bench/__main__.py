"""`python -m bench`: the speed of sync in all sizes, with its goals; `--quick` does the same in small, within minutes.

See sync.py and fleet.py, which can be called by their own names; so are the other parts.
"""

import argparse

from bench import fleet, sync

parser = argparse.ArgumentParser(prog="python -m bench")
parser.add_argument("--quick", action="store_true", help="small sizes, two rounds, no goals")
if parser.parse_args().quick:
    sync.run(sync.Wanted(messages=2000, small=5000, times=2, has_goals=False))
    fleet.run(accounts=20, messages=20, has_goals=False)
else:
    sync.run(sync.Wanted(body=50_000))
    fleet.run()
