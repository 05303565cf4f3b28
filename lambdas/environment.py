"""The one typed reader of a function's environment; it must not know what any value is used for.

``stacks/control`` sets these variables, all of them from ``drawbridge.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core_agent.contract.names import shown
from core_agent.errors import ContractError
from lambdas.alarms import LevelAlarms
from lambdas.errors import VariableError
from lambdas.group import Group
from lambdas.levels import Levels
from lambdas.peaks import Peak
from lambdas.peaks import read as read_peaks


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreAddress:
    """How the core is reached by SSH, and the SSM parameter that holds the private key for it."""

    host: str
    port: int
    user: str
    host_key: str
    key_parameter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What every function knows: whose account, which group, which role its nodes run as, which core."""

    account: str
    node_role: str
    group: Group
    core: CoreAddress

    @property
    def region(self) -> str:
        """The region of the function, its group and its queues."""
        return self.group.region


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The URLs of the queue that feeds the function, and of the one for messages that nobody can act on."""

    own: str
    dead_letter: str


def place(environ: Mapping[str, str]) -> Place:
    """Return what every function knows; raises ``VariableError`` naming the variable."""
    return Place(
        account=_text(environ, "DRAWBRIDGE_ACCOUNT"),
        node_role=_text(environ, "DRAWBRIDGE_NODE_ROLE"),
        group=Group(
            region=_text(environ, "AWS_REGION"),
            name=_text(environ, "DRAWBRIDGE_GROUP"),
            launch_hook=_text(environ, "DRAWBRIDGE_LAUNCH_HOOK"),
            terminate_hook=_text(environ, "DRAWBRIDGE_TERMINATE_HOOK"),
        ),
        core=CoreAddress(
            host=_text(environ, "DRAWBRIDGE_CORE_HOST"),
            port=_number(environ, "DRAWBRIDGE_CORE_PORT", 1, 65535),
            user=_text(environ, "DRAWBRIDGE_CORE_USER"),
            host_key=_text(environ, "DRAWBRIDGE_CORE_HOST_KEY"),
            key_parameter=_text(environ, "DRAWBRIDGE_SSH_KEY_PARAMETER"),
        ),
    )


def queues(environ: Mapping[str, str]) -> Queues:
    """Return the function's queues; raises ``VariableError`` naming the variable."""
    return Queues(
        own=_text(environ, "DRAWBRIDGE_QUEUE_URL"),
        dead_letter=_text(environ, "DRAWBRIDGE_DEAD_LETTER_URL"),
    )


def levels(environ: Mapping[str, str]) -> Levels:
    """Return what the ``burst`` function chooses between; raises ``VariableError`` naming the variable."""
    return Levels(
        alarms=LevelAlarms(
            saturated=_text(environ, "DRAWBRIDGE_ALARM_SATURATED"),
            calm=_text(environ, "DRAWBRIDGE_ALARM_CALM"),
            queue_long=_text(environ, "DRAWBRIDGE_ALARM_QUEUE_LONG"),
            queue_short=_text(environ, "DRAWBRIDGE_ALARM_QUEUE_SHORT"),
        ),
        calm_percent=_number(environ, "DRAWBRIDGE_CALM_PERCENT", 0, 100),
        alarm_percent=_number(environ, "DRAWBRIDGE_ALARM_PERCENT", 1, 100),
    )


def peaks(environ: Mapping[str, str]) -> tuple[Peak, ...]:
    """Return the known peaks; raises ``VariableError`` naming the variable and the field."""
    try:
        return read_peaks(_text(environ, "DRAWBRIDGE_PEAKS"), "DRAWBRIDGE_PEAKS")
    except ContractError as error:
        raise VariableError(f"reading the environment: {error}") from None


def period_s(environ: Mapping[str, str]) -> int:
    """Return how often, in seconds, telemetry asks the core; raises ``VariableError`` naming the variable."""
    return _number(environ, "DRAWBRIDGE_PERIOD_S", 10, 60)


def _text(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        found = "an empty one" if name in environ else "none"
        raise VariableError(f"reading the environment: wanted variable {name}, found {found}")
    return value


def _number(environ: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = _text(environ, name)
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise VariableError(f"reading the environment: wanted {low} to {high} in {name}, found {shown(text)}")
    return int(text)
