"""The relay, as sshd or a person would start it, in front of a server."""

from __future__ import annotations

import grp
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from core_agent.agent import Agent
from core_agent.contract.codec import decode_reply, encode_request
from core_agent.conversation import IDLE_S
from core_agent.server import Server, listen
from tests.agent.stand_in import StandIn, burst

RELAY = Path("core_agent/system/relay")
DOOR = b"this key opens one door, Drawbridge's agent: no shell, no files, no forwarding\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A running server; yields its socket."""
    path = tmp_path / "agent.sock"
    with listen(path, group=grp.getgrgid(os.getgid()).gr_name) as listener:
        server = Server(cast("Agent", StandIn()), listener)
        thread = threading.Thread(target=server.accept, daemon=True)
        thread.start()
        yield path
        server.stop()
        thread.join(20)


def relay(path: Path, said: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the relay to ``path`` with ``said`` on its standard input."""
    wiped = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
    argv = (str(RELAY), str(path))
    return subprocess.run(argv, input=said, env=wiped | environment, capture_output=True, check=False, timeout=20)


def document(number: int) -> bytes:
    """Return a request without its newline."""
    return encode_request(burst(number), request_id=f"r-{number}")


def test_requests_go_through_and_replies_come_back(served: Path) -> None:
    """Many documents, the last one without a newline; bytes in, bytes out, exit status 0."""
    done = relay(served, b"\n".join(document(number) for number in range(100)))
    assert [decode_reply(line)[0] for line in done.stdout.splitlines()] == [f"r-{number}" for number in range(100)]
    assert (done.stderr, done.returncode) == (b"", 0)


def test_one_word_opens_it_over_ssh(served: Path) -> None:
    """What the client asks for."""
    done = relay(served, document(1), SSH_CONNECTION="x", SSH_ORIGINAL_COMMAND="drawbridge")
    assert decode_reply(done.stdout)[0] == "r-1"


@pytest.mark.parametrize("asked", [None, "", "sh", "drawbridge; id", "drawbridge ", "/usr/lib/openssh/sftp-server"])
def test_no_other_word_does(served: Path, asked: str | None) -> None:
    """Anything else is told at once that there is nothing of the kind."""
    environment = {"SSH_CONNECTION": "x"} | ({} if asked is None else {"SSH_ORIGINAL_COMMAND": asked})
    done = relay(served, document(1), **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", DOOR)


def test_an_agent_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    """With the reason, on standard error; exit status 1, nothing on standard output."""
    nobody, gone = tmp_path / "nobody.sock", tmp_path / "gone.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(gone))
    for path, reason in ((nobody, "No such file or directory"), (gone, "Connection refused")):
        done = relay(path, document(1))
        told = f"reaching the agent at {path}: {reason}; is drawbridge-agent running?\n"
        assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", told)


def test_an_agent_that_hangs_up_is_heard_at_once(tmp_path: Path) -> None:
    """As sshd joins it, over one socket pair: the caller finds the end of the replies while he may still write."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        caller, inner = socket.socketpair()
        caller.settimeout(20)
        process = subprocess.Popen((str(RELAY), str(path)), stdin=inner.fileno(), stdout=inner.fileno())
        inner.close()
        agent, _ = listener.accept()
        agent.sendall(b"reply\n")
        agent.close()
        began = time.monotonic()
        assert b"".join(iter(lambda: caller.recv(100), b"")) == b"reply\n"
        assert time.monotonic() - began < 10
        caller.close()
        process.wait(20)


def test_the_relay_and_the_agent_let_go_of_a_silent_caller_together() -> None:
    """One number in two languages."""
    assert f" -T {IDLE_S:g} " in RELAY.read_text()


def test_shellcheck_has_nothing_to_say() -> None:
    """Nor has it been told to be silent about anything."""
    subprocess.run(("shellcheck", "--severity=style", str(RELAY)), check=True)
    assert "shellcheck disable" not in RELAY.read_text()
