"""The operator's own file beside a HAProxy that runs, started as the drop-in says."""

from __future__ import annotations

import http.client
import os
import signal
import socket
from functools import partial
from pathlib import Path

import pytest

from core_agent import paths
from core_agent.command_line import run as run_agent
from core_agent.errors import CommandFailed
from core_agent.haproxy.plan import SetWeight
from core_agent.host import check_haproxy
from core_agent.install import InstallError, operator_file
from core_agent.process import run
from tests.proxy.conftest import MakeSite
from tests.proxy.proxy_under_test import Proxy, free_port, node, until


@pytest.fixture
def proxy(site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """A running proxy whose files lie where the agent's command looks; a reload is systemd's: SIGUSR2 to the master."""
    proxy, _ = site(5, nodes=1)
    for name, path in (
        ("HAPROXY_CFG", proxy.cfg),
        ("HAPROXY_SOCKET", proxy.socket),
        ("OPERATOR_CFG", tmp_path / "etc/operator.cfg"),
        ("HAPROXY_EXTRA", tmp_path / "extra"),
    ):
        monkeypatch.setattr(paths, name, path)

    def stand_in(argv: tuple[str, ...], *, doing: str) -> str:
        if argv == ("systemctl", "reload", "haproxy.service"):
            assert proxy.process is not None
            os.kill(proxy.process.pid, signal.SIGUSR2)
            return ""
        return run(argv, doing=doing)

    monkeypatch.setattr(operator_file, "run", stand_in)
    monkeypatch.setattr(operator_file, "_RELOAD_TIMEOUT_S", 3.0)
    paths.OPERATOR_CFG.parent.mkdir()
    paths.HAPROXY_EXTRA.mkdir()
    proxy.start([node(2)], beside=paths.HAPROXY_EXTRA)
    return proxy


def words(port: int, says: str = "mine") -> str:
    """Return a frontend of an operator's, which answers ``says`` at ``port``."""
    return (
        f"frontend mine\n    bind 127.0.0.1:{port}\n"
        f'    http-request return status 200 content-type text/plain string "{says}"\n'
    )


def pid(proxy: Proxy) -> str:
    """Return the id of the process that answers the runtime API."""
    (line,) = (line for line in proxy.ask("show info")[0].splitlines() if line.startswith("Pid:"))
    return line


def answer(port: int) -> str:
    """Return what is answered at ``port``; nothing when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except ConnectionRefusedError:
        return ""
    finally:
        connection.close()


def _says(port: int, wanted: str) -> bool:
    return answer(port) == wanted


def test_it_is_put_changed_and_taken_away(proxy: Proxy, tmp_path: Path) -> None:
    """HAProxy serves what it says, for root's eyes alone, while users of the application notice nothing."""
    draft, port = tmp_path / "draft.cfg", free_port()
    for says in ("first", "second"):
        draft.write_text(words(port, says))
        assert run_agent(["operator-file", str(draft)]) == 0
        until(partial(_says, port, says), f"{says} answered")
        assert proxy.get().status == 200
    assert paths.OPERATOR_CFG.stat().st_mode & 0o777 == 0o600
    assert run_agent(["operator-file", "-"]) == 0
    until(lambda: answer(port) == "", "nobody there")
    assert (proxy.get().status, paths.OPERATOR_CFG.exists(), list(paths.HAPROXY_EXTRA.iterdir())) == (200, False, [])


def test_what_haproxy_refuses_changes_nothing(proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its words name the file and the line; neither a file nor a process is touched."""
    draft, before = tmp_path / "draft.cfg", pid(proxy)
    draft.write_text("frontend mine\n    nonsense\n")
    assert run_agent(["operator-file", str(draft)]) == 1
    assert f"parsing [{draft}:2]: unknown keyword 'nonsense'" in capsys.readouterr().err.replace(" :", ":")
    assert not paths.OPERATOR_CFG.exists()
    assert pid(proxy) == before


def test_it_is_judged_beside_ours(proxy: Proxy, tmp_path: Path) -> None:
    """It may send requests to our backend, and may not take our frontend's name."""
    draft = tmp_path / "draft.cfg"
    draft.write_text(f"frontend mine\n    bind 127.0.0.1:{free_port()}\n    default_backend web_nodes\n")
    operator_file.put(draft, dry_run=True)
    draft.write_text(f"frontend fe_web\n    bind 127.0.0.1:{free_port()}\n    default_backend web_nodes\n")
    with pytest.raises(CommandFailed, match="fe_web"):
        operator_file.put(draft, dry_run=True)


def test_a_dry_run_changes_nothing(proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it would do."""
    draft = tmp_path / "draft.cfg"
    draft.write_text(words(free_port()))
    assert run_agent(["operator-file", "--dry-run", str(draft)]) == 0
    assert capsys.readouterr().out == f"would put {draft} at {paths.OPERATOR_CFG}\n"
    assert not paths.OPERATOR_CFG.exists()


def test_what_haproxy_accepts_and_cannot_load_is_undone(proxy: Proxy, tmp_path: Path) -> None:
    """A port that somebody has is nothing that a check finds: the former file is in place again, and serves."""
    good, bad, port = tmp_path / "good.cfg", tmp_path / "bad.cfg", free_port()
    good.write_text(words(port))
    operator_file.put(good, dry_run=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad.write_text(words(taken.getsockname()[1]))
        with pytest.raises(InstallError, match=r"found the former one at work.*as it was before"):
            operator_file.put(bad, dry_run=False)
    assert paths.OPERATOR_CFG.read_text() == good.read_text()
    until(lambda: answer(port) == "mine", "the former file's answer")
    assert proxy.get().status == 200


def test_a_broken_file_does_not_stop_the_next_start(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody edited it by hand, then the machine booted: HAProxy starts with ours, and the journal has its words."""
    proxy.stop()
    paths.OPERATOR_CFG.write_text("frontend mine\n    nonsense\n")
    assert run_agent(["admit-operator-file"]) == 0
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"<3>starting HAProxy without {paths.OPERATOR_CFG}: ")
    assert "unknown keyword 'nonsense'" in complaint
    assert complaint.count("\n") == 1
    proxy.start([node(2)], beside=paths.HAPROXY_EXTRA)
    assert proxy.get().status == 200


def test_a_good_file_is_read_at_the_next_start(proxy: Proxy) -> None:
    """And one that was mended is read again."""
    proxy.stop()
    port = free_port()
    paths.OPERATOR_CFG.write_text(words(port))
    operator_file.admit()
    operator_file.admit()
    proxy.start([node(2)], beside=paths.HAPROXY_EXTRA)
    assert (answer(port), proxy.get().status) == ("mine", 200)


def test_scaling_goes_on_whatever_stands_there(proxy: Proxy) -> None:
    """The agent judges its own file alone, and changes servers at run time."""
    paths.OPERATOR_CFG.write_text("nonsense\n")
    check_haproxy(proxy.cfg)
    proxy.carry_out(SetWeight(name="i-2", weight=3))
    assert proxy.row("i-2")["weight"] == "3"


def test_only_root_may_put_it(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else asks is told so before anything is judged."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InstallError, match="wanted root, found another user"):
        operator_file.put(tmp_path / "draft.cfg", dry_run=False)


def test_a_haproxy_that_knows_of_no_second_file_is_not_reloaded(proxy: Proxy, tmp_path: Path) -> None:
    """It was started before the installer's drop-in: a reload would read the agent's file alone."""
    paths.HAPROXY_EXTRA.rmdir()
    draft = tmp_path / "draft.cfg"
    draft.write_text(words(free_port()))
    with pytest.raises(InstallError, match=r"systemctl restart haproxy"):
        operator_file.put(draft, dry_run=False)


def test_a_machine_without_drawbridge_is_told_so(proxy: Proxy, tmp_path: Path) -> None:
    """Debian's own file says nothing about whether yours goes with the agent's."""
    paths.HAPROXY_CFG.write_text("# Debian's\n")
    with pytest.raises(InstallError, match="that the agent wrote, found none; install first"):
        operator_file.put(tmp_path / "good.cfg", dry_run=True)
