"""Knows which of several weekly times have come since they were last asked for; it must not know what is then done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from demo.aws.cron import Weekly


class Agenda:
    """Tells each time once. What is new, or was away, counts from when it is first seen; a changed one is new."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, Weekly], datetime] = {}

    def due(self, entries: Mapping[str, Weekly], now: datetime) -> list[tuple[str, datetime]]:
        """The entries whose time has come by ``now`` and that time, in order; those that were missed come late."""
        found: list[tuple[str, datetime]] = []
        coming: dict[tuple[str, Weekly], datetime] = {}
        for name, weekly in entries.items():
            at = self._next.get((name, weekly)) or weekly.next_after(now)
            while at <= now:
                found.append((name, at))
                at = weekly.next_after(at)
            coming[name, weekly] = at
        self._next = coming
        return sorted(found, key=lambda one: one[1])
