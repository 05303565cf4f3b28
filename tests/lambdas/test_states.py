"""AWS's lifecycle states: all that botocore knows are either translated or refused, none is guessed."""

from __future__ import annotations

import botocore.session
import pytest

from core_agent.contract.messages import Lifecycle, Phase
from lambdas.errors import UnknownState
from lambdas.states import Hook, lifecycle, released

REFUSED = {
    "Quarantined",
    "ReplacingRootVolume",
    "ReplacingRootVolume:Wait",
    "ReplacingRootVolume:Proceed",
    "RootVolumeReplaced",
}


def known_to_aws() -> set[str]:
    """Every lifecycle state in botocore's model of the API."""
    model = botocore.session.get_session().get_service_model("autoscaling")
    return set(model.shape_for("LifecycleState").enum)  # type: ignore[attr-defined]  # a string shape has it


def test_every_state_of_the_api_is_decided() -> None:
    """No state of AWS's own list is forgotten: each is translated, or refused on purpose."""
    for state in known_to_aws() - REFUSED:
        assert lifecycle(state) in Lifecycle
    for state in REFUSED:
        with pytest.raises(UnknownState, match=state):
            lifecycle(state)


@pytest.mark.parametrize(
    ("wanted", "states"),
    [
        (Lifecycle.JOINING, {"Pending", "Pending:Wait", "Pending:Proceed"}),
        (Lifecycle.SERVING, {"InService"}),
    ],
)
def test_few_states_carry_traffic(wanted: Lifecycle, states: set[str]) -> None:
    """Only these may become or be open to traffic; whatever terminates is leaving, whatever else is warmed rests."""
    assert {state for state in known_to_aws() - REFUSED if lifecycle(state) is wanted} == states


@pytest.mark.parametrize("state", sorted(known_to_aws() - REFUSED))
def test_terminating_is_always_leaving(state: str) -> None:
    """A state is leaving exactly when AWS's word says that it terminates or detaches."""
    assert (lifecycle(state) is Lifecycle.LEAVING) == ("Terminat" in state or "Detach" in state)


def test_unknown_states_may_be_tried_again() -> None:
    """A state from the future waits for a version that knows it."""
    with pytest.raises(UnknownState) as caught:
        lifecycle("Teleporting:Wait")
    assert caught.value.retryable


@pytest.mark.parametrize("phase", [*Phase, None])
@pytest.mark.parametrize("state", sorted(known_to_aws()))
def test_hooks_let_go_of_no_other_combination(state: str, phase: Phase | None) -> None:
    """A launch goes on when the node is active, a termination when it is gone, a warming when it is enrolled."""
    wanted: dict[tuple[str, Phase | None], tuple[Hook, ...]] = {
        ("Pending:Wait", Phase.ACTIVE): (Hook.LAUNCH,),
        ("Warmed:Pending:Wait", Phase.ENROLLED): (Hook.LAUNCH, Hook.TERMINATE),
        ("Warmed:Pending:Wait", Phase.ACTIVE): (Hook.LAUNCH, Hook.TERMINATE),
        ("Terminating:Wait", Phase.GONE): (Hook.TERMINATE,),
        ("Warmed:Terminating:Wait", Phase.GONE): (Hook.TERMINATE,),
    }
    assert released(state, phase, 0) == wanted.get((state, phase), ())


def test_a_return_to_the_warm_pool_waits_for_the_last_request() -> None:
    """A node that still answers somebody is not stopped under them."""
    assert released("Warmed:Pending:Wait", Phase.ACTIVE, 1) == ()
