"""Writes a file so that a crash leaves the old or the new one, never half of either.

Bytes that are no UTF-8 survive a round trip: an operator's comment in another encoding is no reason to stop.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from core_agent.errors import FileFailed


def read(path: Path) -> str:
    """Return the file's text, or nothing when there is no file. Raises ``FileFailed``."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FileFailed(f"reading {path}: {error.strerror}") from None


# Which file it is, how large and how old: enough to see that another hand was at it, and unchanged by a rename.
Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """Return the stamp of the file at ``path``, or None when there is no file. Raises ``FileFailed``."""
    try:
        return _stamp(path.stat())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileFailed(f"reading {path}: {error.strerror}") from None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def encoded(text: str) -> bytes:
    """Return what a file with ``text`` holds."""
    return text.encode("utf-8", errors="surrogateescape")


def replace(path: Path, text: str | bytes, *, mode: int, check: Callable[[Path], None] | None = None) -> Stamp:
    """Put ``text`` at ``path`` by renaming a finished, synced file; ``check`` sees that file first and may raise.

    Returns the stamp of what was put there. Raises ``FileFailed``; whatever is raised, the former file is still there
    and no draft is left.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        mark = _write(draft, text, mode)
        if check is not None:
            check(draft)
        draft.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise FileFailed(f"writing {path}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return mark


def _write(draft: Path, text: str | bytes, mode: int) -> Stamp:
    draft.unlink(missing_ok=True)  # what a crash left; and O_EXCL below follows nobody's link
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(encoded(text) if isinstance(text, str) else text)
        file.flush()
        os.fsync(file.fileno())
        return _stamp(os.fstat(file.fileno()))


def sync_directory(directory: Path) -> None:
    """Make what was renamed in ``directory`` survive a power cut. Raises ``OSError``."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
