"""What must be true of a machine before the first change is made to it; it changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path

from core_agent import paths
from core_agent.contract.names import shown
from core_agent.install import ownership, records
from core_agent.install.error import InstallError
from core_agent.install.tunnel import differences
from settings import Settings

_KEY = re.compile(
    r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,}={0,2}(?: [^\x00-\x1f\x7f\"]*)?"
)
_PROGRAMS = ("wg", "wg-quick", "haproxy", "sshd", "socat", "useradd", "usermod")


def check_arguments(authorized_key: str, zipapp: Path) -> None:
    """Raise ``InstallError`` unless the key is one line of a public key and ``zipapp`` is what the builder makes."""
    if not _KEY.fullmatch(authorized_key):
        raise InstallError(
            f"--authorized-key: wanted one public key as in id_ed25519.pub, found {shown(authorized_key)}"
        )
    if not zipfile.is_zipfile(zipapp):
        raise InstallError(f"installing {zipapp}: wanted the zipapp that `python -m core_agent.build` makes")


def check_machine() -> None:
    """Raise ``InstallError`` unless this is root on a machine with the programs; makes their folders part of PATH."""
    if os.geteuid() != 0:
        raise InstallError("installing: wanted root, found another user; use sudo")
    # `su` without a dash leaves root without the folders that half of these programs lie in.
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise InstallError(
            f"installing: wanted {', '.join(_PROGRAMS)}, found no {', '.join(missing)}; "
            "apt-get install wireguard-tools haproxy openssh-server socat"
        )


def check_former_install(loaded: Settings) -> None:
    """Raise ``InstallError`` or ``StateError`` when what an earlier install left here is nothing to go on from."""
    conf = ownership.read(paths.WG_CONF)
    found = differences(conf, loaded.tunnel) if conf else ()
    if found:
        raise InstallError(
            f"comparing {paths.WG_CONF} with [tunnel]: {'; '.join(found)}; nothing was changed. Put [tunnel] back as "
            f"the core has it, or change the core first: edit {paths.WG_CONF}, then "
            f"`systemctl restart wg-quick@{paths.INTERFACE}`, then install again"
        )
    records.check(loaded)
