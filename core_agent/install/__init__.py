"""Lays the agent out on a core: users, folders, keys, first configuration, SSH's one door, units; idempotent.

It installs no package and opens no port; it never replaces a private key or records that exist.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import settings
from core_agent import files, paths
from core_agent.install import door, ground, proxy, records, services, tunnel
from core_agent.install.error import InstallError

__all__ = ["InstallError", "install"]


@dataclass(frozen=True, slots=True)
class _Action:
    """One thing to do, and the sentence that says so."""

    says: str
    do: Callable[[], object]


def install(*, config: Path, authorized_key: str, zipapp: Path, start: bool, dry_run: bool) -> None:
    """Print and carry out every action; what can be known to be wrong is found before the first.

    Raises ``SettingsError`` and ``InstallError``, and what the action at fault raises: every one can be run again.
    """
    loaded = settings.load(config)
    ground.check_arguments(authorized_key, zipapp)
    if not dry_run:
        ground.check_machine()
    if os.geteuid() == 0:  # nobody else may look
        ground.check_former_install(loaded)
    for action in _actions(loaded, config, authorized_key, zipapp, start=start):
        print(f"{'would ' if dry_run else ''}{action.says}", flush=True)
        if not dry_run:
            _carry_out(action)


def _carry_out(action: _Action) -> None:
    try:
        action.do()
    except OSError as error:
        raise InstallError(f"installing, to {action.says}: {error}; mend it and install again") from None


def _actions(
    loaded: settings.Settings, config: Path, authorized_key: str, zipapp: Path, *, start: bool
) -> tuple[_Action, ...]:
    """Return the actions. HAProxy's judgement comes before what counts at the next start: zipapp and settings.

    The records and ``haproxy.cfg`` are made while no agent runs: a former one would go on by its own.
    """
    user = loaded.core.ssh_user
    layout = (
        _Action(f"add the user {paths.AGENT_USER}, which runs the agent", lambda: door.add_users(user)),
        _Action("let HAProxy check what the settings make of its configuration", lambda: proxy.check(loaded)),
        _Action(f"make directories for {paths.AGENT_USER}", _make_directories),
        _Action(f"put the relay at {paths.RELAY}", lambda: door.put_relay(zipapp)),
        _Action(f"put the agent at {paths.ZIPAPP}", lambda: _put_zipapp(zipapp)),
        _Action(
            f"put the settings at {paths.SETTINGS}",
            lambda: files.replace(paths.SETTINGS, config.read_text(), mode=0o644),
        ),
        _Action(f"make {paths.WG_CONF} with a new key, unless there is one", lambda: tunnel.make(loaded.tunnel)),
        _Action(f"let one key in as {user}, to the relay alone", lambda: door.put_key(authorized_key)),
        _Action(
            f"write {paths.SSHD_DROP_IN}, checked by sshd",
            lambda: door.put_rules(user, starting=start),
        ),
        _Action(
            f"write {', '.join(services.UNITS)} and {paths.HAPROXY_DROP_IN}", lambda: services.put_units(zipapp, loaded)
        ),
    )
    configure = (
        _Action(f"make {paths.STATE}, unless it is there and whole", lambda: records.make(loaded)),
        _Action(
            f"write {paths.HAPROXY_CFG} from the settings and the records, checked by HAProxy",
            lambda: proxy.write(loaded),
        ),
    )
    if not start:
        return (*layout, *configure)
    return (
        *layout,
        _Action("stop the agent, if one runs", services.stop_agent),
        *configure,
        _Action("start the tunnel, HAProxy and the agent; reload sshd", services.start),
        _Action("wait for the agent's answer", services.await_answer),
    )


def _make_directories() -> None:
    owner = pwd.getpwnam(paths.AGENT_USER)
    for path, mode in (
        (paths.STATE.parent, 0o700),
        (paths.WG_CONF.parent, 0o700),
        (paths.HAPROXY_CFG.parent, 0o755),
        (paths.SOCKET.parent, 0o755),
    ):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        os.chown(path, owner.pw_uid, owner.pw_gid)
    # Read by the agent's and the SSH user, whatever root's umask is.
    for path in (paths.SETTINGS.parent, paths.ZIPAPP.parent):
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o755)


def _put_zipapp(zipapp: Path) -> None:
    if zipapp != paths.ZIPAPP:
        draft = paths.ZIPAPP.with_suffix(".new")
        shutil.copyfile(zipapp, draft)
        draft.chmod(0o755)
        draft.replace(paths.ZIPAPP)
    paths.ZIPAPP.chmod(0o755)
