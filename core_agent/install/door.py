"""SSH's one door: the user, its key and sshd's rules for it; it knows nothing of what lies behind the relay."""

from __future__ import annotations

import pwd
import zipfile
from pathlib import Path

from core_agent import files, paths
from core_agent.errors import CommandFailed
from core_agent.install.error import InstallError
from core_agent.process import run

_SOURCE = "core_agent/system/relay"

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


def add_users(user: str) -> None:
    """Add the agent's user and the SSH user unless they exist; the agent's joins the other's group, not the reverse."""
    for name, shell in ((paths.AGENT_USER, "/usr/sbin/nologin"), (user, "/bin/sh")):
        try:
            pwd.getpwnam(name)
        except KeyError:
            home = ("--home-dir", str(paths.ZIPAPP.parent))
            argv = ("useradd", "--system", "--user-group", *home, "--shell", shell, name)
            run(argv, doing=f"adding the user {name}")
            # A locked password ('!') would make sshd refuse the key too where PAM is off; '*' just matches nothing.
            run(("usermod", "--password", "*", name), doing=f"setting no password for {name}")
    run(("usermod", "--append", "--groups", user, paths.AGENT_USER), doing=f"adding {paths.AGENT_USER} to {user}")


def put_relay(zipapp: Path) -> None:
    """Write the relay that ``zipapp`` carries, for everybody to run and for root alone to change."""
    with zipfile.ZipFile(zipapp) as bundle:
        files.replace(paths.RELAY, bundle.read(_SOURCE).decode(), mode=0o755)


def put_key(authorized_key: str) -> None:
    """Let ``authorized_key`` alone in, to the relay alone."""
    files.replace(paths.AUTHORIZED_KEYS, f'restrict,command="{paths.RELAY}" {authorized_key}\n', mode=0o644)


def put_rules(user: str, *, starting: bool) -> None:
    """Write sshd's rules and let sshd judge them; when it refuses, put back what was there and raise ``InstallError``.

    Without host keys sshd judges nothing, and is not asked unless it is about to be reloaded.
    """
    former = files.read(paths.SSHD_DROP_IN) if paths.SSHD_DROP_IN.exists() else None
    paths.SSHD_DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    text = _SSHD.format(user=user, keys=paths.AUTHORIZED_KEYS, relay=paths.RELAY)
    files.replace(paths.SSHD_DROP_IN, text, mode=0o644)
    if not starting and not any(paths.AUTHORIZED_KEYS.parent.glob("ssh_host_*_key")):
        print("  sshd has no host key yet, so it could not check this")
        return
    try:
        _check()
    except CommandFailed as error:
        if former is None:
            paths.SSHD_DROP_IN.unlink()
        else:
            files.replace(paths.SSHD_DROP_IN, former, mode=0o644)
        raise InstallError(f"{error}; {paths.SSHD_DROP_IN} is as it was before, and sshd was not reloaded") from None


def _check() -> None:
    # sshd demands this folder even for a check; its unit makes it at the first start, which may be still to come.
    paths.SSHD_RUN.mkdir(mode=0o755, exist_ok=True)
    run(("sshd", "-t"), doing=f"checking {paths.SSHD_DROP_IN}")
