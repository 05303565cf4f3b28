"""A stand-in for relay and agent in one: answers as the mode in its folder says; it must not know who asks.

Run by sshd as the forced command, with the folder as its argument. For each request it appends to ``requests.log`` and
reads ``mode``: how to misbehave, or ``answer`` to speak the contract over a small core that ``core.json`` remembers.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from core_agent.contract.codec import (
    MAX_REPLY_BYTES,
    FailedReply,
    Outcome,
    RefusedReply,
    decode_request,
    encode_reply,
)
from core_agent.contract.messages import (
    ActivateNode,
    BurstReport,
    Command,
    CoreServerReport,
    EnrollNode,
    FactsReport,
    FleetReport,
    GroupReport,
    Hold,
    HoldNode,
    Lifecycle,
    LoadReport,
    LoadSample,
    NodeReport,
    Phase,
    PhaseCounts,
    ReadFacts,
    ReadTelemetry,
    SetBurst,
    SetCapacity,
    SideReport,
    Suggestion,
    SyncFleet,
    TelemetryReport,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason
from core_agent.errors import RefusalKind

GROUP = GroupName("eu-north-1/drawbridge-edge")
LOAD = LoadReport(
    servers=(CoreServerReport(name="no-primary", up=True, takes=True, busy=12, slots=50, queue=3, configured=50),),
    queue=1,
    requests_total=123_456,
)
CORE_KEY = PublicKey("Cs0Q4XE7Wk9WJ3eE0S+8o5m4cP6p0mX5mI5J2aY0XFE=")


def node(instance: str, phase: Phase, **seen: object) -> NodeReport:
    """Return a node in ``phase``, as a core with one group would report it."""
    active = phase is Phase.ACTIVE
    report = NodeReport(
        instance=InstanceId(instance),
        group=GROUP,
        lifecycle=Lifecycle.SERVING if active else Lifecycle.JOINING,
        phase=phase,
        hold=Hold.NONE,
        waited_s=3725 if active else 4,
        address="10.100.0.2" if active else None,
        handshake_age_s=17 if active else None,
        server="ready" if active else "absent",
        check="L7OK" if active else "",
        weight=28 if active else 0,
        maxconn=28,
        connections=3 if active else 0,
    )
    return replace(report, **seen)  # type: ignore[arg-type]  # whatever field the caller names


NODES = (node("i-0abc", Phase.ACTIVE), node("i-0def1234567890abc", Phase.SEATED))


def facts(burst: BurstReport, nodes: tuple[NodeReport, ...]) -> FactsReport:
    """Return everything there is to know of the small core."""
    return FactsReport(
        agent_version="0.1.0",
        core="oslo-1",
        network="10.100.0.0/22",
        addresses_free=1019,
        groups=(GroupReport(group=GROUP, generation=1_700_000_000_000),),
        nodes=nodes,
        burst=burst,
        load=LOAD,
        pending_steps=2,
    )


def telemetry(burst: BurstReport, window_s: int) -> TelemetryReport:
    """Return how a load that rose went, in three looks."""
    rise = ((50, 30, 0, 0), (98, 60, 0, 0), (110, 70, 5, 20))
    return TelemetryReport(
        core="oslo-1",
        covered_s=window_s,
        samples=tuple(
            LoadSample(at_ms=1_700_000_000_000 + 2000 * at, core_percent=a, total_percent=b, queue=c, queue_ms=d)
            for at, (a, b, c, d) in enumerate(rise)
        ),
        core_side=SideReport(answered=900, failed=1),
        edge_side=SideReport(answered=300, failed=0),
        refused=2,
        servers=(replace(LOAD.servers[0], suggestion=Suggestion(slots=25, reason="at 50 busy it is slow")),),
        burst=burst,
        nodes=PhaseCounts(seated=1, enrolled=0, active=1, draining=0),
        handshake_age_s=17,
        stale_peers=0,
    )


_CALM: dict[str, Any] = {"level": 25, "core": 100, "by_hand": False, "reason": "calm", "holds": {}}


def answer(command: Command, folder: Path) -> Outcome:  # noqa: C901, PLR0911  one answer per command
    """Return what the small core says to ``command``, and remember what it changed."""
    memory = folder / "core.json"
    kept = json.loads(memory.read_text()) if memory.exists() else _CALM
    nodes = tuple(replace(node, hold=Hold(kept["holds"].get(node.instance, "none"))) for node in NODES)
    known = {node.instance: node for node in nodes}
    match command:
        case SetBurst():
            kept |= {
                "level": command.level_percent,
                "core": command.core_percent,
                "by_hand": command.by_hand,
                "reason": command.reason,
            }
        case HoldNode() if command.instance in known:
            kept["holds"][command.instance] = command.hold
    memory.write_text(json.dumps(kept))
    burst = BurstReport(
        level_percent=kept["level"], core_percent=kept["core"], by_hand=kept["by_hand"], reason=Reason(kept["reason"])
    )
    match command:
        case ReadFacts():
            return facts(burst, nodes)
        case SetBurst():
            return burst
        case SetCapacity() if command.server == "no-primary":
            return replace(LOAD.servers[0], slots=command.slots or 50)
        case SetCapacity():
            return RefusedReply(kind=RefusalKind.UNKNOWN_SERVER, message=f"there is no server {command.server}")
        case ReadTelemetry():
            return telemetry(burst, command.window_s)
        case HoldNode() if command.instance in known:
            return replace(known[command.instance], hold=command.hold)
        case ActivateNode() if command.instance in known:
            return known[command.instance]
        case HoldNode() | ActivateNode():
            return RefusedReply(kind=RefusalKind.UNKNOWN_NODE, message=f"there is no node {command.instance}")
        case EnrollNode():
            return TunnelReport(
                instance=command.instance,
                address="10.100.0.2/32",
                core_address="10.100.0.1",
                core_public_key=CORE_KEY,
                endpoint="203.0.113.10:51820",
                mtu=1360,
                keepalive_s=25,
            )
        case SyncFleet():
            return FleetReport(
                group=command.group, generation=command.generation, applied=True, nodes=nodes, missing=()
            )


def reply(mode: str, document: bytes, folder: Path) -> bytes:
    """Return the bytes that go back in this ``mode``, the right ones unless it says otherwise."""
    request_id, command = decode_request(document)
    right = encode_reply(answer(command, folder), request_id=request_id)
    refusal = RefusedReply(kind=RefusalKind.NOT_SEATED, message="i-0abc has no seat")
    whole = {
        "garbage": b"Welcome to Debian GNU/Linux 12!",
        "other version": right.replace(b'"version":3', b'"version":2'),
        "other id": encode_reply(answer(command, folder), request_id="another"),
        "no id": encode_reply(FailedReply(message="your document is broken", retryable=False), request_id="unknown"),
        "other report": encode_reply(node("i-0abc", Phase.ACTIVE), request_id=request_id),
        "refused": encode_reply(refusal, request_id=request_id),
        "failed for now": encode_reply(FailedReply(message="the disk is full", retryable=True), request_id=request_id),
        "failed for good": encode_reply(FailedReply(message="cannot be", retryable=False), request_id=request_id),
    }
    broken = {
        "silence": b"",
        "cut": right[: len(right) // 2],
        "half, then an error": right[: len(right) // 2],
        "cut at a brace": right[: right.index(b"}") + 1],
        "oversize": b" " * (MAX_REPLY_BYTES + 1),
    }
    return broken[mode] if mode in broken else whole.get(mode, right) + b"\n"


def serve(document: bytes, folder: Path) -> int | None:
    """Answer one request as the mode of the moment says; return an exit status to end with, or none to go on."""
    mode = (folder / "mode").read_text()
    if mode == "closed door":
        sys.stderr.write("drawbridge relay: /run/drawbridge/agent.sock: Connection refused\nis the agent running?\n")
        return 75
    with (folder / "requests.log").open("ab") as log:
        log.write(document + b"\n")
    match mode:
        case "slow":
            time.sleep(30)
        case "drip":
            for _ in range(300):
                sys.stdout.write(" ")
                sys.stdout.flush()
                time.sleep(0.1)
        case "chatty":
            sys.stderr.write("noise\n" * 200_000)
        case "half, then an error":
            sys.stderr.write("agent hung up\n")
    sys.stdout.buffer.write(reply(mode, document, folder))
    sys.stdout.flush()
    return {"half, then an error": 1, "silence": 0, "cut": 0, "cut at a brace": 0, "answer, then end": 0}.get(mode)


def main(folder: Path) -> int:
    """Answer line by line until the caller's end; return the exit status."""
    if (folder / "mode").read_text() == "closed door":
        return serve(b"", folder) or 0
    for line in sys.stdin.buffer:
        if (status := serve(line.removesuffix(b"\n"), folder)) is not None:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
