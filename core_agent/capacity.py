"""How many requests at a time a core server works best on, from what was measured; it knows no HAProxy and no clock."""

from __future__ import annotations

from core_agent.contract.messages import Suggestion


class Capacity:
    """The measurements of one server."""

    def sample(self, now: float, *, seconds: float, busy: int, slots: int, answered: int, failed: int) -> None:
        """Take in one look at ``now``, Unix seconds: ``answered`` and ``failed`` in the ``seconds`` before it."""

    def suggestion(self, slots: int) -> Suggestion | None:
        """Return the slots that the server should have instead of ``slots``; None when nothing speaks for others."""
