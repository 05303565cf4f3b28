"""The units: laying them out, starting them, and hearing the agent's first answer; it knows no configuration."""

from __future__ import annotations

import socket
import time
import zipfile
from pathlib import Path

from core_agent import files, paths
from core_agent.contract.codec import decode_reply, encode_request
from core_agent.contract.messages import FactsReport, ReadFacts
from core_agent.errors import CommandFailed, ContractError
from core_agent.install.error import InstallError
from core_agent.process import run
from settings import Settings

UNITS = ("drawbridge-agent.service", "drawbridge-agent.socket")
_SERVICE, _SOCKET = UNITS
_DROP_IN = "haproxy.service.conf"
_ANSWER_TIMEOUT_S = 15.0
_JOURNAL_LINES = 15


def put_units(zipapp: Path, settings: Settings) -> None:
    """Write the units that ``zipapp`` carries, filled in from ``settings``, and HAProxy's drop-in."""
    metrics_network = settings.tunnel.network if settings.tunnel.metrics_port else ""
    paths.UNITS.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(zipapp) as bundle:
        for name in UNITS:
            text = bundle.read(f"core_agent/system/{name}").decode()
            text = text.replace("@SSH_USER@", settings.core.ssh_user)
            text = text.replace("@METRICS_NETWORK@", str(metrics_network))
            files.replace(paths.UNITS / name, text, mode=0o644)
        paths.HAPROXY_DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        drop_in = bundle.read(f"core_agent/system/{_DROP_IN}").decode()
        files.replace(paths.HAPROXY_DROP_IN, drop_in, mode=0o644)


def stop_agent() -> None:
    """Stop an agent that runs; its socket stays, so a request waits for the next one instead of failing."""
    run(("systemctl", "daemon-reload"), doing="reading the new units")
    run(("systemctl", "stop", _SERVICE), doing="stopping the former agent")


def start() -> None:
    """Start, or reload, everything that the files on disk describe. Raises ``CommandFailed``."""
    # Made by systemd when HAProxy starts with our drop-in: one that runs without has to be started anew, once.
    again = "reload-or-restart" if paths.HAPROXY_EXTRA.is_dir() else "restart"
    for argv in (
        ("systemctl", "enable", "--now", f"wg-quick@{paths.INTERFACE}.service"),
        ("systemctl", "enable", "haproxy.service"),
        ("systemctl", again, "haproxy.service"),
        ("systemctl", "enable", "--now", _SOCKET),
        ("systemctl", "enable", _SERVICE),
        ("systemctl", "restart", _SERVICE),
        ("systemctl", "reload", "ssh.service"),
    ):
        run(argv, doing="starting")


def await_answer(limit_s: float = _ANSWER_TIMEOUT_S) -> None:
    """Return once the agent answers on its socket; raises ``InstallError`` with the journal's last lines."""
    deadline = time.monotonic() + limit_s
    while trouble := _ask(max(0.1, deadline - time.monotonic())):
        if time.monotonic() >= deadline:
            raise InstallError(
                f"starting {_SERVICE}: wanted its answer within {limit_s:g} s, found {trouble}; "
                f"the end of its journal:\n{_journal()}"
            )
        time.sleep(0.2)


def _ask(limit_s: float) -> str:
    """Return what kept the agent from telling its facts, or nothing when it told them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limit_s)
        try:
            connection.connect(str(paths.SOCKET))
            connection.sendall(encode_request(ReadFacts(), request_id="install"))
            connection.shutdown(socket.SHUT_WR)
            _, outcome = decode_reply(b"".join(iter(lambda: connection.recv(1 << 16), b"")))
        except OSError as error:
            return f"{paths.SOCKET}: {error.strerror or error}"
        except ContractError as error:
            return str(error)
    return "" if isinstance(outcome, FactsReport) else str(outcome)


def _journal() -> str:
    lines = ("--lines", str(_JOURNAL_LINES), "--no-pager", "--output", "cat")
    try:
        return run(("journalctl", "--unit", _SERVICE, *lines), doing="reading the journal").strip()
    except CommandFailed as error:
        return str(error)
