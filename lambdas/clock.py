"""The one clock of the functions; everything that needs the time takes it as an argument."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def wait_ms(duration_ms: int) -> None:
    """Return after that many milliseconds; at once for none or fewer."""
    time.sleep(max(0, duration_ms) / 1000)
