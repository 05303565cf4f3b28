"""The stages of the house's reaction, from made-up sights."""

from __future__ import annotations

import io

from core_agent.contract.messages import Phase
from demo.hosts.client import Reading
from demo.record import Event
from demo.recorder import Group
from demo.screen import Screen
from demo.stages import Stages
from settings.tables import Burst
from tests.demo_story.test_recorder import MadeUp

BURST = Burst(saturation_high_percent=84, alarm_percent=100)


def spiked() -> MadeUp:
    """A house after a spike: full at 103, alarm at 105, two wanted at 106, i-2 serves from 109 on."""
    house = MadeUp()
    house.group = Group(minimum=1, desired=1, states={"i-1": "InService"})
    house.phases, house.alarms = {"i-1": Phase.ACTIVE}, {"slots-short": "OK", "queue-long": "OK"}
    house.look()
    house.look()
    house.queue = 1  # 8 busy and 1 waiting of 10
    house.look()
    house.level = 100
    house.look()
    house.alarms = {"slots-short": "ALARM", "queue-long": "OK"}
    house.look()
    house.group = Group(minimum=1, desired=2, states={"i-1": "InService", "i-2": "Pending"})
    house.look()
    house.phases["i-2"] = Phase.SEATED
    house.alarms["queue-long"] = "ALARM"
    house.look(after_s=2)
    house.phases["i-2"] = Phase.ACTIVE
    house.group = Group(minimum=1, desired=2, states={"i-1": "InService", "i-2": "InService"})
    house.look()
    return house


def reading(**first_answers: float) -> Reading:
    """A second in which these servers answered for the first time."""
    return Reading(
        sent=1,
        ok=1,
        failed=0,
        failed_by_kind={},
        servers={},
        latency_ms={},
        first_answers={name.replace("_", "-"): at for name, at in first_answers.items()},
    )


def test_each_stage_is_its_first_sight() -> None:
    """Saturation, level, alarm, order and first answer of a *new* node, each once, in the order of time."""
    stages = Stages.of(BURST, spiked().recorder, [reading(near=90.0, i_1=102.5), reading(i_2=109.25)], since=101.5)
    assert stages.events == (
        Event(at=101.5, text="load climbs, 0.5 × → 3 ×"),
        Event(at=102.5, text="first answer by the node that stood by"),
        Event(at=103.0, text="the core is 84 % full"),
        Event(at=104.0, text="burst level 100 %"),
        Event(at=105.0, text="alarm slots-short"),
        Event(at=106.0, text="the group wants 2"),
        Event(at=108.0, text="alarm queue-long"),
        Event(at=109.25, text="first answer by a new node"),
    )
    assert stages.nodes == {
        "i-2": {"pending": 106.0, "seated": 108.0, "active": 109.0, "InService": 109.0, "answers": 109.25}
    }


def test_stages_are_told_in_seconds_since_saturation() -> None:
    """The table counts from the moment the core was full, with a dash for what was not seen."""
    output = io.StringIO()
    Stages.of(BURST, spiked().recorder, [reading(i_2=109.25)], since=101.5).show(Screen(output))
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert ["alarm", "slots-short", "+2.0"] in lines
    assert ["first", "answer", "by", "a", "new", "node", "+6.2"] in lines
    assert lines[-1] == ["i-2", "3.0", "5.0", "–", "6.0", "6.0", "6.2"]


def test_a_core_that_was_never_full_is_said() -> None:
    """Without saturation there is nothing to count from, and no alarm is made up."""
    output = io.StringIO()
    house = MadeUp()
    house.look()
    stages = Stages.of(BURST, house.recorder, [], since=101.5)
    stages.show(Screen(output))
    assert output.getvalue().strip() == "the core was never seen 84 % full"
    assert stages.events == (Event(at=101.5, text="load climbs, 0.5 × → 3 ×"),)
