"""The steps from the servers there are to the servers there should be, as data; pure, add before remove.

Only servers named like nodes are the agent's; the core's own and any other server of the backend are left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from core_agent.desired import Mode, Server
from core_agent.haproxy.facts import ServerFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class AddServer:
    """Register the server, in maintenance."""

    server: Server


@dataclass(frozen=True, slots=True, kw_only=True)
class StartChecks:
    """Let the health check run, in maintenance too."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight:
    """Change its share of the overflow."""

    name: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMaxconn:
    """Change its slots."""

    name: str
    maxconn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMode:
    """Open it, drain it or close it."""

    name: str
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSessions:
    """Cut the requests that outlived the drain's deadline."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteServer:
    """Take it out of the backend; it must be in maintenance and without connections."""

    name: str


Step = AddServer | StartChecks | SetWeight | SetMaxconn | SetMode | EndSessions | DeleteServer


def plan(
    desired: Mapping[str, Server], facts: Mapping[str, ServerFacts], *, port: int, kept: Collection[str]
) -> tuple[Step, ...]:
    """Return the steps that turn ``facts`` into ``desired``, both by name; ``kept`` servers are never touched."""
    steps: list[Step] = []
    for name, server in desired.items():
        if name in kept:
            continue
        found = facts.get(name)
        if found is None:
            steps += _addition(server)
        elif _must_be_made_anew(server, found, port):
            steps += _removal(found)  # it may take a moment to let go of its connections; the next plan adds it
        else:
            steps += _changes(server, found)
    for name, found in facts.items():
        if name not in desired and name not in kept:
            steps += _removal(found)
    return tuple(steps)


def _must_be_made_anew(server: Server, found: ServerFacts, port: int) -> bool:
    moved = (found.address, found.port) != (server.address, port)
    # In maintenance by the file's `disabled` or by command, its check is paused until it is opened: there is only what
    # it showed before, which is enough for an open server that somebody closed by hand.
    paused = found.mode is Mode.MAINT and not found.checking
    return moved or (paused and not (server.mode is Mode.READY and found.healthy))


def _addition(server: Server) -> list[Step]:
    # Never opened in the same plan: HAProxy calls a server without a check result UP, even a dead one.
    return [AddServer(server=server), StartChecks(name=server.name)]


def _changes(server: Server, found: ServerFacts) -> list[Step]:
    steps: list[Step] = []
    if found.weight != server.weight:
        steps.append(SetWeight(name=server.name, weight=server.weight))
    if found.maxconn != server.maxconn:
        steps.append(SetMaxconn(name=server.name, maxconn=server.maxconn))
    unproven = found.mode is Mode.MAINT and server.mode is Mode.READY and not found.healthy
    if found.mode is not server.mode and not unproven:
        steps.append(SetMode(name=server.name, mode=server.mode))
    return steps


def _removal(found: ServerFacts) -> list[Step]:
    steps: list[Step] = [] if found.mode is Mode.MAINT else [SetMode(name=found.name, mode=Mode.MAINT)]
    if found.busy:
        steps.append(EndSessions(name=found.name))
    return [*steps, DeleteServer(name=found.name)]
