"""Carries out steps over the runtime API and demands HAProxy's word for each; it does not decide which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core_agent.errors import RuntimeApiError
from core_agent.haproxy.facts import BackendFacts, commands, parse
from core_agent.haproxy.options import declaration
from core_agent.haproxy.plan import (
    AddServer,
    DeleteServer,
    EndSessions,
    SetMaxconn,
    SetMode,
    SetWeight,
    StartChecks,
    Step,
)
from core_agent.haproxy.runtime import RuntimeSession

# A server whose idle connections are still being closed: the step stays in the next plan.
_NOT_YET = "Server still has connections attached to it, cannot remove it."


def read(path: Path, *, backend: str, frontend: str) -> BackendFacts:
    """Return what the backend has now. Raises ``RuntimeApiError`` when HAProxy does not answer."""
    with RuntimeSession(path) as session:
        state, stat, frontend_stat = session.run(commands(backend, frontend))
    return parse(state, stat, frontend_stat)


def carry_out(path: Path, steps: Sequence[Step], *, backend: str, port: int) -> None:
    """Apply ``steps`` in order over one connection; raises ``RuntimeApiError`` for the first that HAProxy refuses.

    A deletion that must wait for connections to close is no error: planning again yields it again.
    """
    if not steps:
        return
    lines = [line(step, backend=backend, port=port) for step in steps]
    with RuntimeSession(path) as session:
        answers = session.run(lines)
    for step, sent, answer in zip(steps, lines, answers, strict=True):
        wanted = _answer(step)
        if answer != wanted and not (isinstance(step, DeleteServer) and answer == _NOT_YET):
            raise RuntimeApiError(f"changing backend {backend}", sent, answer)


def line(step: Step, *, backend: str, port: int) -> str:
    """Return the runtime command of ``step``. Names and addresses are of types that hold no special character."""
    match step:
        case AddServer(server=server):
            options = declaration(server.address, port, weight=server.weight, maxconn=server.maxconn)
            command = f"add server {backend}/{server.name} {options}"
        case StartChecks(name=name):
            command = f"enable health {backend}/{name}"
        case SetWeight(name=name, weight=weight):
            command = f"set server {backend}/{name} weight {weight}"
        case SetMaxconn(name=name, maxconn=maxconn):
            command = f"set maxconn server {backend}/{name} {maxconn}"
        case SetMode(name=name, mode=mode):
            command = f"set server {backend}/{name} state {mode}"
        case EndSessions(name=name):
            command = f"shutdown sessions server {backend}/{name}"
        case DeleteServer(name=name):
            command = f"del server {backend}/{name}"
    return command


def _answer(step: Step) -> str:
    match step:
        case AddServer():
            return "New server registered."
        case DeleteServer():
            return "Server deleted."
        case _:
            return ""
