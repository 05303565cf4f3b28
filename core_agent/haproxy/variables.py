"""The process variables that steer the core-first rules at run time: their names, values and readings; pure.

``config`` declares them in the file and its rules read them. HAProxy 2.6 to 3.2 take ``set var`` in experimental mode
alone (management guide, 9.3); reading needs no mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from core_agent.errors import UnreadableFacts

# 1 while requests stay at home whatever the queue, as long as a core server is up.
EDGE_CLOSED = "edge_closed"

_READING = re.compile(r"proc\.(\w+): type=sint value=<(\d+)>")


def reserve(number: int) -> str:
    """Return the name for how many free slots the core server with this number, from 1, keeps from new requests."""
    return f"reserve_{number}"


def values(*, closed: bool, reserves: Sequence[int]) -> dict[str, int]:
    """Return every variable's value; ``reserves`` in the core servers' order."""
    return {EDGE_CLOSED: int(closed)} | {reserve(number): slots for number, slots in enumerate(reserves, start=1)}


def names(servers: int) -> tuple[str, ...]:
    """Return the name of every variable of a core with this many servers."""
    return EDGE_CLOSED, *(reserve(number) for number in range(1, servers + 1))


def question(name: str) -> str:
    """Return the runtime command that tells the variable's value."""
    return f"get var proc.{name}"


def order(name: str, value: int) -> str:
    """Return the runtime command that sets the variable, in experimental mode."""
    return f"set var proc.{name} int({value})"


def parse(answers: Iterable[str]) -> dict[str, int]:
    """Return the values in the answers to ``question``; one that HAProxy does not have is left out.

    Raises ``UnreadableFacts``.
    """
    found: dict[str, int] = {}
    for answer in answers:
        text = answer.strip()
        if "not found" in text.lower():
            continue
        reading = _READING.fullmatch(text)
        if reading is None:
            raise UnreadableFacts(f"reading HAProxy's variables: wanted a number, found {text[:80]!r}")
        found[reading[1]] = int(reading[2])
    return found
