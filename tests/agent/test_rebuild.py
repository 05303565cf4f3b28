"""Records rebuilt from the two files: the same peers and servers, or the line that stands in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_agent.contract.messages import Hold, Lifecycle, Phase
from core_agent.contract.names import GroupName, InstanceId, Reason
from core_agent.desired import Desired, Mode
from core_agent.errors import StateError
from core_agent.haproxy import config
from core_agent.rebuild import Records, rebuild
from core_agent.recovery import draft
from core_agent.roll import Burst, Node
from core_agent.state import State
from core_agent.wireguard import conf
from tests.agent.core_under_test import GROUP, START, Core, key
from tests.agent.written_files import INTERFACE, SETTINGS, two_nodes, written

NETWORK = SETTINGS.tunnel.network


def rebuilt(wg_conf: str, haproxy_cfg: str) -> Records:
    """Return the records that the two texts tell of."""
    records = rebuild(wg_conf, haproxy_cfg, network=NETWORK, now=START)
    assert records is not None
    return records


# --- any fleet --------------------------------------------------------------------------------------------------------

_words = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=17)
_groups = st.sampled_from([GROUP, GroupName("eu-west-1/A.b_c-d"), GroupName("eu-north-1/of")])


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Node], Burst]:
    """Nodes in any phase, lifecycle and hold, with what each phase has, and a level for any reason."""
    nodes = []
    for number, word in enumerate(draw(st.lists(_words, unique=True, max_size=6)), start=2):
        phase = draw(st.sampled_from(Phase))
        node = Node(
            instance=InstanceId(f"i-{word}"),
            group=draw(_groups),
            lifecycle=draw(st.sampled_from(Lifecycle)),
            since=0,
            phase=phase,
            hold=draw(st.sampled_from(Hold)),
            address=f"10.100.0.{number}",
            public_key=None if phase is Phase.SEATED else key(number),
            wants_ready=draw(st.booleans()),
            removing=phase is Phase.DRAINING and draw(st.booleans()),
        )
        nodes.append(node)
    level = draw(st.integers(0, 100))
    return nodes, Burst(level_percent=level, reason=Reason(draw(st.from_regex(Reason.shape, fullmatch=True))))


@given(fleets(), st.sampled_from([None, "198.51.100.9:40001"]))
def test_what_the_core_runs_is_what_the_rebuilt_records_ask_for(
    fleet: tuple[list[Node], Burst], endpoint: str | None
) -> None:
    """The same peers and level; the same servers open, the others closed; no server gone, and only closed ones more."""
    before = Desired(SETTINGS, fleet[0], fleet[1])
    records = rebuilt(*written(before, endpoint=endpoint))
    after = Desired(SETTINGS, records.nodes.values(), records.burst)
    assert (after.peers, after.burst) == (before.peers, before.burst)
    for name, server in before.servers.items():
        assert replace(after.servers[name], mode=server.mode) == server
        assert (after.servers[name].mode is Mode.READY) == (server.mode is Mode.READY)
    more = after.servers.keys() - before.servers.keys()
    assert all(after.servers[name].mode is Mode.MAINT for name in more)
    assert (
        more
        == {peer.instance for peer in before.peers.values() if peer.hold is not Hold.REMOVE} - before.servers.keys()
    )
    assert records.generations == dict.fromkeys({node.group for node in records.nodes.values()}, int(START * 1000))


# --- one node ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "level", "found"),
    [
        ({"phase": Phase.ACTIVE}, 25, ("active", "serving", False)),
        ({"phase": Phase.ACTIVE, "hold": Hold.DRAIN}, 25, ("enrolled", "joining", False)),
        ({"phase": Phase.ACTIVE, "lifecycle": Lifecycle.RESTING}, 25, ("enrolled", "joining", False)),
        ({"phase": Phase.ACTIVE}, 0, ("active", "serving", False)),
        ({"phase": Phase.ENROLLED}, 25, ("enrolled", "joining", False)),
        ({"phase": Phase.DRAINING}, 25, ("enrolled", "joining", False)),
        ({"phase": Phase.DRAINING, "removing": True}, 25, ("enrolled", "joining", False)),
        ({"phase": Phase.DRAINING, "hold": Hold.REMOVE}, 25, ("draining", "serving", False)),
        ({"phase": Phase.DRAINING, "hold": Hold.REMOVE, "removing": True}, 25, ("draining", "serving", True)),
    ],
)
def test_where_a_node_is_found(node: dict[str, object], level: int, found: tuple[str, str, bool]) -> None:
    """Open stays open, an operator's removal goes on, and everything else waits, closed, for the next look."""
    before = Node(instance=InstanceId("i-1"), group=GROUP, lifecycle=Lifecycle.SERVING, since=0)
    before = replace(before, address="10.100.0.2", public_key=key(1), **node)  # type: ignore[arg-type]  # known fields
    desired = Desired(SETTINGS, [before], Burst(level_percent=level, reason=Reason("test")))
    (after,) = rebuilt(*written(desired)).nodes.values()
    assert (after.phase, after.lifecycle, after.removing) == found
    assert (after.hold, after.address, after.public_key, after.since) == (before.hold, "10.100.0.2", key(1), START)


# --- the agent afterwards ---------------------------------------------------------------------------------------------


def start_again(core: Core) -> None:
    """Lose the records, rebuild them from what the files say, and start the agent on them."""
    records = rebuilt(*written(core.agent._desired))
    core.state.close()
    core.path.unlink()
    draft(core.path, replace(records, generations=dict.fromkeys(records.generations, int(core.now * 1000))))
    core.state = State.open(core.path)
    core.agent = core._agent()


def test_the_core_notices_nothing(core: Core) -> None:
    """Active, drained by hand, half joined, leaving and closed nodes: nothing changes, and the next look goes on."""
    core.join(1, 2, 3)
    core.hold("i-2", "drain")
    core.host.busy("i-3", 1)
    core.sync(i_1="serving", i_2="serving", i_3="leaving", i_4="joining")
    core.enroll("i-4", 4)
    core.now += 10
    peers, servers, files = dict(core.host.peers), dict(core.host.servers), written(core.agent._desired)
    start_again(core)
    core.agent.tick()
    assert (core.host.peers, core.host.servers, written(core.agent._desired)) == (peers, servers, files)
    core.generation = int(core.now * 1000)
    core.host.busy("i-3", 0)
    core.sync(i_1="serving", i_2="serving", i_3="leaving", i_4="joining")
    core.hold("i-2", "none")
    core.host.checked("i-4")
    core.ready("i-4")
    assert core.phases() == {"i-1": "active", "i-2": "active", "i-3": "gone", "i-4": "active"}


def test_an_older_look_is_answered_and_not_applied(core: Core) -> None:
    """Nobody knows what came after it: only what was seen since the rebuilding counts."""
    core.join(1)
    core.now += 10
    start_again(core)
    report = core.sync(i_1="leaving", generation=int(core.now * 1000) - 1)
    assert (report.applied, core.phases()) == (False, {"i-1": "active"})


def test_levels_shares_and_slots_are_found_again(core: Core) -> None:
    """All that an operator or an alarm said of the core is in its file, the reasons too."""
    core.join(1)
    core.burst(25, core=60, by_hand=True)
    core.capacity(80)
    before = (core.state.burst, core.state.capacity, core.host.variables, core.host.text())
    start_again(core)
    core.agent.tick()
    assert (core.state.burst, core.state.capacity, core.host.variables, core.host.text()) == before
    assert core.host.servers["no-primary"].maxconn == 80


def test_a_file_of_an_agent_that_knew_no_share_is_read() -> None:
    """All of the core's slots, as it acted."""
    wg_conf, haproxy_cfg = two_nodes()
    assert rebuilt(wg_conf, haproxy_cfg.replace(", core share 100 %", "")).burst.core_percent == 100


def test_a_removed_node_stays_out(core: Core) -> None:
    """An operator's removal that was under way is finished, and the cloud's list does not bring the node back."""
    core.join(1)
    core.host.busy("i-1", 1)
    core.hold("i-1", "remove")
    core.now += 10
    start_again(core)
    core.host.busy("i-1", 0)
    core.agent.tick()
    core.generation = int(core.now * 1000)
    core.sync(i_1="serving")
    assert (core.phases(), core.host.text()) == ({"i-1": "gone"}, "")


# --- nothing to rebuild from, and what cannot be ----------------------------------------------------------------------


def test_a_core_of_nobody_keeps_its_level() -> None:
    """Both files are the agent's and name no node: empty records, at the level that HAProxy's file says."""
    records = rebuilt(*written(Desired(SETTINGS, (), Burst(level_percent=60, reason=Reason("a: {b} %c")))))
    assert (len(records.nodes), records.generations) == (0, {})
    assert records.burst == Burst(level_percent=60, reason=Reason("a: {b} %c"))


@pytest.mark.parametrize(
    ("wg_conf", "haproxy_cfg"),
    [("", ""), (INTERFACE, "# Debian's\n"), (f"{INTERFACE}\n{conf.MARK}\n", ""), (INTERFACE, f"{config.OURS}\n")],
)
def test_where_no_agent_wrote_of_any_node_there_is_nothing_to_rebuild(wg_conf: str, haproxy_cfg: str) -> None:
    """A machine before its first turn is told apart from one that lost its records."""
    assert rebuild(wg_conf, haproxy_cfg, network=NETWORK, now=START) is None


MISREAD = [
    # wg0.conf
    ("# node i-2 of eu-north-1/drawbridge-edge", "# node i-2", r"wg0\.conf, line 15: .* found '# node i-2'"),
    ("# node i-2 ", "# node j-2 ", r"wg0\.conf, line 15: wanted an instance id: .* found 'j-2'"),
    (" of eu-north-1/drawbridge-edge\n", " of edge\n", r"wg0\.conf, line 10: wanted a group"),
    ("-edge\n", "-edge, held tight\n", r"wg0\.conf, line 10: 'tight' is not a valid Hold"),
    ("# node i-2 ", "# node i-1 ", r"wg0\.conf, line 15: wanted one peer of i-1, found a second"),
    (key(2), key(1), r"wg0\.conf, line 15: wanted a key of its own for i-2, found the key of i-1"),
    (key(2), "short=", r"wg0\.conf, line 17: wanted a WireGuard public key"),
    (
        "10.100.0.3/32",
        "10.100.0.2/32",
        r"line 15: wanted an address of its own for i-2, found 10\.100\.0\.2, which i-1",
    ),
    ("10.100.0.3/32", "10.99.0.3/32", r"line 15: wanted an address for a node in 10\.100\.0\.0/22, found 10\.99\.0\.3"),
    ("10.100.0.3/32", "10.100.0.1/32", r"line 15: wanted an address for a node in .*, found 10\.100\.0\.1"),
    ("10.100.0.3/32", "10.100.0.3/31", r"wg0\.conf, line 18: wanted `AllowedIPs = ADDRESS/32`, found 'AllowedIPs '"),
    ("10.100.0.3/32", "10.100.0.300/32", r"wg0\.conf, line 18: .*10\.100\.0\.300"),
    (
        "10.100.0.3/32\n",
        "10.100.0.3/32\nPresharedKey = secret\n",
        r"line 19: wanted `Endpoint .* found 'PresharedKey '",
    ),
    ("10.100.0.3/32\n", "10.100.0.3/32\nEndpoint = a:1\nMore = 1\n", r"line 20: wanted an empty line, found 'More '"),
    ("AllowedIPs = 10.100.0.3/32\n", "", r"wg0\.conf, line 18: wanted `AllowedIPs = ADDRESS/32`, found ''"),
    # haproxy.cfg
    ("# Written by", "# Edited by", r"haproxy\.cfg, line 1: wanted `# Written by the drawbridge agent …`, found '# Ed"),
    (
        "# burst level 25 %, core share 100 %: calm\n",
        "",
        r"haproxy\.cfg, line 2: wanted `# burst level N %, core share N %: REASON`, found '#",
    ),
    ("level 25 %", "level 101 %", r"haproxy\.cfg, line 2: wanted `# burst level"),
    ("share 100 %", "share 0 %", r"haproxy\.cfg, line 2: wanted `# burst level"),
    ("%: calm\n", "%: calm\n# slots of no-primary: many\n", r"line 3: wanted `# slots of NAME N: REASON`, found"),
    ("%: calm\n", "%: calm\n# slots of I-1 5: many\n", r"haproxy\.cfg, line 3: wanted a core server's name"),
    ("%: calm", f"%: {'x' * 201}", r"haproxy\.cfg, line 2: wanted a reason"),
    ("server i-2 ", "server i-1 ", r"haproxy\.cfg, line \d+: wanted one server i-1, found a second"),
    ("server i-2 ", "server i-3 ", r"haproxy\.cfg, line \d+: wanted a peer of i-3 in wg0\.conf, found none"),
    ("server i-2 ", "server i-2- ", r"haproxy\.cfg, line \d+: wanted an instance id"),
    ("    server i-2 ", "  server i-2 ", r"haproxy\.cfg, line \d+: wanted `    server INSTANCE "),
    (
        "server i-2 10.100.0.3:",
        "server i-2 10.100.0.4:",
        r"line \d+: wanted i-2 at 10\.100\.0\.3 as in wg0\.conf, found",
    ),
    (" id 1003 ", " ", r"haproxy\.cfg, line \d+: wanted `    server INSTANCE "),
]


@pytest.mark.parametrize(("line", "instead", "says"), MISREAD, ids=[f"{n}" for n in range(len(MISREAD))])
def test_what_cannot_be_understood_is_refused_by_its_line(line: str, instead: str, says: str) -> None:
    """One change by another hand, in either file, and the error tells where, what was wanted and what was found."""
    wg_conf, haproxy_cfg = two_nodes()
    if line in wg_conf:
        wg_conf = wg_conf.replace(line, instead)
    else:
        assert line in haproxy_cfg
        haproxy_cfg = haproxy_cfg.replace(line, instead)
    with pytest.raises(StateError, match=says) as caught:
        rebuild(wg_conf, haproxy_cfg, network=NETWORK, now=START)
    assert "secret" not in str(caught.value)


def test_a_file_that_was_cut_off_is_refused() -> None:
    """Cut anywhere, the last line of a server no longer tells whether it was closed; a peer's no longer who it is."""
    wg_conf, haproxy_cfg = two_nodes()
    for cut in range(1, len("\n    server i-2 10.100.0.3:8080 id 1003 check")):
        with pytest.raises(StateError, match=r"haproxy\.cfg, line \d+: wanted `    server"):
            rebuild(wg_conf, haproxy_cfg[:-cut], network=NETWORK, now=START)
    for cut in range(2, len("AllowedIPs = 10.100.0.3/32\n")):
        with pytest.raises(StateError, match=r"wg0\.conf, line 18: "):
            rebuild(wg_conf[:-cut], haproxy_cfg, network=NETWORK, now=START)
    with pytest.raises(StateError, match=r"wanted a peer of i-1 in wg0\.conf, found none"):
        rebuild(wg_conf.partition(conf.MARK)[0], haproxy_cfg, network=NETWORK, now=START)
