"""Every story cut before every effect, then a new start: the agent ends where it would have, and nothing is left to do.

The effects are counted by the core they act on, so no list here can forget one: each commit of the records, each file,
each peer and each runtime command.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core_agent.contract.messages import ActivateNode, EnrollNode, Hold, HoldNode, Lifecycle, SetBurst, SetCapacity
from core_agent.contract.names import InstanceId, Reason, ServerName
from tests.agent.walk.cloud import GROUPS
from tests.agent.walk.drift import FILE_EDITS, PEER_DRIFTS, SERVER_DRIFTS
from tests.agent.walk.invariants import TUNNEL
from tests.agent.walk.networks import NETWORKS
from tests.agent.walk.stage import Stage
from tests.agent.walk.tally import Tally

Chapter = Callable[[Stage], object]
REASON = Reason("the story")
ONE, TWO, THREE = InstanceId("i-1"), InstanceId("i-2"), InstanceId("i-3")


def launch(instance: InstanceId, group: int = 0) -> Chapter:
    """AWS starts a machine."""
    return lambda stage: stage.cloud.launch(instance, GROUPS[group])


def look(group: int = 0, *, gone: tuple[InstanceId, ...] = (), **lifecycles: str) -> Chapter:
    """The lifecycles become these (``i_1="leaving"``), those gone end, and a look at the group arrives."""

    def chapter(stage: Stage) -> None:
        for name, word in lifecycles.items():
            stage.cloud.instances[InstanceId(name.replace("_", "-"))].lifecycle = Lifecycle(word)
        for instance in gone:
            stage.cloud.instances.pop(instance, None)
        stage.tell(stage.cloud.look(GROUPS[group], stage.life.now, gone=gone))

    return chapter


def serve(instance: InstanceId) -> Chapter:
    """AWS takes a machine into service."""

    def chapter(stage: Stage) -> None:
        stage.cloud.instances[instance].lifecycle = Lifecycle.SERVING

    return chapter


def enroll(instance: InstanceId) -> Chapter:
    """A node shows its key."""
    return lambda stage: stage.tell(EnrollNode(instance=instance, public_key=stage.cloud.instances[instance].key))


def ready(instance: InstanceId) -> Chapter:
    """A node says that it is ready."""
    return lambda stage: stage.tell(ActivateNode(instance=instance))


def hold(instance: InstanceId, wish: Hold) -> Chapter:
    """An operator speaks."""
    return lambda stage: stage.tell(HoldNode(instance=instance, hold=wish, reason=REASON))


def level(percent: int, core: int = 100) -> Chapter:
    """An alarm speaks."""
    return lambda stage: stage.tell(SetBurst(level_percent=percent, reason=REASON, core_percent=core))


def slots(number: int | None) -> Chapter:
    """An operator says how much the core carries, or takes it back."""
    return lambda stage: stage.tell(SetCapacity(server=ServerName("no-primary"), slots=number, reason=REASON))


def seconds(number: int) -> Chapter:
    """Time passes, and the agent sees to what is in motion."""

    def pass_by(stage: Stage) -> None:
        stage.life.now += number
        stage.watch(stage.life.advance)

    return pass_by


def together(*instances: InstanceId) -> Chapter:
    """Enrolments that waited together are one turn."""
    return lambda stage: stage.tell_all(
        [EnrollNode(instance=one, public_key=stage.cloud.instances[one].key) for one in instances]
    )


def answer(stage: Stage) -> None:
    """Handshakes and health checks happen."""
    stage.nodes_answer()


def tick(stage: Stage) -> None:
    """The agent looks at everything, a drain's deadline later."""
    stage.life.now += stage.settings.edge.drain_deadline_s
    stage.look()


def busy(stage: Stage) -> None:
    """The first node works on a request that does not end."""
    stage.machine.proxy.servers[ONE].busy = 1


def linger(stage: Stage) -> None:
    """The first node's connections keep its server from being deleted."""
    stage.machine.proxy.servers[ONE].lingers = True


def close_connections(stage: Stage) -> None:
    """They are closed."""
    if ONE in stage.machine.proxy.servers:
        stage.machine.proxy.servers[ONE].lingers = False


def by_hand(stage: Stage) -> None:
    """Peers, servers and both files are changed behind the agent's back."""
    PEER_DRIFTS["a peer is removed"](stage.machine, 0)
    PEER_DRIFTS["a stranger gets an address of the tunnel's"](stage.machine, 1)
    SERVER_DRIFTS["a server's weight is set to 256"](stage.machine, ONE)
    SERVER_DRIFTS["a server gets another address"](stage.machine, TWO)
    FILE_EDITS["wg0.conf loses its nodes"](stage.machine)
    FILE_EDITS["haproxy.cfg is emptied"](stage.machine)
    stage.by_hand |= {ONE, TWO, TUNNEL}
    stage.drifted("both sides and both files are changed by hand")


def haproxy_restarts(stage: Stage) -> None:
    """HAProxy comes back from its file."""
    stage.machine.proxy.start(stage.machine.cfg)
    stage.by_hand |= stage.machine.proxy.servers.keys()
    stage.drifted("HAProxy is restarted")


def wireguard_restarts(stage: Stage) -> None:
    """The tunnel comes back from its file."""
    stage.machine.tunnel.start(stage.machine.conf)
    stage.by_hand.add(TUNNEL)
    stage.drifted("WireGuard is restarted")


def joined(instance: InstanceId, group: int = 0) -> tuple[Chapter, ...]:
    """The whole way in."""
    return (
        launch(instance, group),
        look(group),
        enroll(instance),
        answer,
        ready(instance),
        serve(instance),
        look(group),
    )


# What went before, uncut, and the chapters that are cut.
STORIES: dict[str, tuple[tuple[Chapter, ...], tuple[Chapter, ...]]] = {
    "join": ((launch(ONE), launch(TWO)), (look(), enroll(ONE), enroll(TWO), answer, ready(ONE), ready(TWO))),
    "join in one turn": ((launch(ONE), launch(TWO)), (look(), together(ONE, TWO), answer, tick)),
    "leave": ((*joined(ONE), *joined(TWO)), (look(i_1="leaving"),)),
    "leave with a request that does not end": ((*joined(ONE), *joined(TWO), busy), (look(i_1="leaving"), tick)),
    "leave with connections that linger": (
        (*joined(ONE), *joined(TWO), linger),
        (look(i_1="leaving"), tick, close_connections, tick),
    ),
    "a termination called off": ((*joined(ONE), busy), (look(i_1="leaving"), look(i_1="serving"))),
    "renew": (joined(ONE), (look(i_1="leaving"), look(gone=(ONE,)), launch(ONE), look(), enroll(ONE), answer, tick)),
    "rest and return": (joined(ONE), (look(i_1="resting"), look(i_1="joining"), answer, ready(ONE))),
    "weigh": ((*joined(ONE), *joined(TWO)), (level(10), level(0), level(100))),
    "ramp": (joined(ONE)[:-3], (ready(ONE), seconds(4), seconds(4), seconds(4))),
    "ahead of a peak": (joined(ONE), (level(100, core=60), slots(80), level(25), slots(None))),
    "hold": (joined(ONE), (hold(ONE, Hold.DRAIN), hold(ONE, Hold.NONE), hold(ONE, Hold.REMOVE))),
    "disown": ((*joined(ONE), *joined(TWO), *joined(THREE)), (look(gone=(ONE, TWO, THREE)),)),
    "two groups": ((*joined(ONE), *joined(TWO, 1)), (look(i_1="leaving"), launch(THREE, 1), look(1), enroll(THREE))),
    "an id in another group": (joined(ONE), (look(gone=(ONE,)), launch(ONE, 1), look(1), enroll(ONE), answer, tick)),
    "drift": ((*joined(ONE), *joined(TWO)), (by_hand, tick)),
    "HAProxy restarts": ((*joined(ONE), *joined(TWO), level(0)), (haproxy_restarts, look(i_1="leaving"), tick)),
    "WireGuard restarts": ((*joined(ONE), *joined(TWO)), (wireguard_restarts, look(i_1="leaving"), tick)),
}


def _tell_story(name: str, cut: int | None) -> tuple[str, int, bool]:
    """Return what the core runs at the end, the effects of the chapters, and whether the cut came."""
    before, chapters = STORIES[name]
    tally = Tally()
    stage = Stage(NETWORKS["10.100.0.0/22"], tally)
    try:
        for chapter in before:
            chapter(stage)
        stage.look()
        begin, stage.machine.cut_after = stage.machine.done, cut
        for chapter in chapters:
            crashes = tally.crashes
            chapter(stage)
            if tally.crashes > crashes:
                stage.look()
                chapter(stage)
        effects, stage.machine.cut_after = stage.machine.done - begin, None
        stage.nodes_answer()
        stage.look()
        stage.life.now += stage.settings.burst.ramp_s
        stage.look()
        done = stage.machine.done
        stage.look()
        assert stage.machine.done == done, f"{name}, cut after {cut} effects: a second pass still had work"
        return stage.machine.text(), effects, tally.crashes > 0
    finally:
        stage.close()


@pytest.mark.parametrize("name", STORIES)
def test_a_crash_before_any_effect_heals(name: str) -> None:
    """For every cut: a new start, a look and the message again reach the uncut run's state, and every rule holds."""
    wanted, effects, _ = _tell_story(name, None)
    assert effects > 0
    for cut in range(effects):
        found, _, came = _tell_story(name, cut)
        assert came, f"{name}: the cut after {cut} of {effects} effects never came"
        assert found == wanted, f"{name}, cut after {cut} effects"
