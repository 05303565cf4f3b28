"""A walk at random over the real agent, short enough for every run; `make chaos-agent` takes the long one."""

from __future__ import annotations

from tests.agent.walk.run import QUICK, walk
from tests.agent.walk.tally import Tally


def test_no_order_of_events_and_no_crash_leaves_the_core_wrong() -> None:
    """Every rule of the house holds at every step, every walk ends quietly, and the walks were no idle ones."""
    tally = Tally()
    walk(QUICK, seed=1, tally=tally)
    assert min(tally.crashes, tally.drifts, tally.repairs, tally.refusals, tally.quiet_ends) > 20, tally
