"""A walk at random over the real agent, short enough for every run; `make chaos-agent` takes the long one."""

from __future__ import annotations

from tests.agent.walk.run import QUICK, walk


def test_no_order_of_events_and_no_crash_leaves_the_core_wrong() -> None:
    """Every invariant holds after every step, every walk ends quietly, and the walks were no idle ones."""
    tally = walk(QUICK, seed=1)
    assert tally.violations == 0
    assert min(tally.crashes, tally.drifts, tally.repairs, tally.refusals, tally.quiet_ends) > 20, tally
