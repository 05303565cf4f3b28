"""Contestants take turns, block by block, on the same machine in the same run; it knows no particular one."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benches.fleet_changes.churn import Churn, Made
from benches.fleet_changes.contender import Contender
from benches.fleet_changes.load import Account, under_load
from demo.hosts.client import LoadClient, Reading
from demo.screen import Screen

BLOCKS = 4


class Contestant:
    """``contender`` with ``changes`` to make in at most ``limit_s`` seconds, on ``machines`` of which some stand still.

    The ``standing`` ones carry what the core cannot, so that no request is lost for want of machines.
    """

    def __init__(self, *, contender: Contender, machines: int, standing: int, changes: int, limit_s: float) -> None:
        self.contender = contender
        self.account = Account()
        self.seconds = 0.0
        self._reloads_before = 0
        self.wanted = changes
        self._limit_s = limit_s
        self._standing = range(standing)
        self._churn = Churn(contender, range(standing, machines))

    @property
    def made(self) -> Made:
        """The changes made so far."""
        return self._churn.made

    @property
    def troubles(self) -> tuple[str, ...]:
        """What kept changes from being made."""
        return tuple(map(str, self._churn.troubles))

    @property
    def reloads(self) -> int:
        """How often its HAProxy was reloaded since its standing machines joined."""
        return self.contender.watch.reloads - self._reloads_before

    def set_up(self, users: LoadClient, *, rate: float) -> None:
        """Let the standing machines join under load; nothing of that is counted."""
        under_load(users, self.contender.url, rate, lambda: self._churn.stand(self._standing), lambda _: None)
        self._reloads_before = self.contender.watch.reloads

    def run_block(self, users: LoadClient, *, rate: float, blocks_left: int, screen: Screen) -> None:
        """Make this block's share of what is left to be made, under load, and account for every request."""
        left = self.wanted - self.made.changes
        share = 2 * round(left / blocks_left / 2)
        began = time.monotonic()
        until = began + (self._limit_s - self.seconds) / blocks_left

        def show(reading: Reading) -> None:
            lost = self.account.lost + sum(second.failed for second in users.readings)
            screen.live(
                f"{self.contender.name}: {self.made.changes} of {self.wanted} changes, {self.reloads} reloads, "
                f"{reading.rate:g} requests/s from {len(reading.servers)} servers, {lost} lost"
            )

        self.account.add(under_load(users, self.contender.url, rate, lambda: self._churn.run(share, until=until), show))
        self.seconds += time.monotonic() - began


def run_blocks(contestants: Sequence[Contestant], users: LoadClient, *, rate: float) -> None:
    """Let each of ``contestants`` make its changes in ``BLOCKS`` blocks, in turns, at ``rate`` requests per second."""
    screen = Screen()
    for contestant in contestants:
        contestant.set_up(users, rate=rate)
    for block in range(BLOCKS):
        for contestant in contestants:
            contestant.run_block(users, rate=rate, blocks_left=BLOCKS - block, screen=screen)
