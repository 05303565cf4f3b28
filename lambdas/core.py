"""The core as the functions reach it, connected while the container is warm; it must not know any command's meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from core_agent.contract.messages import Command, Report
from core_agent.errors import AuthenticationFailed, ContractError
from lambdas.environment import CoreAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from core_agent.client import CoreClient

R = TypeVar("R", bound=Report)

# Within the functions' 30 s even when a kept connection turns out dead: one reply waited for, one dial, one more reply.
_CONNECT_TIMEOUT_S = 5
_REPLY_TIMEOUT_S = 8


class Core(Protocol):
    """Whatever carries one command to the core and brings its report back."""

    def request(self, command: Command) -> Report:
        """Return the report, or raise a ``DrawbridgeError``."""
        ...


def ask(core: Core, command: Command, wanted: type[R]) -> R:
    """Return the core's report on ``command``, or raise ``ContractError`` when it is not of the kind ``wanted``."""
    report = core.request(command)
    if not isinstance(report, wanted):
        raise ContractError(
            f"asking the core with {type(command).__name__}: wanted {wanted.__name__}, found {type(report).__name__}"
        )
    return report


class WarmCore:
    """Dials at the first request and keeps the connection; ``private_key`` is asked once, and again when it is refused.

    So a key that was replaced costs a warm container one more login, not its queue.
    """

    def __init__(
        self, address: CoreAddress, private_key: Callable[[str], str], *, reply_timeout_s: float = _REPLY_TIMEOUT_S
    ) -> None:
        self._address = address
        self._reply_timeout_s = reply_timeout_s
        self._private_key = private_key
        self._client: CoreClient | None = None

    def request(self, command: Command) -> Report:
        """Return the core's report on ``command``, or raise what ``core_agent.client`` raises."""
        known = self._client
        if known is None:
            return self._connect().request(command)
        try:
            return known.request(command)
        except AuthenticationFailed:
            known.close()
            return self._connect().request(command)

    def _connect(self) -> CoreClient:
        # Fabric's import costs 176 ms: those who never ask the core do not pay it.
        from core_agent.client import CoreClient  # noqa: PLC0415

        at = self._address
        key = self._private_key(at.key_parameter)
        self._client = CoreClient(
            host=at.host,
            port=at.port,
            user=at.user,
            host_key=at.host_key,
            private_key=key,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            reply_timeout_s=self._reply_timeout_s,
        )
        return self._client
