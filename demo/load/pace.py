"""When requests are due: knows rates over time, and must not know clocks or requests; times are arguments, in seconds.

The load is open-loop: a request is due when its time has come, whether or not earlier ones were answered.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

MAX_RATE = 5_000
MAX_SECONDS = 3_600
STAIR_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``rate`` requests per second for ``seconds``."""

    seconds: float
    rate: float


def parse_schedule(text: str) -> tuple[Step, ...]:
    """Return the steps in ``text``, one `SECONDS RATE` per line; raises ``ValueError`` naming the line."""
    steps = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise ValueError(f"schedule line {number}: wanted SECONDS RATE, found {line!r}")
        try:
            steps.append(Step(seconds=parse_seconds(words[0]), rate=parse_rate(words[1])))
        except ValueError as error:
            raise ValueError(f"schedule line {number}: {error}") from None
    if not steps:
        raise ValueError("schedule: wanted at least one line SECONDS RATE, found none")
    if sum(step.seconds for step in steps) > MAX_SECONDS:
        raise ValueError(f"schedule: wanted at most {MAX_SECONDS} seconds in all")
    return tuple(steps)


def ramp(*, start: float, to: float, seconds: float) -> tuple[Step, ...]:
    """Return a steady rise or fall from rate ``start`` to ``to``, as stairs of about ``STAIR_S``.

    Each stair has the rate of its middle, so as many requests are due as on the straight line.
    """
    count = max(1, round(seconds / STAIR_S))
    slope = (to - start) / count
    return tuple(Step(seconds=seconds / count, rate=start + slope * (stair + 0.5)) for stair in range(count))


def parse_rate(text: str) -> float:
    """Return ``text`` as requests per second; raises ``ValueError``."""
    return _number(text, "a rate", MAX_RATE)


def parse_seconds(text: str) -> float:
    """Return ``text`` as a duration in seconds; raises ``ValueError``."""
    return _number(text, "a number of seconds", MAX_SECONDS)


def _number(text: str, what: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        raise ValueError(f"wanted {what} from 0 to {most}, found {text!r}")
    return number


def _changes(steps: tuple[Step, ...], start: float) -> list[tuple[float, float]]:
    """Return when each of ``steps`` begins, with its rate."""
    begins = itertools.accumulate((step.seconds for step in steps), initial=start)
    return [(moment, step.rate) for moment, step in zip(begins, steps, strict=False)]


class Pace:
    """Yields the due times of requests; the rate may change at any moment and nothing is lost or doubled by it."""

    def __init__(self, steps: tuple[Step, ...], *, start: float) -> None:
        self.end = start + sum(step.seconds for step in steps)
        self._changes = _changes(steps, start)
        self._rate = 0.0
        self._owed = 0.0  # the part of a request that has become due, 0 to 1
        self._counted_to = start

    @property
    def rate(self) -> float:
        """Requests per second now."""
        return self._rate

    def set_rate(self, rate: float, *, now: float) -> list[float]:
        """Use ``rate`` from ``now`` on instead of the schedule; returns what became due before, as ``due`` does."""
        due = self.due(now=now)
        self._changes.clear()
        self._rate = rate
        return due

    def ramp_to(self, rate: float, *, seconds: float, now: float) -> list[float]:
        """Go from the present rate to ``rate`` within ``seconds`` from ``now``, and stay there; returns as ``due``."""
        due = self.due(now=now)
        stairs = ramp(start=self._rate, to=rate, seconds=seconds)
        self._changes = [*_changes(stairs, now), (now + seconds, rate)]
        return due

    def due(self, *, now: float) -> list[float]:
        """Return the times, oldest first, at which requests became due since the last call."""
        times: list[float] = []
        now = min(now, self.end)
        while self._changes and self._changes[0][0] <= now:
            moment, rate = self._changes.pop(0)
            times += self._advance(moment)
            self._rate = rate
        return times + self._advance(now)

    def _advance(self, to: float) -> list[float]:
        """Return the due times between the last moment counted and ``to``, at the present rate."""
        if to <= self._counted_to or self._rate <= 0:
            self._counted_to = max(to, self._counted_to)
            return []
        first = self._counted_to + (1 - self._owed) / self._rate
        whole, self._owed = divmod(self._owed + (to - self._counted_to) * self._rate, 1)
        self._counted_to = to
        return [first + index / self._rate for index in range(int(whole))]
