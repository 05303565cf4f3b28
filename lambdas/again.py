"""Asking ourselves, through our own queue, to look again soon; it must not know what the next look will find.

Rule: while a message of this container's is still under way, it sends no second one. Every event of a scale-in would
otherwise start a chain of looks of its own; so the chains are never more than the containers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from lambdas.environment import Place
from lambdas.events import again
from lambdas.events.envelope import Metadata

DELAY_S = 2


class Sender(Protocol):
    """Whatever puts a message into a queue; ``lambdas.cloud.Cloud`` does."""

    def send(self, queue_url: str, body: str, *, delay_s: int) -> None:
        """Send ``body``, to be seen after ``delay_s``."""
        ...


class Again:
    """Lives as long as its container."""

    def __init__(self, place: Place, queue_url: str, *, sender: Sender, now_ms: Callable[[], int]) -> None:
        self._place = place
        self._queue_url = queue_url
        self._sender = sender
        self._now_ms = now_ms
        self._due_ms = 0

    def ask(self) -> None:
        """Have the group looked at in ``DELAY_S``, unless that is on its way already; raises ``CloudBusy``…."""
        now_ms = self._now_ms()
        if now_ms < self._due_ms:
            return
        metadata = Metadata(
            id=f"look-again-{now_ms}",
            source=again.SOURCE,
            detail_type=again.DETAIL_TYPE,
            account=self._place.account,
            region=self._place.region,
            time=datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="seconds"),
        )
        body = again.render(metadata, group=self._place.group.name)
        self._sender.send(self._queue_url, body, delay_s=DELAY_S)
        self._due_ms = now_ms + DELAY_S * 1000
