"""``python -m benches.fleet_changes``: enters the sandbox, makes changes block by block, publishes what was found."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from benches.claims import publish
from benches.fleet_changes import report
from benches.fleet_changes.contest import Contestant, run_blocks
from benches.fleet_changes.site import CORE_CAPACITY, MACHINES, SERVICE_MS, SLOTS, Site
from core_agent.errors import DrawbridgeError
from demo import sandbox

FULL, QUICK = 1_000, 60
STANDING = 2


def main() -> int:
    """Parse, enter the sandbox or, inside it, measure. An error is one line; a claim that fails is none."""
    parser = argparse.ArgumentParser(prog="python -m benches.fleet_changes", description=__doc__)
    parser.add_argument("--changes", type=int, default=FULL, help="joins and leaves in all (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} changes, and nothing written")
    parser.add_argument("--limit", type=float, default=240, metavar="SECONDS", help="for the product's changes")
    parser.add_argument("--rate", type=float, default=2, metavar="TIMES", help="load, as a multiple of the core's own")
    parser.add_argument("--keep-logs", type=Path, metavar="FOLDER", help="copy the logs there at the end")
    options = parser.parse_args()
    if options.quick:
        options.changes = min(options.changes, QUICK)
    try:
        return _measure(options) if sandbox.inside() else _outside()
    except DrawbridgeError as error:
        print(f"\nfleet_changes: {error}", file=sys.stderr)
        return 1


def _outside() -> int:
    sandbox.require()
    return sandbox.run((sys.executable, "-m", "benches.fleet_changes", *sys.argv[1:]))


def _measure(options: argparse.Namespace) -> int:
    site = Site(Path(os.environ["TMPDIR"]) / "fleet_changes")
    try:
        began = time.monotonic()
        site.build()
        print(f"1 core, {MACHINES} machines of {SLOTS} × {SERVICE_MS} ms, up in {time.monotonic() - began:.0f} s")
        product = Contestant(
            contender=site.product, machines=MACHINES, standing=STANDING, changes=options.changes, limit_s=options.limit
        )
        run_blocks([product], site.users, rate=options.rate * CORE_CAPACITY)
        publish("fleet_changes", report.claims(product), write=not options.quick)
    finally:
        if options.keep_logs:
            shutil.copytree(site.logs, options.keep_logs, dirs_exist_ok=True)
    site.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
