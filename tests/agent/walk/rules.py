"""The steps of the walk: what AWS, nodes, an operator, a careless hand, a failing core and a dying agent may do.

Each says in a sentence what happens, so that a failing walk reads as a story.
"""

from __future__ import annotations

from typing import ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core_agent.contract.messages import (
    ActivateNode,
    Command,
    EnrollNode,
    FleetReport,
    Hold,
    HoldNode,
    Lifecycle,
    SetBurst,
    SetCapacity,
    SyncFleet,
)
from core_agent.contract.names import GroupName, InstanceId, PublicKey, Reason, ServerName
from tests.agent.walk.cloud import GROUPS, INSTANCES
from tests.agent.walk.drift import CORE_DRIFTS, FILE_EDITS, PEER_DRIFTS, SERVER_DRIFTS
from tests.agent.walk.ending import end_quietly
from tests.agent.walk.invariants import TUNNEL
from tests.agent.walk.networks import NETWORKS
from tests.agent.walk.stage import Stage
from tests.agent.walk.tally import Tally
from tests.agent.walk.tunnel import CORE_KEY

any_one = st.integers(0, len(INSTANCES) - 1)
groups = st.sampled_from(GROUPS)
_REASON = Reason("the walk")


class Walk(RuleBasedStateMachine):
    """One walk; ``tally`` is shared by all walks of a run."""

    tally: ClassVar[Tally] = Tally()
    stage: Stage

    @initialize(network=st.sampled_from(sorted(NETWORKS)), joined=st.integers(0, 4))
    def a_core_is_installed(self, network: str, joined: int) -> None:
        """A new core, in whose small network addresses run out; some nodes are there from the start."""
        self.tally.walks += 1
        self.stage = Stage(NETWORKS[network], self.tally, note)
        for number in range(joined):
            self._join(INSTANCES[number], GROUPS[number % 2])

    def teardown(self) -> None:
        """End quietly, unless the walk has failed already."""
        if hasattr(self, "stage"):
            try:
                if not self.stage.broken:
                    end_quietly(self.stage)
            finally:
                self.stage.close()

    @invariant()
    def a_step_was_taken(self) -> None:
        """Count it; the invariants proper are checked after each thing that the agent does, not only each step."""
        self.tally.steps += 1

    # --- AWS --------------------------------------------------------------------------------------------------------

    @rule(which=any_one, group=groups, seen=st.booleans())
    def aws_launches(self, which: int, group: GroupName, *, seen: bool) -> None:
        """A machine begins to exist, and a look sees it at once or later; ids come again, which must not matter."""
        instance = self.stage.cloud.named(which)
        if instance not in self.stage.cloud.instances:
            note(f"AWS launches {instance} in {group}{', and a look sees it' if seen else ''}")
            self.stage.cloud.launch(instance, group)
            if seen:
                self.stage.tell(self.stage.cloud.look(group, self.stage.life.now))

    @rule(which=any_one)
    def aws_terminates(self, which: int) -> None:
        """A machine is on its way out, and a look sees it."""
        there = self.stage.cloud.instances.get(self.stage.cloud.named(which))
        if there is not None:
            note(f"{self.stage.cloud.named(which)} is leaving, and a look sees it")
            there.lifecycle = Lifecycle.LEAVING
            self.stage.tell(self.stage.cloud.look(there.group, self.stage.life.now))

    @rule(which=any_one, lifecycle=st.sampled_from(list(Lifecycle)))
    def aws_moves(self, which: int, lifecycle: Lifecycle) -> None:
        """Its lifecycle changes: into service, to rest, back, on its way out, or called back from there."""
        instance = self.stage.cloud.named(which)
        if instance in self.stage.cloud.instances:
            note(f"{instance} is now {lifecycle}")
            self.stage.cloud.instances[instance].lifecycle = lifecycle

    @rule(which=any_one)
    def aws_ends(self, which: int) -> None:
        """A machine is no more, with or without having been on its way out."""
        instance = self.stage.cloud.named(which)
        if self.stage.cloud.instances.pop(instance, None) is not None:
            note(f"{instance} ends")

    @rule(group=groups, deliver=st.booleans())
    def a_look(self, group: GroupName, *, deliver: bool) -> None:
        """A look is taken, and delivered now, later or never."""
        look = self.stage.cloud.look(group, self.stage.life.now)
        note(f"a look at {group}: {_seats(look)}{'' if deliver else ', not delivered'}")
        if deliver:
            self.stage.tell(look)

    @rule(group=groups)
    def a_look_that_asks_about_the_missing(self, group: GroupName) -> None:
        """What the function does with those that the last report named: it asks AWS about each, and sends the ended."""
        gone = self.stage.disowned(group)
        look = self.stage.cloud.look(group, self.stage.life.now, gone=gone)
        note(f"a look at {group}: {_seats(look)}, gone: {' '.join(gone) or 'nobody'}")
        self.stage.tell(look)

    @rule(group=groups, leave_out=st.sampled_from([1, 2, 99]))
    def a_wrong_answer(self, group: GroupName, leave_out: int) -> None:
        """AWS answers with too few of its machines, or with none."""
        look = self.stage.cloud.look(group, self.stage.life.now, leave_out=leave_out)
        note(f"a wrong look at {group}: {_seats(look)}")
        self.stage.tell(look)

    @precondition(lambda self: self.stage.cloud.looks)
    @rule(back=st.integers(0, 30))
    def an_old_look_arrives(self, back: int) -> None:
        """Any former look comes again: doubled, reordered, lost until now, or a week old."""
        look = self.stage.cloud.looks[-1 - back % len(self.stage.cloud.looks)]
        note(f"the look of generation {look.generation} at {look.group} arrives: {_seats(look)}")
        newest = self.stage.life.state.generations.get(look.group, -1)
        answer = self.stage.tell(look)
        applied = isinstance(answer, FleetReport) and answer.applied
        self.stage.demand(look.generation > newest or not applied, f"an older look was applied after {newest}")

    @rule(group=groups)
    def an_operator_overrides(self, group: GroupName) -> None:
        """`fab sync --override`: whoever AWS does not list goes."""
        note(f"an operator overrides {group}")
        self.stage.tell(self.stage.cloud.look(group, self.stage.life.now, override=_REASON))

    # --- nodes ------------------------------------------------------------------------------------------------------

    @rule(which=any_one, group=groups)
    def a_node_joins(self, which: int, group: GroupName) -> None:
        """The whole way in, as it mostly goes."""
        instance = self.stage.cloud.named(which)
        if instance not in self.stage.cloud.instances:
            self._join(instance, group)

    def _join(self, instance: InstanceId, group: GroupName) -> None:
        note(f"{instance} joins {group} the whole way")
        launched = self.stage.cloud.launch(instance, group)
        self.stage.tell(self.stage.cloud.look(group, self.stage.life.now))
        self.stage.tell(EnrollNode(instance=instance, public_key=launched.key))
        self.stage.nodes_answer()
        self.stage.tell(ActivateNode(instance=instance))
        launched.lifecycle = Lifecycle.SERVING
        self.stage.tell(self.stage.cloud.look(group, self.stage.life.now))

    @rule(which=any_one, whose=st.sampled_from(["its own", "a new one", "another's", "the core's"]))
    def a_node_enrolls(self, which: int, whose: str) -> None:
        """With its own key, with another, with a stolen one, or with the core's; seated or not."""
        instance = self.stage.cloud.named(which)
        there = self.stage.cloud.instances.get(instance)
        nodes = self.stage.life.nodes.values()
        others = [node.public_key for node in nodes if node.public_key and node.instance != instance]
        own = there.key if there is not None else self.stage.cloud.new_key()
        chosen = {"a new one": self.stage.cloud.new_key(), "the core's": PublicKey(CORE_KEY)}.get(whose, own)
        if whose == "another's" and others:
            chosen = others[0]
        note(f"{instance} enrolls with {whose} key")
        self.stage.tell(EnrollNode(instance=instance, public_key=chosen))

    @rule(which=any_one)
    def a_node_says_it_is_ready(self, which: int) -> None:
        """Whether or not it is."""
        instance = self.stage.cloud.named(which)
        note(f"{instance} says that it is ready")
        self.stage.tell(ActivateNode(instance=instance))

    @rule()
    def nodes_answer(self) -> None:
        """Handshakes and health checks come to what they come to."""
        note("handshakes and checks happen")
        self.stage.nodes_answer()

    @rule(which=any_one)
    def a_node_falls_silent_or_wakes(self, which: int) -> None:
        """Its application or its tunnel fails, or works again."""
        instance = self.stage.cloud.named(which)
        if (there := self.stage.cloud.instances.get(instance)) is not None:
            there.alive = not there.alive
            note(f"{instance} {'works again' if there.alive else 'falls silent'}")

    @rule(which=st.integers(0, 7), busy=st.sampled_from([0, 1, 5]), lingers=st.booleans())
    def requests_run(self, which: int, busy: int, *, lingers: bool) -> None:
        """An open or draining server works on requests; connections linger, which keeps it from being deleted."""
        servers = [one for name, one in self.stage.machine.proxy.servers.items() if name.startswith("i-")]
        if servers:
            server = servers[which % len(servers)]
            note(f"{server.name} works on {busy} requests{', its connections linger' if lingers else ''}")
            server.busy = busy if server.mode != "maint" else 0
            server.lingers = lingers
            self.stage.settled = False

    @rule(
        group=st.none() | groups,
        words=st.lists(st.tuples(st.sampled_from(["enroll", "ready", *Hold]), any_one), min_size=1, max_size=5),
    )
    def several_wait_together(self, group: GroupName | None, words: list[tuple[str, int]]) -> None:
        """Requests that came while the agent was busy are one turn."""
        commands: list[Command] = [] if group is None else [self.stage.cloud.look(group, self.stage.life.now)]
        named = [(word, self.stage.cloud.named(which)) for word, which in words]
        for word, instance in named:
            there = self.stage.cloud.instances.get(instance)
            if word == "ready":
                commands.append(ActivateNode(instance=instance))
            elif word != "enroll":
                commands.append(HoldNode(instance=instance, hold=Hold(word), reason=_REASON))
            elif there is not None:
                commands.append(EnrollNode(instance=instance, public_key=there.key))
        note(f"together: {f'a look at {group}, ' if group else ''}{', '.join(' '.join(pair) for pair in named)}")
        if commands:
            self.stage.tell_all(commands)

    # --- the operator and the alarms --------------------------------------------------------------------------------

    @rule(which=any_one, hold=st.sampled_from(list(Hold)))
    def an_operator_holds(self, which: int, hold: Hold) -> None:
        """Drain, remove or undo."""
        instance = self.stage.cloud.named(which)
        note(f"an operator holds {instance}: {hold}")
        self.stage.tell(HoldNode(instance=instance, hold=hold, reason=_REASON))

    @rule(level=st.sampled_from([0, 1, 25, 100]), core=st.sampled_from([1, 60, 100]))
    def an_alarm_sets_the_level(self, level: int, core: int) -> None:
        """From closed to everything, from a core that keeps its slots to one that hardly uses them."""
        note(f"the level is set to {level} %, the core's share to {core} %")
        self.stage.tell(SetBurst(level_percent=level, reason=_REASON, core_percent=core))

    @rule(slots=st.sampled_from([None, 1, 60]))
    def an_operator_sets_the_cores_slots(self, slots: int | None) -> None:
        """Or takes that back."""
        name = self.stage.settings.core.servers[0].name
        note(f"{name} has {'its configured' if slots is None else slots} slots")
        self.stage.tell(SetCapacity(server=ServerName(name), slots=slots, reason=_REASON))

    @rule(queue=st.sampled_from([0, 0, 7]))
    def requests_wait_or_not(self, queue: int) -> None:
        """A queue stands; the agent sees it when it looks."""
        note(f"{queue} requests wait")
        self.stage.machine.proxy.queue = queue
        self.stage.look()

    # --- time -------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 30, 150, 301, 604_800]))
    def time_passes(self, seconds: int) -> None:
        """A second, a drain's deadline, a quarantine, a week."""
        note(f"{seconds} s pass, and the ticker looks")
        self.stage.life.now += seconds
        self.stage.watch(self.stage.life.look)

    @rule()
    def the_ticker_looks(self) -> None:
        """The agent looks at everything by itself."""
        note("the ticker looks")
        self.stage.look()

    @rule()
    def the_agent_sees_to_those_in_motion(self) -> None:
        """Between two looks at everything it looks at the nodes in motion alone."""
        note("the agent sees to the nodes in motion")
        self.stage.watch(self.stage.life.advance)

    # --- a careless hand --------------------------------------------------------------------------------------------

    @rule(drift=st.sampled_from(sorted(PEER_DRIFTS)), which=st.integers(0, 7))
    def a_peer_is_changed_by_hand(self, drift: str, which: int) -> None:
        """With `wg set`, behind the agent's back."""
        if self.stage.machine.tunnel.up and PEER_DRIFTS[drift](self.stage.machine, which):
            self.stage.by_hand.add(TUNNEL)
            self.stage.drifted(f"by hand: {drift} ({which})")

    @rule(drift=st.sampled_from(sorted([*SERVER_DRIFTS, *CORE_DRIFTS])), which=st.integers(0, 7))
    def a_server_is_changed_by_hand(self, drift: str, which: int) -> None:
        """At HAProxy's socket, behind the agent's back."""
        core = {server.name for server in self.stage.settings.core.servers}
        proxy = self.stage.machine.proxy
        if drift in CORE_DRIFTS and proxy.up:
            CORE_DRIFTS[drift](proxy, min(core))
            self.stage.by_hand |= core
            self.stage.drifted(f"by hand: {drift}")
            return
        names = [name for name in proxy.servers if name not in core]
        if names and proxy.up and drift in SERVER_DRIFTS:
            name = names[which % len(names)]
            SERVER_DRIFTS[drift](self.stage.machine, name)
            self.stage.by_hand.add(name)
            self.stage.drifted(f"by hand: {drift} ({name})")

    @rule(edit=st.sampled_from(sorted(FILE_EDITS)))
    def a_file_is_edited(self, edit: str) -> None:
        """With an editor, behind the agent's back."""
        FILE_EDITS[edit](self.stage.machine)
        self.stage.drifted(f"by hand: {edit}")

    @rule(then=st.sampled_from(["up", "down"]))
    def wireguard_restarts(self, then: str) -> None:
        """It comes back from its file, or stays down."""
        if then == "up":
            self.stage.machine.tunnel.start(self.stage.machine.conf)
        else:
            self.stage.machine.tunnel.stop()
        self.tally.restarts += 1
        self.stage.by_hand.add(TUNNEL)
        self.stage.drifted(f"WireGuard is restarted and is {then}")

    @rule(then=st.sampled_from(["up", "down"]))
    def haproxy_restarts(self, then: str) -> None:
        """A reload or a restart: everything said at run time is forgotten; or it stays down."""
        self.stage.by_hand |= self.stage.machine.proxy.servers.keys()
        if then == "up":
            self.stage.machine.proxy.start(self.stage.machine.cfg)
        else:
            self.stage.machine.proxy.stop()
        self.stage.by_hand |= self.stage.machine.proxy.servers.keys()
        self.tally.restarts += 1
        self.stage.drifted(f"HAProxy is restarted and is {then}")

    @rule(slow=st.booleans())
    def wg_is_slow_or_quick(self, *, slow: bool) -> None:
        """Whether peers that are set are there before the servers or after them: the two run side by side."""
        note(f"wg is {'slow' if slow else 'quick'}")
        self.stage.machine.wg_is_slow = slow

    @rule(full=st.booleans())
    def the_disk_fills_or_empties(self, *, full: bool) -> None:
        """No file can be written and nothing recorded, until there is room again."""
        note("the disk is full" if full else "the disk has room")
        self.stage.machine.disk_full = full
        self.stage.life.state.refuse_writes(refuse=full)
        self.stage.settled = False

    # --- death ------------------------------------------------------------------------------------------------------

    @rule(effects=st.integers(0, 6))
    def the_agent_will_be_killed(self, effects: int) -> None:
        """Kill -9 right before one of its next effects."""
        note(f"the agent will be killed after {effects} more effects")
        self.stage.machine.cut_after = effects

    @rule()
    def the_records_are_lost(self) -> None:
        """The disk loses them while all is well; a new start rebuilds them from the files."""
        self.stage.look()
        if self.stage.settled:
            note("the records are lost, and rebuilt from both files")
            self.stage.lose_records()

    @rule()
    def the_agent_is_restarted(self) -> None:
        """Kill -9 while it does nothing."""
        note("the agent is killed and starts again")
        self.stage.die()


def _seats(look: SyncFleet) -> str:
    return " ".join(f"{instance}={lifecycle}" for instance, lifecycle in look.seats) or "nobody"
