"""Pure: what the four alarms and the known peaks, as they are now, make of the edge; it must not know who asks.

| saturated or queue-long in ALARM | calm and queue-short in ALARM | who asks              | the level               |
| -------------------------------- | ----------------------------- | --------------------- | ----------------------- |
| yes                              | whatever                      | whoever               | alarm level             |
| no                               | yes                           | whoever               | calm level              |
| no                               | no                            | a peak begins or ends | calm level              |
| no                               | no                            | an alarm              | stays: nothing is asked |
| no                               | no                            | the minute's sweep    | stays: the core's own   |

Rule 1: between the thresholds an alarm's event changes nothing: that is the hysteresis. What the level is then only the
core knows; so when a peak begins or ends just there, it becomes the calm one, and the alarms correct it if need be. The
sweep has asked the core.
Rule 2: whatever is asked for in a peak's time is at least the highest level of the peaks in force, with the smallest of
their shares of the core; in no peak's time that share is 100 %.
Rule 3: of what has been, only the core's present level is looked at, and that by the sweep alone. Late, doubled and
lost events move the moment, and the next sweep makes up for them. Only a peak's end that is lost between the thresholds
leaves the peak's level standing, until the core is calm.
Rule 4: what the core has by a person's hand no sweep touches; an alarm's event or a peak's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core_agent.contract.messages import BurstReport, SetBurst
from core_agent.contract.names import Reason
from lambdas.alarms import Alarm, LevelAlarms
from lambdas.peaks import Peak

_ALARM = "ALARM"
_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Who decides, and the two levels of the edge, in percent, that they decide between."""

    alarms: LevelAlarms
    calm_percent: int
    alarm_percent: int


def decide(levels: Levels, alarms: Sequence[Alarm], peaks: Sequence[Peak], *, between: int | None) -> SetBurst | None:
    """Return what to ask of the core, None for nothing: the table above.

    ``alarms`` are all four as they are now, ``peaks`` those in force; ``between`` is the level in percent for a load
    between the thresholds, None for whatever the core has.
    """
    ringing = {alarm.name: alarm for alarm in alarms if alarm.state == _ALARM}
    high = [ringing[name] for name in (levels.alarms.saturated, levels.alarms.queue_long) if name in ringing]
    low = [ringing[name] for name in (levels.alarms.calm, levels.alarms.queue_short) if name in ringing]
    if high:
        level_percent, why = levels.alarm_percent, [f"{alarm.name} is on: {alarm.reason}" for alarm in high]
    elif len(low) == 2:
        level_percent, why = levels.calm_percent, [f"{' and '.join(alarm.name for alarm in low)} are on"]
    elif between is not None:
        level_percent, why = between, ["the load is between the alarms' thresholds"]
    else:
        return None
    named = [f"peak {peak.name} is in force" for peak in peaks] or ["no peak is in force"] * (between is not None)
    return SetBurst(
        level_percent=max([level_percent, *(peak.level_percent for peak in peaks)]),
        core_percent=min([100, *(peak.core_percent for peak in peaks)]),
        reason=_reason("; ".join([*named, *why])),
    )


def differs(wanted: SetBurst, other: SetBurst | BurstReport) -> bool:
    """Whether ``wanted`` asks for another level or another share than ``other`` has."""
    return (wanted.level_percent, wanted.core_percent) != (other.level_percent, other.core_percent)


def _reason(text: str) -> Reason:
    """Return ``text`` as the contract wants it: one printable line of at most 200 characters."""
    return Reason("".join(c if c.isprintable() else " " for c in text)[:_REASON_CHARACTERS])
