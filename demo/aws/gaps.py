"""Knows how a gap in moto is filled, loudly and reversibly; it must not know any gap.

moto's internals have no promise of stability, so the version is pinned and every replaced attribute must exist.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, TypeAlias

MOTO_VERSION = "5.2.5"

Moto: TypeAlias = Any
"""An object of moto's, which carries no types."""


class Gaps:
    """The attributes of moto that are replaced while the local AWS runs; ``undo`` puts moto's own back."""

    def __init__(self) -> None:
        found = importlib.metadata.version("moto")
        if found != MOTO_VERSION:
            raise RuntimeError(
                f"starting the local AWS: wanted moto {MOTO_VERSION}, whose gaps are known, found {found}"
            )
        self.filled: list[str] = []
        self._originals: list[tuple[Moto, str, Moto]] = []

    def fill(self, owner: Moto, name: str, replacement: Callable[..., Any] | property, *, gap: str) -> Moto:
        """Replace ``owner.name`` and return moto's own; ``gap`` says what moto lacks there.

        ``AttributeError`` if moto has no such attribute any more.
        """
        original = vars(owner).get(name)
        if original is None:
            raise AttributeError(f"filling a gap in moto ({gap}): wanted {owner.__name__}.{name}, found none")
        self._originals.append((owner, name, original))
        setattr(owner, name, replacement)
        self.filled.append(f"{owner.__module__}.{owner.__name__}.{name}: {gap}")
        return original

    def add(self, owner: Moto, name: str, addition: Callable[..., Any] | property, *, gap: str) -> None:
        """Give ``owner`` what it lacks altogether; ``AttributeError`` if moto has it by now."""
        if hasattr(owner, name):
            raise AttributeError(f"filling a gap in moto ({gap}): wanted no {owner.__name__}.{name}, found one")
        self._originals.append((owner, name, None))
        setattr(owner, name, addition)
        self.filled.append(f"{owner.__module__}.{owner.__name__}.{name}: {gap}")

    def undo(self) -> None:
        """Put everything of moto's back, the last change first."""
        while self._originals:
            owner, name, original = self._originals.pop()
            if original is None:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self.filled.clear()
