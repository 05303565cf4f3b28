"""Writes a file so that a crash leaves the old or the new one, never half of either."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def read(path: Path) -> str:
    """Return the file's text, or nothing when there is no file."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def replace(path: Path, text: str, *, mode: int, check: Callable[[Path], None] | None = None) -> None:
    """Put ``text`` at ``path`` by renaming a finished, synced file; ``check`` sees that file first and may raise."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        if check is not None:
            check(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
