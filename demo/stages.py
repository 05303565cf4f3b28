"""How long each stage of the reaction took, from the core's saturation to a new node's first answer; it starts none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from demo.hosts.client import Reading
from demo.record import Event
from demo.recorder import Recorder
from demo.screen import Screen
from settings.tables import Burst

# The alarms that the group grows by.
GROWING = ("slots-short", "queue-long")
_NODE_STAGES = ("pending", "seated", "enrolled", "active", "InService", "answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """First sights as moments of the monotonic clock; what was not seen is not there.

    ``events`` are those of the whole house, the oldest first. ``nodes`` holds each *new* instance's stages: those of
    ``Recorder.marks`` and its first answer.
    """

    high_percent: int
    saturated: float | None
    events: tuple[Event, ...]
    nodes: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, burst: Burst, recorder: Recorder, readings: Iterable[Reading], *, since: float) -> Self:
        """Return the stages of the climb that began at ``since``."""
        answers = {name: at for reading in readings for name, at in reading.first_answers.items() if at >= since}
        marks = {name: dict(seen) for name, seen in list(recorder.marks.items())}
        standing = {name for name, seen in marks.items() if min(seen.values()) < since}
        nodes = {name: _node(seen, answers.get(name)) for name, seen in marks.items() if name not in standing}
        saturated = _saturated(recorder, burst.saturation_high_percent, since)
        found = [
            (since, "load climbs, 0.5 × → 3 ×"),
            (saturated, f"the core is {burst.saturation_high_percent} % full"),
            (_first(answers, standing), "first answer by the node that stood by"),
            (recorder.first("level", f"{burst.alarm_percent} %", since=since), f"burst level {burst.alarm_percent} %"),
            *((recorder.first(name, "ALARM", since=since), f"alarm {name}") for name in GROWING),
            *((c.at, f"the group wants {c.value}") for c in list(recorder.changes) if c.what == "desired"),
            (_first(answers, nodes.keys()), "first answer by a new node"),
        ]
        told = (Event(at=at, text=text) for at, text in found if at is not None and at >= since)
        return cls(
            high_percent=burst.saturation_high_percent,
            saturated=saturated,
            events=tuple(sorted(told, key=lambda event: event.at)),
            nodes=nodes,
        )

    def show(self, screen: Screen) -> None:
        """Print every stage in seconds since the core was saturated."""
        if self.saturated is None:
            screen.say(f"the core was never seen {self.high_percent} % full")
            return
        zero = self.saturated
        screen.say("seconds since the core was saturated (first sights: it is asked 5 times a second, AWS twice):")
        screen.table(("", "s"), [(event.text, f"{event.at - zero:+.1f}") for event in self.events])
        rows = [
            (name, *(f"{seen[stage] - zero:.1f}" if stage in seen else "–" for stage in _NODE_STAGES))
            for name, seen in sorted(self.nodes.items(), key=lambda item: item[1]["pending"])
        ]
        screen.table(("new node", *_NODE_STAGES), rows)


def _saturated(recorder: Recorder, high_percent: int, since: float) -> float | None:
    full = (look.at for look in list(recorder.looks) if look.at >= since and look.saturation_percent >= high_percent)
    return next(full, None)


def _first(answers: Mapping[str, float], names: Iterable[str]) -> float | None:
    return min((answers[name] for name in names if name in answers), default=None)


def _node(seen: Mapping[str, float], answered: float | None) -> dict[str, float]:
    """One node's stages; it is pending from its first sight in AWS's launch on, in whichever state that was."""
    stages = {stage: at for stage, at in seen.items() if stage in _NODE_STAGES}
    launching = [at for stage, at in seen.items() if stage.startswith("Pending")]
    stages["pending"] = min(launching or seen.values())
    return stages if answered is None else {**stages, "answers": answered}
