"""SSH's one door: the key's entry, sshd's rules, and taking back what sshd refuses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from core_agent import paths
from core_agent.install import InstallError, door
from tests.installer.conftest import KEY, Machine

REFUSAL = "/etc/ssh/sshd_config: line 7: Bad configuration option: NoSuchWord"


@pytest.fixture
def host_key(machine: Machine) -> None:
    """Sshd can start."""
    paths.AUTHORIZED_KEYS.with_name("ssh_host_ed25519_key").touch()


def test_one_key_opens_the_relay_alone(machine: Machine) -> None:
    """The one line restricts everything and forces the relay."""
    door.put_key(KEY)
    assert paths.AUTHORIZED_KEYS.read_text() == f'restrict,command="{paths.RELAY}" {KEY}\n'


def test_the_relay_is_the_zipapps_and_roots_alone_to_change(machine: Machine) -> None:
    """Everybody may run it, whatever root's umask is; what was there is replaced."""
    paths.RELAY.parent.mkdir()
    paths.RELAY.write_text("#!/bin/sh\n# a former one\n")
    before = os.umask(0o077)
    try:
        door.put_relay(machine.zipapp)
    finally:
        os.umask(before)
    assert paths.RELAY.read_text() == Path("core_agent/system/relay").read_text()
    assert stat.filemode(paths.RELAY.stat().st_mode) == "-rwxr-xr-x"


@pytest.mark.usefixtures("host_key")
def test_sshd_judges_the_rules_even_when_nothing_is_started(machine: Machine) -> None:
    """It is asked once the file is there, and has the folder that it demands."""
    machine.watches["sshd -t"] = lambda: (paths.SSHD_DROP_IN.read_text(), paths.SSHD_RUN.stat())
    door.put_rules("drawbridge", starting=False)
    assert machine.ran == ["sshd -t"]
    rules = paths.SSHD_DROP_IN.read_text()
    assert "Match User drawbridge\n" in rules
    assert f"    ForceCommand {paths.RELAY}\n" in rules


def test_without_host_keys_sshd_is_not_asked_before_it_must_start(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image that gets its keys at its first boot can be laid out, and the output says what was not checked."""
    door.put_rules("drawbridge", starting=False)
    assert machine.ran == []
    assert "sshd has no host key yet" in capsys.readouterr().out
    door.put_rules("drawbridge", starting=True)
    assert machine.ran == ["sshd -t"]


@pytest.mark.usefixtures("host_key")
@pytest.mark.parametrize("former", [None, "# the operator's\n"])
def test_rules_that_sshd_refuses_are_taken_back(machine: Machine, former: str | None) -> None:
    """What was there is there again, or nothing is, and the error has sshd's own words."""
    if former is not None:
        paths.SSHD_DROP_IN.write_text(former)
    machine.fails["sshd -t"] = REFUSAL
    with pytest.raises(InstallError, match=f"{REFUSAL}.* is as it was before"):
        door.put_rules("drawbridge", starting=False)
    assert (paths.SSHD_DROP_IN.read_text() if paths.SSHD_DROP_IN.exists() else None) == former


def test_users_are_added_once(machine: Machine) -> None:
    """A user that exists is not added again; the agent joins the SSH user's group, never the other way round."""
    door.add_users("daemon")
    assert machine.ran == ["usermod --append --groups daemon nobody"]
    machine.ran.clear()
    door.add_users("nobody-yet")
    assert [line.split()[0] for line in machine.ran] == ["useradd", "usermod", "usermod"]
    assert machine.ran[0].endswith("--shell /bin/sh nobody-yet")
