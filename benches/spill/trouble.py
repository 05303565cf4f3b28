"""The one error of this bench: a part of it did not do what was waited for; it knows no part."""

from __future__ import annotations

from core_agent.errors import DrawbridgeError


class BenchError(DrawbridgeError):
    """What was to be measured did not come about; the message says what was wanted and what was found."""
