"""How much of its weight a server that has just opened may have: a quarter more at a time; pure, with no clock.

Weight alone is ramped, never slots: HAProxy passes full servers over, so a ramp cannot make a request wait. Once one
waits for whatever reason, nobody is spared (FACTS: ``slowstart`` in a spike raised the median from 90 to 1,365 ms).
"""

from __future__ import annotations

from collections.abc import Iterable

from core_agent.contract.names import InstanceId

_STEPS = 4


class Ramps:
    """The servers on their way to their full weight, over ``ramp_s`` seconds each."""

    def __init__(self, ramp_s: float) -> None:
        self._ramp_s = ramp_s
        self._opened: dict[InstanceId, float] = {}
        self._told: dict[InstanceId, int] = {}

    def __len__(self) -> int:
        """Return how many are on their way."""
        return len(self._opened)

    def begin(self, instances: Iterable[InstanceId], now: float) -> None:
        """Let ``instances``, which open at ``now``, begin with a quarter."""
        if self._ramp_s:
            for one in instances:
                self._opened[one] = now
                self._told.pop(one, None)

    def percents(self, now: float, queue: int) -> dict[InstanceId, int]:
        """Return what each may have of its weight at ``now``, while ``queue`` requests wait: 25, 50, 75 or 100.

        Those alone for whom it is another share than was told last; 100 ends the ramp.
        """
        due = {one: 100 if queue else self._percent(now - opened) for one, opened in self._opened.items()}
        news = {one: percent for one, percent in due.items() if self._told.get(one) != percent}
        self._opened = {one: opened for one, opened in self._opened.items() if due[one] < 100}
        self._told = {one: due[one] for one in self._opened}
        return news

    def _percent(self, age_s: float) -> int:
        # A clock that was set back must not hold a server down for longer than its ramp.
        if not 0 <= age_s < self._ramp_s:
            return 100
        return 100 // _STEPS * (1 + int((_STEPS - 1) * age_s / self._ramp_s))
