"""The beats of telemetry: one in each period of the clock, none twice, and none that could outlast its invocation."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.beats import Beats

MINUTE = 60_000
PATIENCE = 5_000


class Clock:
    """A clock that goes forward only when somebody waits."""

    def __init__(self) -> None:
        self.ms = 0
        self.waited: list[int] = []

    def now_ms(self) -> int:
        """Return what it is."""
        return self.ms

    def wait_ms(self, duration_ms: int) -> None:
        """Go forward."""
        self.waited.append(max(0, duration_ms))
        self.ms += max(0, duration_ms)


class Container:
    """One warm container; ``slow`` maps a beat's number within its invocation to how long it takes."""

    def __init__(self, period_s: int) -> None:
        self.clock = Clock()
        self.beats = Beats(period_s=period_s, now_ms=self.clock.now_ms, wait_ms=self.clock.wait_ms)

    def invoke(self, at_ms: int, *, remaining_ms: int = MINUTE, slow: dict[int, int] | None = None) -> list[int]:
        """Begin at ``at_ms``, or as soon as the one before has ended, and return the beats that were taken."""
        self.clock.ms = max(self.clock.ms, at_ms)
        taken = []
        for number, beat in enumerate(self.beats.during(remaining_ms, patience_ms=PATIENCE)):
            assert beat <= self.clock.ms
            taken.append(beat)
            self.clock.ms += (slow or {}).get(number, 20)
        return taken


def tens(*seconds: int) -> list[int]:
    """Those seconds as milliseconds."""
    return [1000 * second for second in seconds]


def test_every_period_of_the_clock_has_one_beat() -> None:
    """Three minutes in a row take all their tens of seconds, though each begins some seconds after one of them."""
    container = Container(10)
    taken = [beat for minute in range(3) for beat in container.invoke(1_003_000 + minute * MINUTE)]
    assert taken == tens(*range(1000, 1175, 10))


def test_a_minutes_beat_is_taken_at_once() -> None:
    """Where one beat a minute is enough, nobody waits for it, whenever in the minute that is."""
    container = Container(60)
    assert container.invoke(60_000 * 10 + 37_000) == [600_000]
    assert container.invoke(60_000 * 11 + 38_000) == [660_000]
    assert sum(container.clock.waited) == 0


def test_a_slow_core_skips_beats() -> None:
    """What overruns the next beats drops them; nothing piles up behind it."""
    container = Container(10)
    assert container.invoke(1_000_000, slow={1: 25_000}) == tens(1000, 1010, 1030, 1040, 1050)


def test_a_late_or_doubled_invocation_takes_no_beat_twice() -> None:
    """A container that is woken twice in a minute goes on where it was."""
    container = Container(10)
    first = container.invoke(1_003_000)
    again = container.invoke(1_003_000)
    assert set(first).isdisjoint(again)


def test_the_remaining_time_is_kept() -> None:
    """No beat is begun that the function's own timeout could cut short."""
    container = Container(10)
    assert container.invoke(1_000_000, remaining_ms=30_000) == tens(1000, 1010, 1020)
    assert container.invoke(2_000_000, remaining_ms=4_000) == []


@pytest.mark.parametrize("period_s", [10, 20, 30, 60])
@given(start=st.integers(0, 10 * MINUTE), jitters=st.lists(st.integers(0, 900), min_size=2, max_size=8))
def test_whatever_the_jitter(period_s: int, start: int, jitters: list[int]) -> None:
    """Each beat is a whole period of the clock, none comes twice, none outlasts its minute, and few are missed."""
    container = Container(period_s)
    taken: list[int] = []
    for minute, jitter in enumerate(jitters):
        begins = start + minute * MINUTE + jitter
        taken += container.invoke(begins)
        assert container.clock.ms <= begins + MINUTE
    assert all(beat % (1000 * period_s) == 0 for beat in taken)
    gaps = {later - earlier for earlier, later in itertools.pairwise(taken)}
    assert gaps <= {1000 * period_s, 2000 * period_s}
