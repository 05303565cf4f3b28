"""Nodes that come and go, several at a time; it knows neither load nor load balancer.

Each machine has a thread: it joins as a new instance, serves for a moment, leaves, and begins again, until the changes
asked for have been made or the time is up. A change that does not come about is kept as trouble, and ends its machine's
part in the block.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benches.fleet_changes.contender import Contender, Stages
from core_agent.errors import DrawbridgeError

SERVE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The changes that were made: the stages of each join and of each leave."""

    joins: tuple[Stages, ...] = ()
    leaves: tuple[Stages, ...] = ()

    @property
    def changes(self) -> int:
        """Joins and leaves together."""
        return len(self.joins) + len(self.leaves)


class Churn:
    """Changes of ``contender`` by its ``machines``; instances are called by number, each once in the whole run."""

    def __init__(self, contender: Contender, machines: Sequence[int]) -> None:
        self._contender = contender
        self._machines = machines
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._joins: list[Stages] = []
        self._leaves: list[Stages] = []
        self.troubles: list[DrawbridgeError] = []

    @property
    def made(self) -> Made:
        """What has been made so far in all."""
        with self._lock:
            return Made(joins=tuple(self._joins), leaves=tuple(self._leaves))

    def stand(self, machines: Sequence[int]) -> None:
        """Let ``machines`` join for good; their joins are not counted."""
        with ThreadPoolExecutor(len(machines)) as threads:
            list(threads.map(lambda machine: self._contender.join(machine, self._name()), machines))

    def run(self, changes: int, *, until: float) -> None:
        """Make ``changes`` changes, or fewer if the monotonic second ``until`` comes before."""
        turns = iter(range(changes // 2))
        with ThreadPoolExecutor(len(self._machines)) as threads:
            list(threads.map(lambda machine: self._come_and_go(machine, turns, until), self._machines))

    def _come_and_go(self, machine: int, turns: Iterator[int], until: float) -> None:
        while time.monotonic() < until:
            with self._lock:
                if next(turns, None) is None:
                    return
            instance = self._name()
            try:
                joined = self._contender.join(machine, instance)
                with self._lock:
                    self._joins.append(joined)
                time.sleep(SERVE_S)
                left = self._contender.leave(machine, instance)
                with self._lock:
                    self._leaves.append(left)
            except DrawbridgeError as trouble:
                with self._lock:
                    self.troubles.append(trouble)
                return

    def _name(self) -> str:
        with self._lock:
            return f"i-{next(self._numbers):05d}"
