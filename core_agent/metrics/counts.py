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
from core_agent.contract.messages import Command, FleetReport, Report
from core_agent.converge import Sight
from core_agent.errors import DrawbridgeError, FileFailed, RecordFailed, RefusalKind, Refused
from core_agent.metrics.gauges import gauges
from core_agent.metrics.summary import Snapshot
from core_agent.metrics.text import NO_LABELS, Distribution, family, histogram

Convergence = Literal["scoped", "full"]

_COMMANDS = tuple(kind.__name__ for kind in typing.get_args(Command))
_REPAIRED = ("wireguard", "haproxy", "file")
_DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_COMMANDS_TOTAL = "drawbridge_commands_total"
_REFUSALS_TOTAL = "drawbridge_refusals_total"
_ERRORS_TOTAL = "drawbridge_errors_total"
_REPAIRED_TOTAL = "drawbridge_drift_repaired_total"
_COUNTERS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    _COMMANDS_TOTAL: (
        "Commands answered, by what became of them.",
        {"command": _COMMANDS, "outcome": ("done", "refused", "failed")},
    ),
    _REFUSALS_TOTAL: ("Commands refused, by reason.", {"kind": tuple(kind.value for kind in RefusalKind)}),
    _ERRORS_TOTAL: ("Failures to bring the core to what it should be.", {"side": (*_REPAIRED, "records")}),
    _REPAIRED_TOTAL: (
        "Steps that undid what somebody else had changed on the core.",
        {"side": _REPAIRED},
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

    def answered(self, command: Command, outcome: Report | DrawbridgeError) -> None:
        """Count one answer: what became of the command, why it was refused, whom a look at a group missed."""
        match outcome:
            case Refused():
                word = "refused"
                self._add(_REFUSALS_TOTAL, (outcome.kind.value,))
            case DrawbridgeError():
                word = "failed"
                if isinstance(outcome, RecordFailed):
                    self._add(_ERRORS_TOTAL, ("records",))
            case _:
                word = "done"
        self._add(_COMMANDS_TOTAL, (type(command).__name__, word))
        if isinstance(outcome, FleetReport) and outcome.applied:
            with self._lock:
                self._missing[outcome.group] = len(outcome.missing)

    def converged(self, kind: Convergence, seconds: float, sight: Sight) -> None:
        """Count one pass, over the nodes that were touched or over everything, with what it repaired and what failed.

        A side that fails for its file's sake is counted under the file alone.
        """
        with self._lock:
            self._durations[kind] = self._durations[kind].plus(seconds)
        for side, times in sight.repaired.items():
            self._add(_REPAIRED_TOTAL, (side,), times)
        for side in _failed_sides(sight):
            self._add(_ERRORS_TOTAL, (side,))

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

    def _add(self, name: str, values: tuple[str, ...], number: int = 1) -> None:
        with self._lock:
            self._counts[name, values] += number


def _failed_sides(sight: Sight) -> tuple[str, ...]:
    if isinstance(sight.error, FileFailed):
        return ("file",)
    sides = {"wireguard": sight.wireguard, "haproxy": sight.backend}
    return tuple(side for side, facts in sides.items() if facts is None)


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
