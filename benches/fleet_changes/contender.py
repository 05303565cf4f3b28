"""What every contender can do: take a node in, let it go, and be looked at; it knows no particular one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from benches.fleet_changes.watch import Watch

Stages = Mapping[str, float]
"""What had come about → seconds since the change was sent."""

READY = "node ready"
"""The stage, in every join, at which the node itself has done all its own work."""


class Contender(Protocol):
    """A load balancer with its own way of hearing of changes. ``join`` and ``leave`` run in one thread per machine.

    ``terms`` says, for a reader of the numbers, under which settings and with which allowances they came about.
    """

    name: str
    terms: str
    url: str
    watch: Watch

    def join(self, machine: int, instance: str) -> Stages:
        """Let machine number ``machine`` join as ``instance``; return when it has answered a request."""
        ...

    def leave(self, machine: int, instance: str) -> Stages:
        """Let it leave; return when nothing leads to it any more and it has been ended."""
        ...
