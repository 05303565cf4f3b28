"""Takes the long walks and says what they did; it knows none of their steps. Exit status 1 when a rule was broken.

python -m tests.chaos [--seed N] [--steps N] [--real-seconds N]
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import subprocess
import sys
import time

from tests.agent.walk.invariants import Violation
from tests.agent.walk.run import long, walk
from tests.agent.walk.tally import Tally


def main() -> int:
    """Walk over the made-up core, then over the real one; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Try to confuse the agent, for long.")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="of both walks; the same walks again"
    )
    parser.add_argument(
        "--steps", type=_positive, default=20_000, help="over the made-up core, at least (default: %(default)s)"
    )
    parser.add_argument(
        "--real-seconds",
        type=_positive_or_none,
        default=180,
        help="over the real parts; 0 leaves them out (default: %(default)s)",
    )
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    status = _made_up(options.seed, options.steps)
    if options.real_seconds:
        status = _real(options.seed, options.real_seconds) or status
    return status


def _made_up(seed: int, steps: int) -> int:
    print(f"The real agent over a made-up core, seed {seed}, about {steps:,} steps", flush=True)
    tally, begin, status = Tally(), time.monotonic(), 0
    try:
        walk(long(steps), seed=seed, tally=tally)
    except Violation as violation:
        tally.violations, status = 1, 1
        print("\n".join([str(violation), *getattr(violation, "__notes__", ())]))
    print("\n".join([*tally.lines(), f"{time.monotonic() - begin:>9,.0f} seconds"]), flush=True)
    return status


def _real(seed: int, seconds: int) -> int:
    if os.geteuid() != 0:
        print("The real agent over real WireGuard and HAProxy: left out, because namespaces need root; use sudo")
        return 0
    inside = (sys.executable, "-m", "tests.chaos.real", "--seed", str(seed), "--seconds", str(seconds))
    return subprocess.run((sys.executable, "-m", "demo.sandbox", "--", *inside), check=False).returncode


def _positive(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1, found {word}")
    return int(word)


def _positive_or_none(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"wanted a whole number from 0, found {word}")
    return int(word)


if __name__ == "__main__":
    sys.exit(main())
