"""A file of one head and one entry a name, kept in memory so that changing an entry renders no other.

It knows nothing of what the entries say; another hand is noticed by the file's identity, size and time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from core_agent import files


class Roster:
    """The file at ``path``; its entries stand in the order of their names, whichever life of the agent wrote them."""

    def __init__(self, path: Path, *, mode: int) -> None:
        self.path = path
        self._mode = mode
        self._head = b""
        self._entries: dict[str, bytes] = {}
        self._stamp: files.Stamp | None = None

    @property
    def untouched(self) -> bool:
        """Whether the file is still the one that was last written or compared here. Raises ``FileFailed``."""
        return self._stamp is not None and self._stamp == files.stamp(self.path)

    def write(
        self, head: str, entries: Mapping[str, str | None], *, whole: bool, check: Callable[[Path], None] | None = None
    ) -> bool:
        """Make the file say ``head`` and the entries; return whether another hand had changed it meanwhile.

        ``whole``: these are all entries; otherwise they change the ones there are, and None takes one away. ``check``
        sees the new file before it counts and may raise. Raises ``FileFailed``; whatever is raised, nothing changed.
        """
        untouched, top = self.untouched, files.encoded(head)
        changes = {name: None if text is None else files.encoded(text) for name, text in entries.items()}
        if untouched and top == self._head and self._says(changes, whole=whole):
            return False
        merged = changes if whole else {**self._entries, **changes}
        names = sorted(merged) if whole or len(merged) > len(self._entries) else merged
        after = {name: entry for name in names if (entry := merged[name]) is not None}
        written = top + b"".join(after.values())
        # The stamp is taken before the file is read, or with the draft: whoever writes meanwhile is seen next time.
        mark = files.stamp(self.path)
        stale = untouched or written != files.encoded(files.read(self.path))
        if stale:
            mark = files.replace(self.path, written, mode=self._mode, check=check)
        meddled = stale and not untouched and self._stamp is not None
        self._head, self._entries, self._stamp = top, after, mark
        return meddled

    def _says(self, changes: Mapping[str, bytes | None], *, whole: bool) -> bool:
        if whole:
            return changes == self._entries
        return all(self._entries.get(name) == entry for name, entry in changes.items())
