"""The demo's story, told live: each chapter does something to the house, shows it, and checks what it claims."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from core_agent.contract.messages import FactsReport
from demo.configuration import CORE_CAPACITY, NODES, SERVICE_MS, SLOTS
from demo.hosts.client import Reading
from demo.hosts.errors import HostError
from demo.hosts.switch import CORE_ADDRESS
from demo.house import House
from demo.screen import Screen, bar
from demo.timeline import Timeline

JOIN_LIMIT_S, LEAVE_LIMIT_S = 60, 60
STEADY_S, SPIKE_S = 5, 15
STEADY, SPIKE = 0.5 * CORE_CAPACITY, 2.0 * CORE_CAPACITY
PAUSE_LIMIT_S = 1800
CORE_SERVER = "no-primary"

_JOIN_STAGES = ("Pending:Wait", "seated", "enrolled", "active", "InService")
_LEAVE_STAGES = ("Terminating:Wait", "draining", "core gone", "AWS gone")


def tell(house: House, screen: Screen, *, pause: Callable[[], None] | None) -> bool:
    """Tell the whole story; return whether every claim on the screen held. ``pause`` is called at the spike's end."""
    _core(house, screen)
    _deploy(house, screen)
    house.users.start(f"http://{CORE_ADDRESS}/", rate=STEADY, seconds=2400, on_second=lambda r: screen.live(_line(r)))
    _steady(house, screen)
    joins = _scale_out(house, screen)
    _spike(house, screen)
    if pause is not None:
        pause()
    leaves = _scale_in(house, screen)
    _reckon(house, screen, joins, leaves)
    _destroy(house, screen)
    return not screen.broken


# --- chapters -------------------------------------------------------------------------------------------------------


def _core(house: House, screen: Screen) -> None:
    screen.chapter(f"The core in Norway, {CORE_ADDRESS}: installed by the product's own installer")
    screen.say(house.build_core())
    facts = house.core.ask_facts()
    up = [server.name for server in facts.load.servers if server.up]
    screen.claim(
        "the core's own server is up and the agent has nothing left to do",
        holds=up == [CORE_SERVER] and facts.pending_steps == 0,
        found=f"up: {', '.join(up) or 'none'}; pending steps: {facts.pending_steps}",
    )


def _deploy(house: House, screen: Screen) -> None:
    screen.chapter("AWS: `fab publish-key`, `cdk bootstrap`, `cdk deploy --all`, unmodified, against a local AWS API")
    house.open_aws()
    screen.say(house.fab("publish-key"))
    house.deploy(screen.live)
    stacks = sorted(house.stacks())
    screen.claim("three stacks stand", holds=len(stacks) == 3, found=", ".join(stacks))


def _steady(house: House, screen: Screen) -> None:
    screen.chapter(
        f"Steady traffic: {STEADY:.0f} requests/s, half of what the core's {SLOTS} slots × {SERVICE_MS} ms serve"
    )
    screen.say(house.fab("burst", "--level", "0", "--reason", "demo: bridge up"))
    before = len(house.users.readings)
    _until(lambda: len(house.users.readings) >= before + STEADY_S, STEADY_S + 20, "seconds of steady traffic")
    shares = _shares(house.users.readings[before:])
    screen.claim("the core serves all of it", holds=shares.keys() == {CORE_SERVER}, found=_percentages(shares))


def _scale_out(house: House, screen: Screen) -> Timeline:
    screen.chapter(f"Scale-out: desired capacity 0 → {NODES}, asked through the AWS API")
    with _timeline(house) as timeline:
        house.set_desired(NODES)
        _until(lambda: timeline.all_reached("InService", NODES), JOIN_LIMIT_S, f"{NODES} instances in service")
    _stages(screen, timeline.marks, _JOIN_STAGES)
    facts = house.core.ask_facts()
    ready = [node.instance for node in facts.nodes if node.phase == "active"]
    screen.claim(
        "every node is seated, enrolled and active on the core",
        holds=len(ready) == NODES,
        found=f"{len(ready)} of {NODES}",
    )
    return timeline


def _spike(house: House, screen: Screen) -> None:
    screen.chapter(f"The spike: {SPIKE:.0f} requests/s, twice the core's capacity, and the bridge let down")
    screen.say(house.fab("burst", "--level", "100", "--reason", "demo: spike"))
    house.users.set_rate(SPIKE)
    _until(lambda: house.users.readings[-1].rate == SPIKE, 10, "the new rate")
    before = len(house.users.readings) + 2  # the first seconds are still filling the slots
    _until(lambda: len(house.users.readings) >= before + SPIKE_S, SPIKE_S + 20, "seconds of spike")
    readings = house.users.readings[before:]
    _picture(screen, readings, house.core.ask_facts())
    shares = _shares(readings)
    total = sum(shares.values())
    core = shares.get(CORE_SERVER, 0) / len(readings)
    screen.claim(
        "the core stays full: at least 75 % of its capacity is served at home",
        holds=core >= 0.75 * CORE_CAPACITY,
        found=f"{core:.0f} of {CORE_CAPACITY:.0f} requests/s",
    )
    edge = {name: count / total for name, count in shares.items() if name != CORE_SERVER}
    mean = sum(edge.values()) / NODES
    spread = max((abs(share - mean) / mean for share in edge.values()), default=1.0)
    screen.claim(
        f"the rest is shared by weight: {NODES} nodes of equal weight within 15 % of each other",
        holds=len(edge) == NODES and spread <= 0.15,
        found=f"furthest from the mean: {spread:.0%}",
    )


def _scale_in(house: House, screen: Screen) -> Timeline:
    screen.chapter(f"Scale-in: {STEADY:.0f} requests/s again, desired capacity {NODES} → 0")
    house.users.set_rate(STEADY)
    with _timeline(house) as timeline:
        _until(lambda: len(timeline.marks) >= NODES, 10, "a first look")
        house.set_desired(0)
        _until(lambda: timeline.all_reached("AWS gone", NODES), LEAVE_LIMIT_S, f"{NODES} instances gone")
    _stages(screen, timeline.marks, _LEAVE_STAGES)
    facts = house.core.ask_facts()
    present = house.instances.running
    screen.claim(
        "drained and gone: no node on the core, no machine running",
        holds=not facts.nodes and not present,
        found=f"nodes: {len(facts.nodes)}, machines: {len(present)}",
    )
    return timeline


def _reckon(house: House, screen: Screen, joins: Timeline, leaves: Timeline) -> None:
    screen.chapter("The reckoning")
    time.sleep(1)  # the last node's connections have ended; a second of plain traffic proves it
    total = house.users.finish()
    rows = [
        (name, str(count), f"{count / total.ok:.1%}", _span(joins, name, "InService"), _span(leaves, name, "AWS gone"))
        for name, count in sorted(total.servers.items(), key=lambda item: -item[1])
    ]
    screen.table(("server", "requests", "share", "join, s", "leave, s"), rows)
    latency = ", ".join(f"{name} {value:.0f} ms" for name, value in total.latency_ms.items() if value is not None)
    screen.say(f"sent {total.sent}, answered {total.ok}, failed {total.failed}; {latency}")
    screen.claim(
        "no request failed",
        holds=total.failed == 0 and total.sent == total.ok,
        found=f"{total.failed} of {total.sent} failed {dict(total.failed_by_kind) or ''}".rstrip(),
    )


def _destroy(house: House, screen: Screen) -> None:
    screen.chapter("`cdk destroy --all`")
    house.destroy(screen.live)
    stacks = house.stacks()
    screen.claim("no stack is left", holds=not stacks, found=", ".join(stacks) or "none")


# --- pieces ---------------------------------------------------------------------------------------------------------


def pause(screen: Screen, commands: str, flag: Path) -> None:
    """Wait for Enter on a terminal, for the file ``flag`` anywhere, or for half an hour."""
    screen.chapter("Paused, with the load running")
    screen.say(f"in another terminal, in this folder:\n{commands}")
    screen.say("everything else lives in namespaces of its own: an address of the demo, asked here, is somebody else's")
    screen.say(f"go on: press Enter{'' if sys.stdin.isatty() else ' (on a terminal)'}, or `touch {flag}`")
    deadline = time.monotonic() + PAUSE_LIMIT_S
    while time.monotonic() < deadline and not flag.exists():
        if sys.stdin.isatty() and select.select([sys.stdin], [], [], 0)[0]:
            sys.stdin.readline()
            return
        time.sleep(0.3)


def _until(done: Callable[[], bool], limit_s: float, wanted: str) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            raise HostError(f"waiting: wanted {wanted} within {limit_s:.0f} s, found them missing")
        time.sleep(0.1)


def _timeline(house: House) -> Timeline:
    return Timeline({"core": house.phases, "AWS": house.lifecycle_states})


def _stages(screen: Screen, marks: Mapping[str, Mapping[str, float]], stages: tuple[str, ...]) -> None:
    screen.say("seconds from the request to the first sight of each stage (–: over between two looks, a tenth apart):")
    rows = [
        (instance, *(f"{seen[stage]:.1f}" if stage in seen else "–" for stage in stages))
        for instance, seen in sorted(marks.items())
    ]
    screen.table(("instance", *stages), rows)


def _span(timeline: Timeline, name: str, stage: str) -> str:
    seconds = timeline.marks.get(name, {}).get(stage)
    return "" if seconds is None else f"{seconds:.1f}"


def _shares(readings: tuple[Reading, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reading in readings:
        for name, count in reading.servers.items():
            counts[name] = counts.get(name, 0) + count
    return counts


def _percentages(shares: Mapping[str, int]) -> str:
    total = sum(shares.values()) or 1
    return ", ".join(f"{name} {count / total:.0%}" for name, count in sorted(shares.items()))


def _picture(screen: Screen, readings: tuple[Reading, ...], facts: FactsReport) -> None:
    shares = _shares(readings)
    total = sum(shares.values()) or 1
    weights: dict[str, str] = {node.instance: str(node.weight) for node in facts.nodes}
    rows = [
        (
            name,
            weights.get(name, "core first"),
            f"{count / len(readings):.0f}",
            f"{count / total:.1%}",
            bar(count / total),
        )
        for name, count in sorted(shares.items(), key=lambda item: -item[1])
    ]
    screen.table(("server", "weight", "requests/s", "share", ""), [(*row[:4], row[4].ljust(30)) for row in rows])


def _line(reading: Reading) -> str:
    p99 = reading.latency_ms.get("p99")
    parts = [f"{reading.sent:4d} sent/s", f"{reading.failed} failed", f"p99 {p99:.0f} ms" if p99 else "p99 –"]
    return "   ".join([*parts, _percentages(reading.servers)])
