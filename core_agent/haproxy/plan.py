"""The steps from the servers there are to those there should be, and what they lead to; pure, add before remove.

Of the core's own servers only the slots are the agent's; every other server of the backend is, and goes if nobody wants
it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from core_agent.desired import CoreSlots, Mode, Server
from core_agent.haproxy import variables
from core_agent.haproxy.facts import BackendFacts, ServerFacts


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVariable:
    """Steer the core-first rules."""

    name: str
    value: int


Step = AddServer | StartChecks | SetWeight | SetMaxconn | SetMode | EndSessions | DeleteServer | SetVariable


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


def plan_core(core: Mapping[str, CoreSlots], facts: BackendFacts, *, closed: bool) -> tuple[Step, ...]:
    """Return the steps that give the core's own servers, by name in the file's order, the slots they should have.

    ``closed`` is whether the edge takes nothing while one of them is up. A server that HAProxy does not have is left to
    the file: a reload brings it.
    """
    wanted = variables.values(closed=closed, reserves=[server.reserve for server in core.values()])
    steps: list[Step] = [
        SetVariable(name=name, value=value) for name, value in wanted.items() if facts.variables.get(name) != value
    ]
    for name, server in core.items():
        found = facts.servers.get(name)
        if found is not None and found.maxconn != server.slots:
            steps.append(SetMaxconn(name=name, maxconn=server.slots))
    return tuple(steps)


def _must_be_made_anew(server: Server, found: ServerFacts, port: int) -> bool:
    moved = (found.address, found.port) != (server.address, port)
    # In maintenance by the file's `disabled` or by command, its check is paused and tells nothing until it is opened.
    return moved or (found.mode is Mode.MAINT and not found.checking)


def _addition(server: Server) -> list[Step]:
    # Never opened in the same plan: HAProxy calls a server without a check result UP, even a dead one.
    return [AddServer(server=server), StartChecks(name=server.name)]


def _changes(server: Server, found: ServerFacts) -> list[Step]:
    steps: list[Step] = []
    if found.weight != server.weight_now:
        steps.append(SetWeight(name=server.name, weight=server.weight_now))
    if found.maxconn != server.maxconn_now:
        steps.append(SetMaxconn(name=server.name, maxconn=server.maxconn_now))
    # A server that took requests is closed by draining: maintenance would cut them off and pause its check.
    drains = server.mode is Mode.MAINT and found.mode is not Mode.MAINT
    mode = Mode.DRAIN if drains else server.mode
    unproven = found.mode is Mode.MAINT and mode is Mode.READY and not found.healthy
    if found.mode is not mode and not unproven:
        steps.append(SetMode(name=server.name, mode=mode))
    if found.mode is not Mode.MAINT and not found.checking:  # without its check nobody would see it die
        steps.append(StartChecks(name=server.name))
    return steps


def _removal(found: ServerFacts) -> list[Step]:
    steps: list[Step] = [] if found.mode is Mode.MAINT else [SetMode(name=found.name, mode=Mode.MAINT)]
    if found.busy:
        steps.append(EndSessions(name=found.name))
    return [*steps, DeleteServer(name=found.name)]


def closes(step: Step) -> TypeGuard[SetMode | DeleteServer]:
    """Return whether ``step`` takes a server away from new requests."""
    return isinstance(step, DeleteServer) or (isinstance(step, SetMode) and step.mode is not Mode.READY)


def after(backend: BackendFacts, steps: Sequence[Step], *, port: int) -> None:
    """Bring ``backend`` to what it is once ``steps`` have been carried out; a check's result comes by itself."""
    facts = backend.servers
    for step in steps:
        match step:
            case AddServer(server=server):
                facts[server.name] = _new(server, port)
            case StartChecks(name=name):
                facts[name].checking = True
            case SetWeight(name=name, weight=weight):
                facts[name].weight = weight
            case SetMaxconn(name=name, maxconn=maxconn):
                facts[name].maxconn = maxconn
            case SetMode(name=name, mode=mode):
                # Maintenance pauses the check; only what opens the server again resumes it.
                facts[name].mode = mode
                facts[name].checking = mode is not Mode.MAINT
            case EndSessions():
                pass
            case DeleteServer(name=name):
                del facts[name]
            case SetVariable(name=name, value=value):
                backend.variables[name] = value


def _new(server: Server, port: int) -> ServerFacts:
    return ServerFacts(
        name=server.name,
        id=server.id,
        address=server.address,
        port=port,
        mode=Mode.MAINT,
        checking=False,
        check="",
        up=False,
        weight=server.weight,
        maxconn=server.maxconn,
        busy=0,
        queue=0,
    )
