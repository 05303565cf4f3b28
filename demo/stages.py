"""How long each stage of the reaction took, from the core's saturation to a new node's first answer; it starts none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from demo.house import House
from demo.record import Event
from demo.recorder import Recorder
from demo.screen import Screen

# The alarms that the group grows by.
GROWING = ("slots-short", "queue-long")
_NODE_STAGES = ("pending", "seated", "enrolled", "active", "InService", "answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """First sights as moments of the monotonic clock; None is what was not seen (yet).

    ``nodes`` holds, for each instance, its stages' moments: those of ``Recorder.marks`` and its first answer.
    """

    began: float
    high_percent: int
    saturated: float | None
    level: tuple[float, int] | None
    alarm: tuple[float, str] | None
    desired: tuple[float, int] | None
    nodes: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, house: House, recorder: Recorder, *, since: float) -> Self:
        """Return the stages of what began at ``since``."""
        burst = house.settings.burst
        high = burst.saturation_high_percent
        answers = {name: at for reading in house.users.readings for name, at in reading.first_answers.items()}
        alarms = [(recorder.first(name, "ALARM", since=since), name) for name in GROWING]
        wanted = [c for c in list(recorder.changes) if c.what == "desired" and c.at >= since and int(c.value) > 0]
        level = recorder.first("level", f"{burst.alarm_percent} %", since=since)
        return cls(
            began=since,
            high_percent=high,
            saturated=next(
                (k.at for k in list(recorder.looks) if k.at >= since and k.saturation_percent >= high), None
            ),
            level=None if level is None else (level, burst.alarm_percent),
            alarm=min(((at, name) for at, name in alarms if at is not None), default=None),
            desired=(wanted[0].at, int(wanted[0].value)) if wanted else None,
            nodes={name: _node(seen, answers.get(name)) for name, seen in list(recorder.marks.items())},
        )

    def events(self) -> tuple[Event, ...]:
        """The stages of the whole house as marks for a picture."""
        found = [(self.began, "load climbs, 0.5 × → 3 ×")]
        if self.saturated is not None:
            found.append((self.saturated, f"the core is {self.high_percent} % full"))
        if self.level is not None:
            found.append((self.level[0], f"burst level {self.level[1]} %"))
        if self.alarm is not None:
            found.append((self.alarm[0], f"alarm {self.alarm[1]}"))
        if self.desired is not None:
            found.append((self.desired[0], f"the group wants {self.desired[1]}"))
        answers = [seen["answers"] for seen in self.nodes.values() if "answers" in seen]
        if answers:
            found.append((min(answers), "first answer by a new node"))
        return tuple(Event(at=at, text=text) for at, text in found)

    def show(self, screen: Screen) -> None:
        """Print every stage in seconds since the core was saturated."""
        if self.saturated is None:
            screen.say(f"the core was never seen {self.high_percent} % full")
            return
        zero = self.saturated
        said = [f"{event.text} {event.at - zero:+.1f}" for event in self.events()]
        screen.say(
            "seconds since the core was saturated (first sights: the core is asked 5 times a second, AWS twice):"
        )
        screen.say("; ".join(said))
        rows = [
            (name, *(f"{seen[stage] - zero:.1f}" if stage in seen else "–" for stage in _NODE_STAGES))
            for name, seen in sorted(self.nodes.items(), key=lambda item: item[1]["pending"])
        ]
        screen.table(("instance", *_NODE_STAGES), rows)


def _node(seen: Mapping[str, float], answered: float | None) -> dict[str, float]:
    """One node's stages; it is pending from its first state in AWS's launch on, whichever of those was seen."""
    stages = {stage: at for stage, at in list(seen.items()) if stage in _NODE_STAGES}
    stages["pending"] = min(
        (at for stage, at in list(seen.items()) if stage.startswith("Pending")), default=min(seen.values())
    )
    if answered is not None:
        stages["answers"] = answered
    return stages
