"""Watches the house while the story runs: who stood where when, and what changed; it changes nothing and tells nothing.

Moments are of this machine's monotonic clock, as the load generator's are; those of ``marks``, ``changes`` and
``looks`` are first sights, so they are late by up to the time between two looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from core_agent.contract.messages import FactsReport, Phase
from core_agent.errors import DrawbridgeError
from demo.hosts.client import Reading
from demo.record import Event, Look, Record, Second

CORE_EVERY_S, AWS_EVERY_S = 0.2, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The Auto Scaling group as AWS describes it: its bounds, and instance id → lifecycle state."""

    minimum: int
    desired: int
    states: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """``what`` became ``value``, first seen at ``at``: an alarm's state, the desired capacity, the burst level."""

    at: float
    what: str
    value: str


class Recorder:
    """A context manager; while it is open, the core is asked five times a second and AWS twice.

    ``marks[instance][stage]`` is when a node was first seen in a lifecycle state of AWS or a phase of the core; one
    that is there no longer gets the mark ``AWS gone`` or ``core gone``.
    """

    def __init__(
        self,
        *,
        core: Callable[[], FactsReport],
        group: Callable[[], Group],
        alarms: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core, self._group, self._alarms = core, group, alarms
        self._clock = clock
        self._opened = clock()
        self._stop = threading.Event()
        self._threads = (
            threading.Thread(target=self._watch, args=(self.see_core, CORE_EVERY_S), name="look-core", daemon=True),
            threading.Thread(target=self._watch, args=(self.see_aws, AWS_EVERY_S), name="look-aws", daemon=True),
        )
        self._lock = threading.Lock()
        self._present: dict[str, set[str]] = {}
        self._values: dict[str, str] = {}
        self._desired = 0
        self.marks: dict[str, dict[str, float]] = {}
        self.changes: list[Change] = []
        self.looks: list[Look] = []
        self.unanswered = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def see_core(self) -> None:
        """Ask the core once."""
        try:
            facts = self._core()
        except (DrawbridgeError, OSError):
            self.unanswered += 1  # the agent may be starting anew; the next look will tell
            return
        now = self._clock()
        up = [server for server in facts.load.servers if server.up]
        look = Look(
            at=now,
            busy=sum(server.busy for server in up),
            slots=sum(server.slots for server in up),
            queue=facts.load.queue,
            level_percent=facts.burst.level_percent,
            nodes=sum(node.phase is Phase.ACTIVE for node in facts.nodes),
            desired=self._desired,
        )
        with self._lock:
            self.looks.append(look)
            self._change(now, "level", f"{facts.burst.level_percent} %")
            self._mark(now, "core", {node.instance: node.phase.value for node in facts.nodes})

    def see_aws(self) -> None:
        """Ask AWS once."""
        group, alarms = self._group(), self._alarms()
        now = self._clock()
        self._desired = group.desired
        with self._lock:
            self._change(now, "desired", str(group.desired))
            for name, state in alarms.items():
                self._change(now, name, state)
            self._mark(now, "AWS", group.states)

    @property
    def nodes(self) -> int:
        """How many nodes served at the last look; 0 before the first."""
        return self.looks[-1].nodes if self.looks else 0

    def state(self, what: str) -> str | None:
        """Return what ``what`` was when last seen, or None: an alarm's state, ``desired`` or ``level``."""
        return self._values.get(what)

    def first(self, what: str, value: str, *, since: float) -> float | None:
        """Return when ``what`` first became ``value`` at or after ``since``, or None."""
        return next((c.at for c in list(self.changes) if (c.what, c.value) == (what, value) and c.at >= since), None)

    def record(
        self,
        readings: Iterable[Reading],
        events: Iterable[Event],
        *,
        home: Collection[str],
        capacity: float,
        begin: float,
    ) -> Record:
        """Return what was seen from the moment ``begin`` on, which becomes 0; ``home`` names the core's servers."""
        seconds = tuple(
            Second(
                at=reading.at - begin,
                sent=reading.sent,
                core=sum(count for name, count in reading.servers.items() if name in home),
                edge=sum(count for name, count in reading.servers.items() if name not in home),
                failed=reading.failed,
            )
            for reading in readings
            if reading.at >= begin
        )
        looks = tuple(replace(look, at=look.at - begin) for look in self.looks if look.at >= begin)
        marked = tuple(replace(event, at=event.at - begin) for event in sorted(events, key=lambda event: event.at))
        return Record(capacity=capacity, seconds=seconds, looks=looks, events=marked)

    def _watch(self, look: Callable[[], None], every_s: float) -> None:
        while not self._stop.is_set():
            look()
            self._stop.wait(every_s)

    def _change(self, now: float, what: str, value: str) -> None:
        if self._values.get(what) != value:
            self._values[what] = value
            self.changes.append(Change(at=now, what=what, value=value))

    def _mark(self, now: float, name: str, seen: Mapping[str, str]) -> None:
        for instance, stage in seen.items():
            self.marks.setdefault(instance, {}).setdefault(stage, now)
        for instance in self._present.get(name, set()) - seen.keys():
            self.marks.setdefault(instance, {}).setdefault(f"{name} gone", now)
        self._present[name] = set(seen)
