"""What one run of the demo was like, second by second, as data that a file can hold; it knows no house and no picture.

Every ``at`` is in seconds since the record's beginning.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self

from demo.hosts.errors import HostError


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """What users did in the second that ended at ``at``: sent, answered by each side, failed; all in requests."""

    at: float
    sent: int
    core: int
    edge: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The house at one moment: the core's busy slots of all, requests that wait, nodes open and nodes wanted."""

    at: float
    busy: int
    slots: int
    queue: int
    level_percent: int
    nodes: int
    desired: int

    @property
    def saturation_percent(self) -> float:
        """Busy and waiting requests over the core's slots; 100 when it has none."""
        return 100 * (self.busy + self.queue) / self.slots if self.slots else 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something worth a mark in the picture."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run; ``capacity`` is what the core alone serves, in requests per second."""

    capacity: float
    seconds: tuple[Second, ...]
    looks: tuple[Look, ...]
    events: tuple[Event, ...]

    def dump(self) -> str:
        """Return the record as JSON; ``load`` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """Return the record that ``dump`` wrote; raises ``HostError``."""
        try:
            document = json.loads(text)
            return cls(
                capacity=float(document["capacity"]),
                seconds=tuple(Second(**row) for row in document["seconds"]),
                looks=tuple(Look(**row) for row in document["looks"]),
                events=tuple(Event(**row) for row in document["events"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise HostError(f"reading a record: wanted what dump() wrote, found {error!r}") from None
