"""When a server was first seen to be known, healthy, open, used, closed and gone; pure: looks and times are arguments.

Servers are told apart by address, because not everybody gives a new node a new server. Source of the columns: HAProxy
Management Guide 9.1 (CSV format).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Moment(StrEnum):
    """What can be seen to come about for one address, in this order."""

    KNOWN = "server there"
    HEALTHY = "first good check"
    OPEN = "open to requests"
    SERVED = "first request answered"
    CLOSED = "closed to new requests"
    REMOVED = "server away or in maintenance, without a connection"


Row = Mapping[str, str]
"""One server's line of ``show stat``, by column."""


class Moments:
    """The moments of every address, as look after look is taken in; an address that comes back begins anew."""

    def __init__(self) -> None:
        self._of: dict[str, dict[Moment, float]] = {}
        self._counted_from: dict[str, int] = {}

    def of(self, address: str) -> Mapping[Moment, float]:
        """Return the moments seen of ``address`` (``ADDRESS:PORT``) so far."""
        return self._of.get(address, {})

    def take_in(self, rows: Mapping[str, Row], now: float) -> None:
        """Take in one look at all servers, by address, that was over at ``now``."""
        for address, row in rows.items():
            moments = self._of.get(address)
            if moments is None or Moment.REMOVED in moments:
                if moments is not None and row["status"].startswith("MAINT"):
                    continue  # it has been let go of, and only its line is left
                moments = self._of[address] = {Moment.KNOWN: now}
                self._counted_from[address] = int(row["hrsp_2xx"] or 0)
            for moment in self._seen(address, row):
                moments.setdefault(moment, now)
        for address, moments in self._of.items():
            if address not in rows:
                moments.setdefault(Moment.CLOSED, now)
                moments.setdefault(Moment.REMOVED, now)

    def _seen(self, address: str, row: Row) -> list[Moment]:
        seen = []
        if row["check_status"].removeprefix("* ") == "L7OK":
            seen.append(Moment.HEALTHY)
        # A server that changes its address keeps its counters, and a new worker's begin at zero.
        answered = int(row["hrsp_2xx"] or 0)
        self._counted_from[address] = min(self._counted_from[address], answered)
        if answered > self._counted_from[address]:
            seen.append(Moment.SERVED)
        if row["status"].startswith(("UP", "no check")):
            seen.append(Moment.OPEN)
        elif Moment.OPEN in self._of[address]:
            seen.append(Moment.CLOSED)
            if row["status"].startswith("MAINT") and row["scur"] == "0":
                seen.append(Moment.REMOVED)
        return seen
