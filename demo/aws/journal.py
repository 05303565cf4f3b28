"""Knows the one readable log file of the local AWS; it must not know what the lines mean."""

from __future__ import annotations

import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path


class Journal:
    """One line per thing that happened, with its time; every line is on disk before ``say`` returns."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8") if path else None
        self._writing = threading.Lock()

    def say(self, who: str, what: str) -> None:
        """Append ``what``, which may have several lines, under the name ``who``."""
        if self._file is None:
            return
        stamp = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        with self._writing:
            for line in what.splitlines() or [""]:
                self._file.write(f"{stamp} {who:<24} {line}\n")

    def failed(self, who: str, doing: str) -> None:
        """Append the exception in hand, with its traceback: a background thread has nobody to raise it to."""
        self.say(who, f"FAILED {doing}\n{traceback.format_exc()}")

    def close(self) -> None:
        """Close the file; later lines are dropped."""
        if self._file is not None:
            self._file.close()
            self._file = None
