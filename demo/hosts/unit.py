"""What systemd would start: knows the few directives of a unit that decide as whom and with what a service runs.

It must not know any particular service. The demo's hosts have no systemd; reading the installed unit keeps what they
start equal to what a core starts. Directives that only take rights away beyond these are listed, and skipped; one that
is not known is an error, so that the demo can never silently differ. Source: systemd.exec(5), systemd.socket(5).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from demo.hosts.errors import HostError

_SKIPPED_PREFIXES = ("Protect", "Private", "Restrict", "SystemCall", "Lock", "MemoryDeny", "Remove", "IPAddress")
_SKIPPED = {
    "ReadWritePaths",
    "ReadOnlyPaths",
    "ProcSubset",
    "Restart",
    "RestartSec",
    "Type",
    "Backlog",
    "TriggerLimitIntervalSec",
}
_SERVICE = {"ExecStart", "User", "Group", "AmbientCapabilities", "CapabilityBoundingSet", "NoNewPrivileges", "UMask"}
_SOCKET = {"ListenStream", "SocketUser", "SocketGroup", "SocketMode", "DirectoryMode"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A `.service` unit: the program, whose it is, and the capabilities it keeps, all as setpriv(1) spells them."""

    argv: tuple[str, ...]
    user: str
    group: str
    capabilities: str
    umask: str

    def confined(self) -> tuple[str, ...]:
        """The argv that starts the program with this identity and these capabilities, and no way to more."""
        limits = tuple(f"--{kind}-caps={self.capabilities}" for kind in ("inh", "ambient"))
        identity = (f"--reuid={self.user}", f"--regid={self.group}", "--init-groups", "--no-new-privs")
        bounding = f"--bounding-set={self.capabilities}"
        return ("setpriv", *identity, *limits, bounding, *self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """A `.socket` unit of one Unix socket: where it is and who may connect; modes are octal words."""

    path: str
    user: str
    group: str
    mode: str
    directory_mode: str


def parse_service(text: str, *, source: str) -> Service:
    """Return the service that ``text`` describes; raises ``HostError`` naming what is missing or unknown."""
    found = _directives(text, "Service", _SERVICE, source)
    _require(found, ("ExecStart", "User", "Group", "AmbientCapabilities", "CapabilityBoundingSet"), source)
    if found["AmbientCapabilities"] != found["CapabilityBoundingSet"] or found.get("NoNewPrivileges") != "yes":
        raise HostError(f"reading {source}: wanted equal ambient and bounding capabilities and NoNewPrivileges=yes")
    names = found["AmbientCapabilities"].split()
    return Service(
        argv=tuple(shlex.split(found["ExecStart"])),
        user=found["User"],
        group=found["Group"],
        capabilities=",".join(("-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names))),
        umask=found.get("UMask", "0022"),
    )


def parse_socket(text: str, *, source: str) -> Socket:
    """Return the socket that ``text`` describes; raises ``HostError`` naming what is missing or unknown."""
    found = _directives(text, "Socket", _SOCKET, source)
    _require(found, ("ListenStream", "SocketUser", "SocketGroup", "SocketMode"), source)
    return Socket(
        path=found["ListenStream"],
        user=found["SocketUser"],
        group=found["SocketGroup"],
        mode=found["SocketMode"],
        directory_mode=found.get("DirectoryMode", "0755"),
    )


def _directives(text: str, section: str, known: set[str], source: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    current = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            current = line.strip("[]")
        if current != section or "=" not in line or line.startswith(("#", ";")):
            continue
        name, _, value = line.partition("=")
        if name in known:
            found[name] = value
        elif name not in _SKIPPED and not name.startswith(_SKIPPED_PREFIXES):
            raise HostError(f"reading {source}: wanted directives that the demo can follow, found {name}")
    return found


def _require(found: Mapping[str, str], names: tuple[str, ...], source: str) -> None:
    for name in names:
        if name not in found:
            raise HostError(f"reading {source}: wanted {name}, found none")
