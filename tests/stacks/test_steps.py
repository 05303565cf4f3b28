"""How many nodes a breach orders: enough for any load, one at least, never more steps than AWS takes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

import settings as settings_file
from settings import Settings
from stacks import steps

DEFAULT = settings_file.load(Path(__file__).parents[2] / "drawbridge.toml")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What decides about the steps."""

    core_slots: int
    node_slots: int
    high_percent: int
    low_percent: int
    max_capacity: int
    factor_percent: int = 100
    min_capacity: int = 0

    def settings(self) -> Settings:
        """The default settings with these sizes."""
        (server,) = DEFAULT.core.servers
        return dataclasses.replace(
            DEFAULT,
            core=dataclasses.replace(DEFAULT.core, servers=(dataclasses.replace(server, maxconn=self.core_slots),)),
            edge=dataclasses.replace(
                DEFAULT.edge,
                min_capacity=self.min_capacity,
                max_capacity=self.max_capacity,
                region_factor_percent=self.factor_percent,
            ),
            burst=dataclasses.replace(
                DEFAULT.burst,
                maxconn=self.node_slots,
                saturation_high_percent=self.high_percent,
                saturation_low_percent=self.low_percent,
            ),
        )

    def wanted(self, saturation: Fraction) -> int:
        """The fewest nodes that bring the smallest edge from ``saturation`` to half-way between the thresholds."""
        target = Fraction(self.high_percent + self.low_percent, 2)
        node_slots = Fraction(self.node_slots * self.factor_percent, 100)
        slots = self.core_slots + self.min_capacity * node_slots
        demand = saturation * slots / 100
        return max(1, math.ceil((100 * demand / target - slots) / node_slots))

    @property
    def room(self) -> int:
        """How many nodes the group may have beside its least."""
        return max(1, self.max_capacity - self.min_capacity)


SIZES = st.builds(
    Sizes,
    core_slots=st.integers(1, 100_000),
    node_slots=st.integers(1, 10_000),
    high_percent=st.integers(2, 1000),
    low_percent=st.integers(0, 1),
    max_capacity=st.integers(1, 4000),
    factor_percent=st.integers(1, 100),
) | st.builds(
    Sizes,
    core_slots=st.integers(1, 200),
    node_slots=st.integers(1, 200),
    high_percent=st.integers(60, 120),
    low_percent=st.integers(0, 44),
    max_capacity=st.integers(10, 60),
    min_capacity=st.integers(0, 10),
)


def ordered(found: tuple[steps.Step, ...], over: Fraction) -> int:
    """What AWS orders for a metric ``over`` points above the threshold: the step from its lower bound on."""
    return next(step.nodes for step in reversed(found) if Fraction(step.lower) <= over)


@given(sizes=SIZES)
@example(sizes=Sizes(core_slots=100_000, node_slots=1, high_percent=80, low_percent=40, max_capacity=4000))
def test_the_steps_are_a_staircase(sizes: Sizes) -> None:
    """From the threshold on without a gap, each later and larger than the last, twenty at most, one node at least."""
    found = steps.scale_out(sizes.settings())
    assert found[0].lower == 0
    assert found[0].nodes >= 1
    assert found[-1].nodes == sizes.room
    assert len(found) <= steps.MAX_STEPS
    for step, after in itertools.pairwise(found):
        assert step.lower < after.lower
        assert step.nodes < after.nodes
        # Enough up to its very end, which a load drawn by chance hardly ever meets.
        assert sizes.wanted(sizes.high_percent + Fraction(str(after.lower))) <= step.nodes


@given(sizes=SIZES, over=st.fractions(min_value=0, max_value=10_000))
def test_a_breach_orders_enough(sizes: Sizes, over: Fraction) -> None:
    """Whatever the load, the smallest edge gets at once what brings it to the target, or all that it may have."""
    needed = min(sizes.room, sizes.wanted(sizes.high_percent + over))
    assert ordered(steps.scale_out(sizes.settings()), over) >= needed


@given(sizes=SIZES, over=st.fractions(min_value=0, max_value=10_000))
def test_a_small_group_gets_hardly_more_than_it_needs(sizes: Sizes, over: Fraction) -> None:
    """While every number of nodes has its own step: one more at most, as bounds are rounded to a hundredth."""
    sizes = dataclasses.replace(sizes, max_capacity=min(sizes.max_capacity, sizes.min_capacity + steps.MAX_STEPS))
    needed = sizes.wanted(sizes.high_percent + over + Fraction(1, 50))
    assert ordered(steps.scale_out(sizes.settings()), over) <= max(needed, 1) + 1


def test_the_default_house() -> None:
    """Fifty slots at home, 28 on a node, alarm at 80 %, target 55 %: worked out by hand."""
    found = steps.scale_out(DEFAULT)
    assert [(step.lower, step.nodes) for step in found[:3]] == [(0, 1), (5.8, 2), (36.6, 3)]
    assert (len(found), found[-1].nodes) == (20, 20)


def test_a_large_group_grows_in_equal_ratios() -> None:
    """With more sizes than steps the first are fine and the last is everything."""
    found = steps.scale_out(
        Sizes(core_slots=100, node_slots=10, high_percent=80, low_percent=40, max_capacity=4000).settings()
    )
    nodes = [step.nodes for step in found]
    assert nodes[0] == 4
    assert nodes[-1] == 4000
    assert all(after <= 1.5 * before + 1 for before, after in itertools.pairwise(nodes))
