"""The level: what four alarms and the known peaks are now decides, and nothing that has been."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_agent.contract.messages import BurstReport, SetBurst
from core_agent.contract.names import Reason
from lambdas.alarms import Alarm, LevelAlarms
from lambdas.levels import Levels, decide, differs
from lambdas.peaks import Clock, Day, Peak

ALARMS = LevelAlarms(saturated="saturated", calm="calm", queue_long="long", queue_short="short")
LEVELS = Levels(alarms=ALARMS, calm_percent=25, alarm_percent=90)
STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")


def alarms(*ringing: str, silent: str = "OK") -> tuple[Alarm, ...]:
    """All four alarms, those of ``ringing`` in ALARM and the others ``silent``."""
    states = {name: "ALARM" if name in ringing else silent for name in ALARMS.names}
    return tuple(Alarm(name=name, state=state, reason=f"why {name}") for name, state in states.items())


def peak(name: str, level_percent: int, core_percent: int = 100) -> Peak:
    """A peak in force; its times do not matter here."""
    return Peak(
        name=name,
        start=Clock("08:00"),
        end=Clock("12:00"),
        min_capacity=0,
        days=tuple(Day),
        timezone="UTC",
        level_percent=level_percent,
        core_percent=core_percent,
    )


def level(ringing: Iterable[str], *peaks: Peak, between: int | None = None) -> tuple[int, int] | None:
    """Return level and share of the core, None when they stay."""
    found = decide(LEVELS, alarms(*ringing), peaks, between=between)
    return None if found is None else (found.level_percent, found.core_percent)


@pytest.mark.parametrize(
    ("ringing", "wanted"),
    [
        (("saturated",), 90),
        (("long",), 90),
        (("saturated", "long"), 90),
        (("saturated", "short"), 90),
        (("long", "calm"), 90),
        (("long", "calm", "short"), 90),
        (("calm", "short"), 25),
    ],
)
def test_the_alarms_decide(ringing: tuple[str, ...], wanted: int) -> None:
    """Either high alarm opens the edge; only both low ones together close it, and no high one with them."""
    for between in (None, 0, 25, 100):
        assert level(ringing, between=between) == (wanted, 100)


@pytest.mark.parametrize("ringing", [(), ("calm",), ("short",)])
def test_between_the_thresholds_nothing_changes(ringing: tuple[str, ...]) -> None:
    """Neither high nor low on both counts: the level stays what it is, in a peak's time too."""
    assert level(ringing) is None
    assert level(ringing, peak("p", 60, 70)) is None


@pytest.mark.parametrize("silent", ["OK", "INSUFFICIENT_DATA"])
def test_silence_says_nothing(silent: str) -> None:
    """An alarm that has seen nothing moves the level neither way."""
    assert decide(LEVELS, alarms(silent=silent), (), between=None) is None
    assert level((), between=40) == (40, 100)


@pytest.mark.parametrize(
    ("ringing", "peaks", "wanted"),
    [
        (("saturated",), [peak("p", 60, 70)], (90, 70)),
        (("saturated",), [peak("p", 95, 70)], (95, 70)),
        (("calm", "short"), [peak("p", 60, 70)], (60, 70)),
        (("calm", "short"), [peak("p", 10, 70)], (25, 70)),
        (("calm", "short"), [peak("p", 60, 70), peak("q", 40, 50)], (60, 50)),
        ((), [peak("p", 60, 70)], (60, 70)),
        ((), [peak("p", 10, 70)], (25, 70)),
        ((), [], (25, 100)),
    ],
)
def test_a_peak_is_the_least(ringing: tuple[str, ...], peaks: list[Peak], wanted: tuple[int, int]) -> None:
    """Where a peak begins or ends, the level is the alarms' or the calm one, never under the peaks' in force."""
    assert level(ringing, *peaks, between=LEVELS.calm_percent) == wanted


@pytest.mark.parametrize("ringing", [(), ("calm",), ("short",)])
@pytest.mark.parametrize(
    ("present", "peaks", "wanted"),
    [
        (0, [], (0, 100)),
        (40, [], (40, 100)),
        (90, [], (90, 100)),
        (40, [peak("p", 60, 70)], (60, 70)),
        (80, [peak("p", 60, 70)], (80, 70)),
    ],
)
def test_the_present_level_stays_between_the_thresholds(
    ringing: tuple[str, ...], present: int, peaks: list[Peak], wanted: tuple[int, int]
) -> None:
    """Who has asked the core leaves its level, though never under the peaks' in force; the share is the peaks'."""
    assert level(ringing, *peaks, between=present) == wanted


@pytest.mark.parametrize(("level_percent", "core_percent", "wanted"), [(50, 70, False), (51, 70, True), (50, 71, True)])
def test_level_and_share_make_the_difference(level_percent: int, core_percent: int, *, wanted: bool) -> None:
    """Either one, and neither the reason nor whose word it was."""
    command = SetBurst(level_percent=50, core_percent=70, reason=Reason("calm"))
    for by_hand in (False, True):
        had = BurstReport(
            level_percent=level_percent, core_percent=core_percent, by_hand=by_hand, reason=Reason("whatever")
        )
        assert differs(command, had) is wanted


def test_the_reason_tells_who_decided() -> None:
    """An operator who reads the level reads also which alarm or peak it comes from."""
    assert _reason(("saturated",), ()) == "saturated is on: why saturated"
    assert _reason(("saturated", "long"), ()) == "saturated is on: why saturated; long is on: why long"
    assert _reason(("calm", "short"), ()) == "calm and short are on"
    assert _reason(("calm", "short"), [peak("p", 60)]) == "peak p is in force; calm and short are on"
    edge = "the load is between the alarms' thresholds"
    assert _reason((), [peak("p", 60), peak("q", 60)]) == f"peak p is in force; peak q is in force; {edge}"
    assert _reason((), ()) == f"no peak is in force; {edge}"


def _reason(ringing: tuple[str, ...], peaks: Sequence[Peak]) -> str:
    found = decide(LEVELS, alarms(*ringing), peaks, between=None if ringing else LEVELS.calm_percent)
    assert found is not None
    return found.reason


def test_reasons_are_cut_and_made_printable() -> None:
    """AWS's sentence may be long and of several lines: the contract takes 200 printable characters."""
    long = Alarm(name="saturated", state="ALARM", reason="Threshold\nCrossed:\t\x00\u2028" + "9" * 500)
    found = decide(LEVELS, (long, *alarms()[1:]), (), between=None)
    assert found is not None
    assert len(found.reason) == 200
    assert found.reason.startswith("saturated is on: Threshold Crossed:")


# --- any order ------------------------------------------------------------------------------------------------------


def _look(present: SetBurst | None, world: tuple[str, ...], peaks: list[Peak], *, edge: bool) -> SetBurst | None:
    """Return what the core has been told last, after one look at ``world``."""
    return decide(LEVELS, alarms(*world), peaks, between=LEVELS.calm_percent if edge else None) or present


WORLDS = [world for size in range(5) for world in itertools.combinations(ALARMS.names, size)]
LOOKS = st.tuples(st.sampled_from(WORLDS), st.sampled_from([[], [peak("p", 60, 70)], [peak("q", 95)]]), st.booleans())


@given(before=st.lists(LOOKS), last=LOOKS, times=st.integers(1, 3))
def test_late_doubled_and_lost_events_move_only_the_moment(
    before: list[tuple[tuple[str, ...], list[Peak], bool]],
    last: tuple[tuple[str, ...], list[Peak], bool],
    times: int,
) -> None:
    """Whatever looks were taken, left out or repeated: one true look that says something ends at its own level."""
    world, peaks, edge = last
    alone = _look(None, world, peaks, edge=edge)
    present: SetBurst | None = None
    for at in before:
        present = _look(present, at[0], at[1], edge=at[2])
    after = present
    for _ in range(times):
        after = _look(after, world, peaks, edge=edge)
    assert after == (present if alone is None else alone)


@given(
    before=st.lists(LOOKS, min_size=1), ringing=st.sampled_from([(), ("calm",), ("short",)]), count=st.integers(1, 5)
)
def test_hysteresis(
    before: list[tuple[tuple[str, ...], list[Peak], bool]], ringing: tuple[str, ...], count: int
) -> None:
    """However often alarms change between the thresholds, the level is what the last true word made it."""
    present: SetBurst | None = None
    for world, peaks, edge in before:
        present = _look(present, world, peaks, edge=edge)
    after = present
    for _ in range(count):
        after = _look(after, ringing, [], edge=False)
    assert after is present
