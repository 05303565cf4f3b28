"""The demo's story, told live: a spike comes and goes, nobody touches anything, and each chapter checks its claims."""

from __future__ import annotations

import select
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core_agent.contract.messages import FactsReport
from demo.configuration import CORE_CAPACITY, SERVICE_MS, SLOTS
from demo.hosts.client import Reading
from demo.hosts.errors import HostError
from demo.hosts.switch import CORE_ADDRESS
from demo.house import House
from demo.record import Event, Record
from demo.recorder import Recorder
from demo.screen import Screen, bar
from demo.stages import Stages

STEADY, SPIKE = 0.5 * CORE_CAPACITY, 3.0 * CORE_CAPACITY
CLIMB_S, HOLD_S, FALL_S, STANDBY_S = 100, 30, 20, 8
VOLLEY = 15
CALM = ("core-calm", "queue-short")
CALM_LIMIT_S, JOIN_LIMIT_S, HOME_LIMIT_S, PAUSE_LIMIT_S = 180, 60, 420, 1800
_BEFORE_S = 15  # of steady traffic that the record begins with


def tell(house: House, screen: Screen, *, pause: Callable[[], None] | None) -> Record:
    """Tell the whole story and return its record; ``screen.broken`` says what did not hold.

    ``pause`` is called at the spike's end, with the load running.
    """
    _core(house, screen)
    _deploy(house, screen)
    with Recorder(core=house.core.ask_facts, group=house.group, alarms=house.alarms) as recorder:
        house.users.start(
            f"http://{CORE_ADDRESS}/", rate=STEADY, seconds=3000, on_second=lambda r: screen.live(_line(r, recorder))
        )
        _steady(house, screen, recorder)
        climb = _spike(house, screen, recorder)
        if pause is not None:
            pause()
        fall = _fall(house, screen, recorder)
        _home(house, screen, recorder, fall)
        _reckon(house, screen)
    stages = Stages.of(house.settings.burst, recorder, house.users.readings, since=climb)
    climbing = (event for event in stages.events if event.at < fall)
    events = (*climbing, Event(at=fall, text="load falls to 0.5 ×"), *_homecoming(house, recorder, fall))
    _destroy(house, screen)
    return recorder.record(
        house.users.readings, events, home=_home_servers(house), capacity=CORE_CAPACITY, begin=climb - _BEFORE_S
    )


# --- chapters -------------------------------------------------------------------------------------------------------


def _core(house: House, screen: Screen) -> None:
    screen.chapter(f"The core in Norway, {CORE_ADDRESS}: installed by the product's own installer")
    screen.say(house.build_core())
    facts = house.core.ask_facts()
    up = {server.name for server in facts.load.servers if server.up}
    screen.claim(
        "the core's own server is up and the agent has nothing left to do",
        holds=up == _home_servers(house) and facts.pending_steps == 0,
        found=f"up: {', '.join(sorted(up)) or 'none'}; pending steps: {facts.pending_steps}",
    )


def _deploy(house: House, screen: Screen) -> None:
    screen.chapter("AWS: `fab publish-key`, `cdk bootstrap`, `cdk deploy --all`, unmodified, against a local AWS API")
    house.open_aws()
    screen.say(house.fab("publish-key"))
    house.deploy(screen.live)
    stacks = sorted(house.stacks())
    screen.claim("three stacks stand", holds=len(stacks) == 3, found=", ".join(stacks))


def _steady(house: House, screen: Screen, recorder: Recorder) -> None:
    screen.chapter(
        f"Steady traffic: {STEADY:.0f} requests/s, half of what the core's {SLOTS} slots × {SERVICE_MS} ms serve"
    )
    screen.say("from here on nobody is at the controls: telemetry, alarms, policies and functions do what is done")
    standing = house.settings.edge.min_capacity
    _until(
        lambda: recorder.nodes == standing and all(recorder.state(alarm) == "ALARM" for alarm in CALM),
        CALM_LIMIT_S,
        f"{standing} node serving and both calm alarms on",
    )
    facts = house.core.ask_facts()
    screen.say(f"burst level {_level(facts)}; nodes standing by: {recorder.nodes}")
    share = _edge_share(house, house.users.readings)
    screen.claim("the core serves it: AWS gets at most 0.5 %", holds=share <= 0.005, found=f"{share:.2%}")


def _spike(house: House, screen: Screen, recorder: Recorder) -> float:
    """The load climbs and stays; returns when it began."""
    screen.chapter(f"The spike: {STEADY:.0f} → {SPIKE:.0f} requests/s in {CLIMB_S} s, then {HOLD_S} s of that")
    climb = time.monotonic()
    house.users.ramp(SPIKE, seconds=CLIMB_S)
    _until(lambda: house.users.readings[-1].rate >= SPIKE, CLIMB_S + 20, "the whole load")
    _seconds(house, HOLD_S)
    _until(lambda: recorder.nodes == house.group().desired, JOIN_LIMIT_S, "every node that the group wants serving")
    readings = [reading for reading in house.users.readings if reading.at > climb]
    Stages.of(house.settings.burst, recorder, readings, since=climb).show(screen)
    _who_answered(house, screen, readings[-HOLD_S:])
    held = readings[-HOLD_S].at
    busy = [look.busy / look.slots if look.slots else 0.0 for look in recorder.looks if look.at >= held]
    full = sum(busy) / max(1, len(busy))
    # By chance alone ten slots at 3 × are idle for 3 % of the time (Erlang's loss formula); a slow machine adds to it.
    screen.claim("the core stays full: at least 90 % of its slots are busy", holds=full >= 0.9, found=f"{full:.1%}")
    facts, alarm = house.core.ask_facts(), house.settings.burst.alarm_percent
    screen.claim(
        f"the alarms set the burst level to {alarm} %",
        holds=facts.burst.level_percent == alarm,
        found=_level(facts),
    )
    group = house.group()
    screen.claim(
        "the group grew by itself, and every node it wants serves",
        holds=recorder.nodes == group.desired > group.minimum,
        found=f"{group.minimum} → {group.desired}",
    )
    return climb


def _fall(house: House, screen: Screen, recorder: Recorder) -> float:
    """The load falls below what the core serves, while the nodes still stand by; returns when it began to."""
    screen.chapter(f"Back to {STEADY:.0f} requests/s within {FALL_S} s, with the nodes still standing by")
    fall = time.monotonic()
    house.users.ramp(STEADY, seconds=FALL_S)
    _until(lambda: house.users.readings[-1].rate <= STEADY, FALL_S + 20, "the old load")
    _seconds(house, 2)  # what came before is answered
    nodes = recorder.nodes
    share = _edge_share(house, _seconds(house, STANDBY_S))
    screen.claim(
        f"below the core's capacity AWS gets at most 0.5 %, with {nodes} nodes ready to serve",
        holds=share <= 0.005 and nodes > 0,
        found=f"{share:.2%}",
    )
    house.users.volley(VOLLEY)
    readings = _seconds(house, 2)
    overflow = sum(count for name, count in _shares(readings).items() if name not in _home_servers(house))
    # Not the slowest: a machine that stalls makes one of them late, and says nothing of a queue.
    p95 = max(reading.latency_ms["p95"] or 0.0 for reading in readings)
    screen.claim(
        f"what finds the core full goes to a node at once: {VOLLEY} more requests in one instant",
        holds=overflow >= VOLLEY - SLOTS and p95 < 2 * SERVICE_MS,
        found=f"{overflow} overflowed; 95 % of that second's answers took at most {p95:.0f} ms",
    )
    return fall


def _home(house: House, screen: Screen, recorder: Recorder, fall: float) -> None:
    screen.chapter("Home: the alarms calm down, and the group goes back to its minimum")
    before = len(house.users.readings)

    def at_home() -> bool:
        group = house.group()
        return group.desired == group.minimum == len(group.states) and recorder.nodes == group.minimum

    _until(at_home, HOME_LIMIT_S, "the group at its minimum")
    _seconds(house, 2)
    facts, group, running = house.core.ask_facts(), house.group(), house.instances.running
    gone = [name for name, seen in recorder.marks.items() if {"core gone", "AWS gone"} <= seen.keys()]
    screen.claim(
        f"the group is back at its minimum, {group.minimum}; who left is gone from the core and from AWS",
        holds=len(facts.nodes) == len(running) == group.minimum and len(gone) == len(recorder.marks) - group.minimum,
        found=f"{len(gone)} of {len(recorder.marks)} gone; machines: {len(running)}; {time.monotonic() - fall:.0f} s",
    )
    calm = house.settings.burst.calm_percent
    screen.claim(
        f"the burst level is back at {calm} %",
        holds=facts.burst.level_percent == calm,
        found=_level(facts),
    )
    share = _edge_share(house, house.users.readings[before:])
    screen.claim("AWS got at most 0.5 % of the requests on the way", holds=share <= 0.005, found=f"{share:.2%}")


def _reckon(house: House, screen: Screen) -> None:
    screen.chapter("The reckoning")
    total = house.users.finish()
    rows = [
        (name, str(count), f"{count / total.ok:.1%}")
        for name, count in sorted(total.servers.items(), key=lambda item: -item[1])
    ]
    screen.table(("server", "requests", "share"), rows)
    screen.say("why the group changed, in AWS's words:")
    for cause in house.scaling_causes():
        screen.say(f"- {cause}")
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
        time.sleep(0.2)


def _seconds(house: House, count: int) -> tuple[Reading, ...]:
    """Let ``count`` seconds of load pass and return them."""
    before = len(house.users.readings)
    _until(lambda: len(house.users.readings) >= before + count, count + 20, f"{count} seconds of load")
    return house.users.readings[before : before + count]


def _homecoming(house: House, recorder: Recorder, fall: float) -> tuple[Event, ...]:
    """When the level and the group came back after the load had fallen."""
    calm, minimum = house.settings.burst.calm_percent, house.settings.edge.min_capacity
    level = recorder.first("level", f"{calm} %", since=fall)
    home = recorder.first("desired", str(minimum), since=fall)
    return tuple(
        Event(at=at, text=text)
        for at, text in ((level, f"alarms are calm: level {calm} %"), (home, "the group wants its minimum again"))
        if at is not None
    )


def _level(facts: FactsReport) -> str:
    return f"{facts.burst.level_percent} %: {textwrap.shorten(facts.burst.reason, 90, placeholder=' …')}"


def _home_servers(house: House) -> set[str]:
    return {str(server.name) for server in house.settings.core.servers}


def _edge_share(house: House, readings: Sequence[Reading]) -> float:
    shares = _shares(readings)
    edge = sum(count for name, count in shares.items() if name not in _home_servers(house))
    return edge / max(1, sum(shares.values()))


def _shares(readings: Sequence[Reading]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reading in readings:
        for name, count in reading.servers.items():
            counts[name] = counts.get(name, 0) + count
    return counts


def _who_answered(house: House, screen: Screen, readings: Sequence[Reading]) -> None:
    shares = _shares(readings)
    total = sum(shares.values()) or 1
    weights: dict[str, str] = {node.instance: str(node.weight) for node in house.core.ask_facts().nodes}
    rows = [
        (
            name,
            weights.get(name, "core first"),
            f"{count / len(readings):.0f}",
            f"{count / total:.1%}",
            bar(count / total).ljust(30),
        )
        for name, count in sorted(shares.items(), key=lambda item: -item[1])
    ]
    screen.say(f"who answered in the last {len(readings)} s:")
    screen.table(("server", "weight", "requests/s", "share", ""), rows)


def _line(reading: Reading, recorder: Recorder) -> str:
    p99 = reading.latency_ms.get("p99")
    edge = sum(count for name, count in reading.servers.items() if name.startswith("i-"))
    parts = [f"{reading.sent:4d} sent/s", f"core {reading.ok - edge:3d}", f"AWS {edge:3d}", f"{reading.failed} failed"]
    parts.append(f"p99 {p99:4.0f} ms" if p99 else "p99    –")
    if recorder.looks:
        look = recorder.looks[-1]
        parts += [f"queue {look.queue}", f"level {look.level_percent} %", f"nodes {look.nodes} of {look.desired}"]
    return "   ".join(parts)
