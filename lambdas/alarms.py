"""Which four alarms decide the level, and how one stands now; it must not know who asks, nor what level they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lambdas.events import metric_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm as it stands now: ``OK``, ``ALARM`` or ``INSUFFICIENT_DATA``, and AWS's sentence on why."""

    name: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelAlarms:
    """The names of the four alarms that decide; saturation has one for each threshold, and so has the queue."""

    saturated: str
    calm: str
    queue_long: str
    queue_short: str

    @property
    def names(self) -> tuple[str, ...]:
        """All four."""
        return (self.saturated, self.calm, self.queue_long, self.queue_short)

    @property
    def metrics(self) -> Mapping[str, str]:
        """The metric that each watches, by the alarm's name."""
        saturation, queue = metric_names.CORE_SATURATION, metric_names.QUEUE_TIME
        return {self.saturated: saturation, self.calm: saturation, self.queue_long: queue, self.queue_short: queue}
