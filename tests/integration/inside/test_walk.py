"""A short walk at random over real WireGuard and HAProxy; `make chaos-agent` takes the long one."""

from __future__ import annotations

from pathlib import Path

from demo.hosts.switch import Switch
from tests.agent.walk.invariants import Violation
from tests.integration.inside.real_walk import RealWalk

WALK_S = 15


def test_crashes_restarts_and_careless_hands_leave_a_real_core_right(tmp_path: Path) -> None:
    """After every step `wg`, HAProxy and both files agree with what was asked for, and so they do at the end."""
    switch = Switch()
    switch.start()
    walk = RealWalk(switch, tmp_path, seed=1)
    try:
        walk.build()
        walk.run(WALK_S)
    except Violation as violation:
        raise AssertionError("\n".join([*walk.story, str(violation)])) from violation
    finally:
        walk.tear_down()
    assert walk.tally.steps > 3, walk.story
