"""Many callers' commands, taken together into the agent's turns; it knows neither documents nor connections.

A turn costs about the same for one command as for a hundred. So commands that arrive while a turn runs wait on one
list, and the next turn takes the whole list: one caller leads it for all of them. There is no thread in between.

Rule 1: while commands wait, exactly one caller leads: whoever found nobody leading, then the first whose commands came
during his turn.
Rule 2: whatever ends a turn, nobody is left waiting for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from core_agent.contract.messages import Command, Report
from core_agent.errors import DrawbridgeError

Outcomes = list[Report | DrawbridgeError]
Turn = Callable[[Sequence[Command]], Outcomes]


class _Share:
    """One caller's part of a turn."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.called = threading.Event()  # with one of the two below, or to lead
        self.outcomes: Outcomes | None = None
        self.error: BaseException | None = None


class Turns:
    """Carries commands out for any number of threads; ``turn`` is what carries a list of them out."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._lock = threading.Lock()
        self._led = False
        self._waiting: list[_Share] = []

    def carry_out(self, commands: Sequence[Command]) -> Outcomes:
        """Return the outcome of each command, in order, once a turn has carried them out.

        An error that the tree does not know ends the turn for all of its callers, and is raised in each of them.
        """
        share = _Share(commands)
        with self._lock:
            self._waiting.append(share)
            leads, self._led = not self._led, True
        if not leads:
            share.called.wait()
        if share.outcomes is None and share.error is None:
            self._lead()
        if share.outcomes is None:
            raise RuntimeError("the turn that carried this out ended by an unexpected error") from share.error
        return share.outcomes

    def _lead(self) -> None:
        """Carry out all that waits, then leave the lead to the first that came meanwhile."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        try:
            outcomes = iter(self._turn([command for share in taken for command in share.commands]))
            for share in taken:
                share.outcomes = [next(outcomes) for _ in share.commands]
        except BaseException as error:
            for share in taken:
                share.error = error
            raise
        finally:
            with self._lock:
                self._led = bool(self._waiting)
                following = self._waiting[:1]
            for share in (*taken, *following):
                share.called.set()
