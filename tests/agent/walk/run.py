"""Takes walks: how many, how long and from which seed; it knows none of their steps."""

from __future__ import annotations

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.agent.walk.rules import Walk
from tests.agent.walk.tally import Tally

_COMMON = settings(
    deadline=None,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
QUICK = settings(_COMMON, max_examples=60, stateful_step_count=40)
LONG = settings(_COMMON, max_examples=500, stateful_step_count=60)


def walk(profile: settings, *, seed: int) -> Tally:
    """Return the counts of walks from ``seed``; raises the violation of the shortest failing walk, told as a story."""
    tally = Tally()
    walked = type("Walk", (Walk,), {"tally": tally})
    run_state_machine_as_test(hypothesis.seed(seed)(walked), settings=profile)
    return tally
