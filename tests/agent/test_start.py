"""Starting on a machine that has lost something: refused in words, nothing touched."""

from __future__ import annotations

from pathlib import Path

import pytest

import settings
from core_agent import command_line, paths
from core_agent.contract.names import Reason
from core_agent.errors import CommandFailed, FileFailed, StateError
from core_agent.files import replace
from core_agent.haproxy import config
from core_agent.host import Host
from core_agent.roll import Burst
from core_agent.wireguard.conf import MARK

CALM = Burst(level_percent=25, reason=Reason("test"))
CONF = "[Interface]\nPrivateKey = x\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose files lie in a folder; it has a tunnel and no records."""
    monkeypatch.setattr(paths, "STATE", tmp_path / "state.db")
    monkeypatch.setattr(paths, "WG_CONF", tmp_path / "wg0.conf")
    (tmp_path / "wg0.conf").write_text(CONF)
    return tmp_path


def test_lost_records_do_not_empty_the_fleet(machine: Path) -> None:
    """With nodes in wg0.conf and no records the agent refuses to start: an empty start would remove them."""
    text = f"{CONF}\n{MARK}\n\n# node i-1\n[Peer]\n"
    (machine / "wg0.conf").write_text(text)
    with pytest.raises(StateError, match="names 1 nodes, which an empty start would remove: nothing was touched"):
        command_line._state()
    assert [path.name for path in machine.iterdir()] == ["wg0.conf"]


def test_a_core_that_was_never_installed_says_so(machine: Path) -> None:
    """Nothing to lose, and still no silent beginning."""
    with pytest.raises(StateError, match=r"run `agent\.pyz install` once"):
        command_line._state()
    assert [path.name for path in machine.iterdir()] == ["wg0.conf"]


def test_a_configuration_that_haproxy_refuses_is_never_written(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running file stays, the error has HAProxy's own words."""
    cfg = machine / "haproxy.cfg"
    cfg.write_text("what runs\n")
    monkeypatch.setattr(config, "head", lambda *_: "nonsense\n")
    host = Host(settings.load(Path("drawbridge.toml")), wg_conf=machine / "wg0.conf", haproxy_cfg=cfg)
    with pytest.raises(CommandFailed, match="unknown keyword 'nonsense'"):
        host.write_servers({}, CALM)
    assert cfg.read_text() == "what runs\n"


def test_a_file_in_another_encoding_is_replaced_not_feared(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Latin-1 byte in haproxy.cfg: the file is simply not what it should be; in wg0.conf the operator keeps it."""
    monkeypatch.setattr("core_agent.host.check_haproxy", lambda _: None)
    (machine / "haproxy.cfg").write_bytes(b"# caf\xe9\n")
    (machine / "wg0.conf").write_bytes(b"# caf\xe9\n[Interface]\nPrivateKey = x\n")
    host = Host(
        settings.load(Path("drawbridge.toml")), wg_conf=machine / "wg0.conf", haproxy_cfg=machine / "haproxy.cfg"
    )
    host.write_servers({}, CALM)
    host.write_peers({}, {})
    assert b"caf" not in (machine / "haproxy.cfg").read_bytes()
    assert (machine / "wg0.conf").read_bytes().startswith(b"# caf\xe9\n[Interface]")


def test_a_full_disk_is_an_error_of_the_tree(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be tried again, the former file is there, and no draft is left."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FileFailed, match="No space left on device") as caught:
        replace(machine / "wg0.conf", "new", mode=0o600)
    assert caught.value.retryable
    assert (machine / "wg0.conf").read_text() == CONF
    assert [path.name for path in machine.iterdir()] == ["wg0.conf"]
