"""The agent on its socket: what it answers, how many it serves at once, and how it ends."""

from __future__ import annotations

import grp
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from core_agent import server
from core_agent.agent import Agent
from core_agent.contract.codec import (
    MAX_REQUEST_BYTES,
    VERSION,
    FailedReply,
    Outcome,
    RefusedReply,
    decode_reply,
    encode_request,
)
from core_agent.contract.messages import ActivateNode, BurstReport, ReadFacts
from core_agent.contract.names import InstanceId
from core_agent.errors import CommandFailed, RefusalKind
from core_agent.server import Server, answer, listen
from core_agent.turns import Outcomes, Turns
from tests.agent.stand_in import SLOW_S, StandIn, burst

PATIENCE_S = 30


def replies(agent: StandIn, *documents: bytes) -> list[tuple[str, Outcome]]:
    """Return what ``agent`` answers to ``documents``, decoded."""
    return [decode_reply(reply) for reply in answer(Turns(agent.carry_out_all), documents)]


# --- documents ------------------------------------------------------------------------------------------------------


def test_each_document_is_answered_in_its_place() -> None:
    """A report, a refusal with its kind, what cannot be read, another report: each under its own id, in one turn."""
    agent = StandIn()
    documents = (
        encode_request(burst(1), request_id="r-1"),
        encode_request(ActivateNode(instance=InstanceId("i-7")), request_id="r-2"),
        b"nonsense",
        encode_request(burst(2), request_id="r-4"),
    )
    told = replies(agent, *documents)
    assert [request_id for request_id, _ in told] == ["r-1", "r-2", "unreadable", "r-4"]
    assert [type(outcome) for _, outcome in told] == [BurstReport, RefusedReply, FailedReply, BurstReport]
    assert told[1][1] == RefusedReply(kind=RefusalKind.UNKNOWN_NODE, message="nobody is here")
    assert [len(turn) for turn in agent.turns] == [3]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "wanted one JSON document"),
        (b'{"version":99,"id":"a","command":"ReadFacts","body":{}}', f"request.version: wanted {VERSION}, found 99"),
        (b"x" * (MAX_REQUEST_BYTES + 1), f"wanted at most {MAX_REQUEST_BYTES} bytes"),
    ],
)
def test_a_broken_document_is_answered_and_changes_nothing(document: bytes, says: str) -> None:
    """Not retryable, names what was wanted; no turn is taken for it."""
    agent = StandIn()
    ((_, outcome),) = replies(agent, document)
    assert isinstance(outcome, FailedReply)
    assert not outcome.retryable
    assert says in outcome.message
    assert agent.turns == []


def test_a_failing_program_is_a_retryable_failure() -> None:
    """The caller learns what the program said, and may send the same again."""

    def fail(_: object) -> Outcomes:
        return [CommandFailed("reading the peers of wg0", "wg", 1, "No such device")]

    (reply,) = answer(Turns(fail), [encode_request(ReadFacts(), request_id="r-1")])
    failed = FailedReply(message="reading the peers of wg0: wg exited 1: No such device", retryable=True)
    assert decode_reply(reply) == ("r-1", failed)


@pytest.mark.parametrize("piece", [b"[", b'{"a":'])
def test_the_most_nested_document_fits_on_a_callers_stack(piece: bytes) -> None:
    """Callers' threads have small stacks; json stops at Python's limit before it reaches the end of one."""
    told: list[tuple[str, Outcome]] = []
    before = threading.stack_size(server._STACK_BYTES)
    try:
        document = piece * (MAX_REQUEST_BYTES // len(piece))
        thread = threading.Thread(target=lambda: told.extend(replies(StandIn(), document)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(PATIENCE_S)
    assert "nested too deeply" in str(told[0][1])


# --- callers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def agent() -> StandIn:
    """The agent that is served."""
    return StandIn()


@pytest.fixture
def served(agent: StandIn, tmp_path: Path) -> Iterator[Path]:
    """A running server; yields its socket."""
    path = tmp_path / "agent.sock"
    listener = listen(path, group=grp.getgrgid(os.getgid()).gr_name)
    server = Server(cast("Agent", agent), listener)
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    yield path
    server.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not server._callers
    listener.close()


def call(path: Path) -> socket.socket:
    """Return a connection to the server, once it listens."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        caller = socket.socket(socket.AF_UNIX)
        try:
            caller.connect(str(path))  # blocking, as the relay's: with a timeout, a full backlog would be an error
        except (FileNotFoundError, ConnectionRefusedError):
            caller.close()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            caller.settimeout(PATIENCE_S)
            return caller


def ask(caller: socket.socket, level: int, reason: str = "test") -> None:
    """Send one request over ``caller``."""
    caller.sendall(encode_request(burst(level, reason), request_id=f"r-{level}") + b"\n")


def hear(caller: socket.socket) -> str:
    """Return the id of the next reply over ``caller``, or nothing at its end."""
    reply = caller.makefile("rb").readline()
    return decode_reply(reply)[0] if reply else ""


def test_only_owner_and_group_reach_the_socket(served: Path) -> None:
    """Mode 0660: the SSH user is in the group, nobody else."""
    assert served.stat().st_mode & 0o777 == 0o660


def test_a_client_that_goes_away_harms_nobody(served: Path) -> None:
    """Connections dropped within a request, and before its reply, leave the server answering the next."""
    for said in (b'{"version":', encode_request(burst(1), request_id="r-1") + b"\n"):
        with call(served) as caller:
            caller.sendall(said)
    with call(served) as caller:
        ask(caller, 2)
        assert hear(caller) == "r-2"


def test_three_hundred_may_be_idle_and_each_is_answered(served: Path) -> None:
    """A function's kept channel per caller, all at once; what one says reaches nobody else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2048)), hard))
    try:
        callers = [call(served) for _ in range(300)]
        for number, caller in enumerate(callers):
            ask(caller, number % 100)
        assert [hear(caller) for caller in callers] == [f"r-{number % 100}" for number in range(300)]
        ask(callers[7], 77)
        assert hear(callers[7]) == "r-77"
        for caller in callers:
            caller.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_callers_beyond_the_most_are_sent_away(served: Path, agent: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors never run out: who is too many finds the connection closed; who was there goes on, and makes room."""
    monkeypatch.setattr(server, "_MOST_CALLERS", 2)
    with call(served) as first, call(served) as second:
        for caller in (first, second):
            ask(caller, 1)
            assert hear(caller) == "r-1"
        with call(served) as third:
            assert hear(third) == ""
        ask(second, 2)
        assert hear(second) == "r-2"
    deadline = time.monotonic() + PATIENCE_S
    said = ""
    while said != "r-3":
        assert time.monotonic() < deadline
        with call(served) as later:
            try:
                ask(later, 3)
                said = hear(later)
            except (BrokenPipeError, ConnectionResetError):
                time.sleep(0.01)


# --- the process ----------------------------------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A server in a process of its own, and its socket."""
    path = tmp_path / "agent.sock"
    argv = (sys.executable, "-m", "tests.agent.stand_in", str(path))
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    yield process, path
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def test_sigterm_lets_the_turn_in_progress_end(process: tuple[subprocess.Popen[str], Path]) -> None:
    """Its caller is answered, who is silent finds the connection closed, and the exit status is 0."""
    with call(process[1]) as busy, call(process[1]) as idle:
        ask(idle, 1)
        hear(idle)
        ask(busy, 2, "slow")
        time.sleep(SLOW_S / 4)
        process[0].send_signal(signal.SIGTERM)
        assert hear(idle) == ""
        assert hear(busy) == "r-2"
        assert process[0].wait(PATIENCE_S) == 0


def test_an_error_that_no_tree_knows_ends_the_process(process: tuple[subprocess.Popen[str], Path]) -> None:
    """Loudly, with EX_SOFTWARE, so that systemd starts it anew; nobody is left waiting for a reply."""
    with call(process[1]) as first, call(process[1]) as second:
        ask(first, 1, "slow")
        time.sleep(SLOW_S / 4)
        ask(first, 2, "bug")
        ask(second, 3)
        assert process[0].wait(PATIENCE_S) == 70
        assert process[0].stderr is not None
        assert "ZeroDivisionError: a bug" in process[0].stderr.read()
        assert hear(first) in ("r-1", "")
        assert hear(second) in ("r-3", "")
