"""Turns taken together: what waits goes into the next one, in order, and nobody is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from core_agent.contract.messages import BurstReport, ReadFacts
from core_agent.errors import Refused
from core_agent.turns import Outcomes, Turns
from tests.agent.stand_in import StandIn, burst

PATIENCE_S = 20


class Caller(threading.Thread):
    """Carries ``commands`` out in a thread of its own and keeps what came of them."""

    def __init__(self, turns: Turns, *levels: int, reason: str = "test") -> None:
        super().__init__(daemon=True)
        self._turns = turns
        self._commands = [burst(level, reason) for level in levels]
        self.outcomes: Outcomes = []
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Keep the outcomes or the error."""
        try:
            self.outcomes = self._turns.carry_out(self._commands)
        except (ZeroDivisionError, RuntimeError) as error:
            self.error = error

    def levels(self) -> list[int]:
        """Wait for the outcomes and return the levels that were reported."""
        self.join(PATIENCE_S)
        assert not self.is_alive()
        return [outcome.level_percent for outcome in self.outcomes if isinstance(outcome, BurstReport)]


def until(check: Callable[[], bool]) -> None:
    """Return once ``check`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def agent() -> StandIn:
    """An agent with no turn taken yet."""
    return StandIn()


@pytest.fixture
def turns(agent: StandIn) -> Turns:
    """That agent's turns."""
    return Turns(agent.carry_out_all)


def waiting(turns: Turns, agent: StandIn, reason: str = "wait") -> Caller:
    """Return a caller whose turn is in progress until ``agent.go``."""
    first = Caller(turns, 1, reason=reason)
    until(lambda: bool(agent.turns))
    return first


def test_a_command_alone_is_a_turn_alone(turns: Turns, agent: StandIn) -> None:
    """Nothing is waited for; outcomes come in the order of the commands, errors in their place."""
    outcomes = turns.carry_out([burst(1), ReadFacts(), burst(2)])
    assert [type(outcome) for outcome in outcomes] == [BurstReport, Refused, BurstReport]
    assert len(agent.turns) == 1


def test_what_comes_during_a_turn_goes_together_into_the_next(turns: Turns, agent: StandIn) -> None:
    """Twenty callers wait for one turn and share the one after it; each gets the outcomes of its own commands."""
    first = waiting(turns, agent)
    others = [Caller(turns, 2 * number, 2 * number + 1) for number in range(20)]
    until(lambda: len(turns._waiting) == len(others))
    agent.go.set()
    assert first.levels() == [1]
    assert [other.levels() for other in others] == [[2 * number, 2 * number + 1] for number in range(20)]
    assert [len(turn) for turn in agent.turns] == [1, 40]


def test_the_lead_is_passed_on_for_as_long_as_somebody_waits(turns: Turns, agent: StandIn) -> None:
    """Many callers that come one after another, all the time, are all answered, and then nobody leads."""
    agent.go.set()
    callers = [Caller(turns, number % 100) for number in range(300)]
    assert [caller.levels() for caller in callers] == [[number % 100] for number in range(300)]
    assert sum(len(turn) for turn in agent.turns) == 300
    assert Caller(turns, 7).levels() == [7]


def test_an_unexpected_error_reaches_everybody_of_its_turn_and_nobody_else(turns: Turns, agent: StandIn) -> None:
    """Those who shared the turn are told, whoever led it; those who came during it are carried out by the next."""
    first = waiting(turns, agent)
    together = [Caller(turns, 2), Caller(turns, 3, reason="bug"), Caller(turns, 4)]
    until(lambda: len(turns._waiting) == 3)
    agent.go.set()
    first.levels()
    for caller in together:
        assert caller.levels() == []
    errors = [caller.error for caller in together]
    assert sorted(type(error).__name__ for error in errors) == ["RuntimeError", "RuntimeError", "ZeroDivisionError"]
    assert all("ZeroDivisionError" in f"{error!r} from {error.__cause__!r}" for error in errors if error is not None)
    assert Caller(turns, 5).levels() == [5]


def test_a_turn_that_fails_leaves_the_lead_to_who_came_during_it(turns: Turns, agent: StandIn) -> None:
    """A caller that waits behind a failing turn is not forgotten."""
    first = waiting(turns, agent)
    failing = Caller(turns, 2, reason="bug")
    until(lambda: len(turns._waiting) == 1)
    bug = agent._outcome

    def slowly(command: object) -> object:
        following.append(Caller(turns, 3))
        until(lambda: len(turns._waiting) == 1)
        agent._outcome = bug  # type: ignore[method-assign]  # once is enough
        return bug(command)  # type: ignore[arg-type]

    following: list[Caller] = []
    agent._outcome = slowly  # type: ignore[method-assign, assignment]  # the next command's turn is joined by another
    agent.go.set()
    first.levels()
    failing.levels()
    assert isinstance(failing.error, ZeroDivisionError)
    assert following[0].levels() == [3]
