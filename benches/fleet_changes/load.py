"""What became of every request while changes were made, over several blocks of load; it knows no load balancer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from demo.hosts.client import LoadClient, Reading


@dataclass(slots=True, kw_only=True)
class Account:
    """The sums over all blocks; latencies stay per block, in milliseconds."""

    sent: int = 0
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    max_ms: list[float] = field(default_factory=list)

    def add(self, block: Reading) -> None:
        """Take one block's summary in."""
        self.sent += block.sent
        self.ok += block.ok
        self.failed.update(block.failed_by_kind)
        for samples, name in ((self.p50_ms, "p50"), (self.p99_ms, "p99"), (self.max_ms, "max")):
            value = block.latency_ms[name]
            if value is not None:
                samples.append(value)

    @property
    def lost(self) -> int:
        """Requests that got anything but a whole 2xx answer."""
        return self.sent - self.ok


def under_load(
    users: LoadClient, url: str, rate: float, act: Callable[[], None], on_second: Callable[[Reading], None]
) -> Reading:
    """Run ``act`` while ``users`` send ``rate`` requests per second; return the whole count, whatever ``act`` does."""
    users.start(url, rate=rate, seconds=900, on_second=on_second)
    try:
        act()
    finally:
        total = users.finish()
    return total
