"""Takes the long walk over real WireGuard and HAProxy, inside a sandbox; `python -m tests.chaos` brings it there."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from demo.hosts.switch import Switch
from tests.agent.walk.invariants import Violation
from tests.integration.inside.real_walk import RealWalk


def main() -> int:
    """Walk for as long as asked, say what was done, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.real")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    options = parser.parse_args()
    print(f"The real agent over real WireGuard and HAProxy, seed {options.seed}, {options.seconds} s", flush=True)
    begin, status = time.monotonic(), 0
    switch = Switch()
    switch.start()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        walk = RealWalk(switch, Path(folder), seed=options.seed)
        try:
            walk.build()
            walk.run(options.seconds)
        except Violation as violation:
            walk.tally.violations, status = 1, 1
            print("\n".join(["What happened:", *walk.story, str(violation)]))
        finally:
            walk.tear_down()
    print("\n".join([*walk.tally.lines(), f"{time.monotonic() - begin:>9,.0f} seconds"]), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
