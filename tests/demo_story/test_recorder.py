"""The recorder: first sights, changes and looks of a house that the test moves by hand."""

from __future__ import annotations

from dataclasses import replace

from core_agent.contract.messages import BurstReport, CoreServerReport, FactsReport, LoadReport, Phase
from core_agent.contract.names import Reason
from core_agent.errors import CoreUnreachable
from demo.hosts.client import Reading
from demo.record import Event, Look, Second
from demo.recorder import Group, Recorder
from tests.client.stub_agent import facts, node


class MadeUp:
    """A house whose core, group, alarms and clock are what the test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.level = 0
        self.queue = 0
        self.core_up = True
        self.phases: dict[str, Phase] = {}
        self.group = Group(minimum=0, desired=0, states={})
        self.alarms: dict[str, str] = {}
        self.silent = False
        self.recorder = Recorder(
            core=self.facts, group=lambda: self.group, alarms=lambda: self.alarms, clock=lambda: self.now
        )

    def facts(self) -> FactsReport:
        """The core's answer; raises ``CoreUnreachable`` while it is silent."""
        if self.silent:
            raise CoreUnreachable("asking: wanted an answer, found none")
        servers = (
            CoreServerReport(
                name="near", up=self.core_up, takes=self.core_up, busy=8, slots=10, queue=0, configured=10
            ),
            CoreServerReport(name="down", up=False, takes=False, busy=5, slots=50, queue=0, configured=50),
        )
        burst = BurstReport(level_percent=self.level, core_percent=100, by_hand=False, reason=Reason("made up"))
        load = LoadReport(servers=servers, queue=self.queue, requests_total=1)
        return replace(facts(burst, tuple(node(name, phase) for name, phase in self.phases.items())), load=load)

    def look(self, *, after_s: float = 1.0) -> None:
        """Let time pass and see everything once."""
        self.now += after_s
        self.recorder.see_aws()
        self.recorder.see_core()


def test_a_stage_is_marked_when_it_is_first_seen() -> None:
    """Each node's states and phases keep their first moment, and what is there no longer is marked as gone."""
    house = MadeUp()
    house.group, house.phases = Group(minimum=0, desired=1, states={"i-1": "Pending:Wait"}), {"i-1": Phase.SEATED}
    house.look()
    house.phases = {"i-1": Phase.ACTIVE}
    house.look()
    house.look()
    house.group, house.phases = Group(minimum=0, desired=0, states={}), {}
    house.look()
    house.look()
    seen = {"Pending:Wait": 101.0, "seated": 101.0, "active": 102.0, "AWS gone": 104.0, "core gone": 104.0}
    assert house.recorder.marks == {"i-1": seen}


def test_a_change_is_noted_once_and_again_when_it_comes_back() -> None:
    """Alarms, level and desired capacity are noted when they change; ``first`` finds them from a moment on."""
    house = MadeUp()
    house.alarms = {"slots-short": "OK"}
    house.look()
    house.alarms, house.level = {"slots-short": "ALARM"}, 100
    house.look()
    house.look()
    house.alarms, house.level = {"slots-short": "OK"}, 25
    house.look()
    house.level = 100
    house.look()
    first = house.recorder.first
    assert [(c.at, c.value) for c in house.recorder.changes if c.what == "slots-short"] == [
        (101.0, "OK"),
        (102.0, "ALARM"),
        (104.0, "OK"),
    ]
    assert (first("level", "100 %", since=0), first("level", "100 %", since=103)) == (102.0, 105.0)
    assert (first("slots-short", "ALARM", since=103), first("nothing", "", since=0)) == (None, None)


def test_a_look_counts_what_is_up_and_open() -> None:
    """Servers that are down have no slots, nodes that are not active do not serve; saturation counts who waits."""
    house = MadeUp()
    house.queue, house.phases = 7, {"i-1": Phase.ACTIVE, "i-2": Phase.ENROLLED}
    house.group = Group(minimum=0, desired=3, states={})
    house.look()
    (look,) = house.recorder.looks
    assert look == Look(at=101.0, busy=8, slots=10, queue=7, level_percent=0, nodes=1, desired=3)
    assert look.saturation_percent == 150
    house.core_up = False
    house.look()
    assert (house.recorder.looks[-1].slots, house.recorder.looks[-1].saturation_percent) == (0, 100)


def test_a_core_that_does_not_answer_leaves_a_gap() -> None:
    """While the agent is silent there is no look and no change, and the node is not called gone."""
    house = MadeUp()
    house.phases = {"i-1": Phase.ACTIVE}
    house.look()
    house.silent = True
    house.look()
    house.silent = False
    house.look()
    assert house.recorder.unanswered == 1
    assert [look.at for look in house.recorder.looks] == [101.0, 103.0]
    assert house.recorder.marks == {"i-1": {"active": 101.0}}


def test_the_record_begins_at_zero_and_tells_the_sides_apart() -> None:
    """What is older than the beginning is left out, and answers are the core's or the edge's."""
    house = MadeUp()
    house.look()
    house.look(after_s=10)
    readings = [
        Reading(sent=9, ok=9, failed=0, failed_by_kind={}, servers={"near": 9}, latency_ms={}, at=104.0),
        Reading(
            sent=20, ok=19, failed=1, failed_by_kind={}, servers={"near": 12, "i-1": 4, "i-2": 3}, latency_ms={}, at=112
        ),
    ]
    events = (Event(at=115.0, text="later"), Event(at=111.0, text="sooner"))
    record = house.recorder.record(readings, events, home={"near"}, capacity=50.0, begin=110.0)
    assert record.seconds == (Second(at=2.0, sent=20, core=12, edge=7, failed=1),)
    assert [look.at for look in record.looks] == [1.0]
    assert record.events == (Event(at=1.0, text="sooner"), Event(at=5.0, text="later"))
    assert record.capacity == 50.0


def test_it_watches_by_itself_while_it_is_open() -> None:
    """As a context manager it looks at core and AWS without being asked, and stops at the end."""
    house = MadeUp()
    house.alarms = {"slots-short": "OK"}
    with house.recorder as recorder:
        while not (recorder.looks and recorder.changes and recorder.first("slots-short", "OK", since=0)):
            pass
    before = len(recorder.looks)
    assert not any(thread.is_alive() for thread in recorder._threads)
    assert len(recorder.looks) == before
