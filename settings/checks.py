"""What no single key of drawbridge.toml can show: pure checks over the whole; where it was read is not known here."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from settings.tables import Settings

_PERIODS = (10, 30, 60)
_MOST_PEAKS = 10


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
    taken = {settings.core.ssh_port: "core.ssh_port"}
    for key, bind in (("frontend.bind", settings.frontend.bind), ("frontend.tls_bind", settings.frontend.tls_bind)):
        if bind is not None and _meet(bind, f"{core_address}:{port}"):
            taken[port] = key
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
    for place in _doubled(f"{server.address}:{server.port}" for server in servers):
        yield f"core.servers: wanted a place of its own for each, found {place} twice: its slots would count twice"
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
    burst = settings.burst
    if burst.calm_percent > burst.alarm_percent:
        yield f"burst.calm_percent: wanted at most alarm_percent ({burst.alarm_percent}), found {burst.calm_percent}"
    if burst.period_s not in _PERIODS:
        yield f"burst.period_s: wanted 10, 30 or 60, the periods that CloudWatch's alarms have, found {burst.period_s}"
    if burst.queue_low_ms >= burst.queue_high_ms:
        yield f"burst.queue_low_ms: wanted less than queue_high_ms ({burst.queue_high_ms}), found {burst.queue_low_ms}"
    longest_ms = 1000 * settings.frontend.queue_s
    if burst.queue_high_ms >= longest_ms:
        yield (
            f"burst.queue_high_ms: wanted less than {longest_ms}, because no request waits longer than "
            f"frontend.queue_s ({settings.frontend.queue_s} s), found {burst.queue_high_ms}. "
            "Lower it, or let them wait longer"
        )


def _thresholds(settings: Settings) -> Iterator[str]:
    """A group that the low threshold made smaller must not reach the high one by that alone, or it flaps."""
    burst, edge = settings.burst, settings.edge
    high, low = burst.saturation_high_percent, burst.saturation_low_percent
    node = max(1, round(burst.maxconn * edge.region_factor_percent / 100))  # as the core has it
    # What is never let go: the core's own slots, and those of the group's minimum.
    stay = sum(server.maxconn for server in settings.core.servers) + edge.min_capacity * node
    if low * (stay + node) >= high * stay:
        yield (
            f"burst.saturation_low_percent: wanted less than {high * stay / (stay + node):.4g}, or the last node's "
            f"leaving brings saturation_high_percent ({high}) back: its {node} slots go and the other {stay} stay; "
            f"found {low}. Lower it, or use smaller nodes (maxconn)"
        )
    if 4 * low >= 3 * high:
        yield (
            f"burst.saturation_low_percent: wanted less than {0.75 * high:.4g}, three quarters of "
            f"saturation_high_percent ({high}), for a quarter of the nodes leaves at a time; found {low}. Lower it"
        )


def _peaks(settings: Settings) -> Iterator[str]:
    peaks, most, low = settings.peaks, settings.edge.max_capacity, settings.burst.saturation_low_percent
    if len(peaks) > _MOST_PEAKS:
        yield (
            f"peaks: wanted at most {_MOST_PEAKS}, because a function's environment holds 4 KB, found {len(peaks)}. "
            "Give one peak several days"
        )
    for name in _doubled(peak.name for peak in peaks):
        yield f"peaks: wanted different names, found {name} twice"
    for peak in peaks:
        if peak.min_capacity > most:
            yield (
                f"peaks: {peak.name}: wanted min_capacity at most edge.max_capacity ({most}), found {peak.min_capacity}"
            )
        if peak.core_percent <= low:
            yield (
                f"peaks: {peak.name}: wanted core_percent more than burst.saturation_low_percent ({low}), or the core "
                f"reads as calm with all of its share taken, found {peak.core_percent}. Raise it"
            )
        if peak.start == peak.end:
            yield f"peaks: {peak.name}: wanted an end apart from start, found {peak.end} for both"
        if not peak.days:
            yield f"peaks: {peak.name}: wanted at least one day, found none"
        for day in _doubled(peak.days):
            yield f"peaks: {peak.name}: wanted each day once, found {day} twice"
    zones = sorted({peak.timezone for peak in peaks})
    if len(zones) > 1:
        yield (
            "peaks: wanted one timezone for all, because what overlaps is told by one clock, found "
            f"{' and '.join(zones)}. Write them all by the same one"
        )


def _drain(settings: Settings) -> Iterator[str]:
    drain, terminate = settings.edge.drain_deadline_s, settings.edge.terminate_timeout_s
    if drain >= terminate:
        yield f"edge.drain_deadline_s: wanted less than terminate_timeout_s ({terminate}), found {drain}"


def _tls(settings: Settings) -> Iterator[str]:
    frontend = settings.frontend
    if frontend.tls_bind is not None and frontend.certificate is None:
        yield "frontend.certificate: wanted the PEM file that frontend.tls_bind shows, found none"
    if frontend.tls_bind is None and frontend.certificate is not None:
        yield "frontend.tls_bind: wanted where frontend.certificate is shown, such as :443, found nothing"
    if frontend.tls_bind is not None and _meet(frontend.bind, frontend.tls_bind):
        yield f"frontend.tls_bind: wanted a place apart from frontend.bind ({frontend.bind}), found {frontend.tls_bind}"


def _meet(one: str, other: str) -> bool:
    """Whether both would listen on the same port of an address."""
    (first, _, port), (second, _, other_port) = one.partition(":"), other.partition(":")
    anywhere = {"", "0.0.0.0"}  # noqa: S104  read, not bound
    return int(port) == int(other_port) and (first == second or first in anywhere or second in anywhere)


def _proxies(settings: Settings) -> Iterator[str]:
    frontend = settings.frontend
    if frontend.accept_proxy and not frontend.trusted_proxies:
        yield "frontend.trusted_proxies: wanted the proxies that frontend.accept_proxy is about, found none"
    for network in frontend.trusted_proxies:
        if network.prefixlen == 0:
            yield f"frontend.trusted_proxies: wanted the proxies' networks, found {network}, which is everybody"
    for double in _doubled(str(network) for network in frontend.trusted_proxies):
        yield f"frontend.trusted_proxies: wanted each network once, found {double} twice"


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
    _thresholds,
    _peaks,
    _drain,
    _tls,
    _proxies,
)
