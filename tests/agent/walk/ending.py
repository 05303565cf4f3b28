"""The quiet end of every walk: all is healthy, each group is looked at, and then nothing may be left to do.

It knows what must be true of a core that was left in peace, and must not know how the walk came here.
"""

from __future__ import annotations

from core_agent.contract.messages import (
    ActivateNode,
    EnrollNode,
    FactsReport,
    FleetReport,
    Hold,
    Lifecycle,
    Phase,
    ReadFacts,
)
from core_agent.contract.names import InstanceId
from core_agent.errors import RefusalKind, Refused
from tests.agent.walk.cloud import GROUPS
from tests.agent.walk.proxy import servers_in
from tests.agent.walk.stage import Stage
from tests.agent.walk.tunnel import peers_in


def end_quietly(stage: Stage) -> None:
    """Bring ``stage`` to rest and demand that peers, servers and seats are one. Raises ``Violation``."""
    stage.note("a quiet end: everything healthy, one look at each group")
    _heal(stage)
    for last in (False, True):  # an id that came again in another group must leave the one that it was in first
        for group in GROUPS:
            stage.tell(stage.cloud.look(group, stage.life.now))
            report = stage.tell(stage.cloud.look(group, stage.life.now, gone=stage.disowned(group)))
            whole = isinstance(report, FleetReport) and not report.missing
            stage.demand(whole or not last, f"the last look at {group} was answered with {report}")
        stage.look()
    _rest(stage)  # what was let go just now may be given again after this
    excused = _everybody_enrolls(stage)
    for _ in range(4):
        stage.nodes_answer()
        stage.look()
    stage.demand(stage.settled, "the last looks still met an error")
    _demand_seats(stage, excused)
    _demand_rest(stage)
    stage.tally.quiet_ends += 1


def _heal(stage: Stage) -> None:
    machine = stage.machine
    machine.cut_after = None
    machine.disk_full = machine.wg_is_slow = False
    stage.life.state.refuse_writes(refuse=False)
    for one in stage.cloud.instances.values():
        one.alive = True
    if not machine.tunnel.up:
        machine.tunnel.start(machine.conf)
    stage.look()  # puts the files right, so that what is down can come up
    if not machine.proxy.up:
        machine.proxy.start(machine.cfg)
        stage.by_hand |= machine.proxy.servers.keys()
    for server in machine.proxy.servers.values():
        server.busy, server.lingers = 0, False
    _rest(stage)


def _rest(stage: Stage) -> None:
    """Let what is on its way out go, and the addresses that it leaves rest long enough."""
    stage.look()
    for _ in range(2):
        stage.life.now += stage.settings.tunnel.quarantine_s
        stage.nodes_answer()
        stage.look()


def _everybody_enrolls(stage: Stage) -> set[InstanceId]:
    """Let each machine there is enroll and say ready; return those that are refused for a good reason."""
    excused = set()
    for instance, there in stage.cloud.instances.items():
        if there.lifecycle is Lifecycle.LEAVING:
            excused.add(instance)
            continue
        node = stage.life.nodes.get(instance)
        holders = {one.public_key: one.instance for one in stage.life.nodes.values()}
        answer = stage.tell(EnrollNode(instance=instance, public_key=there.key))
        if not isinstance(answer, Refused):
            stage.tell(ActivateNode(instance=instance))
            continue
        good = {
            RefusalKind.HELD: node is not None and node.hold is Hold.REMOVE,
            RefusalKind.KEY_CONFLICT: node is not None and node.public_key not in (None, there.key),
            RefusalKind.KEY_TAKEN: holders.get(there.key, instance) != instance,
            RefusalKind.ADDRESSES_EXHAUSTED: len(stage.cloud.instances) > stage.settings.node_capacity,
        }
        stage.demand(good.get(answer.kind), f"{instance} cannot enroll in a quiet world: {answer}")
        excused.add(instance)
    return excused


def _demand_seats(stage: Stage, excused: set[InstanceId]) -> None:
    nodes = {name: node for name, node in stage.life.nodes.items() if node.phase is not Phase.GONE}
    strangers = nodes.keys() - stage.cloud.instances.keys()
    stage.demand(not strangers, f"nodes that AWS does not have: {sorted(strangers)}")
    for instance, there in stage.cloud.instances.items():
        if instance in excused:
            continue
        node = nodes.get(instance)
        stage.demand(node is not None, f"{instance}, {there.lifecycle}, is not on the core")
        opens = node is not None and there.lifecycle is not Lifecycle.RESTING and node.hold is Hold.NONE
        phases = (Phase.ACTIVE,) if opens else (Phase.ACTIVE, Phase.ENROLLED)
        stage.demand(node is not None and node.phase in phases, f"{instance}, {there.lifecycle}, is {node}")


def _demand_rest(stage: Stage) -> None:
    """No plan is left, a second pass and a new life do nothing, and both sides would come back the same alone."""
    facts = stage.tell(ReadFacts())
    pending = facts.pending_steps if isinstance(facts, FactsReport) else facts
    stage.demand(pending == 0, f"there is still a plan: {pending}")
    for _ in range(2):
        before = stage.machine.done
        stage.look()
        done = [str(effect) for effect in stage.machine.effects]
        stage.demand(stage.machine.done == before, f"a second pass still had something to do: {done}")
        stage.die()
    machine = stage.machine
    running = {key: peer.addresses for key, peer in machine.tunnel.peers.items()}
    filed = {key: peer.addresses for key, peer in peers_in(machine.conf).items()}
    stage.demand(running == filed, f"a reboot would bring up {filed}, not {running}")
    would = {name for name, server in servers_in(machine.cfg).items() if server.mode == "ready"}
    # One that was made anew waits for its machine to answer; after a reboot HAProxy itself would find it down.
    opened = {
        name for name, s in machine.proxy.servers.items() if s.mode == "ready" or (name in would and not s.healthy)
    }
    stage.demand(opened == would, f"a reboot would open {would}, not {opened}")
