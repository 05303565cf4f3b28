"""The records: whole or not there, the agent's own, and read for the file that HAProxy starts with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core_agent import paths
from core_agent.contract.messages import Hold, Lifecycle, Phase
from core_agent.contract.names import GroupName, InstanceId, PublicKey
from core_agent.install import InstallError, records
from core_agent.roll import Changes, Node
from core_agent.state import State
from tests.agent.core_under_test import key
from tests.installer.conftest import AGENT, Machine


@pytest.fixture(autouse=True)
def folder(machine: Machine) -> Path:
    """The folder that the installer made before."""
    paths.STATE.parent.mkdir()
    return paths.STATE.parent


def let_in(instance: str) -> None:
    """Record one active node."""
    state = State.open(paths.STATE)
    node = Node(
        instance=InstanceId(instance),
        group=GroupName("eu-north-1/drawbridge-edge"),
        lifecycle=Lifecycle.SERVING,
        since=0,
        phase=Phase.ACTIVE,
        hold=Hold.NONE,
        address="10.100.0.2",
        public_key=PublicKey(key(1)),
        wants_ready=True,
        removing=False,
    )
    state.commit(Changes(nodes=(node,)))
    state.close()


def test_new_records_are_calm_and_the_agents_own(machine: Machine) -> None:
    """They open, use the calm level, belong to the agent's user, and nothing else is left anywhere."""
    records.make(machine.settings())
    found = paths.STATE.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (AGENT.pw_uid, 0o600)
    assert list(paths.STATE.parent.iterdir()) == [paths.STATE]
    assert list(paths.STATE.parent.parent.iterdir()) == [paths.STATE.parent]
    state = State.open(paths.STATE)
    assert state.burst.level_percent == 25
    state.close()


def test_an_interrupted_install_leaves_no_half_records(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while making them there are none; the next time there are whole ones."""
    create = State.create

    def interrupted(path: Path, _: object) -> State:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(State, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        records.make(machine.settings())
    assert not paths.STATE.exists()
    monkeypatch.setattr(State, "create", create)
    records.make(machine.settings())
    State.open(paths.STATE).close()


def test_records_that_exist_are_kept_and_given_back(machine: Machine) -> None:
    """Whoever owns them, with SQLite's own files beside them: the agent's user does afterwards, what they say stays."""
    records.make(machine.settings())
    let_in("i-1")
    reading = State.open(paths.STATE)  # for as long as somebody reads, SQLite's own files stay
    found = sorted(paths.STATE.parent.iterdir())
    for path in found:
        os.chown(path, 0, 0)
    before = paths.STATE.read_bytes()
    records.make(machine.settings())
    assert [path.name for path in found] == ["state.db", "state.db-shm", "state.db-wal"]
    assert {path.stat().st_uid for path in found} == {AGENT.pw_uid}
    assert paths.STATE.read_bytes() == before
    reading.close()


def test_the_servers_are_those_of_the_records(machine: Machine) -> None:
    """None before the first install; afterwards what the agent itself would write, at the level recorded."""
    assert records.desired(machine.settings()).servers == {}
    records.make(machine.settings())
    let_in("i-1")
    (server,) = records.desired(machine.settings(maxconn="maxconn = 80")).servers.values()
    assert (server.name, server.address, server.maxconn) == ("i-1", "10.100.0.2", 20)


def test_records_behind_a_link_are_refused(machine: Machine) -> None:
    """Neither read nor given away."""
    elsewhere = machine.root / "elsewhere.db"
    elsewhere.touch(mode=0o600)
    paths.STATE.symlink_to(elsewhere)
    for act in (records.make, records.desired):
        with pytest.raises(InstallError, match="found a symbolic link"):
            act(machine.settings())
    assert (elsewhere.stat().st_uid, elsewhere.read_bytes()) == (os.geteuid(), b"")
