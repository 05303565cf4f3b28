"""What the measurements of a core server say of its slots, against servers whose slots are known."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from core_agent.capacity import Capacity
from core_agent.contract.messages import Suggestion

LOOK_S = 2.0
# Load as a share of what the true slots can answer, and for how long: an hour of an ordinary day in little.
DAY = ((0.2, 120.0), (0.4, 60.0), (0.8, 60.0), (1.6, 90.0))


class Server:
    """A server that works on ``true_slots`` requests at a time for ``service_s`` each, exponentially; more slow all.

    Requests come by chance; those that find all slots of HAProxy taken go elsewhere.
    """

    def __init__(self, true_slots: int, service_s: float = 0.5, seed: int = 1) -> None:
        self.true_slots = true_slots
        self.service_s = service_s
        self.now = 0.0
        self.busy = 0
        self._chance = random.Random(seed)  # noqa: S311 - a simulation

    def _answer(self, per_s: float, slots: int, until: float) -> int:
        """Let requests come at ``per_s`` until that moment; return how many were answered."""
        answered = 0
        while True:
            leaving = min(self.busy, self.true_slots) / self.service_s
            self.now += self._chance.expovariate(per_s + leaving)
            if self.now >= until:  # without memory: what would have come later may be drawn again
                self.now = until
                return answered
            if self._chance.random() * (per_s + leaving) >= per_s:
                self.busy -= 1
                answered += 1
            elif self.busy < slots:
                self.busy += 1

    def carry(self, capacity: Capacity, slots: int, load: Sequence[tuple[float, float]] = DAY) -> None:
        """Let ``capacity`` measure this server with ``slots`` under ``load``."""
        for share, seconds in load:
            end = self.now + seconds
            while self.now < end:
                answered = self._answer(share * self.true_slots / self.service_s, slots, self.now + LOOK_S)
                capacity.sample(self.now, seconds=LOOK_S, busy=self.busy, answered=answered, failed=0)


def look(
    capacity: Capacity, *, start: float = 0.0, times: int = 60, busy: int, per_s: float, failed_per_s: float = 0
) -> float:
    """Let ``capacity`` see the same over and over; return the moment after it."""
    for number in range(times):
        capacity.sample(
            start + number * LOOK_S,
            seconds=LOOK_S,
            busy=busy,
            answered=round(per_s * LOOK_S),
            failed=round(failed_per_s * LOOK_S),
        )
    return start + times * LOOK_S


def told(capacity: Capacity, slots: int) -> int | None:
    """Return the slots that are suggested."""
    suggestion = capacity.suggestion(slots)
    return None if suggestion is None else suggestion.slots


# --- finding the true slots -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("true_slots", [10, 25])
@pytest.mark.parametrize("share", [0.5, 1, 2])
def test_whoever_follows_the_suggestions_gets_there(true_slots: int, share: float, seed: int) -> None:
    """From half the true slots, from them and from twice as many it leads to within 20 % of them, and stays."""
    server, capacity = Server(true_slots, seed=seed), Capacity()
    path = [round(share * true_slots)]
    for _ in range(14):
        server.carry(capacity, path[-1])
        path.append(told(capacity, path[-1]) or path[-1])
    assert all(0.8 * true_slots <= slots <= 1.2 * true_slots for slots in path[-3:]), path


def test_too_many_slots_are_found_at_once() -> None:
    """Full once and half idle once is all it takes; no step is needed to see that they are too many."""
    server, capacity = Server(25), Capacity()
    server.carry(capacity, 60)
    found = told(capacity, 60)
    assert found is not None
    assert 20 <= found <= 30


def test_the_reason_has_the_numbers() -> None:
    """An operator reads what was measured, full and half idle, and may judge it himself."""
    capacity = Capacity()
    now = look(capacity, busy=20, per_s=328)
    look(capacity, start=now, busy=50, per_s=820)
    assert told(capacity, 50) == 60
    slow = Capacity()
    now = look(slow, busy=10, per_s=164)
    now = look(slow, start=now, busy=50, per_s=410)
    assert slow.suggestion(50) == Suggestion(
        slots=25,
        reason="at 50 busy it answers 410/s in 122 ms each, at 10 busy in 61 ms: "
        "more than 25 slots mostly make requests wait inside",
    )
    look(slow, start=now, busy=25, per_s=410)
    seen = slow.suggestion(50)
    assert seen is not None
    assert seen.reason.endswith(": 25 slots serve as much")  # now that they were seen to


def test_a_server_without_a_sharp_knee_is_not_starved() -> None:
    """One that slows down little by little keeps the slots at which an answer takes about a fifth longer."""
    capacity, slots, now = Capacity(), 80, 0.0
    for _ in range(10):
        for busy in (4, 8, slots):
            held_s = 0.1 * (1 + (busy / 40) ** 2) ** 0.5
            now = look(capacity, start=now + 2000, busy=busy, per_s=busy / held_s)
        slots = told(capacity, slots) or slots
        now += 100_000
    assert 25 <= slots <= 36


# --- saying nothing -------------------------------------------------------------------------------------------------


def test_nothing_was_measured() -> None:
    """No look, no word; nor does a look that took no time say anything."""
    capacity = Capacity()
    assert told(capacity, 10) is None
    capacity.sample(0.0, seconds=0.0, busy=10, answered=100, failed=0)
    assert told(capacity, 10) is None


def test_a_server_that_was_never_full_is_left_alone() -> None:
    """How it answers with all its slots busy is not known."""
    server, capacity = Server(25), Capacity()
    server.carry(capacity, 50, ((0.2, 600.0), (0.4, 600.0), (0.7, 600.0)))
    assert told(capacity, 50) is None


def test_a_server_that_was_never_half_idle_is_left_alone() -> None:
    """How fast an unhurried answer is is not known."""
    server, capacity = Server(25), Capacity()
    server.carry(capacity, 50, ((1.6, 1200.0),))
    assert told(capacity, 50) is None


def test_a_short_rush_is_no_evidence() -> None:
    """A few seconds full may be anything."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=164)
    look(capacity, start=now, times=5, busy=50, per_s=410)
    assert told(capacity, 50) is None


def test_a_few_busy_slots_are_no_evidence() -> None:
    """How long an answer takes is not known from a server that was all but idle whenever somebody looked."""
    capacity = Capacity()
    now = look(capacity, busy=1, per_s=50)
    look(capacity, start=now, busy=50, per_s=410)
    assert told(capacity, 50) is None


def test_a_server_that_hangs_is_no_evidence() -> None:
    """All its slots are busy and nothing is answered, for as long as it likes."""
    capacity = Capacity()
    look(capacity, times=1000, busy=50, per_s=0)
    assert told(capacity, 50) is None


def test_right_slots_stay() -> None:
    """A little slower when full is what a server that is well used looks like."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=100)
    look(capacity, start=now, busy=28, per_s=250)
    assert told(capacity, 28) is None


def test_what_is_answered_faster_when_full_is_not_believed() -> None:
    """Then what was measured half idle is of another application than what was measured full."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=50)
    look(capacity, start=now, busy=25, per_s=250)
    assert told(capacity, 25) is None


def test_errors_are_no_capacity() -> None:
    """A server that fails when it is full answers fast; that must not look like room for more."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=100)
    look(capacity, start=now, busy=25, per_s=250, failed_per_s=20)
    assert told(capacity, 25) is None


def test_a_silence_is_no_evidence() -> None:
    """What was answered while nobody looked was answered by as many as nobody knows."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=164)
    for number in range(1, 40):
        capacity.sample(now + 60.0 * number, seconds=60.0, busy=50, answered=60 * 410, failed=0)
    assert told(capacity, 50) is None


# --- learning -------------------------------------------------------------------------------------------------------


def test_what_was_tried_is_not_tried_again_today() -> None:
    """More slots than it can use made it slower: back at the right ones it is not sent there again, for a day."""
    capacity = Capacity()
    now = 0.0
    for slots, per_s in ((25, 250), (31, 250)):
        now = look(capacity, start=now, busy=10, per_s=100)
        now = look(capacity, start=now, busy=slots, per_s=per_s)
    assert told(capacity, 31) == 25
    for later in (7200.0, 100_000.0):
        now = look(capacity, start=later, busy=10, per_s=100)
        look(capacity, start=now, busy=25, per_s=250)
        assert told(capacity, 25) == (None if later < 86_400 else 30)


def test_what_was_tried_and_was_right_is_told_again() -> None:
    """With fewer slots than served it well today it is sent back, no further than there."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=100)
    now = look(capacity, start=now, busy=25, per_s=250)
    look(capacity, start=now, busy=22, per_s=220)
    assert told(capacity, 22) == 25


def test_another_application_is_measured_anew() -> None:
    """A release that takes twice as long is judged by its own answers as soon as an hour has passed."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=200)
    look(capacity, start=now, busy=25, per_s=500)
    now = look(capacity, start=5000.0, busy=10, per_s=100)
    look(capacity, start=now, busy=50, per_s=250)
    assert told(capacity, 50) == 25


def test_a_slow_spell_elsewhere_is_not_held_against_the_slots() -> None:
    """A database that made everything slow for a while: what it answers at its best still counts."""
    capacity = Capacity()
    now = look(capacity, busy=10, per_s=100)
    now = look(capacity, start=now, busy=25, per_s=250)
    look(capacity, start=now, busy=25, per_s=120)
    assert told(capacity, 25) is None


def test_memory_is_bounded() -> None:
    """Hours of looks leave one hour's stretches."""
    capacity = Capacity()
    look(capacity, times=4000, busy=10, per_s=200)
    assert len(capacity._stretches) <= 360
    look(capacity, start=-86_400.0, times=4000, busy=10, per_s=200)  # and a clock that was set back changes nothing
    assert len(capacity._stretches) <= 360
