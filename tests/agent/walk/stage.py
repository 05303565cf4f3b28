"""The core, its agent and AWS on one stage: whatever is said or done here is judged at once by every invariant.

It knows how to speak to the agent and what to take note of; which steps there are is not its business.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from core_agent.contract.messages import (
    Command,
    EnrollNode,
    FleetReport,
    HoldNode,
    Phase,
    Seats,
    SyncFleet,
    TunnelReport,
)
from core_agent.contract.names import GroupName, InstanceId
from core_agent.errors import DrawbridgeError, RecordFailed, Refused
from core_agent.roll import Node
from settings import Settings
from tests.agent.walk.cloud import Cloud
from tests.agent.walk.invariants import Scene, Violation, check
from tests.agent.walk.life import Life
from tests.agent.walk.machine import CutError, Machine
from tests.agent.walk.tally import Tally
from tests.agent.walk.told import Told
from tests.agent.walk.tunnel import OPERATORS_KEY

_MEMORY = Path("/dev/shm")  # where a sync costs nothing; what survives kill -9 is the same


class Stage:
    """One core from its installation on; ``note`` is told what happens, a sentence at a time.

    ``broken`` once a rule was; ``settled`` as in ``Scene``.
    """

    def __init__(self, settings: Settings, tally: Tally, note: Callable[[str], object] = print) -> None:
        self.note = note
        self.settings = settings
        self.tally = tally
        self.cloud = Cloud()
        self.told = Told()
        self.by_hand: set[str] = set()
        self.broken = self.settled = False
        self._unrepaired = 0
        self._released: dict[str, tuple[InstanceId, float]] = {}
        self._opened: dict[str, float] = {}
        self._missing: dict[GroupName, tuple[InstanceId, ...]] = {}
        self._stack = ExitStack()
        folder = Path(tempfile.mkdtemp(prefix="walk-", dir=_MEMORY if _MEMORY.is_dir() else None))
        self._stack.callback(shutil.rmtree, folder)
        self.machine = Machine(folder)
        self._stack.enter_context(self.machine.installed())
        self.life = Life(settings, self.machine, folder)
        self.life.look()  # writes haproxy.cfg, as the installer does before HAProxy starts
        self.machine.proxy.start(self.machine.cfg)

    def close(self) -> None:
        """Leave nothing behind."""
        self.tally.effects += self.machine.done
        self.life.end()
        self._stack.close()

    # --- speaking to the agent --------------------------------------------------------------------------------------

    def tell(self, command: Command) -> object:
        """Send ``command`` and judge; return the answer, or None when the agent died of it."""
        return self.tell_all([command])[0]

    def tell_all(self, commands: Sequence[Command]) -> Sequence[object]:
        """Send ``commands`` together and judge; return the answers in their order, as ``tell``."""
        self.machine.effects.clear()
        self.tally.commands += len(commands)
        before, generations = self.life.nodes, dict(self.life.state.generations)
        answers: Sequence[object] = [None] * len(commands)
        died = False
        try:
            answers = self.life.tell(commands)
        except CutError:
            died = True
            self.die()
        for command, answer in zip(commands, answers, strict=True):
            self._heard(command, before, generations, answer)
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        self.tally.refusals += len(refused)
        if len(refused) == len(commands):
            kept = {i: _fixed(node) for i, node in before.items()} == {i: _fixed(n) for i, n in self.life.nodes.items()}
            self.demand(kept, f"it refused and changed its records: {refused}")
        self._judge(before, generations, died=died)
        return answers

    def look(self) -> None:
        """Let the agent look at everything; when that went through, the core must be as its records say."""
        for _ in range(2):  # the first may only find out that what it believed is not so
            went_through = self.watch(self.life.look)
        if went_through and self.machine.tunnel.up and self.machine.proxy.up:
            self.settled = True
            self.machine.effects.clear()
            self._judge(self.life.nodes, dict(self.life.state.generations), died=False)
            self.tally.repairs += self._unrepaired
            self._unrepaired = 0
            self.by_hand.clear()
            self.told.rested.clear()

    def watch(self, tick: Callable[[], DrawbridgeError | None]) -> bool:
        """Let the ticker act and judge; return whether it met no error and did not die."""
        self.machine.effects.clear()
        before, generations = self.life.nodes, dict(self.life.state.generations)
        died, error = False, None
        try:
            error = tick()
        except CutError:
            died = True
            self.die()
        if error is not None:
            self.demand(error.retryable, f"it gave up: {error!r}")
            self.settled = False
        self._judge(before, generations, died=died)
        return not died and error is None

    def die(self) -> None:
        """Kill the agent and start it again; what it worked with must be what is on the disk."""
        self.note("  the agent is killed there, and starts again")
        remembered = self.life.nodes
        self.life.die()
        self.life.state.refuse_writes(refuse=self.machine.disk_full)
        self.demand(remembered == self.life.nodes, "the records on the disk differ from those it worked with")
        self.settled = False
        self.tally.crashes += 1

    def lose_records(self) -> None:
        """Take the agent's records away while all is well: a new start must know every peer again from the files."""
        self.tally.lost_records += 1
        self.life.lose_records()
        self.settled = False
        self._released.clear()  # which address rests stood in the records alone
        known = {node.public_key for node in self.life.nodes.values() if node.public_key}
        self.demand(known == self.machine.tunnel.peers.keys() - {OPERATORS_KEY}, f"the files told only of {known}")

    # --- what happens around it -------------------------------------------------------------------------------------

    def nodes_answer(self) -> None:
        """Let handshakes and health checks come to what they come to."""
        self.settled = False
        for instance, there in self.cloud.instances.items():
            peer = self.machine.tunnel.peers.get(there.key)
            if peer is not None and there.alive:
                peer.spoke_at, peer.endpoint = int(self.life.now), f"198.51.100.1{instance[2:]}:40001"
        for name, server in self.machine.proxy.servers.items():
            if server.checking and name.startswith("i-"):
                behind = self.cloud.instances.get(InstanceId(name))
                reached = self.machine.tunnel.holder(f"{server.address}/32")
                good = behind is not None and behind.alive and reached == behind.key
                server.checked(good=good, now=self.life.now)

    def drifted(self, sentence: str) -> None:
        """Take note that somebody else changed the core."""
        self.note(sentence)
        self.settled = False
        self._unrepaired += 1
        self.tally.drifts += 1

    def disowned(self, group: GroupName) -> tuple[InstanceId, ...]:
        """Return those of the missing that AWS, asked about each, disowns: ended, or of another group by now."""
        there = self.cloud.instances
        return tuple(i for i in self._missing.get(group, ()) if i not in there or there[i].group != group)

    # --- judging ----------------------------------------------------------------------------------------------------

    def demand(self, holds: object, sentence: str) -> None:
        """Raise ``Violation`` with ``sentence`` unless it ``holds``."""
        self.tally.invariants += 1
        if not holds:
            self.broken = True
            raise Violation(sentence)

    def _heard(
        self, command: Command, before: Mapping[InstanceId, Node], generations: Mapping[GroupName, int], answer: object
    ) -> None:
        """Take note of what the agent was told, if it took it in: the records say so, also when it died since."""
        if isinstance(answer, Refused):
            return
        if isinstance(answer, DrawbridgeError):
            self.settled = False
            self.demand(answer.retryable, f"it gave up: {answer!r}")
            full = self.machine.disk_full or not isinstance(answer, RecordFailed)
            self.demand(full, f"it could not record what it had decided: {answer!r}")
        if isinstance(answer, FleetReport):
            self._missing[answer.group] = answer.missing
        state = self.life.state
        match command:
            case SyncFleet(group=group, generation=new) if (
                generations.get(group, -1) < new == state.generations.get(group)
            ):
                others = {i: node for i, node in before.items() if node.group != group and node.phase is not Phase.GONE}
                left_out = [instance for instance, _ in command.seats if instance in others]
                taken = [i for i in left_out if i in state.nodes and state.nodes[i].group == group]
                self.demand(not taken, f"{group} was given the nodes of another group: {taken}")
                if isinstance(answer, FleetReport):
                    self.demand(set(left_out) == set(answer.elsewhere), f"left out {left_out}, told {answer.elsewhere}")
                own = Seats.of(seat for seat in command.seats if seat[0] not in others)
                self.told.sync(replace(command, seats=own), before)
            case HoldNode(instance=instance, hold=hold) if instance in state.nodes:
                self.told.hold(instance, hold)
            case EnrollNode(instance=instance, public_key=public_key) if isinstance(answer, TunnelReport):
                node = state.nodes[instance]
                agreed = (node.public_key, f"{node.address}/32") == (public_key, answer.address)
                self.demand(agreed, f"{instance} was let in with {public_key} as {answer.address}, on record is {node}")
            case _:
                pass

    def _judge(self, before: Mapping[InstanceId, Node], generations: Mapping[GroupName, int], *, died: bool) -> None:
        nodes = self.life.nodes
        for instance, former in before.items():
            after = nodes.get(instance)
            left = former.phase is not Phase.GONE and (after is None or after.phase is Phase.GONE)
            if former.address is not None and left:
                self._released[former.address] = (instance, self.life.now)
        for effect in self.machine.effects:
            if (effect.what, effect.detail) == ("state", "state ready"):
                self._opened[effect.name] = self.life.now
        scene = Scene(
            settings=self.settings,
            machine=self.machine,
            told=self.told,
            now=self.life.now,
            before=before,
            nodes=nodes,
            generations_before=generations,
            generations=dict(self.life.state.generations),
            burst=self.life.state.burst,
            capacity={str(name): one.slots for name, one in self.life.state.capacity.items()},
            opened=dict(self._opened),
            effects=tuple(self.machine.effects),
            died=died,
            settled=self.settled,
            by_hand=frozenset(self.by_hand),
            released=dict(self._released),
        )
        try:
            self.tally.invariants += check(scene)
        except Violation:
            self.broken = True
            raise
        for instance in [i for i in self.told.holds if i not in nodes]:
            del self.told.holds[instance]


def _fixed(node: Node) -> Node:
    """``node`` without how far it has got on its way out, which is seen and not told."""
    leaves = node.phase in (Phase.DRAINING, Phase.GONE)
    return replace(node, phase=Phase.GONE, since=0, removing=False) if leaves else node
