"""The whole installation: what is found before anything is done, the order of the rest, and doing it again."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
from pathlib import Path

import pytest

from core_agent import paths
from core_agent.contract.names import Reason, ServerName
from core_agent.errors import CommandFailed, StateError
from core_agent.haproxy import config
from core_agent.install import InstallError, ground, services
from core_agent.recovery import open_or_rebuild
from core_agent.roll import Capacity, Changes
from core_agent.state import State
from tests.agent.written_files import two_nodes
from tests.installer.conftest import AGENT, KEY, Machine


@pytest.fixture(autouse=True)
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that answers at once."""
    monkeypatch.setattr(services, "await_answer", lambda: None)


def test_a_second_time_changes_nothing(machine: Machine) -> None:
    """Same settings, same files: key, records and configuration stay, and nothing is left lying around."""
    machine.install()
    first = machine.files()
    machine.install()
    assert machine.files() == first
    assert not [name for name in first if "new" in name or "before" in name]


def test_haproxy_reloads_what_no_former_agent_can_write_over(machine: Machine) -> None:
    """The agent is stopped, then the file is written, then HAProxy is reloaded, then the agent started."""
    machine.install()
    paths.HAPROXY_EXTRA.mkdir()  # as systemd does when HAProxy starts
    machine.ran.clear()
    seen: list[str] = []
    for moment in ("systemctl stop drawbridge-agent.service", "systemctl reload-or-restart haproxy.service"):
        machine.watches[moment] = lambda: seen.append(_slots())
    machine.install(machine.text(maxconn="maxconn = 37"))
    assert seen == ["50", "37"]
    wanted = ["stop drawbridge-agent.service", "reload-or-restart haproxy.service", "restart drawbridge-agent.service"]
    assert [word for line in machine.ran if (word := line.removeprefix("systemctl ")) in wanted] == wanted


def test_a_haproxy_that_knows_of_no_second_file_is_started_anew(machine: Machine) -> None:
    """A reload would keep the arguments that it was started with; the drop-in says which it needs."""
    machine.install()
    assert "systemctl restart haproxy.service" in machine.ran
    assert f"-f {Path('/run/drawbridge-haproxy')}" in paths.HAPROXY_DROP_IN.read_text()


def test_an_operators_file_that_no_longer_fits_stops_the_installation(machine: Machine) -> None:
    """The settings are not installed: HAProxy would leave the operator's file out at its next start."""
    machine.install()
    before = paths.HAPROXY_CFG.read_bytes()
    paths.OPERATOR_CFG.write_text("frontend mine\n    bind 127.0.0.1:1\n    default_backend of-nobody\n")
    with pytest.raises(CommandFailed, match=r"checking haproxy\.cfg and operator\.cfg: (.|\n)*of-nobody"):
        machine.install(machine.text(maxconn="maxconn = 37"))
    assert paths.HAPROXY_CFG.read_bytes() == before


def _slots() -> str:
    found = re.search(r"server no-primary .* maxconn (\d+)", paths.HAPROXY_CFG.read_text())
    return found[1] if found else "none"


def test_a_former_door_is_replaced(machine: Machine) -> None:
    """An agent from before the relay was a script: key and rules lead to the script, which is there before they do."""
    machine.install()
    former = "/usr/bin/python3 -I -S /usr/lib/drawbridge/agent.pyz relay"
    for path in (paths.AUTHORIZED_KEYS, paths.SSHD_DROP_IN):
        path.write_text(path.read_text().replace(str(paths.RELAY), former))
    paths.RELAY.unlink()
    machine.watches["sshd -t"] = paths.RELAY.stat
    machine.install()
    for path in (paths.AUTHORIZED_KEYS, paths.SSHD_DROP_IN):
        assert former not in path.read_text()
        assert str(paths.RELAY) in path.read_text()


def test_without_starting_systemd_is_not_touched(machine: Machine) -> None:
    """Everything is laid out; no unit is started, stopped or reloaded."""
    machine.install(start=False)
    assert not [line for line in machine.ran if line.startswith("systemctl")]
    assert _slots() == "50"


def test_a_dry_run_touches_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """It says every action of the real one, word for word."""
    before = machine.files() | {"drawbridge.toml": machine.text().encode()}
    machine.install(dry_run=True)
    said = capsys.readouterr().out
    assert (machine.files(), machine.ran) == (before, [])
    machine.install()
    assert [line for line in capsys.readouterr().out.splitlines() if line[0] != " "] == [
        line.removeprefix("would ") for line in said.splitlines()
    ]


def test_what_others_must_read_is_readable_whatever_roots_umask_is(machine: Machine) -> None:
    """With umask 077: the agent's and the SSH user can reach zipapp and settings, and nobody else the secrets."""
    before = os.umask(0o077)
    try:
        machine.install()
        machine.install()
    finally:
        os.umask(before)
    modes = {
        path: stat.filemode(path.stat().st_mode)
        for path in (
            paths.ZIPAPP.parent,
            paths.ZIPAPP,
            paths.RELAY,
            paths.SETTINGS.parent,
            paths.SETTINGS,
            paths.WG_CONF,
        )
    }
    assert list(modes.values()) == ["drwxr-xr-x", "-rwxr-xr-x", "-rwxr-xr-x", "drwxr-xr-x", "-rw-r--r--", "-rw-------"]
    assert {path.stat().st_uid for path in (paths.WG_CONF, paths.HAPROXY_CFG, paths.STATE)} == {AGENT.pw_uid}


def test_the_operators_haproxy_file_is_kept(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, under a name that the output says; the agent's own file is not kept at an upgrade."""
    paths.HAPROXY_CFG.parent.mkdir()
    paths.HAPROXY_CFG.write_text("# Debian's\n")
    machine.install()
    kept = paths.HAPROXY_CFG.with_name("haproxy.cfg.before-drawbridge")
    assert kept.read_text() == "# Debian's\n"
    assert f"keeping the former file as {kept}" in capsys.readouterr().out
    machine.install(machine.text(maxconn="maxconn = 37"))
    assert {path.name for path in paths.HAPROXY_CFG.parent.iterdir()} == {"haproxy.cfg", kept.name}


def test_settings_that_haproxy_refuses_are_not_installed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words, before zipapp, settings or a running agent are touched."""
    machine.install()
    machine.ran.clear()
    before = machine.files()
    monkeypatch.setattr(config, "render", lambda *_: "nonsense\n")
    with pytest.raises(CommandFailed, match=r"checking haproxy\.cfg: haproxy exited 1(.|\n)*keyword 'nonsense'"):
        machine.install(machine.text(maxconn="maxconn = 37"))
    assert machine.files() | {"drawbridge.toml": b""} == before | {"drawbridge.toml": b""}
    assert not [line for line in machine.ran if line.startswith("systemctl")]


def test_a_moved_tunnel_is_refused_first(machine: Machine) -> None:
    """Before the first action, in a dry run too, with both values and the way out."""
    machine.install()
    before, text = machine.files(), machine.text(port="port = 4242")
    for dry_run in (False, True):
        machine.ran.clear()
        with pytest.raises(InstallError, match=r"wanted ListenPort = 4242, found 51820; nothing was changed. Put \["):
            machine.install(text, dry_run=dry_run)
        assert machine.ran == []
    assert machine.files() | {"drawbridge.toml": b""} == before | {"drawbridge.toml": b""}


@pytest.fixture
def with_nodes(machine: Machine) -> Machine:
    """An installed core whose agent let i-1 and i-2 in."""
    machine.install()
    for path, text in zip(
        (paths.WG_CONF, paths.HAPROXY_CFG), two_nodes(interface=paths.WG_CONF.read_text()), strict=True
    ):
        path.write_text(text)
    machine.ran.clear()
    return machine


def _phases() -> dict[str, str]:
    state = State.open(paths.STATE)
    state.close()
    return {node.instance: node.phase.value for node in state.nodes.values()}


def test_lost_records_are_rebuilt(with_nodes: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """From the agent's two files, which stay as they are, and only once no agent runs that could still change them."""
    paths.STATE.unlink()
    files = (paths.WG_CONF.read_bytes(), paths.HAPROXY_CFG.read_bytes())
    there: list[bool] = []
    for moment in ("stop drawbridge-agent.service", "restart haproxy.service"):
        with_nodes.watches[f"systemctl {moment}"] = lambda: there.append(paths.STATE.exists())
    with_nodes.install()
    assert there == [False, True]
    assert _phases() == {"i-1": "active", "i-2": "active"}
    assert (paths.WG_CONF.read_bytes(), paths.HAPROXY_CFG.read_bytes()) == files
    assert "  rebuilt from" in capsys.readouterr().out


def test_damaged_records_are_rebuilt_and_kept(with_nodes: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """The damaged ones lie beside the new ones, and the output says where."""
    paths.STATE.write_text("no database at all, only words")
    with_nodes.install()
    kept = paths.STATE.with_name("state.db.damaged")
    assert kept.read_text() == "no database at all, only words"
    assert f"keeping what was left of the former records as {kept}" in capsys.readouterr().out
    assert _phases() == {"i-1": "active", "i-2": "active"}
    assert {path.stat().st_uid for path in (paths.STATE, kept)} == {AGENT.pw_uid}


def test_records_that_cannot_be_rebuilt_stop_the_installation(with_nodes: Machine) -> None:
    """Before the first action, in a dry run too, and in the words that the agent itself would use."""
    paths.STATE.unlink()
    paths.WG_CONF.write_text(
        paths.WG_CONF.read_text().replace("# node i-2 of eu-north-1/drawbridge-edge", "# node i-2")
    )
    before, words = with_nodes.files(), r"no records there; rebuilding them from .*wg0\.conf, line 15: wanted .*Restore"
    for dry_run in (False, True):
        with pytest.raises(StateError, match=words):
            with_nodes.install(dry_run=dry_run)
    with pytest.raises(StateError, match=words):
        open_or_rebuild(with_nodes.settings().tunnel.network, now=0)
    assert (with_nodes.files(), with_nodes.ran) == (before, [])


def test_records_of_a_newer_agent_stop_the_installation(with_nodes: Machine) -> None:
    """Before the first action: they are whole, and this agent cannot read them."""
    with contextlib.closing(sqlite3.connect(paths.STATE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = with_nodes.files()
    with pytest.raises(StateError, match="found 99; install the newer agent again"):
        with_nodes.install()
    assert with_nodes.files().items() >= before.items()
    assert with_nodes.ran == []


def test_records_lost_before_the_first_node_begin_anew(machine: Machine) -> None:
    """Nobody can be lost where no agent ever wrote of anybody."""
    machine.install()
    paths.STATE.write_text("no database at all, only words")
    machine.install()
    assert _phases() == {}


def test_a_planted_link_stops_the_installation(machine: Machine) -> None:
    """What it leads to keeps its owner, and no private key is made beside it."""
    elsewhere = machine.root / "shadow"
    elsewhere.write_text("root's own\n")
    paths.WG_CONF.parent.mkdir()
    paths.WG_CONF.symlink_to(elsewhere)
    with pytest.raises(InstallError, match=r"wg0\.conf: wanted a regular file, found a symbolic link; remove it"):
        machine.install()
    assert (elsewhere.stat().st_uid, elsewhere.read_text()) == (0, "root's own\n")


def test_a_disk_that_refuses_is_one_clear_line(machine: Machine) -> None:
    """The action that failed is named; it can be run again."""
    paths.SETTINGS.parent.touch()
    with pytest.raises(InstallError, match=r"make directories for nobody: .*File exists.*install again"):
        machine.install()
    paths.SETTINGS.parent.unlink()
    machine.install()


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "wanted one public key"),
        (f"{KEY}\n{KEY}", "wanted one public key"),
        ('command="/bin/sh" ' + KEY, "wanted one public key"),
        (f'{KEY} "quoted"', "wanted one public key"),
    ],
)
def test_only_one_plain_public_key_is_let_in(machine: Machine, key: str, says: str) -> None:
    """No options, no second line, no quote that could end the entry."""
    with pytest.raises(InstallError, match=says):
        ground.check_arguments(key, machine.zipapp)


def test_what_is_not_the_agent_is_not_installed(machine: Machine, tmp_path: Path) -> None:
    """A file that is no zipapp is refused by name."""
    with pytest.raises(InstallError, match="wanted the zipapp that"):
        ground.check_arguments(KEY, Path(__file__))


def test_a_machine_without_the_programs_is_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are missing at once, and what to install."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(ground, "_PROGRAMS", ("sh-that-is-not", "sshd", "haproxy-that-is-not"))
    with pytest.raises(InstallError, match="found no sh-that-is-not, haproxy-that-is-not; apt-get install wireguard"):
        ground.check_machine()


def test_somebody_else_than_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is looked for."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InstallError, match="wanted root, found another user; use sudo"):
        ground.check_machine()


def test_slots_that_an_operator_set_outlive_the_settings(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """An installation with another maxconn tells of them, and of those whose server the settings no longer have."""
    machine.install()
    state = State.open(paths.STATE)
    for name, slots in (("no-primary", 60), ("no-former", 70)):
        told = Capacity(slots=slots, reason=Reason("measured"))
        state.commit(Changes(capacity=(ServerName(name), told)))
    state.close()
    machine.install(machine.text(maxconn="maxconn = 37"))
    said = capsys.readouterr().out
    assert "no-primary keeps the 60 slots that an operator set: `fab capacity no-primary configured WHY` ends" in said
    assert "no-former would have the 70 slots" in said
    assert " weight 1 maxconn 60 " in paths.HAPROXY_CFG.read_text()
