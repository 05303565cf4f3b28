"""The warm connection: one login per container, one more when the key was replaced."""

from __future__ import annotations

import pytest

import core_agent.client
from core_agent.contract.messages import BurstReport, Command, FleetReport, Report, SetBurst
from core_agent.contract.names import Reason
from core_agent.errors import AuthenticationFailed, ContractError, CoreUnreachable
from lambdas.core import WarmCore, ask
from lambdas.environment import CoreAddress

ADDRESS = CoreAddress(host="203.0.113.10", port=22, user="drawbridge", host_key="ssh-ed25519 A", key_parameter="/key")
COMMAND = SetBurst(level_percent=50, reason=Reason("a test"))


class Door:
    """Stands for the client's class: takes one key at a time, and counts who comes in."""

    def __init__(self, accepted: str) -> None:
        self.accepted = accepted
        self.logins: list[str] = []
        self.asked: list[str] = []
        self.failure: Exception | None = None

    def __call__(  # the real one's arguments
        self,
        *,
        host: str,
        port: int,
        user: str,
        host_key: str,
        private_key: str,
        connect_timeout_s: float,
        reply_timeout_s: float,
    ) -> Client:
        """Make a client that, with one dead connection on the way, answers within the function's 30 s."""
        assert connect_timeout_s + 2 * reply_timeout_s < 25
        assert (host, port, user, host_key) == (ADDRESS.host, ADDRESS.port, ADDRESS.user, ADDRESS.host_key)
        self.logins.append(private_key)
        return Client(self, private_key)

    def private_key(self, parameter: str) -> str:
        """Return the key that is accepted now."""
        self.asked.append(parameter)
        return self.accepted


class Client:
    """One client with its key."""

    def __init__(self, door: Door, key: str) -> None:
        self.door, self.key = door, key

    def request(self, command: Command) -> Report:
        """Answer when the key is right."""
        assert isinstance(command, SetBurst)
        if self.door.failure:
            raise self.door.failure
        if self.key != self.door.accepted:
            raise AuthenticationFailed("logging in: refused")
        return BurstReport(level_percent=command.level_percent, core_percent=100, by_hand=False, reason=command.reason)

    def close(self) -> None:
        """Hang up."""


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    """A door that takes the key 'first'."""
    door = Door("first")
    monkeypatch.setattr(core_agent.client, "CoreClient", door)
    return door


def test_one_key_and_one_client_while_warm(door: Door) -> None:
    """Nothing is read before the first request, and only once for many."""
    core = WarmCore(ADDRESS, door.private_key)
    assert not door.asked
    for _ in range(3):
        assert ask(core, COMMAND, BurstReport).level_percent == 50
    assert (door.asked, door.logins) == (["/key"], ["first"])


def test_a_replaced_key_costs_one_login(door: Door) -> None:
    """A key that was replaced while the container was warm is read anew, and the request carried out."""
    core = WarmCore(ADDRESS, door.private_key)
    core.request(COMMAND)
    door.accepted = "second"
    assert ask(core, COMMAND, BurstReport).level_percent == 50
    assert door.logins == ["first", "second"]


def test_a_wrong_key_is_not_tried_for_ever(door: Door) -> None:
    """A key that the core does not take is an error, once per request."""
    core = WarmCore(ADDRESS, lambda parameter: f"wrong for {parameter}")
    for logins in (1, 2):
        with pytest.raises(AuthenticationFailed):
            core.request(COMMAND)
        assert len(door.logins) == logins


def test_other_errors_keep_the_key(door: Door) -> None:
    """A core that is away is no reason to read the key again."""
    core = WarmCore(ADDRESS, door.private_key)
    core.request(COMMAND)
    door.failure = CoreUnreachable("connecting: timed out")
    with pytest.raises(CoreUnreachable):
        core.request(COMMAND)
    assert door.asked == ["/key"]


def test_another_report_than_wanted_is_refused(door: Door) -> None:
    """A core that answers another question is not believed."""
    with pytest.raises(ContractError, match="wanted FleetReport, found BurstReport"):
        ask(WarmCore(ADDRESS, door.private_key), COMMAND, FleetReport)
