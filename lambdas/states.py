"""AWS's lifecycle states: what each means for the core, and when a hook may let go; it must not ask anybody.

Source: Amazon EC2 Auto Scaling User Guide, "Amazon EC2 Auto Scaling instance lifecycle" and "Use lifecycle hooks with a
warm pool".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from core_agent.contract.messages import Lifecycle, Phase
from core_agent.contract.names import shown
from lambdas.errors import UnknownState

IN_SERVICE = "InService"
NOT_YET_HELD = frozenset({"Pending", "Warmed:Pending"})  # the launch hook's action is about to begin
HELD_TO_LEAVE = frozenset({"Terminating:Wait", "Warmed:Terminating:Wait"})

# Left out on purpose: Quarantined and the four of a root volume's replacement. A machine with a new disk has lost its
# key, and what AWS does with hooks then is not documented: nobody should learn it from a guess.
_LIFECYCLES: Mapping[str, Lifecycle] = {
    "Pending": Lifecycle.JOINING,
    "Pending:Wait": Lifecycle.JOINING,
    "Pending:Proceed": Lifecycle.JOINING,
    IN_SERVICE: Lifecycle.SERVING,
    "EnteringStandby": Lifecycle.RESTING,
    "Standby": Lifecycle.RESTING,
    "Warmed:Pending": Lifecycle.RESTING,
    "Warmed:Pending:Wait": Lifecycle.RESTING,
    "Warmed:Pending:Proceed": Lifecycle.RESTING,
    "Warmed:Pending:Retained": Lifecycle.RESTING,
    "Warmed:Running": Lifecycle.RESTING,
    "Warmed:Stopped": Lifecycle.RESTING,
    "Warmed:Hibernated": Lifecycle.RESTING,
    "Terminating": Lifecycle.LEAVING,
    "Terminating:Wait": Lifecycle.LEAVING,
    "Terminating:Proceed": Lifecycle.LEAVING,
    "Terminating:Retained": Lifecycle.LEAVING,
    "Terminated": Lifecycle.LEAVING,
    "Detaching": Lifecycle.LEAVING,
    "Detached": Lifecycle.LEAVING,
    "Warmed:Terminating": Lifecycle.LEAVING,
    "Warmed:Terminating:Wait": Lifecycle.LEAVING,
    "Warmed:Terminating:Proceed": Lifecycle.LEAVING,
    "Warmed:Terminating:Retained": Lifecycle.LEAVING,
    "Warmed:Terminated": Lifecycle.LEAVING,
}


class Hook(StrEnum):
    """The two lifecycle hooks of a group."""

    LAUNCH = "launch"
    TERMINATE = "terminate"


def lifecycle(state: str) -> Lifecycle:
    """Return what AWS's ``state`` means for the core; raises ``UnknownState``, never guesses."""
    known = _LIFECYCLES.get(state)
    if known is None:
        raise UnknownState(
            f"reading a lifecycle state: wanted one of the {len(_LIFECYCLES)} known, found {shown(state)}"
        )
    return known


def released(state: str, phase: Phase | None, connections: int) -> tuple[Hook, ...]:
    """Return the hooks that need no longer hold an instance in ``state``, now that the core reports ``phase``.

    Two for an instance on its way into the warm pool, for the state alone does not tell them apart: the launch hook
    holds a fresh one, the terminate hook one that returns, and completing the other finds no action.
    """
    match state:
        case "Pending:Wait" if phase is Phase.ACTIVE:
            return (Hook.LAUNCH,)
        case "Warmed:Pending:Wait" if phase in (Phase.ENROLLED, Phase.ACTIVE) and connections == 0:
            return (Hook.LAUNCH, Hook.TERMINATE)
        case "Terminating:Wait" | "Warmed:Terminating:Wait" if phase is Phase.GONE:
            return (Hook.TERMINATE,)
        case _:
            return ()
