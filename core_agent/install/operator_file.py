"""The operator's own HAProxy file: judged beside the agent's, put in place, loaded, left out when it is broken.

It must not know what either file says, and the agent must not know that there is a second one: whatever stands there,
scaling goes on.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from core_agent import files, paths
from core_agent.errors import CommandFailed, RuntimeApiError
from core_agent.haproxy.config import OURS
from core_agent.haproxy.runtime import RuntimeSession
from core_agent.install import ownership
from core_agent.install.error import InstallError
from core_agent.process import run

_RELOAD_TIMEOUT_S = 10.0
# It may hold passwords; HAProxy reads it before it gives root up.
_MODE = 0o600


def judge(*configuration: Path) -> None:
    """Let HAProxy read these files as one. Raises ``CommandFailed`` with its words when it refuses them."""
    arguments = tuple(word for path in configuration for word in ("-f", str(path.resolve())))
    run(("haproxy", "-c", *arguments), doing=f"checking {' and '.join(path.name for path in configuration)}")


def judge_beside(ours: Path) -> None:
    """Let HAProxy read ``ours`` as root does, with its certificate, and then with the operator's file, if there is one.

    Raises ``CommandFailed``.
    """
    judge(ours)
    if paths.OPERATOR_CFG.exists():
        judge(ours, paths.OPERATOR_CFG)


def put(source: Path | None, *, dry_run: bool) -> None:
    """Make ``source`` the operator's file, or have none, and let a HAProxy that runs load it; print what is done.

    Raises ``CommandFailed`` when HAProxy refuses ``source``: nothing was changed then. Raises ``InstallError`` also
    when a HAProxy that runs does not take up what it accepted, a port that somebody has for example: the former file is
    in place again then.
    """
    if os.geteuid() != 0:
        raise InstallError("putting the operator's file: wanted root, found another user; use sudo")
    if not ownership.read(paths.HAPROXY_CFG).startswith(OURS):
        raise InstallError(
            f"putting the operator's file: wanted a {paths.HAPROXY_CFG} that the agent wrote, found none; install first"
        )
    text = None if source is None else _read(source)
    if source is not None:
        judge(paths.HAPROXY_CFG, source)
    does = f"remove {paths.OPERATOR_CFG}" if source is None else f"put {source} at {paths.OPERATOR_CFG}"
    print(f"{'would ' if dry_run else ''}{does}", flush=True)
    if dry_run:
        return
    if _worker() is not None and not paths.HAPROXY_EXTRA.is_dir():
        raise InstallError(
            f"loading {paths.OPERATOR_CFG}: wanted HAProxy started as {paths.HAPROXY_DROP_IN} says, found one that "
            f"does not look in {paths.HAPROXY_EXTRA}; nothing was changed. `systemctl restart haproxy` and try again"
        )
    former = _read(paths.OPERATOR_CFG) if paths.OPERATOR_CFG.exists() else None
    _place(text)
    try:
        _load()
    except (CommandFailed, InstallError) as error:
        _place(former)
        _load()
        raise InstallError(f"{error}; {paths.OPERATOR_CFG} is as it was before, and HAProxy runs with that") from None


def admit() -> None:
    """Before HAProxy starts: have it read the operator's file too, unless it is none that HAProxy would start with.

    Never fails for that file's sake: users are served without it, and the log says why.
    """
    link = _link()
    link.unlink(missing_ok=True)
    if not paths.OPERATOR_CFG.exists():
        return
    try:
        judge(paths.HAPROXY_CFG, paths.OPERATOR_CFG)
    except CommandFailed as error:
        # The number is the priority that journald takes from the line: an error.
        print(f"<3>starting HAProxy without {paths.OPERATOR_CFG}: {error}".replace("\n", " | "), file=sys.stderr)
        return
    link.symlink_to(paths.OPERATOR_CFG)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError as error:
        raise InstallError(f"reading {path}: {error.strerror}") from None


def _link() -> Path:
    return paths.HAPROXY_EXTRA / paths.OPERATOR_CFG.name


def _place(text: str | None) -> None:
    """Have ``text``, or no file; and the link, when HAProxy was started to look there."""
    if text is None:
        paths.OPERATOR_CFG.unlink(missing_ok=True)
        _link().unlink(missing_ok=True)
        return
    files.replace(paths.OPERATOR_CFG, text, mode=_MODE)
    if paths.HAPROXY_EXTRA.is_dir() and not _link().is_symlink():
        _link().symlink_to(paths.OPERATOR_CFG)


def _load() -> None:
    """Return once a HAProxy that runs has a worker that read the files as they are now; raises ``InstallError``."""
    former = _worker()
    if former is None:
        print("  HAProxy does not run; it reads the file when it starts")
        return
    run(("systemctl", "reload", "haproxy.service"), doing="reloading HAProxy")
    deadline = time.monotonic() + _RELOAD_TIMEOUT_S
    while _worker() in (former, None):
        if time.monotonic() > deadline:
            raise InstallError(
                f"reloading HAProxy: wanted a new worker within {_RELOAD_TIMEOUT_S:g} s, found the former one at work; "
                "`journalctl -u haproxy` says why"
            )
        time.sleep(0.1)


def _worker() -> str | None:
    """Return the process id of the HAProxy that answers, or None when none does."""
    try:
        with RuntimeSession(paths.HAPROXY_SOCKET) as session:
            (answer,) = session.run(["show info"])
    except RuntimeApiError:
        return None
    return next((line for line in answer.splitlines() if line.startswith("Pid:")), None)
