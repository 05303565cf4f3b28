"""The order of the measurements, and what each is claimed to be; how a join is made or timed is not known here.

Three cores stand on this machine: the agent's and the floor's with 10 nodes each, and the agent's with the large fleet.
Small and large fleet are measured in turns on two cores at the same time, so that the load of the large one's health
checks, which is the machine's, lies on both.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from benches.agent import nodes, rounds
from benches.agent.floor import Floor
from benches.agent.footprint import CpuShare, Memory, memory
from benches.agent.ground import Ground
from benches.agent.product import OpenedBySync, Product
from benches.agent.rounds import Series, Side
from benches.agent.shell import Executions, KeptShell, connect
from benches.claims import Claim, Spread
from core_agent.build import build
from demo.hosts.switch import Switch
from demo.screen import Screen

SMALL_FLEET = 10
_ADDRESSES = {"agent": "192.0.2.1", "floor": "192.0.2.2", "large": "192.0.2.3"}
_GOALS = {1: 2.0, 100: 1.5, 1000: 1.5}
_FLAT_GOAL = 1.3
_AGENT, _BY_SYNC = "agent", "agent, one sync opens them"
_EXECUTIONS, _KEPT = "an execution a step", "a kept shell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured: ``rounds`` by the number of nodes that join at once, the large fleet, seconds of idling."""

    rounds: Mapping[int, int]
    flat_rounds: int
    large_fleet: int
    idle_s: float


class Bench:
    """One run of ``plan``, shown on ``screen``. Needs a sandbox."""

    def __init__(self, plan: Plan, screen: Screen, order: random.Random) -> None:
        self._plan = plan
        self._screen = screen
        self._order = order
        self._folder = Path(os.environ["TMPDIR"]) / "bench"
        self._identity = self._folder / "identity"
        self._open = ExitStack()
        self._claims: list[Claim] = []

    def run(self) -> list[Claim]:
        """Measure everything and return the claims; leaves nothing running."""
        with self._open:
            self._screen.chapter("three cores, each with the installed zipapp, sshd, HAProxy and WireGuard")
            self._screen.say(
                f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} before the first round"
            )
            grounds = self._lay_out()
            agent, large = (self._product(grounds[name]) for name in ("agent", "large"))
            floors = self._floors(grounds["floor"])
            agent.fill(nodes.make(SMALL_FLEET))
            floors[_KEPT].fill(nodes.make(SMALL_FLEET))
            before = memory(agent.ground.core.host)

            self._against_the_floor(agent, floors)
            small_share = CpuShare(agent.ground.core.host)
            self._fill(large)
            self._idle(self._plan.idle_s - small_share.seconds)
            small_percent = small_share.percent()
            self._flat(agent, large, "agent", goal=_FLAT_GOAL)
            after = memory(large.ground.core.host)
            large_share = CpuShare(large.ground.core.host)
            self._idle(self._plan.idle_s)
            self._footprint(before, after, small_percent, large_share.percent())
            # The agent that made the large fleet is killed; the fleet stays, and the bare commands join it too.
            large.ground.core.kill_agent()
            self._flat(floors[_KEPT], self._floors(large.ground)[_KEPT], "floor")
        return self._claims

    # --- the parts --------------------------------------------------------------------------------------------------

    def _lay_out(self) -> dict[str, Ground]:
        switch = Switch()
        switch.start()
        self._folder.mkdir()
        zipapp = self._folder / "agent.pyz"
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._identity), check=True)
        build(zipapp)
        public_key = self._identity.with_suffix(".pub").read_text().strip()
        grounds = {}
        for name, address in _ADDRESSES.items():
            grounds[name] = Ground(name=name, address=IPv4Address(address), switch=switch, folder=self._folder / "logs")
            self._open.callback(grounds[name].stop)
            grounds[name].start(agent=zipapp, authorized_key=public_key)
            self._screen.live(f"{name} stands")
        # The floor's core is laid out like the others and then left to its bare commands alone.
        grounds["floor"].core.kill_agent()
        return grounds

    def _product(self, ground: Ground) -> Product:
        product = Product(ground, self._identity)
        self._open.callback(product.close)
        return product

    def _floors(self, ground: Ground) -> dict[str, Floor]:
        transport = connect(ground, self._identity)
        self._open.callback(transport.close)
        return {_EXECUTIONS: Floor(ground, Executions(transport)), _KEPT: Floor(ground, KeptShell(transport))}

    def _against_the_floor(self, agent: Product, floors: Mapping[str, Floor]) -> None:
        for joins, count in self._plan.rounds.items():
            title = f"{joins} {'node joins' if joins == 1 else 'nodes join'} a fleet of {SMALL_FLEET}"
            self._screen.chapter(f"{title}: agent and bare commands in turns, {count} rounds")
            sides: dict[str, Side] = {_AGENT: agent, **floors}
            if joins > 1:
                sides[_BY_SYNC] = OpenedBySync(agent)
            found = self._rounds(sides, joins=joins, count=count)
            self._show(found)
            # The floor is whichever way is faster in this run: the product may not gain by a slow opponent.
            floor = min(floors, key=lambda name: Spread.of(found[name].totals).median)
            how = f"beside {floor}; medians of {count} interleaved rounds; p10 – p90 of the rounds' own ratios"
            if joins > 1:  # the goal is about many in one sync
                self._ratio(f"{title}: {_BY_SYNC} ÷ floor", found[_BY_SYNC], found[floor], goal=_GOALS[joins], how=how)
            goal = _GOALS[joins] if joins == 1 else None
            self._ratio(f"{title}: {_AGENT} ÷ floor", found[_AGENT], found[floor], goal=goal, how=how)
            self._times(title, found)

    def _flat(self, small: Side, large: Side, who: str, *, goal: float | None = None) -> None:
        size, count = self._plan.large_fleet, self._plan.flat_rounds
        self._screen.chapter(f"1 node joins fleets of {SMALL_FLEET} and {size:,}, in turns: {who}, {count} rounds")
        names = [f"{who}, fleet of {fleet:,}" for fleet in (SMALL_FLEET, size)]
        found = self._rounds(dict(zip(names, (small, large), strict=True)), joins=1, count=count)
        self._show(found)
        self._ratio(
            f"1 node joins a fleet of {size:,} ÷ of {SMALL_FLEET}: {who}",
            *(found[name] for name in reversed(names)),
            goal=goal,
            how=f"two cores side by side in {count} interleaved rounds; medians; p10 – p90 of the rounds' own ratios; "
            f"the large fleet's {size:,} health checks a second load the machine under both",
        )
        self._times("1 node joins beside that load", found)

    def _fill(self, large: Product) -> None:
        size = self._plan.large_fleet
        self._screen.chapter(f"the agent fills a fleet of {size:,}")
        started = time.monotonic()
        large.fill(nodes.make(size), progress=lambda done: self._screen.live(f"{done:,} of {size:,} nodes serve"))
        took = time.monotonic() - started
        self._screen.say(f"{size:,} nodes serve after {took:.0f} s, waits for health checks included")

    def _idle(self, seconds: float) -> None:
        if seconds > 0:
            self._screen.say(f"nobody asks anything for {seconds:.0f} s")
            time.sleep(seconds)

    def _footprint(self, before: Memory, after: Memory, small_percent: float, large_percent: float) -> None:
        for fleet, found, percent in (
            (SMALL_FLEET, before, small_percent),
            (self._plan.large_fleet, after, large_percent),
        ):
            how = (
                "the agent's process, after its rounds" if fleet != SMALL_FLEET else "the agent's process, once filled"
            )
            self._claim(f"memory at {fleet:,} nodes, RSS", found.rss, "MiB", how=how)
            self._claim(f"memory at {fleet:,} nodes, PSS", found.pss, "MiB", how=how)
            how = f"utime and stime of the agent and its children over {self._plan.idle_s:.0f} s or more, nobody asking"
            self._claim(f"CPU of the idle agent at {fleet:,} nodes", percent, "% of one", how=how)

    # --- what they become -------------------------------------------------------------------------------------------

    def _ratio(self, claim: str, ours: Series, theirs: Series, *, goal: float | None, how: str) -> None:
        ratio = Spread.of(ours.totals).median / Spread.of(theirs.totals).median
        pairs = [one / other for one, other in zip(ours.totals, theirs.totals, strict=True)]
        self._claims.append(Claim(claim=claim, value=ratio, unit="×", goal=goal, how=how, spread=Spread.of(pairs)))

    def _times(self, title: str, found: Mapping[str, Series]) -> None:
        for name, series in found.items():
            spread = Spread.of([1000 * seconds for seconds in series.totals])
            how = "stages, median ms: " + ", ".join(
                f"{stage} {1000 * Spread.of(seconds).median:.1f}" for stage, seconds in series.stages.items()
            )
            self._claims.append(Claim(claim=f"{title}: {name}", value=spread.median, unit="ms", how=how, spread=spread))

    def _claim(self, claim: str, value: float, unit: str, *, how: str) -> None:
        self._claims.append(Claim(claim=claim, value=value, unit=unit, how=how))

    def _show(self, found: Mapping[str, Series]) -> None:
        rows = []
        for name, series in found.items():
            for stage, seconds in {**series.stages, "together": series.totals}.items():
                spread = Spread.of([1000 * one for one in seconds])
                rows.append((name, stage, f"{spread.median:.1f}", f"{spread.p10:.1f} – {spread.p90:.1f}"))
        self._screen.table(("side", "stage", "median ms", "p10 – p90"), rows)

    def _rounds(self, sides: Mapping[str, Side], *, joins: int, count: int) -> dict[str, Series]:
        def progress(number: int) -> None:
            self._screen.live(f"round {number} of {count}")

        return rounds.run(sides, joins=joins, rounds=count, progress=progress, order=self._order)
