"""The units and the first answer."""

from __future__ import annotations

import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from core_agent import paths
from core_agent.errors import CommandFailed
from core_agent.install import InstallError, services
from core_agent.server import answer
from core_agent.turns import Turns
from tests.agent.core_under_test import Core
from tests.installer.conftest import Machine


@pytest.fixture
def listener(machine: Machine) -> Iterator[socket.socket]:
    """The agent's socket, with nobody behind it yet."""
    paths.SOCKET.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(paths.SOCKET))
        listener.listen()
        yield listener
        listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept


def serve(listener: socket.socket, replies: list[Callable[[bytes], bytes]]) -> None:
    """Answer one connection with each of ``replies``, the last one for ever, in a thread of its own."""

    def run() -> None:
        for reply in itertools.chain(replies, itertools.repeat(replies[-1])):
            try:
                connection, _ = listener.accept()
            except OSError:  # the fixture has closed it: the test is over
                return
            with connection:
                connection.sendall(reply(connection.recv(1 << 16)))

    threading.Thread(target=run, daemon=True).start()


def reply(core: Core, document: bytes) -> bytes:
    """Return what the agent answers to one document."""
    return b"".join(answer(Turns(core.agent.carry_out_all), [document]))


def test_units_are_those_of_the_zipapp(machine: Machine) -> None:
    """Both are written, with the SSH user's group on the socket, and IP allowed inside the tunnel alone."""
    services.put_units(machine.zipapp, machine.settings(ssh_identity='ssh_user = "bridge-user"'))
    socket_unit = (paths.UNITS / "drawbridge-agent.socket").read_text()
    assert "SocketGroup=bridge-user\n" in socket_unit
    service = (paths.UNITS / "drawbridge-agent.service").read_text()
    assert "ExecStart=/usr/bin/python3 -I" in service
    assert "\nIPAddressDeny=any\nIPAddressAllow=10.100.0.0/22\n" in service
    assert not re.search(r"@[A-Z_]+@", service + socket_unit)


def test_without_metrics_the_agent_speaks_no_ip(machine: Machine) -> None:
    """An empty list allows nothing (systemd.resource-control(5))."""
    services.put_units(machine.zipapp, machine.settings(network='network = "10.100.0.0/22"\nmetrics_port = 0'))
    assert "\nIPAddressDeny=any\nIPAddressAllow=\n" in (paths.UNITS / "drawbridge-agent.service").read_text()


def test_an_answer_ends_the_wait(machine: Machine, listener: socket.socket) -> None:
    """An agent that dies at first and then tells its facts is well; nobody reads the journal."""
    core = Core(machine.settings(), machine.root / "state.db")
    serve(listener, [lambda _: b"", lambda document: reply(core, document)])
    services.await_answer()
    assert machine.ran == []
    core.state.close()


def test_no_answer_is_an_error_with_the_journals_end(machine: Machine, listener: socket.socket) -> None:
    """A socket that systemd holds while the agent cannot start takes the request and never answers."""
    with pytest.raises(InstallError, match=r"wanted its answer within 0\.3 s, found .*timed out(.|\n)*last words"):
        services.await_answer(limit_s=0.3)
    assert machine.ran[-1].startswith("journalctl --unit drawbridge-agent.service")


def test_an_agent_that_only_fails_is_no_answer(machine: Machine, listener: socket.socket) -> None:
    """Its own words are in the error, and so is a journal that cannot be read."""
    core = Core(machine.settings(), machine.root / "state.db")
    core.state.close()
    machine.fails["journalctl"] = "no journal files"
    serve(listener, [lambda _: reply(core, b"nonsense")])
    with pytest.raises(InstallError, match=r"found FailedReply(.|\n)*no journal files"):
        services.await_answer(limit_s=0.3)


def test_a_unit_that_systemd_refuses_is_an_error(machine: Machine) -> None:
    """Nothing after it is started."""
    machine.fails["systemctl restart haproxy"] = "Job failed"
    with pytest.raises(CommandFailed, match="starting: systemctl exited 255: Job failed"):
        services.start()
    assert not [line for line in machine.ran if "drawbridge-agent" in line]
