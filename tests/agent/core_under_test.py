"""An agent over a fake host, with a clock that tests turn and short names for what they do most."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from core_agent.agent import Agent
from core_agent.contract.messages import (
    ActivateNode,
    EnrollNode,
    FactsReport,
    FleetReport,
    Hold,
    HoldNode,
    Lifecycle,
    ReadFacts,
    Report,
    Seats,
    SetBurst,
    SetCapacity,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason, ServerName
from core_agent.roll import Burst
from core_agent.state import State
from settings import Settings
from tests.agent.fake_host import FakeHost

GROUP = GroupName("eu-north-1/drawbridge-edge")
START = 1_800_000_000.0


def key(number: int) -> PublicKey:
    """Return the ``number``-th made-up key."""
    return PublicKey(base64.b64encode(number.to_bytes(32, "big")).decode())


class Core:
    """An agent, its host, its records and its clock, with short names for what tests do most."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self.settings = settings
        self.path = path
        self.now = START
        self.generation = int(START * 1000)
        self.host = FakeHost(settings)
        self.state = State.create(path, Burst(level_percent=100, reason=Reason("test")))
        self.agent = self._agent()

    def _agent(self) -> Agent:
        return Agent(self.settings, self.state, self.host, clock=lambda: self.now)

    def restart(self) -> None:
        """Start a new agent from what is on disk, as after kill -9."""
        self.state.close()
        self.state = State.open(self.path)
        self.agent = self._agent()

    def sync(
        self,
        seats: Mapping[str, str] | None = None,
        *,
        generation: int | None = None,
        group: GroupName = GROUP,
        gone: tuple[str, ...] = (),
        override: str | None = None,
        **more: str,
    ) -> FleetReport:
        """Sync ``group`` to ``seats`` and ``more`` (``i_1="serving"``) with the next generation."""
        self.generation += 1
        report = self.agent.carry_out(
            SyncFleet(
                group=group,
                generation=self.generation if generation is None else generation,
                seats=Seats.of(
                    (InstanceId(name.replace("_", "-")), Lifecycle(word))
                    for name, word in {**(seats or {}), **more}.items()
                ),
                gone=tuple(InstanceId(name) for name in gone),
                override=Reason(override) if override else None,
            )
        )
        assert isinstance(report, FleetReport)
        return report

    def enroll(self, instance: str, number: int) -> TunnelReport:
        """Enroll ``instance`` with the ``number``-th key."""
        report = self.agent.carry_out(EnrollNode(instance=InstanceId(instance), public_key=key(number)))
        assert isinstance(report, TunnelReport)
        return report

    def ready(self, instance: str) -> Report:
        """Say that ``instance`` is ready."""
        return self.agent.carry_out(ActivateNode(instance=InstanceId(instance)))

    def hold(self, instance: str, hold: str) -> Report:
        """Speak as the operator."""
        return self.agent.carry_out(HoldNode(instance=InstanceId(instance), hold=Hold(hold), reason=Reason("test")))

    def burst(self, level: int, *, core: int = 100, by_hand: bool = False) -> Report:
        """Set the level, and the core's share."""
        return self.agent.carry_out(
            SetBurst(level_percent=level, reason=Reason("test"), core_percent=core, by_hand=by_hand)
        )

    def facts(self) -> FactsReport:
        """Ask for everything."""
        report = self.agent.carry_out(ReadFacts())
        assert isinstance(report, FactsReport)
        return report

    def capacity(self, slots: int | None, server: str = "no-primary") -> Report:
        """Set a core server's slots as an operator does; None takes that back."""
        return self.agent.carry_out(SetCapacity(server=ServerName(server), slots=slots, reason=Reason("test")))

    def join(self, *numbers: int) -> None:
        """Bring nodes ``i-N`` all the way to active, beside those that are there."""
        self.sync({f"i_{n}": "joining" for n in numbers} | self.seats())
        for n in numbers:
            self.enroll(f"i-{n}", n)
            self.host.handshake(key(n), int(self.now))
            self.host.checked(f"i-{n}")
            self.ready(f"i-{n}")
        self.sync(self.seats())

    def seats(self, **changes: str) -> dict[str, str]:
        """Return every present node as a serving seat, with ``changes``."""
        present = {
            n.instance.replace("-", "_"): "serving" for n in self.state.nodes.values() if n.phase.value != "gone"
        }
        return {**present, **changes}

    def phases(self) -> dict[str, str]:
        """Return the phase of every node on record."""
        return {node.instance: node.phase.value for node in self.state.nodes.values()}
