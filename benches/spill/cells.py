"""One run of one contender: its HAProxy is started, load comes, things happen at their moments; it judges nothing.

Every run begins with a second of half the core's capacity, which is not counted, on an HAProxy started for it: nothing
of the run before is left. Then the load comes at once, as a spike does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.spill.answers import Answer, parse, rate
from benches.spill.arrivals import Stretch, poisson, some
from benches.spill.balancer import Balancer
from benches.spill.contenders import Contender
from benches.spill.ground import CORE, EDGE, SERVER_PORT, SERVICE_MS
from benches.spill.site import Site
from benches.spill.weight_loop import Demand, WeightLoop

WARM_UP = Stretch(seconds=1, load=0.5)
_AHEAD_S = 0.3
_FIRST_ANSWERS_S = 2 * SERVICE_MS / 1000
_ACCOUNT = Path("/proc/stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something to do ``at_s`` seconds after the counted load began, with the balancer at hand."""

    at_s: float
    do: Callable[[Balancer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run brought: the counted answers, from ``begin`` to ``end`` of their load (CLOCK_MONOTONIC, seconds).

    ``sent`` counts the warm-up too; ``cpu_s`` is HAProxy's processor time from ``begin`` to the last answer; ``late_s``
    how late each request was sent; ``busy`` the part of the whole machine's time that was used; ``queued_most`` the
    longest queue at the core's server.
    """

    answers: Sequence[Answer]
    begin: float
    end: float
    sent: int
    cpu_s: float
    late_s: Sequence[float]
    busy: float
    queued_most: int

    @property
    def seconds(self) -> float:
        """From ``begin`` to the last answer."""
        return max(answer.due + answer.latency_s for answer in self.answers) - self.begin

    @property
    def cpu_us(self) -> float:
        """HAProxy's processor time per request, in microseconds."""
        return self.cpu_s * 1e6 / len(self.answers)

    def rate_of(self, server: str) -> float:
        """Return the answers a second that ``server`` gave under load, from when its first ones could come."""
        return rate(self.answers, server, begin=self.begin + _FIRST_ANSWERS_S, end=self.end)


class Cells:
    """Runs contenders on ``site``; ``seed`` fixes all arrivals."""

    def __init__(self, site: Site, *, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)  # noqa: S311 -- arrivals are no secret

    def run(
        self,
        contender: Contender,
        stretches: Sequence[Stretch],
        *,
        edge: int = len(EDGE),
        posts: float = 0,
        acts: Sequence[Act] = (),
        volley: int = 0,
    ) -> Run:
        """Send ``stretches`` of load to ``contender`` with ``edge`` servers beside the core's.

        ``posts`` is the part of the requests that are POSTs. A ``volley`` of so many comes first, at one moment, to a
        core that rests.
        """
        warm_up = poisson(self._chance, [WARM_UP])
        counted = poisson(self._chance, stretches)
        # Time for the warm-up's answers, when the core is to rest before the volley.
        gap = WARM_UP.seconds + (0.5 if volley else 0)
        offsets = warm_up + [gap] * volley + [gap + moment for moment in counted]
        with Balancer(contender.text(edge), self._site.folder) as balancer:
            loop = WeightLoop(balancer, lambda: _demand(balancer.rows())) if contender.weighed else None
            if loop is not None:
                loop.start()
            start = time.monotonic() + _AHEAD_S
            self._site.order([start + offset for offset in offsets], some(self._chance, len(offsets), posts))
            begin = start + gap
            _until(begin)
            cpu, account = balancer.cpu_s(), _time_used()
            for act in acts:
                _until(begin + act.at_s)
                act.do(balancer)
            document = self._site.users.hear()
            cpu, busy = balancer.cpu_s() - cpu, _busy(account, _time_used())
            queued_most = int(balancer.rows()[CORE]["qmax"])
            if loop is not None:
                loop.stop()
        return Run(
            answers=[answer for answer in parse(document) if answer.due >= begin],
            begin=begin,
            end=begin + sum(stretch.seconds for stretch in stretches),
            sent=len(offsets),
            cpu_s=cpu,
            late_s=document["late"],
            busy=busy,
            queued_most=queued_most,
        )

    def saturate(self, contender: Contender, *, in_flight: int, seconds: float) -> float:
        """Return the requests a second that the core alone serves behind ``contender``, always asked for more."""
        with Balancer(contender.text(0), self._site.folder):
            begin = time.monotonic() + _AHEAD_S
            self._site.order_closed(in_flight, begin=begin, end=begin + 1 + seconds)
            answers = parse(self._site.users.hear())
        return rate(answers, CORE, begin=begin + 1, end=begin + 1 + seconds)

    def idle_cpu(self, contender: Contender, *, edge: int, seconds: float) -> float:
        """Return the processor seconds a second that ``contender``'s HAProxy takes for health checks alone."""
        with Balancer(contender.text(edge), self._site.folder) as balancer:
            before = balancer.cpu_s()
            time.sleep(seconds)
            return (balancer.cpu_s() - before) / seconds

    def direct(self, *, load: float, seconds: float) -> Run:
        """Send ``load`` to what listens at the servers' port of 127.0.0.1, with no balancer between."""
        offsets = poisson(self._chance, [Stretch(seconds=seconds, load=load)])
        begin = time.monotonic() + _AHEAD_S
        self._site.order([begin + offset for offset in offsets], [0] * len(offsets), port=SERVER_PORT)
        _until(begin)
        account = _time_used()
        document = self._site.users.hear()
        return Run(
            answers=parse(document),
            begin=begin,
            end=begin + seconds,
            sent=len(offsets),
            cpu_s=0,
            late_s=document["late"],
            busy=_busy(account, _time_used()),
            queued_most=0,
        )


def _demand(rows: Mapping[str, Mapping[str, str]]) -> Demand:
    front, waiting = rows["FRONTEND"], sum(int(row["qcur"] or 0) for row in rows.values() if row["svname"] != "BACKEND")
    return Demand(requests=int(front["req_tot"]), waiting=waiting + int(rows["BACKEND"]["qcur"]))


def _until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _time_used() -> tuple[int, int]:
    """Return the machine's busy and whole processor time so far, in ticks: proc(5), `/proc/stat`."""
    user, nice, system, idle, iowait, *rest = map(int, _ACCOUNT.read_text().split("\n", 1)[0].split()[1:])
    busy = user + nice + system + sum(rest[:3])
    return busy, busy + idle + iowait


def _busy(before: tuple[int, int], after: tuple[int, int]) -> float:
    return (after[0] - before[0]) / max(1, after[1] - before[1])
