"""What stops an installation; it knows nothing of what comes before or after."""

from __future__ import annotations

from core_agent.errors import DrawbridgeError


class InstallError(DrawbridgeError):
    """This machine cannot become a core as asked; the message says whether something was changed, and what to do."""
