"""What a step scaling policy makes of a breach: the documentation's own example, its rounding, and its two guards."""

import math

import pytest

from demo.aws.adjustments import Adjustment, Capacity, Decision, Policy, Step, adjusted, checked, decide

# https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html: threshold 50, ten instances.
OUT = Policy(
    adjustment=Adjustment.PERCENT,
    steps=(Step(lower=0, upper=10, by=0), Step(lower=10, upper=20, by=10), Step(lower=20, by=30)),
)
IN = Policy(
    adjustment=Adjustment.PERCENT,
    steps=(Step(upper=-20, by=-30), Step(lower=-20, upper=-10, by=-10), Step(lower=-10, upper=0, by=0)),
)
UP = Policy(adjustment=Adjustment.CHANGE, steps=(Step(lower=0, upper=50, by=2), Step(lower=50, by=5)))
DOWN = Policy(adjustment=Adjustment.PERCENT, steps=(Step(upper=0, by=-25),), at_least=1)


def group(desired: int, *, serving: int | None = None, coming: int = 0, leaving: int = 0) -> Capacity:
    """A group of 0 to 100 whose instances all serve, but for what is given."""
    there = desired - coming if serving is None else serving
    return Capacity(desired=desired, minimum=0, maximum=100, serving=there, coming=coming, leaving=leaving)


@pytest.mark.parametrize(
    ("policy", "capacity", "metric", "wanted"),
    [
        pytest.param(OUT, group(10), 59.9, None, id="unchanged below 60"),
        pytest.param(OUT, group(10), 60, 11, id="60 adds a tenth"),
        pytest.param(OUT, group(11, coming=1), 62, None, id="62 while it warms up adds nothing"),
        pytest.param(OUT, group(11, coming=1), 70, 13, id="70 while it warms up adds two more"),
        pytest.param(OUT, group(11), 70, 14, id="70 afterwards adds three, rounded down"),
        pytest.param(IN, group(14), 40, 13, id="40 removes one, rounded down"),
        pytest.param(IN, group(13), 30, 10, id="30 removes three, rounded down"),
        pytest.param(IN, group(13), 40.1, None, id="unchanged above 40"),
    ],
)
def test_the_documentations_example(policy: Policy, capacity: Capacity, metric: float, wanted: int | None) -> None:
    """Each sentence of AWS's example, threshold 50, gives the capacity that it says."""
    assert decide(policy, capacity, metric - 50).desired == wanted


@pytest.mark.parametrize(
    ("kind", "capacity", "by", "at_least", "wanted"),
    [
        (Adjustment.CHANGE, 3, 5, 0, 8),
        (Adjustment.CHANGE, 4, -1, 0, 3),
        (Adjustment.EXACT, 3, 5, 0, 5),
        (Adjustment.PERCENT, 10, 10, 0, 11),
        (Adjustment.PERCENT, 10, 127, 0, 22),
        (Adjustment.PERCENT, 10, 6, 0, 11),
        (Adjustment.PERCENT, 10, -6, 0, 9),
        (Adjustment.PERCENT, 10, -67, 0, 4),
        (Adjustment.PERCENT, 4, 25, 2, 6),
        (Adjustment.PERCENT, 4, -25, 2, 2),
        (Adjustment.PERCENT, 40, -25, 2, 30),
        (Adjustment.PERCENT, 0, 25, 0, 0),
    ],
)
def test_rounding_and_magnitude(kind: Adjustment, capacity: int, by: int, at_least: int, wanted: int) -> None:
    """Percentages round towards zero, never to nothing, and move by the minimum magnitude at least."""
    policy = Policy(adjustment=kind, steps=(Step(lower=0, by=by),), at_least=at_least)
    assert adjusted(policy, capacity, by) == wanted


@pytest.mark.parametrize(("beyond", "by"), [(0, 2), (49.9, 2), (50, 5), (1e9, 5), (-0.1, None)])
def test_a_step_above_the_threshold_begins_with_its_lower_bound(beyond: float, by: int | None) -> None:
    """Above the threshold the lower bound belongs to the step and the upper one to the next."""
    assert next((step.by for step in UP.steps if step.holds(beyond)), None) == by


@pytest.mark.parametrize(("beyond", "by"), [(0, 0), (-9.9, 0), (-10, -10), (-20, -30), (-1e9, -30)])
def test_a_step_below_the_threshold_ends_with_its_upper_bound(beyond: float, by: int) -> None:
    """Below the threshold it is the other way round."""
    assert [step.by for step in IN.steps if step.holds(beyond)] == [by]


def test_a_lasting_breach_adds_once() -> None:
    """While what was added is coming, the same step adds nothing, and a higher step only the difference."""
    assert decide(UP, group(0), 10).desired == 2
    assert decide(UP, group(2, coming=2), 10).desired is None
    assert decide(UP, group(2, coming=2), 60).desired == 5
    assert decide(UP, group(2), 10).desired == 4


def test_no_scale_in_during_a_scale_out() -> None:
    """One instance that is launching or warming up is enough to hold a scale-in back."""
    assert decide(DOWN, group(4), -1).desired == 3
    held = decide(DOWN, group(4, coming=1), -1)
    assert held == Decision(desired=None, why="a scale-out is in progress: 1 launching or warming up")


def test_terminating_instances_are_not_removed_twice() -> None:
    """The percentage is of what is still there, so a breach that lasts through a drain removes no more."""
    assert decide(DOWN, group(3, serving=3, leaving=1), -1).desired is None


def test_scale_out_comes_at_once_during_a_scale_in() -> None:
    """Terminating instances do not count as serving when the group is to grow."""
    assert decide(UP, group(3, serving=3, leaving=1), 10).desired == 5


def test_bounds_hold() -> None:
    """No step leads beyond the group's bounds, and at a bound nothing is to do."""
    small = Capacity(desired=2, minimum=1, maximum=3, serving=2)
    assert decide(UP, small, 60).desired == 3
    assert decide(Policy(adjustment=Adjustment.CHANGE, steps=(Step(upper=0, by=-9),)), small, -1).desired == 1
    full = Capacity(desired=3, minimum=3, maximum=3, serving=3)
    assert (decide(UP, full, 60).desired, decide(DOWN, full, -1).desired) == (None, None)


def test_exact_capacity_grows_and_shrinks_by_the_same_rules() -> None:
    """An exact capacity above the desired one is a scale-out; below it, it waits for what is coming."""
    exact = Policy(adjustment=Adjustment.EXACT, steps=(Step(lower=0, by=4),))
    assert decide(exact, group(2), 0).desired == 4
    assert decide(exact, group(6), 0).desired == 4
    assert decide(exact, group(6, coming=1), 0).desired is None


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "wanted 1 to 20"),
        ([Step(lower=n, upper=n + 1, by=1) for n in range(20)] + [Step(lower=20, by=1)], "wanted 1 to 20"),
        ([Step(by=1)], "wanted a lower bound below an upper one"),
        ([Step(lower=5, upper=5, by=1)], "wanted a lower bound below an upper one"),
        ([Step(lower=0, upper=5, by=1), Step(lower=6, by=1)], "no gap and no overlap"),
        ([Step(lower=0, upper=5, by=1), Step(lower=4, by=1)], "no gap and no overlap"),
        ([Step(lower=0, upper=5, by=1)], "wanted no upper bound above 5"),
        ([Step(lower=-5, upper=0, by=1)], "wanted no lower bound below -5"),
    ],
)
def test_steps_that_aws_refuses(steps: list[Step], words: str) -> None:
    """Gaps, overlaps, a missing end and too many steps are refused when the policy is made."""
    with pytest.raises(ValueError, match=words):
        checked(steps)


def test_steps_are_put_in_order() -> None:
    """A template may list its steps in any order."""
    assert [step.lower for step in checked([Step(lower=50, by=5), Step(lower=0, upper=50, by=2)])] == [0, 50]
    assert checked([Step(upper=-1, by=-2), Step(lower=-1, upper=0, by=-1)])[0].lower == -math.inf
