"""What stops a measurement; it knows nothing of what was measured."""

from __future__ import annotations

from core_agent.errors import DrawbridgeError


class BenchError(DrawbridgeError):
    """Something was not as the measurement needs it, so its numbers would mean nothing; the message says what."""
