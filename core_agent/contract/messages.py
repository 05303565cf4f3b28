"""Every command and every report, as frozen data; it must not know how they travel or who carries them out.

Units are in the names: ``_s`` seconds, ``_ms`` milliseconds, ``_percent`` of the full amount. A report states what *is*
on the core at the moment of the answer, never what was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, repeat
from typing import Annotated, Self

from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason, ServerName
from core_agent.contract.shapes import Range
from core_agent.errors import ContractError

Count = Annotated[int, Range(0, 2**53)]
Percent = Annotated[int, Range(0, 100)]
Share = Annotated[int, Range(1, 100)]
Slots = Annotated[int, Range(1, 100_000)]
Window = Annotated[int, Range(1, 300)]


class Lifecycle(StrEnum):
    """What the cloud says of one seat. The Lambdas translate AWS's fifteen states into these four."""

    JOINING = "joining"  # being launched: may enroll; its launch waits for it to become active
    SERVING = "serving"  # in service: should carry traffic
    RESTING = "resting"  # standby or warm pool: keeps its peer, carries no traffic
    LEAVING = "leaving"  # being terminated: drain it, remove it


class Phase(StrEnum):
    """Where the core has got with one node: ``seated → enrolled → active → draining → gone``."""

    SEATED = "seated"  # an address is reserved; nothing is programmed
    ENROLLED = "enrolled"  # peer present; server present in maintenance, health check on
    ACTIVE = "active"  # open to traffic
    DRAINING = "draining"  # takes no new request; waits for its last ones or the deadline
    GONE = "gone"  # server and peer removed; the address is in quarantine


class Hold(StrEnum):
    """What an operator wants of one node, whatever the cloud says; it stays until lifted or the node is gone."""

    NONE = "none"
    DRAIN = "drain"  # keep the peer, carry no traffic
    REMOVE = "remove"  # drain, then take server and peer away; this instance may not enroll again


# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """The instances that the cloud counts as members of a group: one column for each ``Lifecycle``, by its word.

    Columns, because a fleet of thousands travels with every event, and almost all of it is serving. An instance has one
    seat: a second one, in whichever column, raises ``ContractError``.
    """

    joining: tuple[InstanceId, ...] = ()
    serving: tuple[InstanceId, ...] = ()
    resting: tuple[InstanceId, ...] = ()
    leaving: tuple[InstanceId, ...] = ()

    def __post_init__(self) -> None:
        everybody = [*self.joining, *self.serving, *self.resting, *self.leaving]
        if len(set(everybody)) != len(everybody):
            ((twice, times),) = Counter(everybody).most_common(1)
            raise ContractError(f"wanted one seat for each instance, found {times} for {twice}")

    @classmethod
    def of(cls, pairs: Iterable[tuple[InstanceId, Lifecycle]]) -> Self:
        """Return the seats of ``pairs``, in their order within each column."""
        columns: dict[str, list[InstanceId]] = {}
        for instance, lifecycle in pairs:
            columns.setdefault(lifecycle.value, []).append(instance)
        return cls(**{word: tuple(column) for word, column in columns.items()})

    def __iter__(self) -> Iterator[tuple[InstanceId, Lifecycle]]:
        """Yield each instance with its lifecycle, column after column."""
        return chain(
            zip(self.joining, repeat(Lifecycle.JOINING)),
            zip(self.serving, repeat(Lifecycle.SERVING)),
            zip(self.resting, repeat(Lifecycle.RESTING)),
            zip(self.leaving, repeat(Lifecycle.LEAVING)),
        )

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.joining) + len(self.serving) + len(self.resting) + len(self.leaving)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFleet:
    """These instances belong to ``group``: the whole set, seen at ``generation``.

    ``generation`` is the Unix time in milliseconds taken just *before* the group was described, so a later look always
    wins; an older one changes nothing and is answered with the current state. ``gone`` names instances that the cloud,
    asked about each by its id, declared terminated or unknown. Nodes that are neither seated nor in ``gone`` stay as
    they are and are named in the report; only ``override``, an operator's reason, lets them go too.
    """

    group: GroupName
    generation: Count
    seats: Seats
    gone: tuple[InstanceId, ...] = ()
    override: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollNode:
    """``instance`` holds the private half of ``public_key``; the caller has proved which instance it is."""

    instance: InstanceId
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivateNode:
    """``instance`` says that it is ready: open it as soon as its health check, which crosses the tunnel, is good."""

    instance: InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBurst:
    """Use ``level_percent`` of every burst server's weight and slots; 0 closes the edge while a core server is up.

    ``core_percent`` is the share of each core server's slots that requests take before they overflow to the edge: less
    than 100 ahead of a known peak, so that the edge is warm when it comes. It bounds nothing once the edge is full.
    ``by_hand`` is a person's word, which stands until an alarm or a peak begins or ends, or a person says otherwise.
    """

    level_percent: Percent
    reason: Reason
    core_percent: Share = 100
    by_hand: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCapacity:
    """The core server ``server`` works on ``slots`` requests at a time; None is what ``drawbridge.toml`` says."""

    server: ServerName
    slots: Slots | None
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldNode:
    """An operator's word on one node."""

    instance: InstanceId
    hold: Hold
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFacts:
    """Tell me everything; changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTelemetry:
    """Tell how the last ``window_s`` seconds went; changes nothing."""

    window_s: Window


Command = SyncFleet | EnrollNode | ActivateNode | SetBurst | SetCapacity | HoldNode | ReadFacts | ReadTelemetry

# --- reports --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """One node as the core sees it now.

    ``handshake_age_s`` is None before the first handshake. ``server`` is HAProxy's administrative state (``absent``,
    ``maint``, ``ready`` or ``drain``) and ``check`` its last health check in HAProxy's own word (``L7OK``, ``L4CON``,
    …; empty before the first). ``waited_s`` counts since the phase began.
    """

    instance: InstanceId
    group: GroupName
    lifecycle: Lifecycle
    phase: Phase
    hold: Hold
    waited_s: Count
    address: str | None
    handshake_age_s: Count | None
    server: str
    check: str
    weight: Count
    maxconn: Count
    connections: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What the measurements say a core server's slots should be, and the measurements in a sentence."""

    slots: Count
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreServerReport:
    """One of the core's own servers: ``busy`` of ``slots`` in use, ``queue`` requests waiting for it.

    It ``takes`` requests when it is up and no operator has set its weight to 0.
    ``slots`` is what HAProxy has now; ``configured`` is what ``drawbridge.toml`` says. ``suggestion`` is None while too
    little was seen to tell, or when the slots are right.
    """

    name: str
    up: bool
    takes: bool
    busy: Count
    slots: Count
    queue: Count
    configured: Count
    suggestion: Suggestion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What the core carries: its servers, the requests queued in the backend, and those seen since HAProxy's start."""

    servers: tuple[CoreServerReport, ...]
    queue: Count
    requests_total: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstReport:
    """How much of the edge is in use, from which share of the core's slots on, and who asked for that."""

    level_percent: Percent
    core_percent: Share
    by_hand: bool
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """The answer to ``SyncFleet``.

    ``applied`` is False for a generation older than ``generation``, the newest one seen. ``nodes`` holds the nodes *in
    motion*: every seat that is not serving, every serving one that is not active, and every node not seated that has
    not yet gone, so the answer stays small in a large, quiet fleet. ``missing`` names the nodes that were neither
    seated nor declared gone, which stay as they are: the cloud should be asked about each by its id, and those that it
    disowns sent again in ``gone``. ``elsewhere`` names the seats that were left out because another group still holds
    the node: it has to be let go of there first.
    """

    group: GroupName
    generation: Count
    applied: bool
    nodes: tuple[NodeReport, ...]
    missing: tuple[InstanceId, ...]
    elsewhere: tuple[InstanceId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelReport:
    """The answer to ``EnrollNode``: all that a node needs to write its ``wg0.conf``.

    ``address`` is the node's own with prefix length 32; ``core_address`` is the hub's inside the tunnel; ``endpoint``
    is ``HOST:PORT`` on the open internet.
    """

    instance: InstanceId
    address: str
    core_address: str
    core_public_key: PublicKey
    endpoint: str
    mtu: Count
    keepalive_s: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """The newest generation seen of one group."""

    group: GroupName
    generation: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsReport:
    """The answer to ``ReadFacts``: everything, every node included that has not gone or that an operator holds.

    ``pending_steps`` is the length of the plan that would still have to be applied: 0 on a core that has converged.
    """

    agent_version: str
    core: str
    network: str
    addresses_free: Count
    groups: tuple[GroupReport, ...]
    nodes: tuple[NodeReport, ...]
    burst: BurstReport
    load: LoadReport
    pending_steps: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSample:
    """The load at one moment, ``at_ms`` Unix milliseconds by the core's clock.

    Saturation is busy and queued requests over slots, in percent: over 100 when a queue stands. ``core`` counts the
    slots of the core's servers that take requests, ``total`` those of the open nodes too, whatever the burst level;
    either is 100 when there are none. While none of the core's takes any, a low ``total`` is not told: what is idle
    then is all that there is, and no reason to send a node home. ``queue_ms`` is how long a request that comes now
    would wait, by Little's law; ``queue`` requests wait.
    """

    at_ms: Count
    core_percent: Count
    total_percent: Count | None
    queue: Count
    queue_ms: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class SideReport:
    """What one side answered in the window, and how many of those answers were a server's own 5xx."""

    answered: Count
    failed: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCounts:
    """How many nodes stand in each phase."""

    seated: Count
    enrolled: Count
    active: Count
    draining: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryReport:
    """The answer to ``ReadTelemetry``: the last ``covered_s`` seconds, less than asked soon after the agent's start.

    ``refused`` requests were answered 5xx by HAProxy itself: the queue was full, or nobody was there. Of the active
    nodes, ``handshake_age_s`` is the oldest handshake's age, None when there is none, and ``stale_peers`` counts those
    that WireGuard itself would have renewed by now.
    """

    core: str
    covered_s: Count
    samples: tuple[LoadSample, ...]
    core_side: SideReport
    edge_side: SideReport
    refused: Count
    servers: tuple[CoreServerReport, ...]
    burst: BurstReport
    nodes: PhaseCounts
    handshake_age_s: Count | None
    stale_peers: Count


Report = FleetReport | TunnelReport | NodeReport | BurstReport | CoreServerReport | FactsReport | TelemetryReport
