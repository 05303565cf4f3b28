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
QUICK = settings(_COMMON, max_examples=80, stateful_step_count=40)


def long(steps: int) -> settings:
    """Return the profile of about ``steps`` steps in all; a walk in it is longer than a quick one."""
    return settings(_COMMON, max_examples=max(1, steps // 60), stateful_step_count=70)


def walk(profile: settings, *, seed: int, tally: Tally) -> None:
    """Walk from ``seed`` and count in ``tally``.

    Raises the ``Violation`` of the shortest failing walk; its notes tell that walk as a story.
    """
    counted = type("Walk", (Walk,), {"tally": tally})
    run_state_machine_as_test(hypothesis.seed(seed)(counted), settings=profile)
