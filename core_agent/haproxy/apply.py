"""Carries out steps over the runtime API and demands HAProxy's word for each; it does not decide which."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core_agent.desired import Mode
from core_agent.errors import RuntimeApiError
from core_agent.haproxy import core_first, facts, variables
from core_agent.haproxy.facts import BackendFacts, Reading
from core_agent.haproxy.options import declaration
from core_agent.haproxy.plan import (
    AddServer,
    DeleteServer,
    EndSessions,
    SetMaxconn,
    SetMode,
    SetVariable,
    SetWeight,
    StartChecks,
    Step,
)
from core_agent.haproxy.runtime import RuntimeSession
from settings.tables import Frontend

_EXPERIMENTAL = "experimental-mode on"  # of this one session
# A server whose idle connections are still being closed: the step stays in the next plan.
_NOT_YET = "Server still has connections attached to it, cannot remove it."
# By a request, just then. The entry stays, and does no harm: a server of that name that is opened again has it changed.
_LOOKED_AT = "Entry currently in use, cannot remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The steps that took effect, and what was read after them."""

    done: tuple[Step, ...]
    reading: Reading


def read(path: Path, *, backend: str, frontend: str, steered_by: Iterable[str]) -> BackendFacts:
    """Return what the backend has now, and the variables named in ``steered_by``.

    Raises ``RuntimeApiError`` when HAProxy does not answer.
    """
    whole = facts.whole(backend, frontend)
    with RuntimeSession(path) as session:
        answers = session.run([*whole, *map(variables.question, steered_by)])
    found = facts.parse(*answers[: len(whole)])
    found.variables = variables.parse(answers[len(whole) :])
    return found


def carry_out(
    path: Path,
    steps: Sequence[Step],
    *,
    watch: Collection[int],
    backend: str,
    frontend: str,
    port: int,
    users: Frontend,
) -> Answers:
    """Apply ``steps`` in order, then read the counters of the servers with the ids ``watch``, over one connection.

    A deletion that must wait for connections to close is no error: it is not among the steps that are done, and
    planning again yields it again. Raises ``RuntimeApiError`` for the first step that HAProxy refuses.
    """
    lines = [line(step, backend=backend, port=port, send_proxy=users.send_proxy) for step in steps]
    first = [_EXPERIMENTAL] if any(isinstance(step, SetVariable) for step in steps) else []
    last: list[str] = []
    if users.sticky_cookie is not None:
        first += [_stickiness(step) for step in steps if isinstance(step, SetMode)]
        last = [f"clear table {core_first.LEAVING} key {step.name}" for step in steps if isinstance(step, DeleteServer)]
    with RuntimeSession(path) as session:
        answers = session.run([*first, *lines, *last, *facts.partial(backend, frontend, watch)])
    for sent, answer in zip(first, answers, strict=False):
        if answer:
            raise RuntimeApiError(f"changing backend {backend}", sent, answer)
    answers = answers[len(first) :]
    done = []
    for step, sent, answer in zip(steps, lines, answers, strict=False):
        if answer == _answer(step):
            done.append(step)
        elif not (isinstance(step, DeleteServer) and answer == _NOT_YET):
            raise RuntimeApiError(f"changing backend {backend}", sent, answer)
    answers = answers[len(lines) :]
    for sent, answer in zip(last, answers, strict=False):
        if answer not in ("", _LOOKED_AT):
            raise RuntimeApiError(f"changing backend {backend}", sent, answer)
    return Answers(done=tuple(done), reading=facts.parse_part(answers[len(last) :]))


def _stickiness(step: SetMode) -> str:
    """Return the command that lets users stick to the server, or move on: a drained one keeps its users else."""
    leaves = int(step.mode is not Mode.READY)
    return f"set table {core_first.LEAVING} key {step.name} data.gpt0 {leaves}"


def line(step: Step, *, backend: str, port: int, send_proxy: bool = False) -> str:
    """Return the runtime command of ``step``. Names and addresses are of types that hold no special character."""
    match step:
        case AddServer(server=server):
            command = f"add server {backend}/{server.name} {declaration(server, port, send_proxy=send_proxy)}"
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
        case SetVariable(name=name, value=value):
            command = variables.order(name, value)
    return command


def _answer(step: Step) -> str:
    match step:
        case AddServer():
            return "New server registered."
        case DeleteServer():
            return "Server deleted."
        case _:
            return ""
