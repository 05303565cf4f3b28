"""The core's server dies at full load and comes back: what is lost, and when requests go there again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benches.claims import Claim, Spread
from benches.spill.answers import failures, home_again, latency_ms
from benches.spill.arrivals import Stretch
from benches.spill.balancer import Balancer
from benches.spill.cells import Act, Cells, Run
from benches.spill.contenders import DRAWBRIDGE, SNIPPET, Contender
from benches.spill.ground import CORE, DOWN_INTER_S, RISE
from benches.spill.plan import Plan
from benches.spill.site import ServerProcess

_LOAD, _POSTS = 1.0, 0.5
_WINDOW_S, _AS_BEFORE = 0.25, 0.9
_DEAD_FOR = 1 / 3  # of the run, after another third


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One run: how many requests were on the core when it died, and how long after its return they went there again.

    ``home_after_s`` is infinite if they did not in the ``watched_s`` that were left of the run.
    """

    contender: Contender
    run: Run
    in_flight: int
    home_after_s: float
    watched_s: float

    @property
    def lost(self) -> int:
        """Requests that got anything but a whole 2xx answer."""
        return failures(self.run.answers).total()


def measure(cells: Cells, plan: Plan, core: ServerProcess) -> list[Death]:
    """Run drawbridge as often as planned, and the snippet once."""
    return [_one(cells, plan, core, contender) for contender in (*[DRAWBRIDGE] * plan.again, SNIPPET)]


def _one(cells: Cells, plan: Plan, core: ServerProcess, contender: Contender) -> Death:
    seconds = 1.5 * plan.fault_s
    died: list[float] = []
    back: list[float] = []
    in_flight: list[int] = []

    def kill(balancer: Balancer) -> None:
        in_flight.append(int(balancer.rows()[CORE]["scur"]))
        died.append(core.kill())

    acts = (
        Act(at_s=seconds * _DEAD_FOR, do=kill),
        Act(at_s=seconds * 2 * _DEAD_FOR, do=lambda _: back.append(core.start())),
    )
    run = cells.run(contender, [Stretch(seconds=seconds, load=_LOAD)], posts=_POSTS, acts=acts)
    before = [answer for answer in run.answers if answer.due < died[0]]
    share = sum(answer.server == CORE for answer in before) / len(before)
    home = home_again(run.answers, CORE, wanted=_AS_BEFORE * share, since=back[0], window_s=_WINDOW_S)
    return Death(contender=contender, run=run, in_flight=in_flight[0], home_after_s=home, watched_s=run.end - back[0])


def table(deaths: Sequence[Death]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return header and rows, one a run."""
    header = ("core killed at 1×", "in flight on it", "lost", "of those POSTs", "p99 ms", "back → core first, s")
    rows = [
        (
            death.contender.name,
            f"{death.in_flight}",
            f"{death.lost} of {len(death.run.answers)}",
            f"{sum(answer.post and not answer.ok for answer in death.run.answers)}",
            f"{latency_ms(death.run.answers, 99):.0f}",
            f"{death.home_after_s:.2f}",
        )
        for death in deaths
    ]
    return header, rows


def claims(deaths: Sequence[Death]) -> list[Claim]:
    """Return drawbridge's claims."""
    ours = [death for death in deaths if death.contender is DRAWBRIDGE]
    lost = ", ".join(f"{death.lost} lost with {death.in_flight} in flight" for death in ours)
    home = Spread.of([min(death.home_after_s, death.watched_s) for death in ours])
    return [
        Claim(
            claim="core killed at 1×: requests lost above those in flight on it",
            value=max(max(0, death.lost - death.in_flight) for death in ours),
            unit="requests",
            goal=0,
            how=f"SIGKILL, half of the requests POSTs, which nothing replays; the most of {len(ours)} runs: {lost}",
        ),
        Claim(
            claim="core back: until requests go there first again",
            value=home.median,
            unit="s",
            goal=DOWN_INTER_S * RISE,
            spread=home,
            how=f"from its listening socket to the first {_WINDOW_S:g} s in which it got {_AS_BEFORE:.0%} of its part "
            f"before; the health check's own time is downinter {DOWN_INTER_S:g} s × rise {RISE}",
        ),
    ]
