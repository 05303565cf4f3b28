"""Reads and sets WireGuard's peers through ``wg``, one call for many; it does not decide which."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core_agent.process import run, start
from core_agent.wireguard.facts import WireguardFacts, parse_dump
from core_agent.wireguard.plan import SetPeer, Step

# Linux takes 2 MiB of arguments by default; a peer needs about 100 bytes.
_PEERS_PER_CALL = 5000


def read(interface: str) -> WireguardFacts:
    """Return what ``interface`` has now. Raises ``CommandFailed`` when it does not exist."""
    return parse_dump(run(("wg", "show", interface, "dump"), doing=f"reading the peers of {interface}"))


def carry_out(interface: str, steps: Sequence[Step]) -> Callable[[], object]:
    """Begin to apply ``steps``, in order, and return what waits for the end; either may raise ``CommandFailed``.

    ``wg set`` touches no peer that is not named.
    """
    *earlier, last = [steps[first : first + _PEERS_PER_CALL] for first in range(0, len(steps), _PEERS_PER_CALL)]
    for batch in earlier:
        _begin(interface, batch)()
    return _begin(interface, last)


def _begin(interface: str, batch: Sequence[Step]) -> Callable[[], object]:
    words = [word for step in batch for word in _words(step)]
    return start(("wg", "set", interface, *words), doing=f"setting {len(batch)} peers of {interface}")


def _words(step: Step) -> tuple[str, ...]:
    if isinstance(step, SetPeer):
        endpoint = ("endpoint", step.endpoint) if step.endpoint else ()
        return ("peer", step.public_key, "allowed-ips", f"{step.address}/32", *endpoint)
    return ("peer", step.public_key, "remove")
