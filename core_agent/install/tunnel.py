"""``wg0.conf`` as the installer makes it and as it must still be; the peers in it are the agent's business."""

from __future__ import annotations

from core_agent import files, paths
from core_agent.install import ownership
from core_agent.process import run
from settings.tables import Tunnel

_MODE = 0o600


def make(tunnel: Tunnel) -> None:
    """Write the file with a new private key unless there is one, and give it to the agent's user in any case."""
    if not paths.WG_CONF.exists():
        key = run(("wg", "genkey"), doing="making the tunnel's key").strip()
        lines = [f"{name} = {value}" for name, value in _wanted(tunnel).items()]
        # While the tunnel is down, nothing meant for a node may follow the machine's default route to a stranger.
        barrier = f"PreUp = ip route replace unreachable {tunnel.network} metric 4294967295"
        text = "\n".join(["[Interface]", *lines, f"PrivateKey = {key}", barrier, ""])
        files.replace(paths.WG_CONF, text, mode=_MODE)
    ownership.give(paths.WG_CONF, _MODE)


def differences(text: str, tunnel: Tunnel) -> tuple[str, ...]:
    """Return how the interface in ``text`` differs from ``tunnel``, a ``wanted X, found Y`` each. Pure.

    An operator may have given the interface more addresses; only the tunnel's own must be among them (wg-quick(8)).
    """
    found: dict[str, list[str]] = {}
    section = ""
    for line in (line.partition("#")[0].strip() for line in text.splitlines()):
        if line.startswith("["):
            section = line.lower()
        name, _, values = line.partition("=")
        if section == "[interface]" and values:
            found.setdefault(name.strip().lower(), []).extend(value.strip() for value in values.split(","))
    return tuple(
        f"wanted {name} = {value}, found {', '.join(found.get(name.lower(), ())) or 'none'}"
        for name, value in _wanted(tunnel).items()
        if value not in found.get(name.lower(), ())
    )


def _wanted(tunnel: Tunnel) -> dict[str, str]:
    return {
        "Address": f"{tunnel.core_address}/{tunnel.network.prefixlen}",
        "ListenPort": str(tunnel.port),
        "MTU": str(tunnel.mtu),
    }
