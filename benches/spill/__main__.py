"""``python -m benches.spill``: enters the sandbox, runs every scenario, publishes table, claims and picture."""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

from benches import claims
from benches.spill import core_death, crowd, faults, first_overflow, footing, no_edge, picture, spike
from benches.spill.cells import Cells
from benches.spill.plan import FULL, QUICK
from benches.spill.site import Site
from core_agent.errors import DrawbridgeError
from demo import sandbox
from demo.screen import Screen

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "spill.svg"


def main() -> int:
    """Return 0 when everything was measured, whatever came out; 1 with one line when it could not be."""
    parser = argparse.ArgumentParser(prog="make bench-spill", description=sys.modules["benches.spill"].__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, to see that it works; writes no results")
    parser.add_argument("--seed", type=int, default=4, help="of arrivals and of the order of runs")
    parser.add_argument("--picture", type=Path, help="draw it here (default: docs/pictures/spill.svg, none if --quick)")
    options = parser.parse_args()
    try:
        if not sandbox.inside():
            return sandbox.run((sys.executable, "-m", "benches.spill", *sys.argv[1:]))
        _measure(options)
    except DrawbridgeError as error:
        print(f"\nspill: {error}", file=sys.stderr)
        return 1
    return 0


def _measure(options: argparse.Namespace) -> None:
    screen, plan = Screen(), QUICK if options.quick else FULL
    site = Site(Path(os.environ["TMPDIR"]) / "spill")
    site.build()
    cells = Cells(site, seed=options.seed)
    screen.live("the ground")
    ground = footing.measure(cells, plan)
    spikes = spike.measure(cells, plan, random.Random(options.seed), screen)  # noqa: S311 -- an order is no secret
    screen.live("a spike without an edge")
    alone = no_edge.measure(cells, plan, lambda: site.core.requests)
    screen.live("the first overflow")
    overflows = first_overflow.measure(cells, plan)
    screen.live("faults")
    suffered = faults.measure(cells, plan, site)
    screen.live("a crowd of edge servers")
    crowds = crowd.measure(cells, plan)
    screen.live("the core's death")
    deaths = core_death.measure(cells, plan, site.core)
    site.close()
    for header, rows in (
        spike.table(spikes),
        no_edge.table(alone),
        core_death.table(deaths),
        faults.table(suffered),
        first_overflow.table(overflows),
        crowd.table(crowds),
    ):
        screen.say("")
        screen.table(header, rows)
    found = [
        *footing.claims(ground),
        *spike.claims(spikes, ground.alone),
        *no_edge.claims(alone, ground.alone),
        *core_death.claims(deaths),
        *first_overflow.claims(overflows),
        *faults.claims(suffered),
        *crowd.claims(crowds),
    ]
    claims.publish("spill", found, write=not options.quick)
    if shaking := footing.warning(ground):
        screen.say(shaking)
    target = options.picture or (None if options.quick else PICTURE)
    if target is not None:
        picture.draw(spikes, target)
        screen.say(f"drawn: {target.name}")


if __name__ == "__main__":
    sys.exit(main())
