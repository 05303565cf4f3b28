"""What can go wrong with the demo's hosts; it must not know any host."""

from __future__ import annotations

from core_agent.errors import DrawbridgeError


class HostError(DrawbridgeError):
    """A host of the demo cannot do what was asked of it."""
