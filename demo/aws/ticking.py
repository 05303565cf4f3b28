"""Knows how to do something again and again in the background until told to stop; it must not know what."""

from __future__ import annotations

import threading
from collections.abc import Callable

from demo.aws.journal import Journal


class Ticker:
    """Calls ``action`` every ``every_s`` seconds in a thread; an error goes to the journal, and the next tick comes."""

    def __init__(self, name: str, *, every_s: float, action: Callable[[], None], journal: Journal) -> None:
        self._name = name
        self._every_s = every_s
        self._action = action
        self._journal = journal
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """Return once no call is under way and none will follow."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self._action()
            except Exception:  # noqa: BLE001 - one bad tick must not end the service; the journal shows it
                self._journal.failed(self._name, "a tick")
