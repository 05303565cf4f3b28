"""What no single key of drawbridge.toml can show: pure checks over the whole; where it was read is not known here."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from settings.tables import Settings


def problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong as ``KEY: wanted …, found …``, the most telling first; nothing when all is well."""
    return itertools.chain.from_iterable(check(settings) for check in _CHECKS)


def _networks(settings: Settings) -> Iterator[str]:
    tunnel, vpc = settings.tunnel.network, settings.edge.vpc_network
    if not 16 <= tunnel.prefixlen <= 29:
        yield f"tunnel.network: wanted a prefix length from 16 to 29, found {tunnel}"
    if tunnel.overlaps(vpc):
        yield f"tunnel.network: wanted a network apart from edge.vpc_network, found {tunnel} overlapping {vpc}"
    if not 16 <= vpc.prefixlen <= 24:
        yield f"edge.vpc_network: wanted a prefix length from 16 to 24, found {vpc}"
    public = settings.core.public_address.address
    if public is not None and (public in tunnel or public in vpc):
        yield (
            f"core.public_address: wanted an address outside tunnel.network ({tunnel}) and edge.vpc_network ({vpc}), "
            f"found {public}"
        )


def _capacity(settings: Settings) -> Iterator[str]:
    edge, network = settings.edge, settings.tunnel.network
    if edge.min_capacity > edge.max_capacity:
        yield f"edge.min_capacity: wanted at most max_capacity ({edge.max_capacity}), found {edge.min_capacity}"
    if settings.node_capacity < 2 * edge.max_capacity:
        yield (
            f"tunnel.network: {network} has {settings.node_capacity} addresses for nodes; wanted "
            f"{2 * edge.max_capacity}: edge.max_capacity ({edge.max_capacity}) twice, because a released address rests "
            "before it is used again"
        )


def _metrics_port(settings: Settings) -> Iterator[str]:
    port, core_address = settings.tunnel.metrics_port, settings.tunnel.core_address
    if 0 < port < 1024:
        yield f"tunnel.metrics_port: wanted 0 for none, or 1024 to 65535, which the agent's user may have; found {port}"
    address, _, bound = settings.frontend.bind.partition(":")
    taken = {settings.core.ssh_port: "core.ssh_port"}
    if address in ("", "0.0.0.0", str(core_address)):  # noqa: S104  read, not bound
        taken[int(bound)] = "frontend.bind"
    taken |= {s.port: f"core.servers: {s.name}" for s in settings.core.servers if s.address == core_address}
    if port in taken:
        yield f"tunnel.metrics_port: wanted a port of its own, found {port}, which is taken by {taken[port]}"


def _core_servers(settings: Settings) -> Iterator[str]:
    tunnel, servers = settings.tunnel, settings.core.servers
    if not servers:
        yield "core.servers: wanted at least one server, found none"
    for server in servers:
        if server.address in tunnel.network and server.address != tunnel.core_address:
            yield (
                f"core.servers: {server.name}: wanted an address outside the nodes' {tunnel.network}, "
                f"found {server.address}"
            )
        if server.name.startswith("i-"):
            yield f"core.servers: wanted names that do not begin with i-, which are the nodes', found {server.name}"
    for name in _doubled(server.name for server in servers):
        yield f"core.servers: wanted different names, found {name} twice"


def _zones(settings: Settings) -> Iterator[str]:
    region, zones = settings.edge.region, settings.edge.availability_zones
    if not zones:
        yield "edge.availability_zones: wanted at least one, found none"
    for zone in zones:
        if zone[:-1] != region:
            yield f"edge.availability_zones: wanted zones of {region}, found {zone}"
    for double in _doubled(zones):
        yield f"edge.availability_zones: wanted each zone once, found {double} twice"


def _notify_topic(settings: Settings) -> Iterator[str]:
    topic, region = settings.edge.notify_topic, settings.edge.region
    if topic is not None and topic.region != region:  # CloudWatch notifies no other
        yield f"edge.notify_topic: wanted a topic in {region}, found one in {topic.region}"


def _application(settings: Settings) -> Iterator[str]:
    image, command = settings.application.image, settings.application.command
    if (image is None) == (not command):
        yield f"application: wanted either image or command, found {'neither' if image is None else 'both'}"


def _burst(settings: Settings) -> Iterator[str]:
    calm, alarm = settings.burst.calm_percent, settings.burst.alarm_percent
    if calm > alarm:
        yield f"burst.calm_percent: wanted at most alarm_percent ({alarm}), found {calm}"


def _drain(settings: Settings) -> Iterator[str]:
    drain, terminate = settings.edge.drain_deadline_s, settings.edge.terminate_timeout_s
    if drain >= terminate:
        yield f"edge.drain_deadline_s: wanted less than terminate_timeout_s ({terminate}), found {drain}"


def _doubled(words: Iterable[str]) -> Iterator[str]:
    return (word for word, times in Counter(words).items() if times > 1)


_CHECKS: tuple[Callable[[Settings], Iterator[str]], ...] = (
    _networks,
    _capacity,
    _metrics_port,
    _core_servers,
    _zones,
    _notify_topic,
    _application,
    _burst,
    _drain,
)
