"""Counts what the agent does and keeps its last full look; told by the agent's threads, read by those that answer.

Its one lock is held for moments, and never while anything is looked at or written out: no reader delays a turn. Every
series that can be foreseen is there from the start with 0, so that an alert sees the first step too.
"""

from __future__ import annotations

import itertools
import threading
import typing
from collections.abc import Iterator, Mapping
from typing import Literal

from core_agent import __version__
from core_agent.contract.messages import Command
from core_agent.errors import RefusalKind
from core_agent.metrics.gauges import gauges
from core_agent.metrics.summary import Snapshot
from core_agent.metrics.text import NO_LABELS, Distribution, family, histogram

Outcome = Literal["done", "refused", "failed"]
Convergence = Literal["scoped", "full"]
Side = Literal["wireguard", "haproxy", "file", "records"]
Repaired = Literal["wireguard", "haproxy", "file"]

# A document that could not be read names no command.
UNREADABLE = "unreadable"

_COMMANDS = (*(kind.__name__ for kind in typing.get_args(Command)), UNREADABLE)
_DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_COMMANDS_TOTAL = "drawbridge_commands_total"
_REFUSALS_TOTAL = "drawbridge_refusals_total"
_ERRORS_TOTAL = "drawbridge_errors_total"
_REPAIRED_TOTAL = "drawbridge_drift_repaired_total"
_COUNTERS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    _COMMANDS_TOTAL: (
        "Commands answered, by what became of them.",
        {"command": _COMMANDS, "outcome": typing.get_args(Outcome)},
    ),
    _REFUSALS_TOTAL: ("Commands refused, by reason.", {"kind": tuple(kind.value for kind in RefusalKind)}),
    _ERRORS_TOTAL: ("Failures to bring the core to what it should be.", {"side": typing.get_args(Side)}),
    _REPAIRED_TOTAL: (
        "Steps that undid what somebody else had changed on the core.",
        {"side": typing.get_args(Repaired)},
    ),
}


class Metrics:
    """What is known to Prometheus; every method may be called from any thread. ``started_at`` is Unix seconds."""

    def __init__(self, *, started_at: float) -> None:
        self._started_at = started_at
        self._lock = threading.Lock()
        self._counts = {
            (name, values): 0
            for name, (_, labels) in _COUNTERS.items()
            for values in itertools.product(*labels.values())
        }
        self._durations = {kind: Distribution.of(_DURATION_BOUNDS_S) for kind in typing.get_args(Convergence)}
        self._missing: dict[str, int] = {}
        self._snapshot: Snapshot | None = None

    def answered(self, command: str, outcome: Outcome) -> None:
        """Count one answer to ``command``, the name of its class, or ``UNREADABLE``."""
        self._add(_COMMANDS_TOTAL, (command, outcome), 1)

    def refused(self, kind: RefusalKind) -> None:
        """Count one refusal."""
        self._add(_REFUSALS_TOTAL, (kind.value,), 1)

    def failed(self, side: Side) -> None:
        """Count one failure of ``side`` while converging or recording."""
        self._add(_ERRORS_TOTAL, (side,), 1)

    def repaired(self, side: Repaired, steps: int) -> None:
        """Count ``steps`` that a full look found to be necessary although nothing had been asked for; 0 is fine."""
        self._add(_REPAIRED_TOTAL, (side,), steps)

    def converged(self, kind: Convergence, seconds: float) -> None:
        """Count one pass, of the touched nodes alone or of everything, whether it succeeded or not."""
        with self._lock:
            self._durations[kind] = self._durations[kind].plus(seconds)

    def synced(self, group: str, missing: int) -> None:
        """Remember how many nodes the newest look at ``group`` missed; not to be told of an older look."""
        with self._lock:
            self._missing[group] = missing

    def observe(self, snapshot: Snapshot) -> None:
        """Remember what a full look found, in place of the one before."""
        with self._lock:
            self._snapshot = snapshot

    def render(self) -> str:
        """Return everything as one document of the text format."""
        with self._lock:
            counts, durations = dict(self._counts), dict(self._durations)
            missing, snapshot = dict(self._missing), self._snapshot
        return "".join(
            (
                *_constants(self._started_at),
                *_counters(counts),
                *histogram(
                    "drawbridge_converge_duration_seconds",
                    "How long it took to converge the nodes that were touched (scoped), or everything (full).",
                    (({"kind": kind}, seconds) for kind, seconds in durations.items()),
                ),
                *family(
                    "drawbridge_missing_nodes",
                    "gauge",
                    "Nodes that the newest look at the group did not list and nobody disowned by name: they are kept.",
                    (({"group": group}, number) for group, number in sorted(missing.items())),
                ),
                *(() if snapshot is None else gauges(snapshot)),
            )
        )

    def _add(self, name: str, values: tuple[str, ...], number: int) -> None:
        with self._lock:
            self._counts[name, values] += number


def _constants(started_at: float) -> Iterator[str]:
    version = [({"version": __version__}, 1)]
    yield from family("drawbridge_build_info", "gauge", "Always 1; the version is its label.", version)
    yield from family(
        "process_start_time_seconds", "gauge", "Unix time at which the agent started.", [(NO_LABELS, started_at)]
    )


def _counters(counts: Mapping[tuple[str, tuple[str, ...]], int]) -> Iterator[str]:
    for name, (says, labels) in _COUNTERS.items():
        series = (
            (dict(zip(labels, values, strict=True)), counts[name, values])
            for values in itertools.product(*labels.values())
        )
        yield from family(name, "counter", says, series)
