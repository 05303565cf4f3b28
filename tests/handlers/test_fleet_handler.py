"""The fleet function: whatever the queue brings, one look at the group, and each message where it belongs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from aws_lambda_powertools import Logger, Metrics

from core_agent.contract.messages import Phase
from core_agent.contract.names import InstanceId
from core_agent.errors import ContractError, CoreUnreachable, HostKeyMismatch, RefusalKind, Refused
from lambdas import environment
from lambdas.again import Again
from lambdas.batch import consume
from lambdas.environment import Place
from lambdas.errors import CloudBusy, CloudRefused, VariableError
from lambdas.events import again
from lambdas.events.envelope import Metadata
from lambdas.handlers import fleet
from lambdas.handlers.fleet import Visit
from tests.handlers.conftest import ENVIRONMENT, Context
from tests.handlers.fake_cloud import FakeCloud
from tests.handlers.fake_core import FakeCore
from tests.handlers.payloads import ACCOUNT, GROUP, REGION, batch, returned, text

INSTANCE = InstanceId("i-0abc1234def567890")
LAUNCH, TERMINATE, SWEEP = text("lifecycle-launch"), text("lifecycle-terminate"), text("scheduled")
SPOT, REBALANCE = text("spot-interruption"), text("rebalance")
LOOK_AGAIN = again.render(
    Metadata(id="x", source=again.SOURCE, detail_type=again.DETAIL_TYPE, account=ACCOUNT, region=REGION, time="now"),
    group=GROUP,
)
QUEUES = environment.queues(ENVIRONMENT)


class Function:
    """One container of the fleet function, over fakes; each call is an invocation."""

    def __init__(self, place: Place, cloud: FakeCloud, core: FakeCore, now_ms: Callable[[], int]) -> None:
        self.cloud, self.core, self.place, self.now_ms = cloud, core, place, now_ms
        self.again = Again(place, QUEUES.own, sender=cloud, now_ms=now_ms)
        self.metrics = Metrics()

    def __call__(self, *bodies: str, received: int = 1) -> list[str]:
        """Take one batch; return the ids of the messages that go back."""
        visit = Visit(self.place, cloud=self.cloud, core=self.core, again=self.again, now_ms=self.now_ms)
        answer = consume(
            batch(*bodies, received=received),
            visit.handle,
            queues=QUEUES,
            messenger=self.cloud,
            logger=Logger(),
            metrics=self.metrics,
        )
        return returned(answer)

    @property
    def dead_letters(self) -> list[tuple[str, str]]:
        """What went to the dead letters: error and reason."""
        dead = [message for message in self.cloud.sent if message.queue_url == QUEUES.dead_letter]
        return [(message.attributes["Error"], message.attributes["Reason"]) for message in dead]

    @property
    def looks_asked(self) -> list[int]:
        """The delays of the messages that it sent to itself."""
        return [message.delay_s for message in self.cloud.sent if message.queue_url == QUEUES.own]


@pytest.fixture
def function(place: Place, cloud: FakeCloud, core: FakeCore, now_ms: Callable[[], int]) -> Function:
    """A container that has just started."""
    return Function(place, cloud, core, now_ms)


def test_a_launch_event_seats_the_instance(function: Function) -> None:
    """The core hears of the whole group, the new instance with it."""
    function.cloud.add(INSTANCE, "Pending:Wait")
    assert function(LAUNCH) == []
    assert function.core.nodes[INSTANCE].phase is Phase.SEATED


def test_a_batch_costs_one_look(function: Function) -> None:
    """However many messages, doubled or of different kinds, the group is described and synced once."""
    function.cloud.add(INSTANCE, "Pending:Wait")
    assert function(LAUNCH, LAUNCH, SWEEP, TERMINATE, REBALANCE) == []
    assert function.cloud.count("instances") == 1
    assert len(function.core.syncs) == 1


def test_each_invocation_looks_anew(function: Function) -> None:
    """What one invocation saw is not remembered by the next."""
    function(SWEEP)
    function(SWEEP)
    assert len(function.core.syncs) == 2


def test_the_event_is_not_believed(function: Function) -> None:
    """A launch event of an instance that the group no longer lists seats nobody."""
    assert function(LAUNCH) == []
    assert function.core.nodes == {}


def test_terminate_before_launch(function: Function) -> None:
    """Events in the wrong order: the instance is let go, and the late launch event changes nothing."""
    function.cloud.add(INSTANCE, "Terminating:Wait")
    assert function(TERMINATE) == []
    assert INSTANCE not in function.cloud.members
    assert function(LAUNCH) == []
    assert function.core.nodes == {}


def test_the_whole_life_of_a_node(function: Function) -> None:
    """From Pending:Wait to gone, by events, sweeps and our own messages only."""
    function.cloud.add(INSTANCE, "Pending:Wait")
    function(LAUNCH)
    function.core.nodes[INSTANCE].phase = Phase.ACTIVE
    function(SWEEP)
    assert function.cloud.members == {INSTANCE: "InService"}
    function.cloud.members[INSTANCE] = "Terminating:Wait"
    function(TERMINATE)
    assert function.looks_asked == [2]
    function.core.drained(INSTANCE)
    function(function.cloud.sent[-1].body)
    assert function.cloud.members == {}
    assert function.looks_asked == [2]


# --- looking again --------------------------------------------------------------------------------------------------


def test_looks_do_not_multiply(place: Place, cloud: FakeCloud, core: FakeCore) -> None:
    """While one message to look again is under way, events of the same scale-in send no second one."""
    clock = [1_000_000]
    function = Function(place, cloud, core, lambda: clock[0])
    core.active(cloud.add(INSTANCE, "Terminating:Wait"))
    for ms, asked in ((0, 1), (500, 1), (1_000, 1), (2_000, 2), (2_001, 2), (4_000, 3)):
        clock[0] = 1_000_000 + ms
        function(TERMINATE, SWEEP)
        assert len(function.looks_asked) == asked


def test_a_look_again_that_cannot_be_sent_is_not_forgotten(function: Function) -> None:
    """The message goes back to its queue, and the next invocation sends what was not sent."""
    function.core.active(function.cloud.add(INSTANCE, "Terminating:Wait"))
    function.cloud.failures["send"] = [CloudBusy("sending: Throttling")]
    assert function(TERMINATE) == ["m0"]
    assert function(TERMINATE) == []
    assert function.looks_asked == [2]


def test_looks_again_of_another_group_are_ignored(function: Function) -> None:
    """Only our own group is looked at."""
    assert function(LOOK_AGAIN.replace(GROUP, "another")) == []
    assert function(text("lifecycle-launch", detail__AutoScalingGroupName="another")) == []
    assert function.core.commands == []


# --- spot -----------------------------------------------------------------------------------------------------------


def test_a_spot_warning_makes_the_group_say_it(function: Function) -> None:
    """The group terminates the instance by its hooks, is looked at after that, and the node drains."""
    function.core.active(function.cloud.add(INSTANCE, "InService"))
    assert function(SWEEP, SPOT) == []
    assert function.cloud.members == {INSTANCE: "Terminating:Wait"}
    assert function.core.nodes[INSTANCE].phase is Phase.DRAINING
    assert function.looks_asked == [2]


@pytest.mark.parametrize("state", ["Pending:Wait", "Terminating:Wait", "Standby"])
def test_a_spot_warning_terminates_only_what_is_in_service(function: Function, state: str) -> None:
    """What is on its way in or out already is only looked at; a doubled warning is harmless."""
    function.cloud.add(INSTANCE, state)
    assert function(SPOT, SPOT) == []
    assert function.cloud.count("terminate") == 0
    assert len(function.core.syncs) == 1


@pytest.mark.parametrize("body", [SPOT, REBALANCE])
def test_other_peoples_spot_instances(function: Function, body: str) -> None:
    """An instance of another group, or of none, is none of our business."""
    assert function(body) == []
    function.cloud.strangers[INSTANCE] = "another"
    assert function(body) == []
    assert function.core.commands == []
    assert function.cloud.count("terminate") == 0


def test_a_rebalance_recommendation_is_looked_at(function: Function) -> None:
    """The group itself replaces the instance: we terminate nothing."""
    function.core.active(function.cloud.add(INSTANCE, "InService"))
    assert function(REBALANCE) == []
    assert len(function.core.syncs) == 1
    assert function.cloud.count("terminate") == 0


def test_a_termination_that_aws_cannot_do_now_comes_again(function: Function) -> None:
    """ScalingActivityInProgress gives the warning back to the queue."""
    function.core.active(function.cloud.add(INSTANCE, "InService"))
    function.cloud.failures["terminate"] = [CloudBusy("terminating: AWS answered ScalingActivityInProgress")]
    assert function(SPOT) == ["m0"]
    assert function(SPOT) == []
    assert function.cloud.members == {INSTANCE: "Terminating:Wait"}


def away(function: Function, error: Exception) -> None:
    """Let the core or AWS be away for the next look."""
    if isinstance(error, CoreUnreachable):
        function.core.failures.append(error)
    else:
        function.cloud.failures["instances"] = [error]


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [CoreUnreachable("connecting: timed out"), CloudBusy("describing: Throttling")])
def test_retryable_errors_give_the_batch_back(function: Function, error: Exception) -> None:
    """A core or an AWS that is away is asked once, not once per message; nothing is a dead letter."""
    function.cloud.add(INSTANCE, "Pending:Wait")
    away(function, error)
    assert function(LAUNCH, TERMINATE, LAUNCH) == ["m0", "m1", "m2"]
    assert function.cloud.count("instances") == 1
    assert function.dead_letters == []
    assert function(LAUNCH) == []


@pytest.mark.parametrize("error", [CoreUnreachable("connecting: timed out"), CloudBusy("describing: Throttling")])
@pytest.mark.parametrize("body", [SWEEP, LOOK_AGAIN])
def test_a_long_outage_piles_up_no_sweeps(function: Function, body: str, error: Exception) -> None:
    """What only says that it is time to look is dropped: the next minute's sweep is its retry. Events come again."""
    away(function, error)
    assert function(body, LAUNCH, body) == ["m1"]
    assert function.dead_letters == []
    assert function.metrics.metric_set["MessagesDropped"]["Value"] == [1.0, 1.0]


@pytest.mark.parametrize("body", [SWEEP, LOOK_AGAIN])
def test_a_sweep_that_nothing_heals_is_a_dead_letter(function: Function, body: str) -> None:
    """A person has to see what the next minute cannot mend either."""
    function.core.failures.append(HostKeyMismatch("connecting to 203.0.113.10:22: another host key"))
    assert function(body) == []
    assert [error for error, _ in function.dead_letters] == ["HostKeyMismatch"]


@pytest.mark.parametrize(
    "error",
    [
        HostKeyMismatch("connecting to 203.0.113.10:22: another host key"),
        Refused(RefusalKind.FUTURE_GENERATION, "syncing: check the clocks"),
        ContractError("reply.version: wanted 1, found 2"),
    ],
)
def test_other_errors_become_dead_letters(function: Function, error: Exception) -> None:
    """What no retry can heal is kept with its reason, and counts as handled."""
    function.core.failures.append(error)
    assert function(LAUNCH) == []
    assert function.dead_letters == [(type(error).__name__, str(error))]
    assert function.cloud.sent[0].body == LAUNCH


def test_one_bad_message_does_not_hold_the_others(function: Function) -> None:
    """Broken, foreign and unknown messages each go their way; the good ones are handled."""
    function.cloud.add(INSTANCE, "Pending:Wait")
    foreign = text("lifecycle-launch", account="210987654321")
    broken = text("lifecycle-launch", detail__EC2InstanceId=None)
    unknown, notification = text("launch-successful"), text("test-notification")
    assert function("{", foreign, LAUNCH, broken, unknown, notification, text("alarm-on")) == []
    assert [error for error, _ in function.dead_letters] == ["ContractError", "ForeignEvent", "ContractError"]
    assert "detail.EC2InstanceId" in function.dead_letters[2][1]
    assert len(function.core.syncs) == 1


@pytest.mark.parametrize("name", ["alarm-on", "peak-begins"])
def test_what_moves_the_level_moves_nobody_here(
    function: Function, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An alarm's or a peak's event that strays into this queue is ignored, and the log says why."""
    caplog.set_level("INFO")
    assert function(text(name)) == []
    assert [vars(record)["reason"] for record in caplog.records] == ["the level is not for this function"]
    assert (function.core.commands, function.cloud.calls) == ([], [])


def test_a_dead_letter_that_cannot_be_sent_comes_again(function: Function) -> None:
    """Nothing is dropped: the message goes back to its queue."""
    function.cloud.failures["send"] = [CloudBusy("sending: Throttling")]
    assert function("{", SWEEP) == ["m0"]


def test_a_bug_gives_the_message_back(function: Function) -> None:
    """An error of no kind of ours is for the next deployment to heal, and the other messages are handled."""
    function.cloud.failures["membership"] = [ZeroDivisionError()]
    assert function(SPOT, SWEEP) == ["m0"]
    assert function.dead_letters == []


def test_reasons_fit_into_an_attribute(function: Function) -> None:
    """A reason with control characters and of any length is one that SQS takes."""
    function.core.failures.append(ContractError("bad\n\x00\ud800" + "é" * 5000))
    assert function(SWEEP) == []
    [(_, reason)] = function.dead_letters
    assert len(reason) == 1000
    assert reason.isprintable()


def test_an_unknown_state_holds_no_message(function: Function) -> None:
    """It is logged and counted; the other instances' events are done, and none of them is tried again for it."""
    function.cloud.add("i-unclear", "Quarantined")
    function.cloud.add(INSTANCE, "Terminating:Wait")
    assert function(TERMINATE, SWEEP) == []
    assert (list(function.cloud.members), function.dead_letters) == (["i-unclear"], [])
    assert function.metrics.metric_set["LeftUndone"]["Value"] == [1.0]


def test_a_completion_that_failed_comes_again(function: Function) -> None:
    """One hook that could not be completed gives the message back, after everything else was done."""
    for n in range(3):
        function.cloud.add(f"i-{n}", "Terminating:Wait")
    function.cloud.failures["complete drawbridge-terminate i-1"] = [CloudBusy("completing: Throttling")]
    assert function(TERMINATE, LAUNCH) == ["m0", "m1"]
    assert list(function.cloud.members) == ["i-1"]
    assert function(TERMINATE) == []
    assert function.cloud.members == {}


def test_a_retryable_failure_wins_over_a_final_one(function: Function) -> None:
    """Of two failures the one that a retry can heal decides: else it would be left undone."""
    for n in range(2):
        function.cloud.add(f"i-{n}", "Terminating:Wait")
    function.cloud.failures["complete drawbridge-terminate i-0"] = [CloudRefused("completing: AccessDenied")]
    function.cloud.failures["complete drawbridge-terminate i-1"] = [CloudBusy("completing: Throttling")]
    assert function(TERMINATE) == ["m0"]


def test_a_missing_permission_is_a_dead_letter(function: Function) -> None:
    """AccessDenied is no throttling: a person has to see it."""
    function.cloud.add(INSTANCE, "Terminating:Wait")
    function.cloud.failures["complete"] = [CloudRefused("completing: AWS answered AccessDenied")]
    assert function(SWEEP) == []
    assert function.dead_letters == [("CloudRefused", "completing: AWS answered AccessDenied")]


def test_a_group_that_is_not_there(function: Function) -> None:
    """Sweeps while the stacks are made or taken down leave nothing behind; an event of a lost group is kept."""
    function.core.active(INSTANCE)
    function.cloud.group = None
    assert function(SWEEP, LOOK_AGAIN) == []
    assert function.dead_letters == []
    assert function(LAUNCH) == []
    assert [error for error, _ in function.dead_letters] == ["GroupMissing"]
    assert function.core.commands == []


@pytest.mark.parametrize(("received", "seconds"), [(1, 5), (2, 10), (4, 40), (6, 160), (7, 180), (1000, 180)])
def test_what_failed_comes_again_soon_and_then_later(function: Function, received: int, seconds: int) -> None:
    """A message that goes back is hidden for a time that doubles, not for the queue's three minutes."""
    function.core.failures.append(CoreUnreachable("connecting: timed out"))
    assert function(LAUNCH, "{", received=received) == ["m0"]
    assert function.cloud.hidden == [(QUEUES.own, seconds)]


def test_a_message_that_cannot_be_hidden_still_comes_again(function: Function) -> None:
    """The haste is a courtesy: without it the message comes when the queue's own timeout is over."""
    function.core.failures.append(CoreUnreachable("connecting: timed out"))
    function.cloud.failures["hide"] = [CloudRefused("changing: AccessDenied")]
    assert function(LAUNCH) == ["m0"]
    assert function.dead_letters == []


# --- the function itself --------------------------------------------------------------------------------------------


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch, cloud: FakeCloud, core: FakeCore, now_ms: Callable[[], int]) -> None:
    """Put the fakes where the container keeps AWS and the core."""
    monkeypatch.setattr(fleet, "Cloud", lambda *, region: cloud)
    monkeypatch.setattr(fleet, "WarmCore", lambda address, private_key: core)
    monkeypatch.setattr(FakeCloud, "private_key", lambda parameter: parameter, raising=False)


def emitted(output: str) -> dict[str, Any]:
    """Return the metrics document among the lines that the function printed."""
    [document] = [line for line in map(json.loads, output.splitlines()) if "_aws" in line]
    return document  # type: ignore[no-any-return]  # JSON


def test_the_handler_and_its_metrics(
    warm: None, cloud: FakeCloud, core: FakeCore, context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    """The deployed entry point takes a batch, answers SQS and writes what it did as metrics."""
    core.active(cloud.add("i-1", "InService"))
    cloud.add("i-2", "Pending:Wait")
    cloud.add("i-3", "Terminating:Wait")
    core.active(cloud.add("i-4", "Quarantined"))
    answer = fleet.handler(batch(LAUNCH, "{"), context)
    assert returned(answer) == []
    document = emitted(capsys.readouterr().out)
    assert document["service"] == "drawbridge-fleet"
    assert document["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Drawbridge"
    assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert document["LifecycleActionsCompleted"] == [1.0]
    assert (document["NodesKept"], document["LeftUndone"]) == ([1.0], [1.0])
    assert (document["MessagesDeadLettered"], document["MessagesReturned"]) == ([1.0], [0.0])


@pytest.mark.filterwarnings("ignore:No application metrics")
def test_a_wrong_environment_is_named(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that was deployed without one of its variables says which."""
    monkeypatch.delenv("DRAWBRIDGE_DEAD_LETTER_URL")
    with pytest.raises(VariableError, match="DRAWBRIDGE_DEAD_LETTER_URL"):
        fleet.handler(batch(text("scheduled", detail={"group": GROUP})), context)
