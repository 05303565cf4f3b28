"""Counts: knows what became of every request, per second and in all, and must not know how requests are made.

Rule 1: every request sent ends exactly once, as served or as failed of one kind.
Rule 2: at every moment ``sent = ok + failed + in flight``; at the end nothing is in flight.
Latencies run from the moment a request was *due*, so a late start counts as waiting.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# Upper bounds in milliseconds, each 12 % above the one before: 1 ms to about 60 s.
BOUNDS_MS: tuple[float, ...] = tuple(round(1.12**step, 3) for step in range(98))


@dataclass(slots=True, kw_only=True)
class Tally:
    """The counts of one stretch of time. ``sent`` counts starts, ``ok`` and ``failed`` ends, in the same stretch."""

    sent: int = 0
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    servers: Counter[str] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)  # index into BOUNDS_MS → served requests
    slowest_ms: float = 0.0

    def start(self) -> None:
        """Count one request as sent."""
        self.sent += 1

    def succeed(self, server: str, latency_ms: float) -> None:
        """Count one complete 2xx answer from ``server``."""
        self.ok += 1
        self.servers[server] += 1
        self.latencies[_slot(latency_ms)] += 1
        self.slowest_ms = max(self.slowest_ms, latency_ms)

    def fail(self, kind: str) -> None:
        """Count one request that got anything else."""
        self.failed[kind] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """Return the latency that ``percent`` of the served requests kept to, up to 12 % too high; None of none."""
        wanted = self.ok * percent / 100
        seen = 0
        for slot in sorted(self.latencies):
            seen += self.latencies[slot]
            if seen >= wanted:
                return min(BOUNDS_MS[slot], round(self.slowest_ms, 3))
        return None

    def document(self) -> dict[str, object]:
        """Return the counts as plain data for JSON."""
        return {
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failed.total(),
            "failed_by_kind": dict(self.failed),
            "servers": dict(self.servers),
            "latency_ms": {
                "p50": self.percentile_ms(50),
                "p95": self.percentile_ms(95),
                "p99": self.percentile_ms(99),
                "max": round(self.slowest_ms, 3) if self.ok else None,
            },
        }

    def histogram(self) -> list[tuple[float, int]]:
        """Return the served requests as (upper bound in milliseconds, how many), empty slots left out."""
        return [(BOUNDS_MS[slot], self.latencies[slot]) for slot in sorted(self.latencies)]


def _slot(latency_ms: float) -> int:
    for index, bound in enumerate(BOUNDS_MS):
        if latency_ms <= bound:
            return index
    return len(BOUNDS_MS) - 1


class Ledger:
    """The whole run and its current second, kept together so that they can never disagree."""

    def __init__(self) -> None:
        self.total = Tally()
        self._second = Tally()

    @property
    def in_flight(self) -> int:
        """Requests sent that have not ended yet."""
        return self.total.sent - self.total.ok - self.total.failed.total()

    def start(self) -> None:
        """Count one request as sent."""
        self.total.start()
        self._second.start()

    def succeed(self, server: str, latency_ms: float) -> None:
        """Count one complete 2xx answer."""
        self.total.succeed(server, latency_ms)
        self._second.succeed(server, latency_ms)

    def fail(self, kind: str) -> None:
        """Count one request that got anything else."""
        self.total.fail(kind)
        self._second.fail(kind)

    def close_second(self) -> Tally:
        """Return the counts since the last call, and begin anew."""
        closed, self._second = self._second, Tally()
        return closed
