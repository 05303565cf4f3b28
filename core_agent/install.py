"""Lays the agent out on a core: users, directories, keys, first configuration, SSH's one door, units; idempotent.

It installs no package and opens no port; it never replaces a private key or records that exist.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import settings
from core_agent import files, paths
from core_agent.contract.names import Reason, shown
from core_agent.errors import DrawbridgeError
from core_agent.fleet import Burst
from core_agent.haproxy import config as haproxy_config
from core_agent.host import check_haproxy
from core_agent.process import run
from core_agent.state import State

_KEY = re.compile(
    r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,}={0,2}(?: [^\x00-\x1f\x7f\"]*)?"
)
_PROGRAMS = ("wg", "wg-quick", "haproxy", "sshd")
_RELAY = f"/usr/bin/python3 -I -S {paths.ZIPAPP} relay"
_AUTHORIZED_KEYS = Path("/etc/ssh/drawbridge_authorized_keys")
_SSHD_DROP_IN = Path("/etc/ssh/sshd_config.d/50-drawbridge.conf")
_UNITS = Path("/etc/systemd/system")
_UNIT_NAMES = ("drawbridge-agent.service", "drawbridge-agent.socket")
_OURS = "# Written by the drawbridge agent"

_SSHD = """\
# Written by `agent.pyz install`. A scale-out opens a connection per function at once, more than sshd's default admits.
MaxStartups 100:30:300

# The key of this user opens one door: the relay to the agent's socket.
Match User {user}
    AuthorizedKeysFile {keys}
    AuthenticationMethods publickey
    ForceCommand {relay}
    DisableForwarding yes
    PermitTTY no
    PermitUserRC no
Match all
"""

_WG_CONF = """\
[Interface]
Address = {address}/{prefix}
ListenPort = {port}
MTU = {mtu}
PrivateKey = {private_key}
"""


class InstallError(DrawbridgeError):
    """This machine is not ready to be a core; nothing was changed."""


@dataclass(frozen=True, slots=True)
class _Action:
    """One thing to do, and the sentence that says so."""

    says: str
    do: Callable[[], object]


def install(*, config: Path, authorized_key: str, zipapp: Path, start: bool, dry_run: bool) -> None:
    """Print and carry out every action. Raises ``InstallError`` or ``SettingsError`` before the first one."""
    loaded = settings.load(config)
    if not _KEY.fullmatch(authorized_key):
        raise InstallError(
            f"--authorized-key: wanted one public key as in id_ed25519.pub, found {shown(authorized_key)}"
        )
    if not zipfile.is_zipfile(zipapp):
        raise InstallError(f"installing {zipapp}: wanted the zipapp that `python -m core_agent.build` makes")
    if not dry_run:
        _check_machine()
    for action in _actions(loaded, config, authorized_key, zipapp, start=start):
        print(f"{'would ' if dry_run else ''}{action.says}")
        if not dry_run:
            action.do()


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise InstallError("installing: wanted root, found another user; use sudo")
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [program for program in _PROGRAMS if shutil.which(program, path=search) is None]
    if missing:
        raise InstallError(
            f"installing: wanted {', '.join(_PROGRAMS)}, found no {', '.join(missing)}; "
            "apt-get install wireguard-tools haproxy openssh-server"
        )


def _actions(
    loaded: settings.Settings, config: Path, authorized_key: str, zipapp: Path, *, start: bool
) -> list[_Action]:
    user = loaded.core.ssh_user
    actions = [
        _Action(f"add the user {paths.AGENT_USER}, which runs the agent", lambda: _add_users(user)),
        _Action(f"make directories for {paths.AGENT_USER}", _make_directories),
        _Action(f"put the agent at {paths.ZIPAPP}", lambda: _put_zipapp(zipapp)),
        _Action(f"put the settings at {paths.SETTINGS}", lambda: _put(paths.SETTINGS, config.read_text(), 0o644)),
        _Action(f"make {paths.WG_CONF} with a new key, unless there is one", lambda: _make_wg_conf(loaded)),
        _Action(f"make {paths.STATE}, unless there is one", lambda: _make_state(loaded)),
        _Action(f"write {paths.HAPROXY_CFG}, unless the agent's is there", lambda: _make_haproxy_cfg(loaded)),
        _Action(
            f"let one key in as {user}, to the relay alone",
            lambda: _put(_AUTHORIZED_KEYS, f'restrict,command="{_RELAY}" {authorized_key}\n', 0o644),
        ),
        _Action(
            f"write {_SSHD_DROP_IN}",
            lambda: _put(_SSHD_DROP_IN, _SSHD.format(user=user, keys=_AUTHORIZED_KEYS, relay=_RELAY), 0o644),
        ),
        _Action(f"write {', '.join(_UNIT_NAMES)}", lambda: _put_units(user)),
    ]
    if start:
        actions.append(_Action("start the tunnel, HAProxy and the agent; reload sshd", _start))
    return actions


def _add_users(user: str) -> None:
    for name, shell in ((paths.AGENT_USER, "/usr/sbin/nologin"), (user, "/bin/sh")):
        try:
            pwd.getpwnam(name)
        except KeyError:
            argv = (
                "useradd",
                "--system",
                "--user-group",
                "--home-dir",
                str(paths.ZIPAPP.parent),
                "--shell",
                shell,
                name,
            )
            run(argv, doing=f"adding the user {name}")
            # A locked password ('!') would make sshd refuse the key too where PAM is off; '*' just matches nothing.
            run(("usermod", "--password", "*", name), doing=f"setting no password for {name}")
    run(("usermod", "--append", "--groups", user, paths.AGENT_USER), doing=f"adding {paths.AGENT_USER} to {user}")


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
    for path in (paths.SETTINGS.parent, paths.ZIPAPP.parent):
        path.mkdir(parents=True, exist_ok=True)


def _put(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, text, mode=mode)


def _put_owned(path: Path, text: str, mode: int, check: Callable[[Path], None] | None = None) -> None:
    files.replace(path, text, mode=mode, check=check)
    owner = pwd.getpwnam(paths.AGENT_USER)
    os.chown(path, owner.pw_uid, owner.pw_gid)


def _put_zipapp(zipapp: Path) -> None:
    if zipapp == paths.ZIPAPP:
        return
    draft = paths.ZIPAPP.with_suffix(".new")
    shutil.copyfile(zipapp, draft)
    draft.chmod(0o755)
    draft.replace(paths.ZIPAPP)


def _make_wg_conf(loaded: settings.Settings) -> None:
    if paths.WG_CONF.exists():
        owner = pwd.getpwnam(paths.AGENT_USER)
        os.chown(paths.WG_CONF, owner.pw_uid, owner.pw_gid)
        paths.WG_CONF.chmod(0o600)
        return
    tunnel = loaded.tunnel
    text = _WG_CONF.format(
        address=tunnel.core_address,
        prefix=tunnel.network.prefixlen,
        port=tunnel.port,
        mtu=tunnel.mtu,
        private_key=run(("wg", "genkey"), doing="making the tunnel's key").strip(),
    )
    _put_owned(paths.WG_CONF, text, 0o600)


def _make_state(loaded: settings.Settings) -> None:
    if paths.STATE.exists():
        return
    calm = Burst(level_percent=loaded.burst.calm_percent, reason=Reason("installed"))
    State.create(paths.STATE, calm).close()
    owner = pwd.getpwnam(paths.AGENT_USER)
    for path in paths.STATE.parent.glob(f"{paths.STATE.name}*"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
        path.chmod(0o600)


def _make_haproxy_cfg(loaded: settings.Settings) -> None:
    current = files.read(paths.HAPROXY_CFG)
    if current.startswith(_OURS):
        return
    if current:
        kept = paths.HAPROXY_CFG.with_suffix(".cfg.before-drawbridge")
        print(f"  keeping the former file as {kept}")
        shutil.copy2(paths.HAPROXY_CFG, kept)
    _put_owned(paths.HAPROXY_CFG, haproxy_config.render(loaded, ()), 0o644, check=check_haproxy)


def _put_units(user: str) -> None:
    for name in _UNIT_NAMES:
        with zipfile.ZipFile(Path(__file__).parents[1]) as bundle:
            text = bundle.read(f"core_agent/system/{name}").decode()
        _put(_UNITS / name, text.replace("@SSH_USER@", user), 0o644)


def _start() -> None:
    for argv in (
        ("systemctl", "daemon-reload"),
        ("systemctl", "enable", "--now", f"wg-quick@{paths.INTERFACE}.service"),
        ("systemctl", "enable", "haproxy.service"),
        ("systemctl", "reload-or-restart", "haproxy.service"),
        ("systemctl", "enable", "--now", "drawbridge-agent.socket"),
        ("systemctl", "enable", "drawbridge-agent.service"),
        ("systemctl", "restart", "drawbridge-agent.service"),
        ("sshd", "-t"),
        ("systemctl", "reload", "ssh.service"),
    ):
        run(argv, doing="starting")
