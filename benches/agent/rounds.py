"""Rounds of joins, interleaved in random order: knows what is timed and what is compared, and no side's means."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benches.agent import nodes
from benches.agent.errors import BenchError
from benches.agent.ground import Effect, Ground
from benches.agent.nodes import Node

# After a side has been cleaned up, whatever it still does is not to be counted on the other.
_REST_S = 0.2


class Side(Protocol):
    """One way to have nodes join."""

    @property
    def ground(self) -> Ground:
        """The core that it works on."""

    def begin(self, nodes: Sequence[Node], /) -> Mapping[str, float]:
        """Do all that comes before the health checks; return the seconds by stage."""

    def finish(self, nodes: Sequence[Node], /) -> Mapping[str, float]:
        """Open the nodes, whose checks are good; return the seconds by stage."""

    def remove(self, nodes: Sequence[Node], /) -> None:
        """Undo both."""


@dataclass(frozen=True, slots=True)
class Series:
    """The seconds that one side took: in total, a number a round, and by stage."""

    totals: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def run(
    sides: Mapping[str, Side], *, joins: int, rounds: int, progress: Callable[[int], None], order: random.Random
) -> dict[str, Series]:
    """Let ``joins`` nodes join on every side, ``rounds`` times; one uncounted round comes first.

    Raises ``BenchError`` when the sides' effects are not the same, or something is left behind.
    """
    series = {name: Series() for name in sides}
    standing = {name: side.ground.count() for name, side in sides.items()}
    for number in range(rounds + 1):
        progress(number)
        newcomers = nodes.make(joins)
        effects: dict[str, tuple[Effect, ...]] = {}
        for name in order.sample(sorted(sides), len(sides)):
            stages, effects[name] = _join(sides[name], newcomers)
            if (left := sides[name].ground.count()) != standing[name]:
                raise BenchError(f"cleaning up {name}: wanted {standing[name]} as before, found {left}")
            if number > 0:
                series[name].totals.append(sum(stages.values()))
                for stage, seconds in stages.items():
                    series[name].stages[stage].append(seconds)
        _compare(effects)
    return series


def _join(side: Side, newcomers: Sequence[Node]) -> tuple[dict[str, float], tuple[Effect, ...]]:
    stages = dict(side.begin(newcomers))
    side.ground.await_checks(newcomers)
    stages |= side.finish(newcomers)
    effects = side.ground.effects(newcomers)
    side.remove(newcomers)
    time.sleep(_REST_S)
    return stages, effects


def _compare(effects: Mapping[str, tuple[Effect, ...]]) -> None:
    """Raise ``BenchError`` unless every side had the same effect, and the wanted one."""
    first, *others = effects.items()
    for effect in first[1]:
        if not effect.open or effect.check != "L7OK" or effect.public_key == "none":
            raise BenchError(f"comparing effects: wanted an open, healthy server with a peer, found {effect}")
    for name, found in others:
        for ours, theirs in zip(first[1], found, strict=True):
            if ours != theirs:
                raise BenchError(f"comparing effects: wanted {first[0]} and {name} alike, found {ours} and {theirs}")
