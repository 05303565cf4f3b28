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
from demo.screen import Screen

FULL, QUICK = 1_000, 60
PEER_FULL, PEER_QUICK, PEER_LIMIT_S = 80, 16, 240
STANDING = 2
PROGRAM = "dataplaneapi"


def main() -> int:
    """Parse, enter the sandbox or, inside it, measure. An error is one line; a claim that fails is none."""
    parser = argparse.ArgumentParser(prog="python -m benches.fleet_changes", description=__doc__)
    parser.add_argument("--changes", type=int, default=FULL, help="joins and leaves in all (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} changes, and nothing written")
    parser.add_argument("--limit", type=float, default=240, metavar="SECONDS", help="for the product's changes")
    parser.add_argument("--rate", type=float, default=2, metavar="TIMES", help="load, as a multiple of the core's own")
    parser.add_argument("--keep-logs", type=Path, metavar="FOLDER", help="copy the logs there at the end")
    parser.add_argument(
        "--dataplaneapi",
        type=Path,
        default=shutil.which(PROGRAM),
        metavar="PROGRAM",
        help="HAProxy's Data Plane API 2.x, measured beside the product (default: the one in PATH, if any)",
    )
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
        site.build(options.dataplaneapi)
        print(f"1 core, {MACHINES} machines of {SLOTS} × {SERVICE_MS} ms, up in {time.monotonic() - began:.0f} s")
        product = Contestant(
            contender=site.product, machines=MACHINES, standing=STANDING, changes=options.changes, limit_s=options.limit
        )
        peer = None
        if site.peer is None:
            print(f"HAProxy's Data Plane API is skipped: wanted the program {PROGRAM} in PATH, found none")
        else:
            changes = PEER_QUICK if options.quick else PEER_FULL
            peer = Contestant(
                contender=site.peer, machines=MACHINES, standing=STANDING, changes=changes, limit_s=PEER_LIMIT_S
            )
        contestants = [product] if peer is None else [product, peer]
        run_blocks(contestants, site.users, rate=options.rate * CORE_CAPACITY)
        if peer is not None:
            Screen().table(*report.side_by_side(product, peer))
        publish("fleet_changes", report.claims(product, peer), write=not options.quick)
    finally:
        if options.keep_logs:
            shutil.copytree(site.logs, options.keep_logs, dirs_exist_ok=True)
    site.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
