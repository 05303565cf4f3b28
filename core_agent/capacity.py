"""How many requests at a time one core server works best on, from what was measured; it knows no HAProxy and no clock.

Operational analysis (Denning and Buzen, "The Operational Analysis of Queueing Network Models", 1978) needs no model of
the server. Little's law, N = X × R, gives the time R that a request holds a slot from the busy slots N and the answers
per second X. More slots than N* = X_max × R_min, the most it answers times the time of an unhurried answer, only make
requests wait inside the server instead of in front of it: Kleinrock's knee ("Power and deterministic rules of thumb for
probabilistic problems in computer communications", 1979).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from core_agent.contract.messages import Suggestion

# So old measurements say nothing of the application as it runs now.
_KEPT_S = 3600.0
# But what a server did with more slots than it has now can only be learned by giving it more again.
_TRIED_S = 86_400.0
# A stretch is long enough for its averages to mean something, or else too quiet to tell of anything.
_SHORT_S, _LONG_S = 10.0, 300.0
_LOOKS, _ANSWERS, _FEW_ANSWERS = 5, 400, 100
# How busy it was between two looks that are further apart is anybody's guess.
_SILENCE_S = 30.0
# A server that fails answers fast: that is no capacity.
_FAILED_SHARE = 0.05
# How much of each kind must be seen. Busy slots are seen one look at a time: three hundred are known to 6 %.
_STRETCHES, _BUSY_SEEN = 3, 300

_FULL, _HALF = 0.9, 0.5
_LONGER, _RATHER_LONGER, _AS_FAST = 1.3, 1.15, (0.85, 1.1)
_AS_MUCH = 0.95
_MORE, _STEP = 1.1, 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Some seconds of measurements in sum: ``busy_s`` slots times seconds, ``busy_seen`` slots over all ``looks``."""

    until: float = 0.0
    seconds: float = 0.0
    looks: int = 0
    busy_s: float = 0.0
    busy_seen: int = 0
    answered: int = 0
    failed: int = 0

    def __add__(self, other: Self) -> Self:
        return replace(
            self,
            until=max(self.until, other.until),
            seconds=self.seconds + other.seconds,
            looks=self.looks + other.looks,
            busy_s=self.busy_s + other.busy_s,
            busy_seen=self.busy_seen + other.busy_seen,
            answered=self.answered + other.answered,
            failed=self.failed + other.failed,
        )

    @property
    def busy(self) -> float:
        """The slots that were busy on average: N."""
        return self.busy_s / self.seconds

    @property
    def per_s(self) -> float:
        """The answers in each second: X."""
        return self.answered / self.seconds

    @property
    def held_s(self) -> float:
        """How long each request held its slot: R = N / X."""
        return self.busy_s / self.answered

    @property
    def complete(self) -> bool:
        enough = self.seconds >= _SHORT_S and self.looks >= _LOOKS and self.answered >= _ANSWERS
        return enough or self.seconds >= _LONG_S

    @property
    def telling(self) -> bool:
        return self.answered >= _FEW_ANSWERS and self.failed <= _FAILED_SHARE * self.answered


class Capacity:
    """What was measured of one server in the last hour, a few hundred stretches at most."""

    def __init__(self) -> None:
        self._open = _Stretch()
        self._stretches: deque[_Stretch] = deque(maxlen=int(_KEPT_S / _SHORT_S))
        self._busiest: _Stretch | None = None

    def sample(self, now: float, *, seconds: float, busy: int, answered: int, failed: int) -> None:
        """Take in one look at ``now``, Unix seconds: ``busy`` slots, and the answers in the ``seconds`` before it."""
        if not 0 < seconds <= _SILENCE_S:
            return
        self._open += _Stretch(
            until=now,
            seconds=seconds,
            looks=1,
            busy_s=busy * seconds,
            busy_seen=busy,
            answered=answered,
            failed=failed,
        )
        if self._open.complete:
            if self._open.telling:
                self._remember(self._open)
            self._open = _Stretch()
        while self._stretches and self._stretches[0].until <= now - _KEPT_S:
            self._stretches.popleft()

    def _remember(self, stretch: _Stretch) -> None:
        self._stretches.append(stretch)
        tried = self._busiest
        if tried is None or tried.until <= stretch.until - _TRIED_S or tried.busy <= stretch.busy:
            self._busiest = stretch

    def suggestion(self, slots: int) -> Suggestion | None:
        """Return what the server should have instead of ``slots``; None when too little was seen or they are right.

        Fewer, when a request holds its slot for clearly longer on the full server than on a half idle one, which it
        does once there are more slots than the server can work on; when it is rather longer, only if the server was
        seen to answer as much with fewer of them busy. A fifth more, when it is as fast full as half idle:
        how much it could answer then is not known, unless it was tried within a day.
        """
        full = [one for one in self._stretches if one.busy >= _FULL * slots]
        if len(full) < _STRETCHES:
            return None
        most = _sum(sorted(self._stretches, key=lambda one: one.per_s)[-_STRETCHES:]).per_s
        calm = _sum(one for one in self._stretches if one.per_s <= _HALF * most)
        if calm.busy_seen < _BUSY_SEEN:
            return None
        hurried = _sum(full)
        knee = most * calm.held_s
        as_much = _answered_as_much(self._stretches, most, _FULL * slots)
        if knee * _LONGER <= slots or (as_much and knee * _RATHER_LONGER <= slots):
            fewer = max(1, round(knee))
            # Without a sharp knee fewer slots do serve a little less: what was not seen is not promised.
            why = (
                f"{fewer} slots serve as much"
                if as_much
                else f"more than {fewer} slots mostly make requests wait inside"
            )
            return Suggestion(slots=fewer, reason=f"{_measured(hurried, calm)}: {why}")
        more = max(slots + 1, int(_STEP * slots))
        if self._busiest is not None and self._busiest.busy > _MORE * slots:
            more = min(more, round(self._busiest.per_s * calm.held_s))
        if more >= _MORE * slots and _AS_FAST[0] <= hurried.held_s / calm.held_s <= _AS_FAST[1]:
            return Suggestion(slots=more, reason=f"{_measured(hurried, calm)}: {more} slots may serve more")
        return None


def _sum(stretches: Iterable[_Stretch]) -> _Stretch:
    return sum(stretches, _Stretch())


def _answered_as_much(stretches: Iterable[_Stretch], most: float, busy: float) -> bool:
    """Whether about ``most`` answers per second were seen with fewer than ``busy`` slots busy."""
    return sum(one.busy < busy and one.per_s >= _AS_MUCH * most for one in stretches) >= _STRETCHES


def _measured(hurried: _Stretch, calm: _Stretch) -> str:
    return (
        f"at {hurried.busy:.0f} busy it answers {hurried.per_s:.0f}/s in {1000 * hurried.held_s:.0f} ms each, "
        f"at {calm.busy:.0f} busy in {1000 * calm.held_s:.0f} ms"
    )
