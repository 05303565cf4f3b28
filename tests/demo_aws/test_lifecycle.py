"""The pure state machine of lifecycle hooks."""

from demo.aws.lifecycle import Action, Result, Transition, expired, find, opened, settle


def action(hook: str = "h", instance: str = "i-1", **more: object) -> Action:
    """An open action of a launch, from the second 1000 on."""
    values: dict[str, object] = {
        "token": f"token-{hook}-{instance}",
        "group": "g",
        "hook": hook,
        "instance_id": instance,
        "transition": Transition.LAUNCHING,
        "heartbeat_s": 60.0,
        "default": Result.ABANDON,
        "now": 1000.0,
    }
    return opened(**(values | more))  # type: ignore[arg-type] # values of the right types, by name


def test_found_by_token_or_instance() -> None:
    """An action answers to its token or its instance id, and only under its own hook and group."""
    one, two = action(instance="i-1"), action(instance="i-2")
    both = (one, two)
    assert find(both, group="g", hook="h", token=None, instance_id="i-2") == two
    assert find(both, group="g", hook="h", token="token-h-i-1", instance_id=None) == one
    assert find(both, group="g", hook="other", token=None, instance_id="i-2") is None
    assert find(both, group="g", hook="h", token="wrong", instance_id="i-1") is None


def test_waits_for_every_hook() -> None:
    """CONTINUE of one hook leaves the instance waiting for the other."""
    one, two = action("first"), action("second")
    left, result = settle((one, two), one, Result.CONTINUE)
    assert (left, result) == ((two,), None)
    assert settle(left, two, Result.CONTINUE) == ((), Result.CONTINUE)


def test_one_abandon_decides() -> None:
    """ABANDON of one hook ends the waiting for all of that instance, and for no other instance."""
    one, two, stranger = action("first"), action("second"), action(instance="i-9")
    assert settle((one, two, stranger), one, Result.ABANDON) == ((stranger,), Result.ABANDON)


def test_heartbeat_postpones_until_the_global_limit() -> None:
    """A heartbeat begins the time anew, but never beyond 100 heartbeats in total."""
    late = action(heartbeat_s=30.0)
    assert late.deadline == 1030.0
    assert late.beaten(1020.0).deadline == 1050.0
    assert late.beaten(3990.0).deadline == 4000.0
    assert action(heartbeat_s=7200.0).limit == 1000.0 + 48 * 3600


def test_expiry_is_the_deadline() -> None:
    """An action is overdue from its deadline on, not before."""
    one = action()
    assert expired((one,), 1059.9) == ()
    assert expired((one,), 1060.0) == (one,)
