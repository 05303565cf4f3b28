"""``python -m benches.agent``: enters the sandbox, measures, publishes; it knows no measurement."""

from __future__ import annotations

import argparse
import random
import sys

from benches import claims
from benches.agent.measure import Bench, Plan
from core_agent.errors import DrawbridgeError
from demo import sandbox
from demo.screen import Screen


def main() -> int:
    """Return 0 when everything was measured, whatever came out; 1 with one line when it could not be."""
    parser = argparse.ArgumentParser(prog="make bench-agent", description=sys.modules["benches.agent"].__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="of one node's join (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tenth of it, to see that it works; writes no results")
    parser.add_argument("--seed", type=int, help="of the random order of sides")
    options = parser.parse_args()
    try:
        if not sandbox.inside():
            return sandbox.run((sys.executable, "-m", "benches.agent", *sys.argv[1:]))
        bench = Bench(_plan(options.rounds, quick=options.quick), Screen(), random.Random(options.seed))  # noqa: S311 - an order is no secret
        claims.publish("agent", bench.run(), write=not options.quick)
    except DrawbridgeError as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1
    return 0


def _plan(rounds: int, *, quick: bool) -> Plan:
    if quick:
        return Plan(rounds={1: 3, 100: 2}, flat_rounds=3, large_fleet=400, idle_s=5)
    return Plan(
        rounds={1: rounds, 100: max(3, rounds // 2), 1000: max(3, rounds // 4)},
        flat_rounds=rounds,
        large_fleet=4000,
        idle_s=30,
    )


if __name__ == "__main__":
    sys.exit(main())
