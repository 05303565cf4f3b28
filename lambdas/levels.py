"""Pure: what the four alarms and the known peaks, as they are now, make of the edge; it must not know who asks.

| saturated or queue-long in ALARM | calm and queue-short in ALARM | a peak begins or ends | the level               |
| -------------------------------- | ----------------------------- | --------------------- | ----------------------- |
| yes                              | whatever                      | whatever              | alarm level             |
| no                               | yes                           | whatever              | calm level              |
| no                               | no                            | yes                   | calm level              |
| no                               | no                            | no                    | stays: nothing is asked |

Rule 1: between the thresholds an alarm's event changes nothing: that is the hysteresis. What the level is then only the
core knows; so when a peak begins or ends just there, it becomes the calm one, and the alarms correct it if need be.
Rule 2: whatever is asked for in a peak's time is at least the highest level of the peaks in force, with the smallest of
their shares of the core; in no peak's time that share is 100 %.
Rule 3: nothing but the present is looked at. Late, doubled and lost events move the moment and never the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core_agent.contract.messages import SetBurst
from core_agent.contract.names import Reason
from lambdas.cloud import Alarm
from lambdas.events import metric_names
from lambdas.peaks import Peak

_ALARM = "ALARM"
_REASON_CHARACTERS = 200


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Who decides, and the two levels of the edge, in percent, that they decide between."""

    alarms: LevelAlarms
    calm_percent: int
    alarm_percent: int


def decide(levels: Levels, alarms: Sequence[Alarm], peaks: Sequence[Peak], *, at_a_peaks_edge: bool) -> SetBurst | None:
    """Return what to ask of the core, None for nothing: the table above.

    ``alarms`` are all four as they are now, ``peaks`` those in force; ``at_a_peaks_edge`` says that one was to begin or
    end about now.
    """
    ringing = {alarm.name: alarm for alarm in alarms if alarm.state == _ALARM}
    high = [ringing[name] for name in (levels.alarms.saturated, levels.alarms.queue_long) if name in ringing]
    low = [ringing[name] for name in (levels.alarms.calm, levels.alarms.queue_short) if name in ringing]
    if high:
        level_percent, why = levels.alarm_percent, [f"{alarm.name} is on: {alarm.reason}" for alarm in high]
    elif len(low) == 2:
        level_percent, why = levels.calm_percent, [f"{' and '.join(alarm.name for alarm in low)} are on"]
    elif at_a_peaks_edge:
        level_percent, why = levels.calm_percent, ["the load is between the alarms' thresholds"]
    else:
        return None
    named = [f"peak {peak.name} is in force" for peak in peaks] or ["no peak is in force"] * at_a_peaks_edge
    return SetBurst(
        level_percent=max([level_percent, *(peak.level_percent for peak in peaks)]),
        core_percent=min([100, *(peak.core_percent for peak in peaks)]),
        reason=_reason("; ".join([*named, *why])),
    )


def _reason(text: str) -> Reason:
    """Return ``text`` as the contract wants it: one printable line of at most 200 characters."""
    return Reason("".join(c if c.isprintable() else " " for c in text)[:_REASON_CHARACTERS])
