"""What hands do to a core behind the agent's back, by name; each leaves something for the agent to mend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from core_agent.wireguard.conf import MARK
from tests.agent.walk.machine import Machine
from tests.agent.walk.proxy import Proxy, RunningServer
from tests.agent.walk.tunnel import OPERATORS_KEY

_STRANGERS_KEY = "c3RyYW5nZXItc3RyYW5nZXItc3RyYW5nZXItc3RyYTA="


def _node_key(machine: Machine, which: int) -> str | None:
    keys = [key for key in machine.tunnel.peers if key != OPERATORS_KEY]
    return keys[which % len(keys)] if keys else None


def _take_peer(machine: Machine, which: int) -> bool:
    key = _node_key(machine, which)
    return key is not None and machine.tunnel.peers.pop(key, None) is not None


def _move_peer(machine: Machine, which: int) -> bool:
    key = _node_key(machine, which)
    if key is not None:
        machine.tunnel.put(key, f"10.100.0.{2 + which % 5}/32")
    return key is not None


def _widen_peer(machine: Machine, which: int) -> bool:
    key = _node_key(machine, which)
    if key is not None:
        machine.tunnel.peers[key].addresses += ("10.100.0.6/32",)
    return key is not None


def _add_stranger(machine: Machine, which: int) -> bool:
    machine.tunnel.put(_STRANGERS_KEY, f"10.100.0.{2 + which % 5}/32")
    return True


PEER_DRIFTS: Mapping[str, Callable[[Machine, int], bool]] = MappingProxyType(
    {
        "a peer is removed": _take_peer,
        "a peer gets another address": _move_peer,
        "a peer gets a second address": _widen_peer,
        "a stranger gets an address of the tunnel's": _add_stranger,
    }
)


def _state(mode: str) -> Callable[[Machine, str], None]:
    def change(machine: Machine, name: str) -> None:
        server = machine.proxy.servers[name]
        server.mode, server.checking = mode, mode != "maint"

    return change


def _set(**values: object) -> Callable[[Machine, str], None]:
    def change(machine: Machine, name: str) -> None:
        for field, value in values.items():
            setattr(machine.proxy.servers[name], field, value)

    return change


def _delete(machine: Machine, name: str) -> None:
    del machine.proxy.servers[name]


def _double(machine: Machine, name: str) -> None:
    found = machine.proxy.servers[name]
    machine.proxy.servers["i-stranger"] = RunningServer(
        name="i-stranger", id=77, address=found.address, port=found.port, weight=9, maxconn=9
    )


SERVER_DRIFTS: Mapping[str, Callable[[Machine, str], None]] = MappingProxyType(
    {
        "a server is deleted": _delete,
        "a server is closed": _state("maint"),
        "a server is drained": _state("drain"),
        "a server is opened": _state("ready"),
        "a server's weight is set to 0": _set(weight=0),
        "a server's weight is set to 256": _set(weight=256),
        "a server's slots are changed": _set(maxconn=1),
        "a server's check is stopped": _set(checking=False),
        "a server gets another address": _set(address="10.100.0.6"),
        "a stranger is added beside a server": _double,
    }
)


def _let_the_edge_open(proxy: Proxy, _: str) -> None:
    proxy.variables["edge_closed"] = 1 - proxy.variables["edge_closed"]


def _keep_slots_free(proxy: Proxy, _: str) -> None:
    proxy.variables["reserve_1"] += 3


def _take_slots(proxy: Proxy, name: str) -> None:
    proxy.servers[name].maxconn = 2


CORE_DRIFTS: Mapping[str, Callable[[Proxy, str], None]] = MappingProxyType(
    {
        "the edge is closed or opened": _let_the_edge_open,
        "slots of the core's are kept free": _keep_slots_free,
        "the core's slots are changed": _take_slots,
    }
)


def _cut_peers(machine: Machine) -> None:
    machine.wg_conf.write_text(machine.conf.split(MARK)[0])


def _strange_peer(machine: Machine) -> None:
    section = f"\n[Peer]\nPublicKey = {_STRANGERS_KEY}\nAllowedIPs = 10.100.0.3/32\n"
    machine.wg_conf.write_text(machine.conf + section)


def _empty_cfg(machine: Machine) -> None:
    machine.haproxy_cfg.write_text("# nothing left\n")


def _delete_cfg(machine: Machine) -> None:
    machine.haproxy_cfg.unlink(missing_ok=True)


def _open_cfg(machine: Machine) -> None:
    machine.haproxy_cfg.write_text(machine.cfg.replace(" disabled\n", "\n") + "# opened\n")


FILE_EDITS: Mapping[str, Callable[[Machine], None]] = MappingProxyType(
    {
        "wg0.conf loses its nodes": _cut_peers,
        "wg0.conf gets a stranger": _strange_peer,
        "haproxy.cfg is emptied": _empty_cfg,
        "haproxy.cfg is deleted": _delete_cfg,
        "haproxy.cfg opens every server": _open_cfg,
    }
)
