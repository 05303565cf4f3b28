"""The enroll function: nodes of our group, proved by their signature, get a tunnel and then traffic; nobody else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core_agent.contract.messages import EnrollNode, Hold, Phase
from core_agent.contract.names import InstanceId
from core_agent.errors import AgentFailed, ContractError, CoreUnreachable, HostKeyMismatch, RefusalKind, Refused
from lambdas.environment import Place
from lambdas.errors import CloudBusy, CloudRefused
from lambdas.handlers import enroll
from lambdas.handlers.enroll import Desk
from tests.handlers.conftest import Context
from tests.handlers.fake_cloud import FakeCloud
from tests.handlers.fake_core import CORE_KEY, KEY, OTHER_KEY, FakeCore
from tests.handlers.payloads import payload

INSTANCE = InstanceId("i-0abc1234def567890")
OTHER = "i-0fff1234def567890"
IAM = "requestContext__authorizer__iam"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One response, decoded."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


class Function:
    """The enroll function over fakes."""

    def __init__(self, place: Place, cloud: FakeCloud, core: FakeCore, now_ms: Callable[[], int]) -> None:
        self.cloud, self.core = cloud, core
        self.desk = Desk(place, cloud=cloud, core=core, now_ms=now_ms)

    def enroll(self, **changes: object) -> Reply:
        """POST /enroll."""
        return self._reply(payload("function-url-enroll", **changes))

    def ready(self, **changes: object) -> Reply:
        """POST /ready."""
        return self._reply(payload("function-url-ready", **changes))

    def _reply(self, event: dict[str, Any]) -> Reply:
        answer = self.desk.answer(event)
        assert answer["headers"]["Content-Type"] == "application/json"
        return Reply(status=answer["statusCode"], body=json.loads(answer["body"]), headers=answer["headers"])


@pytest.fixture
def function(place: Place, cloud: FakeCloud, core: FakeCore, now_ms: Callable[[], int]) -> Function:
    """A function in front of a group with one instance that waits in its launch hook."""
    cloud.add(INSTANCE, "Pending:Wait")
    return Function(place, cloud, core, now_ms)


def test_a_node_gets_its_tunnel(function: Function) -> None:
    """The answer has everything that a wg0.conf needs, and the core knows the key."""
    reply = function.enroll()
    assert reply.status == 200
    assert reply.body == {
        "instance": INSTANCE,
        "address": "10.100.0.2/32",
        "core_address": "10.100.0.1",
        "core_public_key": CORE_KEY,
        "endpoint": "203.0.113.10:51820",
        "mtu": 1360,
        "keepalive_s": 25,
    }
    assert function.core.nodes[INSTANCE].key == KEY


def test_a_node_may_be_faster_than_its_event(function: Function) -> None:
    """An instance without a seat makes the function look at the group once; a seated one does not."""
    assert function.enroll().status == 200
    assert len(function.core.syncs) == 1
    assert function.enroll().status == 200
    assert len(function.core.syncs) == 1


def test_a_look_that_left_something_undone_does_not_stop_the_node(function: Function) -> None:
    """Another instance's hook that could not be completed is the fleet function's business."""
    function.cloud.add("i-other", "Terminating:Wait")
    function.cloud.failures["complete"] = [CloudBusy("completing: Throttling")]
    assert function.enroll().status == 200


def test_still_no_seat_after_a_look(function: Function) -> None:
    """A core that refuses the seat even then is asked no third time, and the node may try again later."""
    refusal = Refused(RefusalKind.NOT_SEATED, "enrolling: wanted a seat")
    function.core.failures = [refusal]
    function.core.generation = 2**50
    reply = function.enroll()
    assert (reply.status, reply.body["kind"], reply.body["retryable"]) == (409, "not_seated", True)
    assert sum(isinstance(command, EnrollNode) for command in function.core.commands) == 2


def test_another_key_is_refused(function: Function) -> None:
    """Who holds a seat keeps its key."""
    function.enroll()
    reply = function.enroll(body=json.dumps({"public_key": OTHER_KEY}))
    assert (reply.status, reply.body["kind"], reply.body["retryable"]) == (409, "key_conflict", False)
    assert function.core.nodes[INSTANCE].key == KEY


@pytest.mark.parametrize(
    ("kind", "again"),
    [(RefusalKind.ADDRESSES_EXHAUSTED, True), (RefusalKind.HELD, False), (RefusalKind.KEY_TAKEN, False)],
)
def test_refusals_carry_their_kind(function: Function, kind: RefusalKind, again: bool) -> None:  # noqa: FBT001  # a case
    """A refusal of the core is 409 with its stable word, and says whether time can heal it."""
    function.core.failures = [Refused(kind, "enrolling: no")]
    reply = function.enroll()
    assert (reply.status, reply.body) == (409, {"error": "enrolling: no", "retryable": again, "kind": kind})


# --- who asks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/enroll", "/ready"])
@pytest.mark.parametrize(
    "change",
    [
        {IAM: None},
        {f"{IAM}__userArn": "arn:aws:sts::123456789012:assumed-role/admin/i-0abc1234def567890"},
        {f"{IAM}__userArn": "arn:aws:sts::210987654321:assumed-role/drawbridge-node-eu-north-1/i-0abc1234def567890"},
        {f"{IAM}__userId": f"AROAEXAMPLE:{OTHER}"},
        {f"{IAM}__accountId": "210987654321"},
    ],
)
def test_strangers(function: Function, path: str, change: dict[str, Any]) -> None:
    """Whoever is no instance of ours gets 403; neither AWS nor the core is asked anything."""
    reply = function.enroll(requestContext__http__path=path, **change)
    assert (reply.status, reply.body["retryable"]) == (403, False)
    assert (function.core.commands, function.cloud.calls) == ([], [])


@pytest.mark.parametrize("group", [None, "another"])
def test_an_instance_of_no_group_of_ours(function: Function, group: str | None) -> None:
    """The right role is not enough: a machine that somebody started with it is no member."""
    del function.cloud.members[INSTANCE]
    if group:
        function.cloud.strangers[INSTANCE] = group
    for reply in (function.enroll(), function.ready()):
        assert reply.status == 403
        assert "wanted a member of drawbridge-edge" in reply.body["error"]
    assert function.core.commands == []


@pytest.mark.parametrize("state", ["Terminating:Wait", "Terminating", "Warmed:Terminating:Wait", "Detached"])
def test_a_leaving_instance(function: Function, state: str) -> None:
    """An instance that the group is terminating gets no tunnel and no traffic."""
    function.cloud.members[INSTANCE] = state
    for reply in (function.enroll(), function.ready()):
        assert (reply.status, reply.body["kind"]) == (409, "leaving")
    assert function.core.commands == []


def test_an_unknown_state_is_asked_again(function: Function) -> None:
    """A state that nobody knows admits nobody."""
    function.cloud.members[INSTANCE] = "Quarantined"
    assert function.enroll().status == 503
    assert function.core.commands == []


# --- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"requestContext__http__path": "/"}, 404, "wanted /enroll or /ready"),
        ({"requestContext__http__method": "GET"}, 405, "wanted POST"),
        ({"body": "x" * 2000}, 413, "at most 1024 bytes"),
        ({"body": "{"}, 400, "body: wanted one JSON object"),
        ({"body": "{}"}, 400, "body.public_key: missing"),
        ({"body": '{"public_key": "short"}'}, 400, "body.public_key: wanted a WireGuard public key"),
        ({"requestContext__http": None}, 400, "requestContext.http: wanted an object"),
    ],
)
def test_bad_requests(function: Function, change: dict[str, Any], status: int, words: str) -> None:
    """Each kind of bad request has its status, names the field and changes nothing."""
    reply = function.enroll(**change)
    assert (reply.status, reply.body["retryable"]) == (status, False)
    assert words in reply.body["error"]
    assert (reply.headers.get("Allow") == "POST") == (status == 405)
    assert function.core.commands == []


# --- ready ----------------------------------------------------------------------------------------------------------


def test_a_node_that_is_not_enrolled(function: Function) -> None:
    """A node that the core does not know, any more perhaps, is told so, and that enrolling again can help."""
    reply = function.ready()
    assert (reply.status, reply.body["kind"], reply.body["retryable"]) == (409, "unknown_node", True)
    function.enroll()
    function.core.nodes[INSTANCE].phase = Phase.SEATED
    reply = function.ready()
    assert (reply.status, reply.body["kind"], reply.body["retryable"]) == (409, "not_enrolled", True)
    assert function.enroll().status == 200
    assert function.ready().status == 202


def test_ready_waits_for_handshake_and_check(function: Function) -> None:
    """A node asks until both were seen; then it is active, its launch completed, and 200 said."""
    function.enroll()
    reply = function.ready()
    assert (reply.status, reply.body) == (202, {"phase": "enrolled", "waiting_for": "handshake"})
    function.core.nodes[INSTANCE].handshake = True
    assert function.ready().body["waiting_for"] == "health check"
    assert function.cloud.members[INSTANCE] == "Pending:Wait"
    function.core.come_up(INSTANCE)
    reply = function.ready()
    assert (reply.status, reply.body) == (200, {"phase": "active"})
    assert function.cloud.members[INSTANCE] == "InService"
    assert function.ready().status == 200
    assert function.cloud.count("complete") == 1


def test_ready_before_the_hook_holds(function: Function) -> None:
    """While the instance is still Pending there is no action to complete: the node asks again."""
    function.cloud.members[INSTANCE] = "Pending"
    function.enroll()
    function.core.come_up(INSTANCE)
    reply = function.ready()
    assert (reply.status, reply.body) == (202, {"phase": "active", "waiting_for": "lifecycle hook"})
    assert function.cloud.count("complete") == 0
    function.cloud.members[INSTANCE] = "Pending:Wait"
    assert function.ready().status == 200
    assert function.cloud.members[INSTANCE] == "InService"


@pytest.mark.parametrize(("error", "status"), [(CloudBusy("completing: Throttling"), 503), (CloudRefused("no"), 500)])
def test_no_200_before_the_launch_is_completed(function: Function, error: Exception, status: int) -> None:
    """A launch that could not be completed is not called ready; the next question completes it."""
    function.enroll()
    function.core.come_up(INSTANCE)
    function.cloud.failures["complete"] = [error]
    assert function.ready().status == status
    assert function.ready().status == 200
    assert function.cloud.members[INSTANCE] == "InService"


def test_a_node_for_the_warm_pool(function: Function) -> None:
    """It enters its pool when enrolled, and is not told that it is active."""
    function.cloud.members[INSTANCE] = "Warmed:Pending:Wait"
    function.enroll()
    reply = function.ready()
    assert (reply.status, reply.body["waiting_for"]) == (202, "group to put it in service")
    assert function.cloud.members[INSTANCE] == "Warmed:Running"


def test_an_operators_hold(function: Function) -> None:
    """A node that an operator holds is told why it waits."""
    function.enroll()
    function.core.come_up(INSTANCE)
    function.core.nodes[INSTANCE].hold = Hold.DRAIN
    assert function.ready().body["waiting_for"] == "operator's hold"


# --- our own side ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CoreUnreachable("connecting to 203.0.113.10:22: timed out"), 503),
        (AgentFailed("applying: HAProxy is away", retryable=True), 503),
        (AgentFailed("reading state: damaged", retryable=False), 500),
        (HostKeyMismatch("connecting to 203.0.113.10:22: another host key"), 500),
        (ContractError("reply.version: wanted 1, found 2"), 500),
    ],
)
def test_errors_behind_the_door(function: Function, error: Exception, status: int) -> None:
    """What fails on our side says whether to ask again, and no more than its kind."""
    function.core.failures = [error]
    reply = function.enroll()
    assert (reply.status, reply.body["retryable"]) == (status, status == 503)
    assert ("Retry-After" in reply.headers) == (status == 503)
    assert "203.0.113.10" not in reply.body["error"]
    assert type(error).__name__ in reply.body["error"]


def test_a_throttled_aws(function: Function) -> None:
    """An AWS that does not answer admits nobody for now."""
    function.cloud.failures["membership"] = [CloudBusy("asking: Throttling")]
    assert function.enroll().status == 503
    assert function.core.commands == []


def test_the_handler_logs_no_credentials(monkeypatch: pytest.MonkeyPatch, function: Function, context: Context) -> None:
    """The deployed entry point answers the URL; its log has the public key and nothing secret."""
    monkeypatch.setattr(enroll, "Cloud", lambda *, region: function.cloud)
    monkeypatch.setattr(enroll, "WarmCore", lambda address, private_key: function.core)
    monkeypatch.setattr(FakeCloud, "private_key", lambda _, parameter: parameter, raising=False)
    log = io.StringIO()
    monkeypatch.setattr(enroll.logger.registered_handler, "stream", log)
    answer = enroll.handler(payload("function-url-enroll", headers__authorization="SECRET"), context)
    assert answer["statusCode"] == 200
    output = log.getvalue()
    assert KEY in output
    assert "SECRET" not in output
    assert "ASIAEXAMPLE" not in output
