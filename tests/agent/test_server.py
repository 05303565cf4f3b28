"""The agent on its socket, and the relay in front of it, as separate processes would use them."""

from __future__ import annotations

import grp
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core_agent.build import build
from core_agent.contract.codec import MAX_REQUEST_BYTES, FailedReply, RefusedReply, decode_reply, encode_request
from core_agent.contract.messages import ActivateNode, FactsReport, ReadFacts
from core_agent.contract.names import InstanceId
from core_agent.errors import CommandFailed, RefusalKind
from core_agent.server import Server, answer, listen
from tests.agent.core_under_test import Core


def test_a_report_comes_back_under_its_id(core: Core) -> None:
    """The reply names the request and carries the report."""
    request_id, report = decode_reply(answer(core.agent, encode_request(ReadFacts(), request_id="r-1")))
    assert request_id == "r-1"
    assert isinstance(report, FactsReport)


def test_a_refusal_comes_back_as_one(core: Core) -> None:
    """With its kind, for handlers that branch on it."""
    request = encode_request(ActivateNode(instance=InstanceId("i-7")), request_id="r-1")
    _, outcome = decode_reply(answer(core.agent, request))
    assert isinstance(outcome, RefusedReply)
    assert outcome.kind is RefusalKind.UNKNOWN_NODE


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"", "wanted one JSON document"),
        (b'{"version":1,"id":"a","command":"ReadFacts","body":{}}', "request.version: wanted 2, found 1"),
        (b"x" * (MAX_REQUEST_BYTES + 1), f"wanted at most {MAX_REQUEST_BYTES} bytes"),
    ],
)
def test_a_broken_document_is_answered_and_changes_nothing(
    core: Core, document: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not retryable, names what was wanted; the host is not even looked at."""
    monkeypatch.setattr(core.host, "read_wireguard", None)  # any look would end the test
    _, outcome = decode_reply(answer(core.agent, document))
    assert isinstance(outcome, FailedReply)
    assert not outcome.retryable
    assert says in outcome.message


def test_a_failing_program_is_a_retryable_failure(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller learns what the program said, and may send the same again."""

    def fail() -> None:
        raise CommandFailed("reading the peers of wg0", "wg", 1, "No such device")

    monkeypatch.setattr(core.host, "read_wireguard", fail)
    _, outcome = decode_reply(answer(core.agent, encode_request(ReadFacts(), request_id="r-1")))
    assert outcome == FailedReply(message="reading the peers of wg0: wg exited 1: No such device", retryable=True)


@pytest.fixture
def served(core: Core, tmp_path: Path) -> Iterator[Path]:
    """A running server; yields its socket."""
    path = tmp_path / "agent.sock"
    listener = listen(path, group=grp.getgrgid(os.getgid()).gr_name)
    server = Server(core.agent, listener)
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    yield path
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_only_owner_and_group_reach_the_socket(served: Path) -> None:
    """Mode 0660: the SSH user is in the group, nobody else."""
    assert served.stat().st_mode & 0o777 == 0o660


def test_the_relay_passes_one_request_through(served: Path, tmp_path: Path) -> None:
    """From the built zipapp, as sshd would start it: bytes in, bytes out, exit status 0."""
    relay = [
        sys.executable,
        "-I",
        "-c",
        "import sys; sys.path.insert(0, sys.argv[2]); from core_agent.relay import relay; sys.exit(relay(sys.argv[1]))",
    ]
    build(tmp_path / "agent.pyz")
    done = subprocess.run(
        [*relay, str(served), str(tmp_path / "agent.pyz")],
        input=encode_request(ReadFacts(), request_id="r-9"),
        capture_output=True,
        check=False,
        timeout=20,
    )
    assert done.stderr == b""
    assert decode_reply(done.stdout)[0] == "r-9"
    assert done.returncode == 0


def test_the_relay_says_that_the_agent_is_away() -> None:
    """No socket: one clear line on standard error, exit status 1, nothing on standard output."""
    code = "import sys; from core_agent.relay import relay; sys.exit(relay('/nonexistent/agent.sock'))"
    done = subprocess.run([sys.executable, "-c", code], input=b"{}", capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is drawbridge-agent running?" in done.stderr


@pytest.mark.parametrize("asked", [None, "", "sh", "drawbridge; id", "/usr/lib/openssh/sftp-server"])
def test_the_relay_knows_one_word(served: Path, asked: str | None) -> None:
    """Over SSH anything but `drawbridge` is told at once that there is nothing of the kind."""
    code = f"import sys; from core_agent.relay import relay; sys.exit(relay({str(served)!r}))"
    environment = os.environ | {"SSH_CONNECTION": "x"} | ({} if asked is None else {"SSH_ORIGINAL_COMMAND": asked})
    document = encode_request(ReadFacts(), request_id="r-3")
    argv = (sys.executable, "-c", code)
    done = subprocess.run(argv, input=document, env=environment, capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"this key opens one door" in done.stderr


def test_a_client_that_goes_away_harms_nobody(served: Path) -> None:
    """A connection dropped in the middle of a request leaves the server answering the next."""
    for _ in range(3):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(served))
        client.sendall(b'{"version":')
        client.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(served))
        client.sendall(encode_request(ReadFacts(), request_id="r-2"))
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert decode_reply(received)[0] == "r-2"
