"""The one typed reader of ``drawbridge.toml`` (standard library only); it must not know who acts on the settings.

Read by ``app.py``, ``fabfile.py``, the demo and, on the core, the agent. Every error names the file, the key, what was
wanted and what was found, and nothing is returned unless everything holds.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Self

from core_agent.contract.names import Name, shown
from core_agent.contract.shapes import Range, build
from core_agent.errors import ContractError, SettingsError

DEFAULT_PATH = Path("drawbridge.toml")
PATH_VARIABLE = "DRAWBRIDGE_CONFIG"


# The blob of each type: its name, for ECDSA its curve's, and the point, each after four bytes of length.
_HOST_KEY_BYTES = {
    "ssh-ed25519": 51,
    "ecdsa-sha2-nistp256": 104,
    "ecdsa-sha2-nistp384": 136,
    "ecdsa-sha2-nistp521": 172,
}


class Label(Name):
    """A name that becomes part of HAProxy's configuration and of AWS's physical names."""

    __slots__ = ()
    shape = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
    wanted = "a name: 1 to 32 lower-case letters, digits and hyphens, a letter first"


class Host(Name):
    """An IPv4 address or a DNS name: labels of at most 63 characters, the last not a number (RFC 1123, 2.1)."""

    __slots__ = ()
    shape = re.compile(
        r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
        re.ASCII,
    )
    wanted = "an IPv4 address or a host name"

    def __new__(cls, text: str) -> Self:
        """Refuse also what looks like an address and is none, such as 10.0.0.300."""
        host = super().__new__(cls, text)
        if host.rpartition(".")[2].isdecimal() and host.address is None:
            msg = f"wanted {cls.wanted}, found {shown(text)}"
            raise ValueError(msg)
        return host

    @property
    def address(self) -> IPv4Address | None:
        """The address, when it is one and no name."""
        try:
            return IPv4Address(self)
        except ValueError:
            return None


class HostKey(Name):
    """An SSH host key, ``ssh-ed25519 AAAA…``: a ``.pub`` file's line, whose comment is dropped."""

    __slots__ = ()
    shape = re.compile(r"(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,}={0,2}", re.ASCII)
    wanted = (
        "the line in /etc/ssh/ssh_host_ed25519_key.pub: `ssh-ed25519 AAAA…`, or one that begins with ecdsa-sha2-nistp"
    )

    def __new__(cls, text: str) -> Self:
        """Refuse also a key cut short and one of another type than it says (RFC 4253, 6.6: the blob begins with it)."""
        key = super().__new__(cls, " ".join(text.split()[:2]))
        kind, encoded = key.split()
        try:
            blob = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            blob = b""
        if not blob.startswith(len(kind).to_bytes(4, "big") + kind.encode()) or len(blob) < _HOST_KEY_BYTES[kind]:
            msg = f"wanted {cls.wanted}; found one that is damaged or cut short: {shown(text)}"
            raise ValueError(msg)
        return key


class ParameterName(Name):
    """The name of an SSM parameter."""

    __slots__ = ()
    shape = re.compile(r"(?:/[A-Za-z0-9_.-]+){1,15}", re.ASCII)
    wanted = "a parameter name such as /drawbridge/ssh-key"


class UserName(Name):
    """A Debian system user."""

    __slots__ = ()
    shape = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
    wanted = "a user name"


class Bind(Name):
    """Where HAProxy listens: ``ADDRESS:PORT`` or ``:PORT``."""

    __slots__ = ()
    shape = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3})?:\d{1,5}", re.ASCII)
    wanted = "ADDRESS:PORT or :PORT"

    def __new__(cls, text: str) -> Self:
        """Refuse also addresses and ports out of range."""
        bind = super().__new__(cls, text)
        address, _, port = bind.partition(":")
        try:
            IPv4Address(address or "0.0.0.0")  # noqa: S104  read, not bound
            fits = 1 <= int(port) <= 65535
        except ValueError:
            fits = False
        if not fits:
            msg = f"wanted {cls.wanted}, found {shown(text)}"
            raise ValueError(msg)
        return bind


class UrlPath(Name):
    """A path that HAProxy asks for."""

    __slots__ = ()
    shape = re.compile(r"/[A-Za-z0-9._~/-]{0,200}", re.ASCII)
    wanted = "a path that begins with / and has no spaces or quotes"


class Account(Name):
    """An AWS account."""

    __slots__ = ()
    shape = re.compile(r"\d{12}", re.ASCII)
    wanted = "an AWS account: 12 digits"


class Zone(Name):
    """An AWS availability zone."""

    __slots__ = ()
    shape = re.compile(r"[a-z]{2}-[a-z]+-\d[a-z]", re.ASCII)
    wanted = "an availability zone such as eu-north-1a"


class InstanceType(Name):
    """An EC2 instance type."""

    __slots__ = ()
    shape = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+", re.ASCII)
    wanted = "an instance type such as t4g.small"


class ImageReference(Name):
    """A container image."""

    __slots__ = ()
    shape = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}", re.ASCII)
    wanted = "a container image such as registry.example/app@sha256:…"


class Word(Name):
    """One word of a command; it reaches a shell script, quoted."""

    __slots__ = ()
    shape = re.compile(r"[^\x00-\x1f\x7f]{1,500}")
    wanted = "one word of a command, printable"


class Region(StrEnum):
    """Where the edge may be: in the European Economic Area; London (eu-west-2) and Zurich (eu-central-2) are not.

    Spain (eu-south-2) is left out: AWS lists it among the regions without function URLs.
    """

    FRANKFURT = "eu-central-1"
    STOCKHOLM = "eu-north-1"
    MILAN = "eu-south-1"
    IRELAND = "eu-west-1"
    PARIS = "eu-west-3"


class Architecture(StrEnum):
    """Of the functions' processors."""

    ARM64 = "arm64"
    X86_64 = "x86_64"


class Runtime(StrEnum):
    """Lambda's Python runtimes that the code supports."""

    PYTHON_3_11 = "python3.11"
    PYTHON_3_12 = "python3.12"
    PYTHON_3_13 = "python3.13"
    PYTHON_3_14 = "python3.14"


Port = Annotated[int, Range(1, 65535)]


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
    """

    network: IPv4Network
    port: Port = 51820
    mtu: Annotated[int, Range(1280, 1420)] = 1360
    keepalive_s: Annotated[int, Range(5, 120)] = 25
    quarantine_s: Annotated[int, Range(0, 86_400)] = 300

    @property
    def core_address(self) -> IPv4Address:
        """The hub's own address: the first of the network."""
        return self.network.network_address + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """HAProxy's side towards the users."""

    bind: Bind = Bind(":80")
    health_path: UrlPath = UrlPath("/health")
    health_host: Host = Host("localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What is rented from AWS. Times bound the lifecycle hooks and the drain."""

    account: Account
    region: Region
    availability_zones: tuple[Zone, ...]
    vpc_network: IPv4Network
    max_capacity: Annotated[int, Range(1, 4000)]
    min_capacity: Annotated[int, Range(0, 4000)] = 0
    instance_type: InstanceType = InstanceType("t4g.small")
    image_parameter: ParameterName = ParameterName("/aws/service/debian/release/13/latest/arm64")
    volume_gib: Annotated[int, Range(8, 500)] = 8
    launch_timeout_s: Annotated[int, Range(30, 7200)] = 600
    terminate_timeout_s: Annotated[int, Range(30, 7200)] = 180
    drain_deadline_s: Annotated[int, Range(1, 3600)] = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What every node runs: a container ``image``, or a ``command`` that the machine image already has."""

    port: Port
    image: ImageReference | None = None
    command: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """How the edge is used: each node's full weight and slots, and the levels that alarms switch between.

    The alarm goes on at ``saturation_high_percent`` of the core's slots (busy and queued), by the worst moment of each
    of ``alarm_periods`` minutes in a row.
    """

    weight: Annotated[int, Range(1, 256)] = 28
    maxconn: Annotated[int, Range(1, 10_000)] = 28
    calm_percent: Annotated[int, Range(0, 100)] = 25
    alarm_percent: Annotated[int, Range(0, 100)] = 100
    saturation_high_percent: Annotated[int, Range(1, 1000)] = 80
    alarm_periods: Annotated[int, Range(1, 60)] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """When a sync is refused for removing too much: more than ``share_percent`` of a group and more than ``nodes``."""

    share_percent: Annotated[int, Range(0, 100)] = 30
    nodes: Annotated[int, Range(0, 4000)] = 2


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
    guard: Guard = Guard()
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


def load(path: Path | str | None = None) -> Settings:
    """Read the file at ``path``, else at ``$DRAWBRIDGE_CONFIG``, else ``drawbridge.toml`` here.

    Raises ``SettingsError``.
    """
    chosen = Path(path or os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        text = chosen.read_bytes().decode()
    except FileNotFoundError:
        raise SettingsError(
            f"reading {chosen}: no such file; copy drawbridge.toml from the repository, or set {PATH_VARIABLE}"
        ) from None
    except OSError as error:
        raise SettingsError(f"reading {chosen}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"reading {chosen}: wanted UTF-8, found a byte that is not at {error.start}") from None
    return parse(text, source=str(chosen))


def parse(text: str, *, source: str) -> Settings:
    """Return the settings in ``text``; ``source`` names it in errors. Raises ``SettingsError``."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source}: wanted TOML, found: {error}") from None
    except RecursionError:
        raise SettingsError(f"{source}: wanted TOML, found values nested too deeply") from None
    try:
        settings = build(Settings, tables, source)
    except ContractError as error:
        raise SettingsError(str(error)) from None
    for problem in itertools.chain.from_iterable(check(settings) for check in _CHECKS):
        raise SettingsError(f"{source}.{problem}")
    return settings


# --- what no single key can show: each check yields its problems, the most telling first ------------------------------


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
    _core_servers,
    _zones,
    _application,
    _burst,
    _drain,
)
