"""The agent's process on the modelled core: its lives, its deaths and its clock; it judges nothing.

A death takes what kill -9 takes: the files of the records are copied as they lie there, and the next life opens those.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from core_agent.agent import Agent
from core_agent.contract.messages import Command, Report
from core_agent.contract.names import InstanceId, Reason
from core_agent.errors import DrawbridgeError
from core_agent.host import Host
from core_agent.rebuild import rebuild
from core_agent.recovery import draft
from core_agent.roll import Burst, Node
from core_agent.state import State
from settings import Settings
from tests.agent.walk.machine import Machine

START = 1_800_000_000.0
LOOK_S, ADVANCE_S = 2.5, 0.25


class FragileState(State):
    """Records that can be cut off right before they are durable, and refused by the disk."""

    before_commit: Callable[[], None] = staticmethod(lambda: None)

    def _write(self) -> None:
        self.before_commit()
        super()._write()

    def refuse_writes(self, *, refuse: bool) -> None:
        """Let the disk be full, or empty again."""
        self._connection.execute(f"PRAGMA query_only = {int(refuse)}")


class Life:
    """The agent, dead and alive again, with ``now`` as its clock in Unix seconds."""

    def __init__(self, settings: Settings, machine: Machine, folder: Path) -> None:
        self.settings = settings
        self.machine = machine
        self.now = START
        self._folder = folder
        self._lives = itertools.count()
        self._path = self._next_path()
        State.create(self._path, Burst(level_percent=100, reason=Reason("the walk begins"))).close()
        self._begin()

    def _next_path(self) -> Path:
        return self._folder / f"state-{next(self._lives)}.db"

    def _begin(self) -> None:
        self.state = FragileState.open(self._path)
        self.state.before_commit = self.machine.commit
        host = Host(
            self.settings,
            wg_conf=self.machine.wg_conf,
            haproxy_cfg=self.machine.haproxy_cfg,
            haproxy_socket=self._path.with_name("admin.sock"),
        )
        self.agent = Agent(self.settings, self.state, host, clock=lambda: self.now)

    @property
    def nodes(self) -> dict[InstanceId, Node]:
        """The records as they are now."""
        return dict(self.state.nodes)

    def tell(self, commands: Sequence[Command]) -> list[Report | DrawbridgeError]:
        """Return the agent's answers to ``commands``, which waited together. Raises ``CutError`` when it died of it."""
        return self.agent.carry_out_all(commands)

    def look(self) -> DrawbridgeError | None:
        """Let the ticker look at everything; return what kept it from its work. Raises ``CutError``."""
        return self._ticked(LOOK_S, self.agent.tick)

    def advance(self) -> DrawbridgeError | None:
        """Let the ticker look at the nodes in motion alone; as ``look``."""
        return self._ticked(ADVANCE_S, self.agent.advance)

    def _ticked(self, seconds: float, tick: Callable[[], object]) -> DrawbridgeError | None:
        self.now += seconds
        try:
            tick()
        except DrawbridgeError as error:
            return error
        return None

    def die(self) -> None:
        """End by kill -9 and start again from what is on the disk."""
        former, self._path = self._path, self._next_path()
        for suffix in ("", "-wal"):
            source = former.with_name(former.name + suffix)
            if source.exists():
                shutil.copyfile(source, self._path.with_name(self._path.name + suffix))
        self.end()
        self.machine.cut_after = None
        self._begin()

    def lose_records(self) -> None:
        """End, and start again with the records that the two files tell of."""
        network = self.settings.tunnel.network
        records = rebuild(self.machine.conf, self.machine.cfg, network=network, now=self.now)
        assert records is not None, "a core that has converged once has both files"
        self.end()
        self.machine.cut_after = None
        self._path = self._next_path()
        draft(self._path, records)
        self._begin()

    def end(self) -> None:
        """Close the records."""
        self.state.close()
