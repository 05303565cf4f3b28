"""The agent's loop of one contender: each second it reads what is asked for and sets the edge's weights to it.

It is the loop that people write, on good terms: it knows the core's capacity, and demand, which a server's own
throughput never says. It must not know who sends the requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from benches.spill.balancer import Balancer
from benches.spill.ground import CAPACITY, EDGE
from core_agent.haproxy.config import BACKEND

PERIOD_S = 1.0
CORE_WEIGHT = 100
_USED = 0.9  # of the core's capacity: what is above goes to the edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the balancer was asked for up to a moment: requests in all, and how many wait."""

    requests: int
    waiting: int


def weight_for(before: Demand, now: Demand, *, seconds: float) -> int:
    """Return the weight of each edge server, 0 to 256, beside the core's of ``CORE_WEIGHT``."""
    wanted = (now.requests - before.requests) / seconds + now.waiting
    over = wanted - CAPACITY * _USED
    if over <= 0:
        return 0
    return min(256, max(1, round(CORE_WEIGHT * over / (CAPACITY * _USED) / len(EDGE))))


class WeightLoop:
    """Runs in a thread from ``start`` to ``stop``, which raises what the loop died of."""

    def __init__(self, balancer: Balancer, demand: Callable[[], Demand]) -> None:
        self._balancer = balancer
        self._demand = demand
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._trouble: Exception | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()
        if self._trouble is not None:
            raise self._trouble

    def _run(self) -> None:
        try:
            before, weight = self._demand(), 0
            while not self._over.wait(PERIOD_S):
                now = self._demand()
                wanted, before = weight_for(before, now, seconds=PERIOD_S), now
                if wanted != weight:
                    self._balancer.command(*(f"set server {BACKEND}/{name} weight {wanted}" for name in EDGE))
                    weight = wanted
        except Exception as error:  # noqa: BLE001 -- a thread's death is told by ``stop``, in the thread that measures
            self._trouble = error
