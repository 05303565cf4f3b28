"""The tables of drawbridge.toml as frozen data, with their defaults, no two compared."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from core_agent.contract.shapes import Range
from settings.words import (
    Account,
    Architecture,
    Bind,
    Clock,
    CookieName,
    Day,
    DeviceName,
    FilePath,
    Host,
    HostKey,
    ImageReference,
    InstanceType,
    Label,
    ParameterName,
    Port,
    Region,
    Runtime,
    TimeZone,
    TopicArn,
    UrlPath,
    UserName,
    Word,
    Zone,
)

_OSLO = TimeZone("Europe/Oslo")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreServer:
    """One of the core's own application servers; ``maxconn`` is its real capacity in requests at a time."""

    name: Label
    address: IPv4Address
    port: Port
    maxconn: Annotated[int, Range(1, 100_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The machines in Norway: how they are reached and what they run."""

    name: Label
    public_address: Host
    ssh_host_key: HostKey
    servers: tuple[CoreServer, ...]
    ssh_port: Port = 22
    ssh_user: UserName = UserName("drawbridge")
    ssh_identity: str = "~/.ssh/drawbridge"
    ssh_key_parameter: ParameterName = ParameterName("/drawbridge/ssh-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """The WireGuard network; the core has its first address, every node one of the others.

    ``quarantine_s`` is how long an address that was released stays unused, so that nothing late reaches a stranger.
    ``metrics_port`` is TCP, on the core's address inside the tunnel alone; 0 is no port.
    """

    network: IPv4Network
    port: Port = 51820
    mtu: Annotated[int, Range(1280, 1420)] = 1360
    keepalive_s: Annotated[int, Range(5, 120)] = 25
    quarantine_s: Annotated[int, Range(0, 86_400)] = 300
    metrics_port: Annotated[int, Range(0, 65_535)] = 9469

    @property
    def core_address(self) -> IPv4Address:
        """The hub's own address: the first of the network."""
        return self.network.network_address + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """HAProxy's side towards the users.

    A request waits ``queue_s`` at most for a free slot, and not at all when ``queue_factor`` times as many wait as the
    core has slots; then, and when nobody is there, it is answered 503 and told to come back after ``retry_after_s``.
    ``certificate`` is a PEM file with its key, or a folder of them, on the core. ``trusted_proxies`` may say who the
    user is: in ``X-Forwarded-For``, or with ``accept_proxy`` in PROXY protocol, which they then have to speak.
    ``send_proxy`` says it to the application's servers. With ``sticky_cookie`` HAProxy gives each user a cookie of that
    name and keeps him where he is while his server is open and has room.
    """

    bind: Bind = Bind(":80")
    tls_bind: Bind | None = None
    certificate: FilePath | None = None
    redirect_to_tls: bool = True
    health_path: UrlPath = UrlPath("/health")
    health_host: Host = Host("localhost")
    queue_s: Annotated[int, Range(1, 300)] = 5
    queue_factor: Annotated[int, Range(1, 1000)] = 100
    retry_after_s: Annotated[int, Range(1, 3600)] = 2
    trusted_proxies: tuple[IPv4Network, ...] = ()
    accept_proxy: bool = False
    send_proxy: bool = False
    sticky_cookie: CookieName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What is rented from AWS. Times bound the lifecycle hooks and the drain.

    ``region_factor_percent`` scales the weight and slots of this region's nodes: less for one that is further away.

    ``root_device`` has to be what the image calls its root: EC2 takes another name for a second, empty volume, and the
    root keeps the image's size and encryption. ``notify_topic`` hears of dead letters and of a silent core.
    """

    account: Account
    region: Region
    availability_zones: tuple[Zone, ...]
    vpc_network: IPv4Network
    max_capacity: Annotated[int, Range(1, 4000)]
    min_capacity: Annotated[int, Range(0, 4000)] = 0
    instance_type: InstanceType = InstanceType("t4g.small")
    image_parameter: ParameterName = ParameterName("/aws/service/debian/release/13/latest/arm64")
    root_device: DeviceName = DeviceName("/dev/xvda")
    volume_gib: Annotated[int, Range(8, 500)] = 8
    launch_timeout_s: Annotated[int, Range(30, 7200)] = 600
    terminate_timeout_s: Annotated[int, Range(30, 7200)] = 180
    drain_deadline_s: Annotated[int, Range(1, 3600)] = 60
    region_factor_percent: Annotated[int, Range(1, 100)] = 100
    notify_topic: TopicArn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What every node runs: a container ``image``, or a ``command`` that the machine image already has."""

    port: Port
    image: ImageReference | None = None
    command: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """How the edge is used: each node's full weight and slots, the levels that alarms switch between, and the alarms.

    Saturation is busy and queued requests over slots: of the core for the level, of the core and all open nodes for the
    size of the group. The core counts as saturated at ``saturation_high_percent``, or when requests wait
    ``queue_high_ms``, on average of each of ``alarm_periods`` periods in a row; as calm when both are at their low
    values or below, for ``calm_periods`` in a row. A period is ``period_s`` long, and telemetry asks once in each.
    ``ramp_s`` is how long a new node takes to its full weight; ``warmup_s`` how long one that was ordered counts as
    coming before more are ordered for the same load.
    """

    weight: Annotated[int, Range(1, 256)] = 28
    maxconn: Annotated[int, Range(1, 10_000)] = 28
    calm_percent: Annotated[int, Range(0, 100)] = 25
    alarm_percent: Annotated[int, Range(1, 100)] = 100
    ramp_s: Annotated[int, Range(0, 600)] = 10
    saturation_high_percent: Annotated[int, Range(1, 1000)] = 80
    saturation_low_percent: Annotated[int, Range(0, 1000)] = 30
    queue_high_ms: Annotated[int, Range(1, 60_000)] = 100
    queue_low_ms: Annotated[int, Range(0, 60_000)] = 10
    period_s: Annotated[int, Range(10, 60)] = 60
    alarm_periods: Annotated[int, Range(1, 60)] = 1
    calm_periods: Annotated[int, Range(1, 60)] = 5
    warmup_s: Annotated[int, Range(0, 3600)] = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A load that is known to come: between ``start`` and ``end`` of each of ``days``, by the clock of ``timezone``.

    The group then has ``min_capacity`` nodes at least, the edge is used at ``level_percent`` at least, and requests
    overflow from ``core_percent`` of the core's slots on. An ``end`` before ``start`` is the next day's.
    """

    name: Label
    start: Clock
    end: Clock
    min_capacity: Annotated[int, Range(0, 4000)]
    days: tuple[Day, ...] = tuple(Day)
    timezone: TimeZone = _OSLO
    level_percent: Annotated[int, Range(0, 100)] = 100
    core_percent: Annotated[int, Range(1, 100)] = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """How the Lambda functions are built."""

    architecture: Architecture = Architecture.ARM64
    runtime: Runtime = Runtime.PYTHON_3_13


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of ``drawbridge.toml``; ``name`` prefixes every physical name on AWS."""

    name: Label
    core: Core
    tunnel: Tunnel
    edge: Edge
    application: Application
    frontend: Frontend = Frontend()
    burst: Burst = Burst()
    peaks: tuple[Peak, ...] = ()
    functions: Functions = Functions()

    @property
    def group_name(self) -> str:
        """The Auto Scaling group's physical name: known before any stack exists, so no stack waits for another's."""
        return f"{self.name}-edge"

    @property
    def node_role_name(self) -> str:
        """The IAM role that nodes run as; the enroll function admits no other."""
        return f"{self.name}-node-{self.edge.region}"

    @property
    def node_capacity(self) -> int:
        """How many nodes the tunnel has addresses for: all but the network's own, the broadcast and the core's."""
        return max(0, self.tunnel.network.num_addresses - 3)
