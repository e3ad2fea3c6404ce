"""Looks the locked packages up among known vulnerabilities (pip-audit), and says plainly how many could be looked up.

Fails on what is found, not where the service cannot be asked: a network without it is no hole, but nobody shall believe
that somebody has looked.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 90  # for all packages together
COMMAND = [
    str(Path(sys.executable).parent / "pip-audit"),
    "--require-hashes",
    "--disable-pip",
    "--progress-spinner",
    "off",
]


def main() -> int:
    """Say what was found; 1 if there is a vulnerability."""
    try:
        ran = subprocess.run(
            [*COMMAND, "--timeout", "10", "--format", "json", "-r", "requirements.txt"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        found = json.loads(ran.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"NOT AUDITED: the service of known vulnerabilities did not answer within {SECONDS} seconds.")
        return 0
    except (ValueError, KeyError):
        last = (ran.stderr.strip().splitlines() or ["no reason was given"])[-1]
        print(f"NOT AUDITED: the service of known vulnerabilities could not be asked: {last}")
        return 0
    skipped = [each["name"] for each in found if "vulns" not in each]
    holes = [(each["name"], each["version"], hole) for each in found for hole in each.get("vulns", ())]
    for name, version, hole in holes:
        mended = ", ".join(hole["fix_versions"]) or "no release yet"
        print(f"{name} {version}: {hole['id']}, mended in {mended}")
    if len(skipped) == len(found):
        print(
            f"NOT AUDITED: the service of known vulnerabilities knows none of {len(found)} packages from this network."
        )
    else:
        asked = len(found) - len(skipped)
        unknown = f"; NOT AUDITED: {', '.join(skipped)}" if skipped else ""
        print(f"{asked} packages looked up, {len(holes)} known vulnerabilities{unknown}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
