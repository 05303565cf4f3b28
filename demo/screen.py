"""What the demo shows a person: chapters, claims with their verdict, tables, one live line; it knows no house."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO

_WIDTH = 108  # of a page that is no terminal
_SELDOM_S = 5  # between two live lines there


class Screen:
    """Prints to ``output``; on a terminal the live line is rewritten in place, elsewhere it is printed now and then."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output
        self._terminal = output.isatty()
        self._width = min(_WIDTH, shutil.get_terminal_size().columns - 1) if self._terminal else _WIDTH
        self._started = time.monotonic()
        self._chapter = 0
        self._live_at = 0.0
        self._live_width = 0
        self.broken: list[str] = []

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._chapter += 1
        clock = f"{time.monotonic() - self._started:6.1f} s"
        self._print(f"\n{self._chapter}  {title:<{self._width - 13}} {clock}")

    def say(self, text: str) -> None:
        """One line, or several, of what happened."""
        for line in text.splitlines():
            self._print(f"   {line}")

    def claim(self, text: str, *, holds: bool, found: str) -> None:
        """State what was checked and what was found; one claim that does not hold makes the demo fail."""
        self._print(f"   {'✓' if holds else '✗ BROKEN:'} {text}: {found}")
        if not holds:
            self.broken.append(f"{text}: {found}")

    def live(self, text: str) -> None:
        """Show the state of the moment."""
        now = time.monotonic()
        if self._terminal:
            text = text[: self._width - 3]  # a line that wraps could not be written over
            self._output.write(f"\r   {text:<{self._live_width}}")
            self._live_width = len(text)
            self._output.flush()
        elif now - self._live_at >= _SELDOM_S:
            self._live_at = now
            self._print(f"   {text}")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns that line up; the first is left-aligned, the others right."""
        lines = [tuple(header), *(tuple(row) for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        for number, line in enumerate(lines):
            cells = [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            self._print("   " + "   ".join(cells))
            if number == 0:
                self._print("   " + "   ".join("─" * width for width in widths))

    def _print(self, line: str) -> None:
        if self._live_width:
            self._output.write(f"\r{' ' * (self._live_width + 3)}\r")
            self._live_width = 0
        self._output.write(f"{line}\n")
        self._output.flush()


def bar(share: float, width: int = 30) -> str:
    """Return ``share`` (0 to 1) as a bar of at most ``width`` characters."""
    return "█" * round(share * width)
