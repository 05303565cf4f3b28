"""One core at a glance, from its facts; it must not know how they were asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from core_agent.contract.messages import BurstReport, CoreServerReport, FactsReport, GroupReport, Phase
from core_agent.contract.names import GroupName
from operator_view.nodes import duration

_SILENT_S = 600  # ten sweeps


def status(facts: FactsReport, *, where: str, own: GroupName, now_ms: int) -> str:
    """Return the lines of ``fab status``.

    ``where`` is the address that was asked, ``own`` the group in the settings, ``now_ms`` the Unix time.
    """
    groups = [_group(group, facts, own, now_ms) for group in facts.groups]
    sections = _sections(facts, where, groups)
    return "\n".join(f"{label:<9}{line}" for heading, lines in sections for label, line in _labelled(heading, lines))


def burst(report: BurstReport) -> str:
    """Return how much of the edge is in use, from which share of the core's slots on, and why."""
    early = f", from {report.core_percent} % of the core's slots on" if report.core_percent < 100 else ""
    return f"{report.level_percent} % of the edge{early}{', by hand' if report.by_hand else ''}: {report.reason}"


def server(report: CoreServerReport) -> str:
    """Return how one of the core's own servers does; a second line is a suggestion."""
    state = "up" if report.takes else "up, takes NOTHING (weight 0)" if report.up else "DOWN"
    told = "" if report.slots == report.configured else f" (drawbridge.toml says {report.configured})"
    line = f"{state}, {report.busy} of {report.slots} slots busy{told}, {report.queue} queued"
    if report.suggestion is None:
        return line
    found = report.suggestion
    return f"{line}; better {found.slots} slots: {found.reason}; fab capacity {report.name} {found.slots} WHY"


def _sections(facts: FactsReport, where: str, groups: list[str]) -> Iterator[tuple[str, list[str]]]:
    queued = f"{facts.load.queue} queued in the backend, {facts.load.requests_total} requests since HAProxy's start"
    yield "core", [f"{facts.core} at {where}, agent {facts.agent_version}"]
    yield "network", [f"{facts.network}, {facts.addresses_free} addresses free"]
    yield "burst", [burst(facts.burst)]
    yield "load", [*(f"{one.name} {server(one)}" for one in facts.load.servers), queued]
    yield "nodes", [_phases(facts)]
    yield "groups", groups or ["none seen yet"]
    yield "pending", [f"{facts.pending_steps} steps to apply" if facts.pending_steps else "nothing: converged"]


def _labelled(heading: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    """Only the first line of a section carries its heading."""
    return ((heading if at == 0 else "", line) for at, line in enumerate(lines))


def _phases(facts: FactsReport) -> str:
    counted = Counter(node.phase for node in facts.nodes)
    told = [f"{counted[phase]} {phase}" for phase in Phase if counted[phase]]
    return f"{len(facts.nodes)}: {', '.join(told)}" if told else "0"


def _group(group: GroupReport, facts: FactsReport, own: GroupName, now_ms: int) -> str:
    """The group's line. Silence is nothing to report of a group that is neither ours nor has any node left."""
    told = f"{group.group}, last seen {datetime.fromtimestamp(group.generation / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    silent_s = (now_ms - group.generation) // 1000
    members = sum(node.group == group.group and node.phase is not Phase.GONE for node in facts.nodes)
    if silent_s <= _SILENT_S:
        return told
    if group.group == own:
        return f"{told}: NOT SYNCED for {duration(silent_s)}; does the fleet function run?"
    if members:
        return (
            f"{told}: NOT SYNCED for {duration(silent_s)}, {members} nodes; if AWS has no such group: fab sync --group"
        )
    return f"{told}, no node left"
