"""What must hold after every step, whatever happened: each rule says it in one sentence and counts as one check.

It reads records, effects and the modelled core, and must not use the agent's own planning to judge it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from core_agent.contract.messages import Hold, Lifecycle, Phase
from core_agent.contract.names import GroupName, InstanceId
from core_agent.roll import Burst, Node
from settings import Settings
from tests.agent.walk.machine import Effect, Machine
from tests.agent.walk.proxy import RunningServer, servers_in, variables_in
from tests.agent.walk.told import Told
from tests.agent.walk.tunnel import CORE_KEY, OPERATORS_KEY, peers_in

FRESH_S = 5.0
TUNNEL = "the tunnel"  # in ``by_hand``, beside the servers
PROGRAMMED = (Phase.ENROLLED, Phase.ACTIVE, Phase.DRAINING)


class Violation(AssertionError):
    """A rule of the house was broken; the message says which and by what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One step: the records and generations ``before`` and after it, and what the agent did to the core meanwhile.

    ``died``: the agent was cut off in it. ``settled``: nothing but the agent has touched the core since a look of its
    that went through, so that the core must be as the records say. ``by_hand``: servers that somebody else touched
    since, and ``TUNNEL``. ``capacity``: slots that an operator set, by core server. ``opened``: when a server was
    opened last, by name. ``released``: who had an address last, and when it was let go.
    """

    settings: Settings
    machine: Machine
    told: Told
    now: float
    before: Mapping[InstanceId, Node]
    nodes: Mapping[InstanceId, Node]
    generations_before: Mapping[GroupName, int]
    generations: Mapping[GroupName, int]
    burst: Burst
    capacity: Mapping[str, int]
    opened: Mapping[str, float]
    effects: Sequence[Effect]
    died: bool
    settled: bool
    by_hand: frozenset[str]
    released: Mapping[str, tuple[InstanceId, float]]


Rule = Callable[[Scene], Iterator[str]]


def check(scene: Scene) -> int:
    """Return how many rules were checked; raises ``Violation`` with every sentence that was broken."""
    broken = [f"{rule.__doc__} {found}" for rule in RULES for found in rule(scene)]
    if broken:
        raise Violation("\n".join(broken))
    return len(RULES)


def _addresses(scene: Scene) -> Iterator[str]:
    """No address is shared, none lies outside the network, and the core's own is never given."""
    given: dict[str, InstanceId] = {}
    network = scene.settings.tunnel.network
    ends = {network.network_address, scene.settings.tunnel.core_address, network.broadcast_address}
    for node in scene.nodes.values():
        if node.address is None:
            continue
        if node.address in given:
            yield f"{node.address} is on record for {given[node.address]} and {node.instance}"
        if (address := IPv4Address(node.address)) not in network or address in ends:
            yield f"{node.instance} has {node.address}"
        given[node.address] = node.instance


def _quarantine(scene: Scene) -> Iterator[str]:
    """A released address is given to nobody else before its quarantine is over."""
    for node in scene.nodes.values():
        holder, since = scene.released.get(node.address or "", (node.instance, 0.0))
        if holder != node.instance and scene.now - since < scene.settings.tunnel.quarantine_s:
            yield f"{node.address} of {holder}, let go {scene.now - since:.0f} s ago, belongs to {node.instance}"


def _keys(scene: Scene) -> Iterator[str]:
    """A key belongs to one instance, is kept while the node is on the core, and is never the core's own."""
    holders: dict[str, InstanceId] = {}
    for node in scene.nodes.values():
        if node.public_key is None:
            continue
        if node.public_key == CORE_KEY:
            yield f"{node.instance} holds the core's key"
        if node.public_key in holders:
            yield f"{node.public_key} is on record for {holders[node.public_key]} and {node.instance}"
        holders[node.public_key] = node.instance
        former = scene.before.get(node.instance)
        if former is not None and former.phase in PROGRAMMED and former.public_key != node.public_key:
            yield f"{node.instance} changed its key while {former.phase}"


def _generations(scene: Scene) -> Iterator[str]:
    """Generations never go back."""
    for group, generation in scene.generations_before.items():
        if scene.generations.get(group, -1) < generation:
            yield f"{group} went from {generation} to {scene.generations.get(group)}"


def _nobody_is_sent_away(scene: Scene) -> Iterator[str]:
    """A node leaves when the cloud said that it is leaving or gone, or an operator did; never for anything else."""
    for instance, node in scene.before.items():
        after = scene.nodes.get(instance)
        stays = after is not None and after.phase not in (Phase.DRAINING, Phase.GONE)
        if node.phase not in (Phase.DRAINING, Phase.GONE) and not stays and instance not in scene.told.leave:
            yield f"{instance} went from {node.phase} to {after.phase if after else 'forgotten'}"
        if node.phase is not Phase.GONE and after is None:
            yield f"{instance} was forgotten while {node.phase}"


def _peers_taken(scene: Scene) -> Iterator[str]:
    """The agent takes away no peer of a node that its records keep, and none before that node's server is gone."""
    kept: dict[str | None, Node] = {node.public_key: node for node in scene.nodes.values() if node.phase in PROGRAMMED}
    known = [*scene.before.values(), *scene.nodes.values()]
    names: dict[str | None, str] = {node.public_key: node.instance for node in known}
    for effect in scene.effects:
        if effect.what != "take peer":
            continue
        if effect.name == OPERATORS_KEY:
            yield "it took the operator's own"
        if effect.name in kept:
            yield f"it took the peer of {kept[effect.name].instance}, which is {kept[effect.name].phase}"
        address = effect.peers.get(effect.name, ())
        routed = [name for name, server in effect.servers.items() if f"{server}/32" in address]
        if names.get(effect.name) in routed:
            yield f"it took the peer of {names[effect.name]} while the server was there"


def _servers_closed(scene: Scene) -> Iterator[str]:
    """The agent closes or deletes an open server only for a reason it was told, or to mend what others did to it."""
    for effect in scene.effects:
        shut = effect.what == "del" or (effect.what == "state" and not effect.detail.endswith("ready"))
        known = effect.name in {*scene.before, *scene.nodes}
        if not shut or effect.mode != "ready" or effect.name in scene.by_hand or not known:
            continue
        if not scene.told.may_close(InstanceId(effect.name)):
            yield f"{effect.name}: {effect}"


def _requests_cut(scene: Scene) -> Iterator[str]:
    """Requests are cut off only after the drain's deadline, or on a machine that is no more, or to mend by hand."""
    for effect in scene.effects:
        instance = InstanceId(effect.name) if effect.what in ("shutdown", "del") and effect.busy else None
        node = None if instance is None else scene.before.get(instance)
        if instance is None or node is None or instance in scene.told.dead or effect.name in scene.by_hand:
            continue
        if node.phase is not Phase.DRAINING or scene.now - node.since < scene.settings.edge.drain_deadline_s:
            yield f"{effect} with {effect.busy} requests, {node.phase} for {scene.now - node.since:.0f} s"


def _servers_added(scene: Scene) -> Iterator[str]:
    """A server is added closed, with a weight of at least 1, and opened only where its peer is."""
    untouched = TUNNEL not in scene.by_hand
    for effect in scene.effects:
        if effect.what == "add" and " weight 0 " in effect.detail:
            yield f"{effect}"
        opened = effect.what == "state" and effect.detail == "state ready"
        tunnelled = f"{effect.servers.get(effect.name)}/32" in {one for peer in effect.peers.values() for one in peer}
        if opened and effect.tunnel_up and untouched and effect.name not in scene.by_hand and not tunnelled:
            yield f"{effect} without a peer"


def _files_first(scene: Scene) -> Iterator[str]:
    """The file says it before the side does: what is put is filed already, what is taken is filed no more."""
    for effect in scene.effects:
        if effect.what == "put peer" and effect.name not in effect.filed_peers:
            yield f"{effect}"
        if effect.what == "take peer" and effect.name in effect.filed_peers:
            yield f"{effect}"
        if effect.what == "add" and effect.name not in effect.filed_servers:
            yield f"{effect}"


def _records_first(scene: Scene) -> Iterator[str]:
    """Nothing is done that the durable records do not say, be the agent cut off wherever it may."""
    keys = {node.public_key for node in [*scene.before.values(), *scene.nodes.values()]}
    for effect in scene.effects:
        if effect.what == "put peer" and effect.name not in keys:
            yield f"{effect}"
        if effect.what == "add" and effect.name not in {*scene.before, *scene.nodes}:
            yield f"{effect}"


def _opened_on_evidence(scene: Scene) -> Iterator[str]:
    """A node turns active on a health check of its own server that was good at the last look, at its own address."""
    for instance, node in scene.nodes.items():
        former = scene.before.get(instance)
        if scene.died or node.phase is not Phase.ACTIVE or (former is not None and former.phase is Phase.ACTIVE):
            continue
        if instance in scene.by_hand:
            continue  # between two looks a server that somebody moved is taken for the one it was
        server = scene.machine.proxy.servers.get(instance)
        good = server is not None and (server.healthy or scene.now - server.good_at <= FRESH_S)
        if server is None or not good or server.address != node.address:
            yield f"{instance} with {server}"


def _opened_proven(scene: Scene) -> Iterator[str]:
    """No server leaves maintenance for traffic without a check that was good at the last look."""
    for effect in scene.effects:
        opened = effect.what == "state" and effect.detail == "state ready" and effect.mode == "maint"
        if opened and not effect.healthy and scene.now - effect.good_at > FRESH_S:
            yield f"{effect}"


def _gone_as_seen(scene: Scene) -> Iterator[str]:
    """A node has gone once HAProxy was seen without its server; a HAProxy that is not seen says nothing."""
    for instance, former in scene.before.items():
        after = scene.nodes.get(instance)
        if former.phase not in PROGRAMMED or after is None or after.phase is not Phase.GONE:
            continue
        if not scene.machine.proxy.up or instance in scene.machine.proxy.servers:
            yield f"{instance} with HAProxy {'up' if scene.machine.proxy.up else 'down'}"


def _own_things(scene: Scene) -> Iterator[str]:
    """The operator's own peer and the core's own servers stay as they are, running and filed, but for their slots."""
    if scene.machine.tunnel.up and scene.machine.tunnel.peers[OPERATORS_KEY].addresses != ("192.168.77.2/32",):
        yield "the operator's peer changed"
    if peers_in(scene.machine.conf)[OPERATORS_KEY].addresses != ("192.168.77.2/32",):
        yield "the operator's section of wg0.conf changed"
    slots = {name: str(number) for name, number in slots_of(scene).items()}
    for effect in scene.effects:
        resized = effect.what == "measure" and effect.detail == slots.get(effect.name)
        if not effect.name.startswith("i-") and _is_servers(effect) and not resized:
            yield str(effect)


def slots_of(scene: Scene) -> dict[str, int]:
    """Return the slots that each of the core's own servers should have."""
    return {str(one.name): scene.capacity.get(one.name, one.maxconn) for one in scene.settings.core.servers}


def _is_servers(effect: Effect) -> bool:
    return effect.what in ("add", "del", "state", "measure", "enable", "shutdown")


def _weights(scene: Scene) -> Iterator[str]:
    """The agent never sets a weight below 1."""
    for effect in scene.effects:
        if effect.what == "measure" and effect.detail == "weight 0":
            yield f"{effect}"


def _settled(scene: Scene) -> Iterator[str]:
    """Once a look went through, the core runs exactly what the records say, and both files say it too."""
    if scene.settled:
        yield from differences(scene)


def differences(scene: Scene) -> Iterator[str]:
    """Yield each way in which the running core or its files differ from the records."""
    programmed = [node for node in scene.nodes.values() if node.phase in PROGRAMMED]
    peers = {node.public_key: (f"{node.address}/32",) for node in programmed}
    running = {key: peer.addresses for key, peer in scene.machine.tunnel.peers.items() if key != OPERATORS_KEY}
    if running != peers:
        yield f"peers: wanted {peers}, found {running}"
    filed = {key: peer.addresses for key, peer in peers_in(scene.machine.conf).items() if key != OPERATORS_KEY}
    if filed != peers:
        yield f"wg0.conf: wanted {peers}, found {filed}"
    yield from _core_differences(scene)
    yield from _server_differences(scene, {node.instance: node for node in programmed if not node.removing})


def _core_differences(scene: Scene) -> Iterator[str]:
    kept = (100 - scene.burst.core_percent) / 100
    slots = slots_of(scene)
    variables = {"edge_closed": int(scene.burst.level_percent == 0)}
    variables |= {f"reserve_{number}": int(count * kept) for number, count in enumerate(slots.values(), start=1)}
    if scene.machine.proxy.variables != variables:
        yield f"variables: wanted {variables}, found {scene.machine.proxy.variables}"
    if (said := variables_in(scene.machine.cfg)) != variables:
        yield f"haproxy.cfg: wanted {variables}, found {said}"
    for where, servers in (("running", scene.machine.proxy.servers), ("filed", servers_in(scene.machine.cfg))):
        found = {name: servers[name].maxconn for name in slots if name in servers}
        if found != slots:
            yield f"slots, {where}: wanted {slots}, found {found}"


def _server_differences(scene: Scene, wanted: Mapping[InstanceId, Node]) -> Iterator[str]:
    burst, running, filed = scene.settings.burst, scene.machine.proxy.servers, servers_in(scene.machine.cfg)
    core = {server.name for server in scene.settings.core.servers}
    share = (scene.burst.level_percent or 100) / 100
    measure = (min(256, max(1, round(burst.weight * share))), max(1, round(burst.maxconn * share)))
    if filed.keys() - core != set(wanted):
        yield f"haproxy.cfg: wanted {sorted(wanted)}, found {sorted(filed.keys() - core)}"
    for name in running.keys() - core - wanted.keys():
        if not _cannot_go_yet(running[name]):
            yield f"server {name}: wanted none, found {running[name]}"
    for name in wanted.keys() - running.keys():
        yield f"server {name}: wanted one for {wanted[name]}, found none"
    for name in wanted.keys() & running.keys():
        mode = wanted_mode(wanted[name])
        place = (wanted[name].address, *measure)
        if not _cannot_go_yet(running[name]):
            weights = {max(1, round(measure[0] * quarter / 4)) for quarter in range(1, 5)}
            ramps = scene.now - scene.opened.get(name, -math.inf) < burst.ramp_s and not scene.machine.proxy.queue
            known = running[name]
            if ramps and known.weight in weights:
                known = replace(known, weight=measure[0])
            yield from _running_differences(known, mode, place)
        said = filed.get(name)
        if said is not None and (said.address, said.weight, said.maxconn) != place:
            yield f"haproxy.cfg: wanted {name} at {place}, found {said}"
        if said is not None and (said.mode == "ready") != (mode == "ready"):
            yield f"haproxy.cfg: wanted {name} {mode}, found {said}"


def _cannot_go_yet(server: RunningServer) -> bool:
    """It must go, or be made anew, as soon as its connections let it."""
    return server.mode == "maint" and server.lingers


def _running_differences(server: RunningServer, mode: str, place: tuple[object, ...]) -> Iterator[str]:
    if (server.address, server.weight, server.maxconn) != place:
        yield f"server {server.name}: wanted it at {place}, found {server}"
    unproven = mode == "ready" and server.mode == "maint" and not server.healthy
    stays_closed = mode == "maint" and server.mode == "drain"  # it took requests, which maintenance would cut off
    if server.mode != mode and not unproven and not stays_closed:
        yield f"server {server.name}: wanted {mode}, found {server}"
    if not server.checking:
        yield f"server {server.name}: wanted its health check running, found {server}"


def wanted_mode(node: Node) -> str:
    """Return how open the server of ``node`` should be."""
    if node.phase is Phase.ENROLLED:
        return "maint"
    serves = node.lifecycle in (Lifecycle.JOINING, Lifecycle.SERVING)
    return "ready" if node.phase is Phase.ACTIVE and serves and node.hold is Hold.NONE else "drain"


RULES: tuple[Rule, ...] = (
    _addresses,
    _quarantine,
    _keys,
    _generations,
    _nobody_is_sent_away,
    _peers_taken,
    _servers_closed,
    _requests_cut,
    _servers_added,
    _files_first,
    _records_first,
    _opened_on_evidence,
    _opened_proven,
    _gone_as_seen,
    _own_things,
    _weights,
    _settled,
)
