"""When each node reached each stage: first sights, polled on the core and through AWS's API; it changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Self

from core_agent.errors import DrawbridgeError

# What a look returns: instance id → the word for where it stands.
Look = Callable[[], Mapping[str, str]]
_INTERVAL_S = 0.1


class Timeline:
    """A context manager; while it is open, every ``look`` is asked about ten times a second.

    ``marks[instance][stage]`` is the time in seconds since the opening at which the stage was first seen. A look's
    instance that was there and is there no longer gets the mark ``LOOK gone``, LOOK being the look's name.
    """

    def __init__(self, looks: Mapping[str, Look]) -> None:
        self._looks = looks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="timeline", daemon=True)
        self._present: dict[str, set[str]] = {name: set() for name in looks}
        self._opened = 0.0
        self.marks: dict[str, dict[str, float]] = {}
        self.unanswered = 0

    def __enter__(self) -> Self:
        self._opened = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def all_reached(self, stage: str, count: int) -> bool:
        """Whether ``count`` instances have the mark."""
        return sum(stage in marks for marks in list(self.marks.values())) >= count

    def _watch(self) -> None:
        while not self._stop.is_set():
            for name, look in self._looks.items():
                try:
                    seen = look()
                except (DrawbridgeError, OSError):
                    self.unanswered += 1  # the agent may be starting anew; the next look will tell
                    continue
                self._mark(name, seen)
            self._stop.wait(_INTERVAL_S)

    def _mark(self, name: str, seen: Mapping[str, str]) -> None:
        now = time.monotonic() - self._opened
        for instance, stage in seen.items():
            self.marks.setdefault(instance, {}).setdefault(stage, now)
        for instance in self._present[name] - seen.keys():
            self.marks.setdefault(instance, {}).setdefault(f"{name} gone", now)
        self._present[name] = set(seen)
